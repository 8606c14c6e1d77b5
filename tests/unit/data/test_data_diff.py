"""`loren diff`: what changed between two files, by line, and no word of it."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from loren.data.diff import diff_files
from loren.data.load import read_golden
from loren.errors import ConfigError
from loren.task.definition import Task, load_task
from project import loren

LATE = "My parcel was due on Monday and it has still not arrived, what can I do?"
LATE_TOO = "My parcel was due on Monday and it still has not arrived, what can I do?"


def row(question: str, topic: str = "a", reply: str = "Answer.", **keys: str) -> dict[str, Any]:
    target = json.dumps({"topic": topic, "reply": reply}, ensure_ascii=False)
    return {**keys, "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": target}]}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in rows]
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return path


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    folder.joinpath("task.toml").write_text('name = "t"\nlanguage = "en"\nversion = "1"\nlabels = ["/topic"]\nreply = "/reply"\n')
    schema = {"type": "object", "required": ["topic", "reply"], "properties": {"topic": {"enum": ["a", "b c"]}, "reply": {}}}
    folder.joinpath("schema.json").write_text(json.dumps(schema))
    return load_task(folder)


FILL = [row(f"Question {number}", reply=f"Answer {number}.") for number in range(10)]


@pytest.mark.parametrize(
    ("before", "after", "by", "parts"),
    [
        (row("A?", id="1"), row("B?", id="1"), "id", ("question",)),
        (row("A?", id="1"), row("B?", "b c", id="1"), "id", ("question", "target", "label")),
        (row("A?", reply="X"), row("A?", reply="Y"), "question", ("target",)),
        (row("A?", "a"), row("A?", "b c"), "question", ("target", "label")),
        (row("A?", id="1"), row("A?", id="2"), "question", ("form",)),
        (row("A?"), row(" a? "), "question", ("form",)),
        (row(LATE), row(LATE_TOO), "copy", ("question",)),
        (row(f"{LATE} 12"), row(f"{LATE} 345", reply="Other"), "copy", ("question", "target")),
        (row("A?", situation="s"), row("B?", situation="s"), "situation", ("question",)),
    ],
)
def test_a_changed_row_is_matched_and_says_what_changed(
    before: Any, after: Any, by: str, parts: tuple[str, ...], task: Task, tmp_path: Path
) -> None:
    old = write(tmp_path / "old", *FILL[:5], before, *FILL[5:])
    new = write(tmp_path / "new", after, *reversed(FILL))
    diff = diff_files(old, new, task)
    (change,) = diff.changed
    assert (change.old_line, change.new_line, change.by, change.parts) == (6, 1, by, parts)
    assert change.label == (('"a"', '"b c"') if "label" in parts else None)
    assert (diff.unchanged, diff.added, diff.removed) == (10, [], [])


def test_rows_that_move_or_are_written_otherwise_did_not_change(tmp_path: Path) -> None:
    other = json.dumps(dict(reversed(row("A?", id="1").items())), indent=None, separators=(" ,", ":  "))
    diff = diff_files(write(tmp_path / "old", *FILL, row("A?", id="1")), write(tmp_path / "new", other, *reversed(FILL)))
    assert (diff.unchanged, diff.changed, diff.added, diff.removed) == (11, [], [], [])


def test_repeated_rows_are_counted(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", *[row("A?")] * 3, row("B?")), write(tmp_path / "new", row("A?"), *[row("B?")] * 3)
    diff = diff_files(old, new)
    assert (diff.unchanged, len(diff.changed), diff.added, diff.removed) == (2, 0, [3, 4], [2, 3])
    diff = diff_files(new, old)
    assert (diff.unchanged, diff.added, diff.removed) == (2, [2, 3], [3, 4])


def test_rows_that_cannot_be_read_are_compared_as_a_whole(tmp_path: Path) -> None:
    old = write(tmp_path / "old", "{broken", '{"messages": []}', row("A?"), "", "[1]")
    new = write(tmp_path / "new", "{broken", '{"messages": [] }', row("A?"))
    diff = diff_files(old, new)
    assert (diff.unchanged, diff.changed, diff.added, diff.removed) == (2, [], [2], [2, 5])
    assert (diff.old.rows, diff.old.unreadable, diff.new.unreadable) == (4, 3, 2)


def test_each_row_is_accounted_for_once(tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = [LATE, LATE_TOO, "A?", "B?", f"{LATE} 1", f"{LATE} 22", "C?"]
    for _ in range(15):
        sides = [
            [row(rng.choice(texts), rng.choice("ab"), id=str(rng.randrange(9)), situation=rng.choice("xyz")) for _ in range(12)]
            for _ in range(2)
        ]
        diff = diff_files(*(write(tmp_path / str(number), *side) for number, side in enumerate(sides)))
        old = [change.old_line for change in diff.changed] + diff.removed
        new = [change.new_line for change in diff.changed] + diff.added
        assert len(set(old)) == len(old) == 12 - diff.unchanged
        assert len(set(new)) == len(new) == 12 - diff.unchanged


def test_label_values_that_no_schema_lists_are_not_shown(tmp_path: Path, task: Task) -> None:
    (tmp_path / "task" / "schema.json").write_text('{"type": "object", "properties": {"topic": {"type": "string"}}}')
    free = load_task(tmp_path / "task")
    diff = diff_files(write(tmp_path / "old", row("A?", "my name is canary")), write(tmp_path / "new", row("A?", "late")), free)
    assert diff.to_json()["labels_moved"] == [{"from": "other", "to": '"late"', "rows": 1}]


def test_too_many_rows_without_a_match_are_said(tmp_path: Path) -> None:
    lines = ['{"messages": []}'] + [f'{{"messages": [{number}]}}' for number in range(20_001)]
    diff = diff_files(write(tmp_path / "old"), write(tmp_path / "new", *lines))
    assert "20002 rows" in diff.not_compared
    assert len(diff.added) == 20_002


def test_golden_rows_in_the_new_file(tmp_path: Path) -> None:
    golden = read_golden([write(tmp_path / "golden.jsonl", row("Else?"), row(LATE_TOO))])
    old, new = write(tmp_path / "old", row(LATE)), write(tmp_path / "new", row("A?"), row(LATE))
    (leak,) = diff_files(old, new, golden=golden).leaks
    assert (leak.line, leak.rule, "golden.jsonl:2" in leak.message) == (2, "D512", True)
    assert len(diff_files(new, write(tmp_path / "clean", row("A?")), golden=golden).leaks) == 0


def test_files_of_different_formats_are_compared_by_their_rows(tmp_path: Path) -> None:
    old = write(tmp_path / "old.jsonl", row("A?"), row(LATE), row("B?"))
    talks: list[dict[str, Any]] = []
    for each in (row("A?"), row(LATE_TOO)):
        said = [{"from": who, "value": turn["content"]} for who, turn in zip(("human", "gpt"), each["messages"], strict=True)]
        talks.append({"conversations": said})
    (tmp_path / "new.jsonl.gz").write_bytes(gzip.compress(write(tmp_path / "new", *talks).read_bytes()))
    diff = diff_files(old, tmp_path / "new.jsonl.gz")
    assert (diff.unchanged, [change.by for change in diff.changed], diff.removed) == (1, ["copy"], [3])
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "new.jsonl.gz").read_bytes()[:-20])
    with pytest.raises(ConfigError, match="cut"):
        diff_files(old, tmp_path / "cut.jsonl.gz")
    with pytest.raises(ConfigError, match="read twice"):
        diff_files(old, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        diff_files(tmp_path / "absent", write(tmp_path / "new"))


def test_the_command_prints_lines_and_no_text(tmp_path: Path, task: Task) -> None:
    write(tmp_path / "old.jsonl", *FILL, row("canary one?", id="k"), row("canary two?"), row(LATE))
    write(tmp_path / "new.jsonl", *FILL, row("canary one?", "b c", id="k"), row("canary three?"), row(LATE))
    write(tmp_path / "golden.jsonl", row(LATE_TOO))
    clean = loren("diff", "old.jsonl", "new.jsonl", "--task", "task", cwd=tmp_path)
    assert clean.returncode == 0, clean.stderr
    lines = clean.stdout.splitlines()
    assert "unchanged 11, changed 1, added 1, removed 1" in lines
    assert "  line 11 -> 11 (same id): target, label" in lines
    assert '  "a" -> "b c": 1 row(s)' in lines
    assert lines[-1] == "next: loren check new.jsonl --task task"
    leak = loren("diff", "old.jsonl", "new.jsonl", "--golden", "golden.jsonl", "--format", "json", cwd=tmp_path)
    assert leak.returncode == 3
    value = json.loads(leak.stdout)
    assert [(issue["line"], issue["rule"]) for issue in value["leaks"]] == [(13, "D512")]
    assert value["changed"] == [{"old_line": 11, "new_line": 11, "by": "id", "parts": ["target"], "label": None}]
    assert (value["added"], value["removed"], value["new"]["rows"]) == ([12], [12], 13)
    for output in (clean, leak):
        assert "canary" not in output.stdout + output.stderr
        assert "parcel" not in output.stdout + output.stderr
