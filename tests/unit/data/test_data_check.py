"""A file -> its report: shape, counts, constant memory, and not a word of the file in it."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.report import CheckReport, IssueLog
from loren.data.rows import Row
from loren.data.rules import Issue
from loren.errors import ConfigError, DataContractError
from loren.task.definition import Task, load_task

SCHEMA = {
    "type": "object",
    "required": ["mood", "text"],
    "properties": {"mood": {"enum": ["good", "bad"]}, "text": {"type": "string", "minLength": 1}},
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    folder.joinpath("task.toml").write_text(
        'name = "moods"\nlanguage = "en"\nversion = "1"\nlabels = ["/mood"]\nreply = "/text"\n', encoding="utf-8"
    )
    folder.joinpath("schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    return load_task(folder)


def line(question: str, reply: Any = "Yes.", **keys: Any) -> str:
    return json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}], **keys})


def write(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(b"\n".join(item if isinstance(item, bytes) else item.encode() for item in lines) + b"\n")
    return path


def places(report: CheckReport) -> list[tuple[int, str, str]]:
    return [(issue.line, issue.rule, issue.path) for issue in report.issues]


def written(report: CheckReport) -> dict[str, Any]:
    out = io.StringIO()
    report.write_json(out)
    value: dict[str, Any] = json.loads(out.getvalue())
    return value


def test_a_clean_file(tmp_path: Path) -> None:
    path = write(tmp_path, *(line(f"Question {n}?") for n in range(10)), "", " ")
    report = check_file(path)
    value = written(report)
    assert value == report.to_json()
    assert list(value)[:4] == ["schema_version", "file", "sha256", "rows"]
    assert (value["schema_version"], value["rows"], value["errors"], value["warnings"], value["blank_lines"]) == (1, 10, 0, 0, 2)
    assert value["issues"] == []
    assert value["tokens"] is None
    assert value["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert value["file"] == str(path)


def test_issues_come_in_the_order_of_the_lines_with_all_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "", line("a"), "x", b"\xff", line("", extra=1), *(line(f"b{n}") for n in range(6)))
    report = check_file(path)
    value = written(report)
    assert places(report) == [(3, "D004", ""), (4, "D001", ""), (5, "D119", ""), (5, "D109", "/messages/0/content")]
    assert (value["rows"], value["errors"], value["warnings"]) == (10, 3, 1)
    assert [set(issue) for issue in value["issues"]] == [{"line", "rule", "severity", "path", "message", "hint"}] * 4
    assert [issue.to_json() for issue in report.issues] == value["issues"]
    assert {entry["rule"]: entry["issues"] for entry in value["rules"]} == {"D001": 1, "D004": 1, "D109": 1, "D119": 1}


@pytest.mark.parametrize(("rows", "errors"), [(0, 1), (9, 1), (10, 0)])
def test_ten_rows_at_least(tmp_path: Path, rows: int, errors: int) -> None:
    report = check_file(write(tmp_path, *(line(f"Question {n}?") for n in range(rows))))
    assert report.errors == errors
    if errors:
        (issue,) = report.issues
        assert (issue.line, issue.rule) == (0, "D901")
        assert "at least 10" in issue.message
        assert f"{10 - rows} more" in issue.message


def test_three_rows_a_label_value(tmp_path: Path, task: Task) -> None:
    rows = [line(f"Question {n}?", {"mood": "good" if n else "bad", "text": "Hm."}) for n in range(12)]
    report = check_file(write(tmp_path, *rows), task)
    (issue,) = report.issues
    assert (issue.line, issue.rule, issue.path) == (0, "D902", "/mood")
    assert issue.message == 'expected at least 3 rows with "bad", found 1; 2 more are needed'
    assert report.to_json()["labels"] == {"/mood": {'"good"': 11, '"bad"': 1}}


def test_a_value_that_no_row_has_counts_too(tmp_path: Path, task: Task) -> None:
    rows = [line(f"Question {n}?", {"mood": "good", "text": "Hm."}) for n in range(12)]
    (issue,) = check_file(write(tmp_path, *rows), task).issues
    assert "found 0; 3 more" in issue.message


def test_values_that_no_schema_lists_are_those_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    folder.joinpath("task.toml").write_text('name = "x"\nlanguage = "en"\nversion = "1"\nlabels = ["/mood"]', encoding="utf-8")
    folder.joinpath("schema.json").write_text('{"type": "object"}', encoding="utf-8")
    moods = ["calm"] * 10 + ["grim", "ann@example.com"]
    report = check_file(write(tmp_path, *(line("Q?", {"mood": mood}) for mood in moods)), load_task(folder), minimum_rows=1)
    rare = [issue.message for issue in report.issues if issue.rule == "D902"]
    assert len(rare) == 2
    assert not any("ann@" in message for message in rare)
    assert report.to_json()["labels"] == {"/mood": {'"calm"': 10, '"grim"': 1, "other": 1}}
    assert any('"grim"' in message for message in rare)


@pytest.mark.parametrize(
    ("reply", "rule", "path"),
    [
        ("Yes.", "D201", "/messages/1/content"),
        ('{"mood": "good", "text": "Hm."} Bye.', "D201", "/messages/1/content"),
        ('{"mood": "good", "mood": "bad", "text": "Hm."}', "D201", "/messages/1/content/mood"),
        ('{"mood": "good", "text": NaN}', "D201", "/messages/1/content/text"),
        ('{"mood": "good", "text": "\\ud800"}', "D201", "/messages/1/content/text"),
        ("```json\n{}\n```", "D202", "/messages/1/content"),
        ('{"mood": "good"}', "D203", "/messages/1/content"),
        ('{"mood": "odd", "text": "Hm."}', "D203", "/messages/1/content/mood"),
        ('{"mood": "good", "text": ""}', "D203", "/messages/1/content/text"),
        ('{"mood": "good", "text": "Hm.", "more": 1}', "D203", "/messages/1/content"),
        ({"mood": "good", "text": 1}, "D203", "/messages/1/content/text"),
        ("[]", "D203", "/messages/1/content"),
        ("null", "D203", "/messages/1/content"),
        ('"text"', "D203", "/messages/1/content"),
    ],
)
def test_targets_parse_strictly_and_satisfy_the_schema(tmp_path: Path, task: Task, reply: Any, rule: str, path: str) -> None:
    report = check_file(write(tmp_path, line("Q?", reply)), task, minimum_rows=0)
    assert [(issue.line, issue.rule, issue.path) for issue in report.issues if issue.severity == "error"] == [(1, rule, path)]


def test_without_a_task_a_target_may_be_any_text_but_no_object(tmp_path: Path) -> None:
    assert places(check_file(write(tmp_path, line("Q?", "{} x")), minimum_rows=0)) == []
    assert places(check_file(write(tmp_path, line("Q?", {"a": 1})), minimum_rows=0)) == [(1, "D108", "/messages/1/content")]


def test_an_object_target_is_taken_as_its_canonical_text_and_counted(tmp_path: Path, task: Task) -> None:
    target = {"mood": "good", "text": "Chào bạn."}
    path = write(tmp_path, line("Q?", target), line("Q?", json.dumps(target, ensure_ascii=False)))
    loaded = load_rows(path, task, minimum_rows=0)
    assert loaded.report.object_targets == 1
    assert loaded.rows[0].messages == loaded.rows[1].messages
    assert loaded.rows[0].messages[1].content == '{"mood": "good", "text": "Chào bạn."}'
    assert loaded.rows[0].label == loaded.rows[1].label == ('"good"',)


@pytest.mark.parametrize("as_object", [True, False])
def test_personal_data_in_targets_is_found_in_decoded_strings(tmp_path: Path, task: Task, as_object: bool) -> None:
    target = {"mood": "good", "text": 'Gọi "0912\n345" hay ann@example.com'}
    reply: Any = target if as_object else json.dumps(target)  # escaped twice: \\u1ecd, \\n, \\"
    report = check_file(write(tmp_path, line("Q?", reply)), task, minimum_rows=0)
    (issue,) = report.issues
    assert (issue.rule, issue.path) == ("D301", "/messages/1/content/text")
    assert issue.span is not None
    assert target["text"][slice(*issue.span)] == "ann@example.com"


def test_escapes_hide_nothing(tmp_path: Path) -> None:
    lines = [line("ann\\u0040example.com".replace("\\\\", "\\")), line("Q?", '{"a": ["x", {"b": "ann\\u0040example.com"}]}')]
    lines[0] = lines[0].replace("\\\\u0040", "\\u0040")
    report = check_file(write(tmp_path, *lines), minimum_rows=0)
    assert places(report) == [(1, "D301", "/messages/0/content"), (2, "D301", "/messages/1/content/a/1/b")]


def test_personal_data_is_found_in_messages_with_other_faults_and_in_every_turn(tmp_path: Path) -> None:
    row = {
        "messages": [
            {"role": "system", "content": "a@b.vn"},
            {"role": "bot", "content": "0912 345 678"},
            {"role": "assistant", "content": "c@d.vn", "weight": 7},
        ]
    }
    report = check_file(write(tmp_path, json.dumps(row)), minimum_rows=0)
    assert {(issue.rule, issue.path) for issue in report.issues} >= {
        ("D301", "/messages/0/content"),
        ("D302", "/messages/1/content"),
        ("D301", "/messages/2/content"),
    }


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="expected a file of rows"):
            check_file(path)


CANARIES = ["canary-7f3a@example.com", "0912 345 678", "0987654321", "TopSecretCanaryWord", "Cô Lan ở số bảy", "+84 912 000 111"]


def canary_lines() -> list[str | bytes]:
    lines: list[str | bytes] = []
    for word in CANARIES:
        lines += [
            line(word),
            line("Q?", word),
            line("Q?", {"mood": word, "text": word, word: word}),
            line("Q?", json.dumps({word: {word: word}})),
            line("Q?", f'{{"mood": "{word}", "mood": "{word}"}}'),
            line("Q?", f'{{"{word}": 1, "{word}": 2, "text": NaN}}'),
            line("Q?", f"```\n{word}\n```"),
            line("Q?", customer=[word], situation={word: 1}, conversation=word),
            json.dumps({"messages": [{"role": word, "content": [word]}, {"role": "assistant", "content": "x", "weight": word}]}),
            json.dumps({"messages": {word: word}}),
            json.dumps({"messages": [word]}),
            json.dumps(word),
            f'{{"messages": "{word}", "messages": "{word}"}}',
            f'{{"{word} {word}": NaN, "{word} {word}": 1e999}}',
            f'{{"messages": [{{"role": "user", "content": "{word}"',
            f'{{"messages": []}} {word}',
            word,
            word.encode("utf-16"),
            f'{{"a": "{word}\t"}}',
            f'{{"a": "\\x{word}"}}',
        ]
    return lines


def test_no_word_of_the_file_is_in_any_report(tmp_path: Path, task: Task) -> None:
    path = write(tmp_path, *canary_lines())
    for chosen in (None, task):
        report = check_file(path, chosen)
        out = io.StringIO()
        report.write_json(out)
        with pytest.raises(DataContractError) as caught:
            load_rows(path, chosen)
        for text in (out.getvalue(), str(caught.value), json.dumps(report.to_json(), ensure_ascii=False)):
            for word in CANARIES:
                if word != "TopSecretCanaryWord":  # as a key it looks like the name of a field
                    assert word not in text
                    assert json.dumps(word)[1:-1] not in text
            assert text.count("TopSecretCanaryWord") == text.count("/TopSecretCanaryWord") + text.count("'TopSecretCanaryWord'")


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small buffers, so that what grows shows in a file of some hundred kilobytes.
    monkeypatch.setattr("loren.data.report._HELD_BYTES", 20_000)
    monkeypatch.setattr("loren.data.reader._CHUNK_BYTES", 4_096)

    def peak(rows: int) -> int:
        path = tmp_path / "many.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for n in range(rows):
                file.write(line(f"Question {n}, 0912 345 678?", "") + "\n")
        tracemalloc.start()
        report = check_file(path)
        with (tmp_path / "report.json").open("w", encoding="utf-8") as out:
            report.write_json(out)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.errors == len(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["issues"]) == 2 * rows
        return size

    peak(10)  # imports and caches
    assert peak(3_000) < peak(300) + 1_000_000  # 5,400 issues more, of some 500 bytes each


def test_the_issues_of_one_hostile_line_are_bounded(tmp_path: Path) -> None:
    report = check_file(write(tmp_path, '{"messages": [' + "1," * 100_000 + "1]}"), minimum_rows=0)
    issues = list(report.issues)
    assert len(issues) == 101
    assert issues[-1].message == "and 99901 more of this kind in the line"


def test_a_log_can_be_read_twice_at_once_and_goes_to_disk_when_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loren.data.report._HELD_BYTES", 100)
    log = IssueLog()
    issues = [Issue(n, "D301", "error", "/messages/0/content", "found", "mend", (n, n + 3)) for n in range(50)]
    for issue in issues:
        log.append(issue)
    assert [pair for pair in zip(log, log, strict=True)] == [(issue, issue) for issue in issues]
    log.append(issues[0])
    assert len(list(log)) == len(log) == 51


def test_a_log_grows_while_it_is_read() -> None:
    log = IssueLog()
    issues = [Issue(n, "D301", "error", "/messages/0/content", "found" * 20, "mend") for n in range(1_000)]
    for issue in issues:
        log.append(issue)
    reading = iter(log)
    assert next(reading) == issues[0]  # some 200 kB follow, which are read later
    log.append(issues[7])
    assert list(reading) == [*issues[1:], issues[7]]


@given(st.lists(st.binary(max_size=80) | st.sampled_from([line("Q?").encode(), b"", b" ", b"{}", b"[]"]), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_a_report_with_right_lines(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes(b"\n".join([b"", *pieces]))  # a first line that no other format of files begins with
    lines = path.read_bytes().split(b"\n")
    rows: list[Row] = []
    report = check_file(path, minimum_rows=0, on_row=rows.append)
    broken = {issue.line for issue in report.issues if issue.severity == "error"}
    if report.read_as is None:  # it begins as UTF-16 does, or a zip archive
        assert (broken, report.rows, rows) == ({0}, 0, [])
        return
    filled = {number for number, data in enumerate(lines, start=1) if data.strip()}
    assert report.rows == len(filled)
    assert broken | {row.line for row in rows} == filled
    assert broken.isdisjoint(row.line for row in rows)


def test_load_gives_rows_as_the_file_has_them(tmp_path: Path) -> None:
    path = write(
        tmp_path, "", *(line(f"  Q {n}?\n", situation=f" s{n} ", customer=n, id=n) for n in range(10)),
        json.dumps({"messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},
            {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
        ]}),
    )  # fmt: skip
    loaded = load_rows(path)
    assert [row.line for row in loaded.rows] == list(range(2, 13))
    first, last = loaded.rows[0], loaded.rows[-1]
    assert first.messages[0].content == "  Q 0?\n"
    assert first.groups == {"situation": "s0", "customer": "0"}
    assert first.label == ()
    assert [message.weight for message in last.messages] == [1, 1, 0, 1, 1]
    assert loaded.sha256 == loaded.report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_load_refuses_a_broken_file_with_its_problems(tmp_path: Path) -> None:
    path = write(tmp_path, line(""), "x", *(line("a", extra=1) for _ in range(150)))
    with pytest.raises(DataContractError) as caught:
        load_rows(path)
    assert [(problem.place, problem.rule) for problem in caught.value.problems] == [
        ("rows.jsonl:1  /messages/0/content", "D109"),
        ("rows.jsonl:2", "D004"),
    ]
    assert caught.value.exit_code == 3
    assert "2 error(s)" in str(caught.value)


def test_load_lists_a_bounded_number_of_problems(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"1000 error\(s\).*the first 100") as caught:
        load_rows(write(tmp_path, *["x"] * 1000))
    assert len(caught.value.problems) == 100
