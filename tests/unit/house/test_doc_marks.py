"""Every code block of a page that users read is run, validated, or marked with the reason why it is neither."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml

from doc_blocks import OUTPUT, READ, ROOT, RUN, SHELL, Block, blocks_of, pages, translations
from loren.config import load_config
from loren.task.definition import TaskFile
from loren.task.wording import WordingFile


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page)]


def problem(block: Block) -> str | None:
    """What is wrong with the block's mark or language, if anything."""
    if block.mark.startswith("not run: ") or block.language in READ | OUTPUT:
        return None
    if block.language not in SHELL:
        return f"{block.place}: no runner for {block.language!r}; say why it is not run"
    return None if block.mark == RUN else f"{block.place}: say `<!-- run: tiny -->`, or `<!-- not run: REASON -->`"


def test_every_block_has_a_runner_or_a_reason() -> None:
    found = all_blocks()
    assert len(found) >= 20
    assert [problem(block) for block in found if problem(block)] == []


def test_a_block_without_a_mark_or_a_runner_is_named() -> None:
    assert problem(Block("a.md:3", "sh", "loren doctor\n", "")) == "a.md:3: say `<!-- run: tiny -->`, or `<!-- not run: REASON -->`"
    assert "no runner for 'ruby'" in (problem(Block("a.md:3", "ruby", "", RUN)) or "")
    assert "no runner for ''" in (problem(Block("a.md:3", "", "", RUN)) or "")
    assert problem(Block("a.md:3", "ruby", "", "not run: a joke")) is None


def test_a_mark_holds_for_its_block_or_for_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doc_blocks.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- run: tiny -->\n# A\n\n```sh\none\n```\n\n<!-- not run: it needs\na GPU -->\n\n```sh\ntwo\n```\n\n"
        "- a list\n\n  ```python\n  three\n  ```\n",
        encoding="utf-8",
    )
    assert blocks_of(page) == [
        Block("page.md:4", "sh", "one\n", "run: tiny"),
        Block("page.md:11", "sh", "two\n", "not run: it needs\na GPU"),
        Block("page.md:17", "python", "three\n", "run: tiny"),
    ]


def test_data_in_the_pages_is_what_it_says_it_is(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    reference = sorted((ROOT / "docs" / "reference").glob("*.md"))
    for block in all_blocks() + [block for page in reference for block in blocks_of(page)]:
        seen[block.language] += 1
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict), block.place
        elif block.language == "toml":
            validate_toml(block, tmp_path)
    assert seen["json"] >= 1
    assert seen["toml"] >= 2


def validate_toml(block: Block, folder: Path) -> None:
    """The first line says which file it is; an excerpt must hold what the file needs."""
    name = block.text.partition("\n")[0].removeprefix("# ").split(":")[0].strip()
    if name.endswith("run.toml"):
        path = folder / "run.toml"
        path.write_text(block.text, encoding="utf-8")
        assert load_config(path, environment={}).origins["base_model"] == "file", block.place
    elif name.endswith("task.toml"):
        TaskFile.model_validate(tomllib.loads(block.text))
    elif name.endswith("wording.toml"):
        WordingFile.model_validate(tomllib.loads(block.text))
    else:
        assert name.endswith("DATASET.toml"), f"{block.place}: say in the first line which file this is"
        tomllib.loads(block.text)


def test_both_languages_hold_the_same_blocks() -> None:
    pairs = translations()
    assert len(pairs) >= 4
    for english, vietnamese in pairs:
        assert english.is_file(), f"{vietnamese.relative_to(ROOT)} translates nothing"
        first = [(block.language, block.text) for block in blocks_of(english)]
        assert first == [(block.language, block.text) for block in blocks_of(vietnamese)], vietnamese.name
