"""Whatever a file of a run holds is text in every form of the report; a file that is none of ours is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import markdown_it
import pytest
from junitparser import JUnitXml

from loren.errors import IntegrityError, RunFolderError
from loren.report.markdown import code
from loren.report.write import write_report
from report_pages import parsed
from report_run import write_run
from report_sweep import write_sweep

PAYLOADS = [
    "<script>window.__hit=1;fetch('https://evil.example/')</script>",
    "\"><img src=x onerror=window.__hit=1>'><svg onload=window.__hit=1>",
    "javascript:window.__hit=1",
    "</title></desc></svg></style></script><iframe srcdoc='<script>parent.__hit=1</script>'>",
    "' style='background:url(https://evil.example/a)' onfocus='window.__hit=1' autofocus='",
    "{{ 7 * 191 }} {% raw %} {0.__class__} %s <!-- ]]> &lt;b&gt;",
    "`|` ``| [x](javascript:alert(1)) ![y](https://evil.example/b) <b>@everyone</b> #1 https://a.example \\| \x1b[31m \u202e \x00",
]
TABLES = {
    "arms", "metrics", "labels", "/category", "weak_slices", "shared_words", "overfit", "packages", "seeds", "stages", "train",
    "execution", "tokens_a_request", "splits", "kinds", "languages", "slices", "changes", "rows",
}  # fmt: skip
"""Keys of the files whose own keys come from data."""


def poisoned(value: Any, payload: str, key: str = "") -> Any:
    """Every text, and every key that is no field's, replaced by the payload, or ended with it."""
    if isinstance(value, str):
        return payload
    if isinstance(value, list):
        return [poisoned(item, payload, key) for item in value]
    if not isinstance(value, dict):
        return value
    renamed = (
        (key in TABLES or key.endswith(payload)) and "label_share" not in value and "value" not in value and "metrics" not in value
    )
    renamed = renamed and not {"r", "figures", "status", "verdict", "rows", "messages", "all"} & value.keys()
    return {
        (f"{name}{payload}" if renamed and name != "verbatim" else name): poisoned(inner, payload, name)
        for name, inner in value.items()
    }


def poison(folder: Path, payload: str) -> None:
    for path in [*folder.rglob("*.json"), *folder.rglob("*.jsonl")]:
        lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text(encoding="utf-8")]
        changed = [json.dumps(poisoned(json.loads(line), payload), ensure_ascii=True) for line in lines]
        path.write_text("\n".join(changed) + "\n", encoding="utf-8")
    for arm in (folder / "eval").glob("adapter.jsonl"):
        arm.with_name("x.jsonl").write_bytes(arm.read_bytes())


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, frozenset[str]]]:
    """What elements our own templates have."""
    found: set[tuple[str, frozenset[str]]] = set()
    for place, make in enumerate(MAKERS):
        folder = tmp_path_factory.mktemp("clean")
        write_report(make(folder / f"{place}"), out=folder, language="en", show_text=True)
        found |= parsed((folder / "report.html").read_text(encoding="utf-8")).shapes
    return found


MAKERS: list[Callable[[Path], Path]] = [
    lambda folder: write_run(folder, rows=12),
    lambda folder: write_run(folder, rows=12, preview=True),
    write_sweep,
    lambda folder: write_sweep(folder, kind="curve"),
]


@pytest.mark.parametrize("place", range(len(MAKERS)))
@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_foreign_text_is_never_markup(payload: str, place: int, shapes: set[tuple[str, frozenset[str]]], tmp_path: Path) -> None:
    run = MAKERS[place](tmp_path / "run")
    poison(run, payload)
    write_report(run, out=tmp_path, language="vi", show_text=True)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = parsed(html)
    assert {shape for shape in page.shapes if shape[0] != "code"} <= shapes | {(tag, names | {"class"}) for tag, names in shapes}
    assert len(page.all("script")) == 1
    assert page.text.count(payload.split("\x00")[0][:40]) >= 5
    assert "1337" not in page.text  # 7 * 191: nothing of a file is a template
    tokens = (
        markdown_it
        .MarkdownIt("commonmark", {"html": True, "linkify": False})
        .enable("table")
        .parse((tmp_path / "report.md").read_text(encoding="utf-8"))
    )
    flat = [inner for token in tokens for inner in (token, *(token.children or []))]
    assert {token.type for token in flat} & {"html_block", "html_inline", "link_open", "image"} == set()
    assert any(token.type == "code_inline" for token in flat)
    JUnitXml.fromfile(str(tmp_path / "report.junit.xml"))


@pytest.mark.parametrize("text", [*PAYLOADS, "", "`", "``", "a`b", "`a", "a`", "a|b", "\\|", "two\nlines", "a\\"])
def test_code_in_markdown_is_one_cell_of_code(text: str) -> None:
    table = f"| {code(text)} | b |\n|---|---|\n| {code(text)} | c |\n"
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(table)
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    assert [[child.type for child in cell.children or []] for cell in cells[::2]] == [["code_inline"], ["code_inline"]]


def broken(run: Path, name: str, text: str) -> None:
    (run / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("eval/result.json", "{", "invalid JSON"),
        ("eval/result.json", '{"golden": 1}', "result.json golden"),
        ("eval/scores.jsonl", '{"id": 1}\n{"id": "secret-1"}\n', "scores.jsonl:1"),
        ("eval/scores.jsonl", 'secret-1\n{"id": "a"}\n', "scores.jsonl:1"),
        ("metrics.jsonl", '{"step": 1, "loss": NaN}\n{"step": 2}\n', "metrics.jsonl:1 loss"),
        ("data/report.json", '{"rows": "secret-1", "errors": 0, "warnings": 0}', "rows"),
        ("data/report.json", '{"file": "\\ud800", "rows": 1, "errors": 0, "warnings": 0}', "half a character"),
        ("adapter/training_metadata.json", '{"loss": {"first": Infinity}}', "loss.first"),
        ("sanity.json", "[1]", "list"),
        ("config.json", '{"values": {"data": {"max_length": "secret-1"}}}', "values.data.max_length"),
        ("stages.json", '{"stages": {"train": "secret-1"}}', "stages.train"),
    ],
)
def test_a_file_of_another_form_is_refused_by_place_alone(name: str, text: str, place: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=6)
    broken(run, name, text)
    with pytest.raises(IntegrityError) as caught:
        write_report(run, out=None, language="en", show_text=True)
    assert place in str(caught.value)
    assert "secret-1" not in str(caught.value)
    assert not (run / "report.html").exists()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=6)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 67, "lo')
    written = write_report(run, out=None, language="en", show_text=False)
    steps: Any = written.data["steps"]
    assert len(steps) == 66


def test_an_arm_that_names_a_path_reads_nothing_outside(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=6)
    (tmp_path / "outside.jsonl").write_text('{"id": "billing-situation-0-1", "text": "outside"}\n', encoding="utf-8")
    text = (run / "eval" / "result.json").read_text(encoding="utf-8")
    (run / "eval" / "result.json").write_text(text.replace('"fewshot":', '"../../outside":'), encoding="utf-8")
    write_report(run, out=None, language="en", show_text=True)
    assert ">outside<" not in (run / "report.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError):
        write_report(tmp_path, out=None, language="en", show_text=False)
