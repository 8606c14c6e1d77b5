"""The documents say what the code does: generated pages, links, configurations, the tree, and two languages that agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import unicodedata
from pathlib import Path

import pytest

from doc_blocks import translations
from loren.cli.main import VERBS
from loren.config import load_config
from loren.config.load import known_keys
from loren.data.rules import all_rules
from loren.errors import EXIT_BUG, EXIT_GATE, EXIT_INTERRUPTED, LorenError
from loren.task.definition import TaskFile
from loren.task.sections import FewShotSection, Gate, SanityThresholds
from loren.task.wording import WordingFile

ROOT = Path(__file__).parents[3]
SRC = ROOT / "src" / "loren"
REFERENCE = ROOT / "docs" / "reference"
GENERATOR = ROOT / "scripts" / "generate_docs.py"
TOP = ["README.md", "README.vi.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def documents() -> list[Path]:
    found = [ROOT / name for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))
    assert len(found) >= 13
    return found


def headings(path: Path) -> list[str]:
    """Headings outside code blocks, with their marks."""
    return re.findall(r"^#{1,6} .+$", without_blocks(path.read_text(encoding="utf-8")), re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    return re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """As GitHub makes them: lower case, no signs but dash and underscore, spaces as dashes."""
    names = (heading.lstrip("#").strip().lower() for heading in headings(path))
    return {re.sub(r"[^\w\- ]", "", name).replace(" ", "-") for name in names}


def run_generator(*arguments: str) -> subprocess.CompletedProcess[str]:
    # A narrow, colourful terminal must not change a page.
    environment = {**os.environ, "COLUMNS": "40", "FORCE_COLOR": "1"}
    command = [sys.executable, str(GENERATOR), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)


def test_generated_pages_are_what_the_code_says() -> None:
    done = run_generator("--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_named_with_its_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(GENERATOR.parent))
    import generate_docs

    assert sorted(generate_docs.write_pages(tmp_path)) == sorted(generate_docs.PAGES)
    assert generate_docs.stale_pages(tmp_path) == []
    (tmp_path / "rules.md").write_text("old", encoding="utf-8")
    (tmp_path / "cli.md").unlink()
    assert generate_docs.main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert "rules.md is stale" in said
    assert "cli.md is stale" in said
    assert "config.md" not in said
    assert "make docs" in said


def test_every_configuration_key_has_a_heading() -> None:
    keys = known_keys()
    assert len(keys) >= 30
    assert [key for key in keys if f"### `{key}`" not in headings(REFERENCE / "config.md")] == []


def test_every_key_of_a_task_has_a_heading() -> None:
    said = "\n".join(headings(REFERENCE / "task.md"))
    inner = {"sanity", "contract", "fewshot", "evaluation"}
    keys = [name for name in TaskFile.model_fields if name not in inner] + ["contract.raise"]
    keys += [f"sanity.{field.alias or name}" for name, field in SanityThresholds.model_fields.items()]
    keys += [f"fewshot.{name}" for name in FewShotSection.model_fields] + ["evaluation.prompt_margin"]
    keys += [f"evaluation.gates.{name}" for name in Gate.model_fields]
    sections = [name for name in WordingFile.model_fields if f"`{name}`" not in said]
    assert len(keys) >= 14
    assert [key for key in keys if f"`{key}`" not in said] == []
    assert [name for name in sections if f"[{name}]" not in said] == []


def test_every_rule_has_a_heading() -> None:
    rules = all_rules().values()
    assert len(rules) >= 39
    for page in ("rules.md", "rules.vi.md"):
        assert [rule.id for rule in rules if f"## {rule.id} {rule.name}" not in headings(REFERENCE / page)] == []


def test_every_verb_has_a_heading() -> None:
    there = [verb for verb in VERBS if (SRC / "cli" / f"{verb}.py").is_file()]
    assert len(there) >= 6
    assert [verb for verb in there if f"## loren {verb}" not in headings(REFERENCE / "cli.md")] == []


def test_every_exit_code_has_a_row() -> None:
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")

    def codes(kind: type[LorenError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(child) for child in kind.__subclasses__() if child.__module__ == "loren.errors"))

    wanted = codes(LorenError) | {0, EXIT_GATE, EXIT_BUG, EXIT_INTERRUPTED}
    assert len(wanted) >= 9
    assert [code for code in wanted if f"\n| {code} | " not in text] == []


def test_every_link_leads_somewhere() -> None:
    broken: list[str] = []
    seen = 0
    for document in documents():
        text = re.sub(r"`[^`\n]*`", "", without_blocks(document.read_text(encoding="utf-8")))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            seen += 1
            name, _, anchor = target.partition("#")
            path = (document.parent / name).resolve() if name else document
            if not path.exists() or (anchor and anchor not in anchors(path)):
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert seen >= 80
    assert broken == []


def test_the_page_of_all_defaults_holds_the_defaults(tmp_path: Path) -> None:
    text = max(blocks(REFERENCE / "config.md", "toml"), key=len)
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    empty = tmp_path / "empty.toml"
    empty.write_text("", encoding="utf-8")
    assert load_config(path, environment={}).config == load_config(empty, environment={}).config
    named = sum(len(value) if isinstance(value, dict) else 1 for value in tomllib.loads(text).values())
    unset = {"revision", "task", "lora.preset", "data.approvals", "data.format", "data.split_seed"}
    assert named >= len(known_keys()) - len(unset)


def test_the_tree_names_every_file_and_no_other() -> None:
    (tree,) = [block for block in blocks(ROOT / "ARCHITECTURE.md", "text") if block.startswith("src/loren/")]
    named: list[str] = []
    rooms: list[str] = []
    for line in tree.splitlines()[1:]:
        found = re.match(r"((?:  )+)(\S+) {2,}\S", line)
        assert found, f"expected a name and a phrase: {line!r}"
        indent, name = found.groups()
        del rooms[len(indent) // 2 - 1 :]
        if name.endswith("/"):
            rooms.append(name)
            name = "__init__.py"
        named.append("".join(rooms) + name)
    there = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py")}
    assert len(there) >= 70
    assert len(named) == len(set(named))
    assert {"missing": sorted(there - set(named)), "invented": sorted(set(named) - there)} == {"missing": [], "invented": []}


@pytest.mark.parametrize(("english", "vietnamese"), translations(), ids=lambda path: path.name)
def test_both_languages_have_the_same_parts(english: Path, vietnamese: Path) -> None:
    parts = [heading.split()[0] for heading in headings(english)]
    assert parts == [heading.split()[0] for heading in headings(vietnamese)]
    assert parts


def test_commands_in_the_documents_exist() -> None:
    seen: set[str] = set()
    for document in documents():
        for block in blocks(document, "sh"):
            seen.update(re.findall(r"(?:^|\s)loren ([a-z]+)", block))
    assert len(seen) >= 6
    assert seen <= set(VERBS)


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(document.read_text(encoding="utf-8") for document in documents())
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert {"demo", "test", "docs", "check"} <= named
    assert named <= targets


def test_documents_are_nfc_and_short() -> None:
    for document in documents():
        text = document.read_text(encoding="utf-8")
        assert unicodedata.is_normalized("NFC", text), document.name
        if document.parent != REFERENCE and document.parent != ROOT:
            assert len(text.splitlines()) <= 170, document.name
