"""Duplicates, conflicts and copies in a file: what is said, of which lines, and when nothing is."""

from __future__ import annotations

import json
import os
import threading
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from loren.data.check import check_file
from loren.data.contract import Contract
from loren.data.reader import LineReader
from loren.data.similar.copies import Copies
from loren.data.similar.duplicates import Duplicates
from loren.data.similar.spool import PART_ROWS, RecordSpool
from loren.errors import ConfigError
from loren.task.definition import Task, load_task

ORDER = "Cho tôi hỏi đơn hàng của tôi đang ở đâu"
PLAIN = "cho toi hoi don hang cua toi dang o dau"
LATE = "My parcel was due on Monday and it has still not arrived, what can I do?"
LATE_TOO = "My parcel was due on Monday and it still has not arrived, what can I do?"


def row(question: str, target: Any = "Answer.", *, system: str = "", **keys: str) -> dict[str, Any]:
    turns = [{"role": "system", "content": system}] if system else []
    turns += [{"role": "user", "content": question}, {"role": "assistant", "content": target}]
    return {**keys, "messages": turns}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows), encoding="utf-8")
    return path


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    folder.joinpath("task.toml").write_text('name = "t"\nlanguage = "en"\nversion = "1"\nlabels = ["/topic"]\nreply = "/reply"\n')
    schema = {"type": "object", "required": ["topic", "reply"], "properties": {"topic": {"enum": ["a", "b"]}, "reply": {}}}
    folder.joinpath("schema.json").write_text(json.dumps(schema))
    return load_task(folder)


def found(path: Path, task: Task | None = None, **options: Any) -> list[tuple[int, str, str]]:
    """Line, rule and the line that is named, of each issue about rows that are alike."""
    issues = [issue for issue in check_file(path, task, **options).issues if issue.rule.startswith("D5")]
    return [(issue.line, issue.rule, issue.message.partition("of line ")[2].partition(" ")[0].strip(",")) for issue in issues]


def labelled(topic: str, reply: str = "Answer.") -> dict[str, str]:
    return {"topic": topic, "reply": reply}


@pytest.mark.parametrize(
    ("first", "second", "rule"),
    [
        (row(ORDER, "A"), row(ORDER.upper(), " a"), "D505"),
        (row(ORDER, "A"), row(ORDER, "B"), "D503"),
        (row("Hi", "A"), row("hi ", "B"), "D503"),
        (row(ORDER, "A", system="Be brief."), row(ORDER, "B", system="Be polite."), None),
        (row(PLAIN, "A", system="Be brief."), row(ORDER, "B", system="Be polite."), None),
        (row(LATE, "A", system="Be brief."), row(LATE_TOO, "B", system="Be polite."), None),
        (row(ORDER, "A", system="Be brief."), row(ORDER, "B", system="be  brief."), "D503"),
        (row(ORDER, "A"), row(PLAIN, "B"), "D506"),
        (row(f"{ORDER} 12", "A"), row(f"{ORDER} 345", "B"), "D507"),
        (row(LATE, "A"), row(LATE_TOO, "B"), "D508"),
        (row(LATE, "A", conversation="x"), row(LATE_TOO, "B", conversation="x"), None),
        (row(LATE, "A", conversation="x"), row(LATE_TOO, "B", conversation="y"), "D508"),
        (row("mua", "A"), row("múa", "B"), None),
        (row("Room 12?", "A"), row("Room 13?", "B"), None),
    ],
)
def test_two_rows_without_labels(tmp_path: Path, first: Any, second: Any, rule: str | None) -> None:
    path = write(tmp_path / "rows.jsonl", row("Other words"), first, row("More of them"), second)
    assert found(path, minimum_rows=1) == ([(4, rule, "2")] if rule else [])


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ((ORDER, "a"), (PLAIN, "b"), "D504"),
        ((ORDER, "a"), (PLAIN, "a"), "D506"),
        ((ORDER, "a"), (ORDER.replace("hỏi", "hói"), "b"), "D509"),  # both have their marks: perhaps other words
        ((f"{ORDER} 2 ngày", "a"), (f"{ORDER} 20 ngày", "b"), "D509"),
        ((f"{ORDER} 2 ngày", "a"), (f"{ORDER} 20 ngày", "a"), "D507"),
        ((LATE, "a"), (LATE_TOO, "b"), "D509"),
        ((LATE, "a"), (LATE_TOO, "a"), "D508"),
        ((ORDER, "a"), (ORDER, "b"), "D503"),
    ],
)
def test_two_rows_with_labels(tmp_path: Path, task: Task, one: Any, other: Any, rule: str) -> None:
    rows = [row(question, labelled(topic, f"Reply {number}.")) for number, (question, topic) in enumerate((one, other))]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert found(path, task, minimum_rows=1) == [(2, rule, "1")]


def test_each_row_is_reported_once_with_the_first_that_it_is_like(tmp_path: Path) -> None:
    rows = [row(ORDER), row(ORDER), row(ORDER, "Other."), row(PLAIN), row(PLAIN), row(f"{ORDER} 1"), row(f"{ORDER} 22"), row(ORDER)]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert sorted(found(path, minimum_rows=1)) == [
        (2, "D505", "1"), (3, "D503", "1"), (4, "D506", "1"), (5, "D505", "4"), (6, "D507", "1"), (7, "D507", "1"),
        (8, "D505", "1"),
    ]  # fmt: skip


def test_conflicts_say_whether_the_label_or_the_words_differ(tmp_path: Path, task: Task) -> None:
    rows = [row("A?", labelled("a")), row("A?", labelled("b")), row("B?", labelled("a", "One.")), row("B?", labelled("a", "Two."))]
    messages = [i.message for i in check_file(write(tmp_path / "r", *rows), task, minimum_rows=1).issues if i.rule == "D503"]
    assert [message.rpartition(" ")[2] for message in messages] == ["label", "target"]


def test_over_the_limit_and_from_a_pipe_only_the_exact_form_is_compared_and_the_report_says_so(tmp_path: Path) -> None:
    rows = [row(ORDER), row(PLAIN), row("Hi"), row("hi", "Other.")]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert {rule for _, rule, _ in found(path, minimum_rows=1)} == {"D503", "D506"}
    report = check_file(path, minimum_rows=1, copies_limit=2)
    assert {issue.rule for issue in report.issues} == {"D503"}
    assert "more than 2 different questions" in report.to_json()["duplicates"]["not_compared"]
    assert "more than 0 different" in check_file(path, minimum_rows=1, copies_limit=0).duplicates["not_compared"]
    assert "not_compared" not in check_file(path, minimum_rows=1, copies_limit=3).duplicates

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    report = check_file(pipe, minimum_rows=1)
    writer.join()
    assert {issue.rule for issue in report.issues} == {"D503"}
    assert "can't be read twice" in report.duplicates["not_compared"]


def test_a_file_that_changes_while_it_is_checked_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", row(ORDER), row(LATE), row("Hi"))
    contract = Contract()
    for other in ([row(ORDER), row("Another question"), row("Hi")], [row(ORDER)]):
        lines = [(number, partial(dict[str, Any], each)) for number, each in enumerate(other, start=1)]
        survey = Duplicates(partial(iter, lines))
        with path.open("rb") as stream:
            for line in LineReader(stream):
                survey.add(line.number, contract.check(line))
        with pytest.raises(ConfigError, match="changed while it was checked"):
            list(survey.breaches())


def test_rows_that_break_other_rules_are_compared_as_far_as_they_can_be_read(tmp_path: Path) -> None:
    rows = [row(ORDER, extra="x"), {"messages": []}, {"messages": [{"role": "user", "content": "Hi"}]}, row(ORDER, "Other.")]
    path = write(tmp_path / "rows.jsonl", *rows)
    assert found(path, minimum_rows=1) == [(4, "D503", "1")]


def test_turns_before_the_last_belong_to_the_question(tmp_path: Path) -> None:
    def talk(first: str, target: str) -> dict[str, Any]:
        said = [first, "Which one?", "The red one, please", target]
        return {"messages": [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, said, strict=True)]}

    rows = [talk("I want a car", "Here it is."), talk("I want a bike", "Take this."), talk("I WANT a car", "No.")]
    assert found(write(tmp_path / "rows.jsonl", *rows), minimum_rows=1) == [(3, "D503", "1")]


def test_a_spool_gives_back_every_record_and_keeps_equal_questions_together() -> None:
    spool = RecordSpool()
    rows = PART_ROWS + 5000
    for line in range(1, rows + 1):
        spool.add(line, line * 0x9E3779B97F4A7C15 % 2**64 if line % 100 else 7, line % 3, 0)
    parts = list(spool.parts())
    assert len(parts) == 2
    assert sum(map(len, parts)) == len(spool) == rows
    lines = sorted(line for part in parts for line in part["line"].tolist())
    assert lines == list(range(1, rows + 1))
    assert sum(bool((part["question"] == 7).any()) for part in parts) == 1
    assert all((part["line"][1:] > part["line"][:-1]).all() for part in parts)
    assert [len(part) for part in RecordSpool().parts()] == []


def test_a_file_of_one_question_and_an_empty_one_have_no_copies(tmp_path: Path) -> None:
    assert found(write(tmp_path / "one", row(ORDER)), minimum_rows=1) == []
    assert found(write(tmp_path / "none"), minimum_rows=1) == []
    assert list(Copies(next(iter_records(tmp_path)), lambda: iter([])).breaches()) == []


def iter_records(folder: Path) -> Any:
    spool = RecordSpool()
    spool.add(1, 1, 1, 1)
    return spool.parts()


def test_no_text_of_the_file_is_in_what_is_said(tmp_path: Path) -> None:
    canary = "canary-91b2 sits in a long question about a parcel"
    rows = [row(canary, "canary A"), row(canary, "canary B"), row(f"{canary} 1"), row(f"{canary} for you"), row(f"{canary}!")]
    report = check_file(write(tmp_path / "rows.jsonl", *rows), minimum_rows=1)
    assert {issue.rule for issue in report.issues} == {"D503", "D506", "D507", "D508"}
    assert "canary" not in json.dumps(report.to_json()).replace(str(tmp_path), "")


def test_many_questions_that_are_all_too_short_to_be_near(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    line = '{{"messages": [{{"role": "user", "content": "{0}"}}, {{"role": "assistant", "content": "Word {1}."}}]}}\n'
    names = ["".join(letters) for letters in product("abcdefghij", repeat=4)][:5_000]  # above the number that is compared exactly
    path.write_text("".join(line.format(f"Tell {name}", number) for number, name in enumerate(names)), encoding="utf-8")
    report = check_file(path)
    assert report.rows == 5_000
    assert "D508" not in {issue.rule for issue in report.issues}


def test_a_question_that_cannot_be_read_is_no_copy_of_another(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    line = '{{"messages": [{{"role": "{0}", "content": "{1}"}}, {{"role": "assistant", "content": "{2}"}}]}}\n'
    rows = [("human", "Why is snow white", "Light."), ("bot", "Who built it", "Eiffel.")]
    path.write_text("".join(line.format(*row) for row in rows), encoding="utf-8")
    assert {issue.rule for issue in check_file(path).issues} == {"D106", "D901"}
