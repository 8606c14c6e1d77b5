"""Files that can't be read as rows, or not to their end: said once, with the place and the way out."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from format_files import FILES, csv_table, jsonl, parquet, write
from loren.data.check import check_file
from loren.data.diff import diff_files
from loren.data.formats.convert import convert_to_file
from loren.data.redaction.file import redact_file
from loren.data.report import CheckReport
from loren.errors import ConfigError

PAIRS = [{"prompt": f"Câu {n}?", "completion": f"Vâng, {n}."} for n in range(12)]
DPO = [{"prompt": f"Câu {n}?", "chosen": "Vâng ạ.", "rejected": "Không."} for n in range(12)]
OPENAI_PREFERENCE = [
    {
        "input": {"messages": [{"role": "user", "content": f"Câu {n}?"}]},
        "preferred_output": [{"role": "assistant", "content": "Vâng ạ."}],
        "non_preferred_output": [{"role": "assistant", "content": "Không."}],
    }
    for n in range(12)
]
SHAREGPT_DPO = [
    {"conversations": [{"from": "human", "value": f"Câu {n}?"}], "chosen": {"value": "Vâng"}, "rejected": {"value": "Không"}}
    for n in range(12)
]
SHAREGPT = {"conversations": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]}
MESSAGES = [
    {"messages": [{"role": "user", "content": f"Câu {n}?"}, {"role": "assistant", "content": f"Vâng, {n}."}]} for n in range(12)
]


def found(report: CheckReport) -> list[tuple[int, str]]:
    return [(issue.line, issue.rule) for issue in report.issues]


def the_issue(folder: Path, name: str, data: bytes, **options: Any) -> tuple[int, str, str]:
    """Line, rule and message of the one thing that is wrong with a file, checked as people check it."""
    path = folder / name
    path.write_bytes(data)
    (issue,) = check_file(path, **options).issues
    return issue.line, issue.rule, issue.message


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.csv", "rows.parquet"])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (DPO, "pairs of a better and a worse reply ('chosen', 'rejected')"),
        (DPO, "say --format-in prompt-completion:prompt,chosen"),
        (OPENAI_PREFERENCE, "('preferred_output', 'non_preferred_output')"),
        (SHAREGPT_DPO, "('chosen', 'rejected')"),
        ([{"text": f"Câu {n}.", "source": "x"} for n in range(12)], "rows with the fields 'text', 'source'"),
        ([{"mesages": [{"role": "user", "content": f"Câu {n}."}]} for n in range(12)], "did you mean 'messages' by 'mesages'?"),
        ([{"Nguyễn Lan 0912 345 678": "x", "id": n} for n in range(12)], "rows with the fields 'id' and 1 more"),
        ([{"Nguyễn Lan 0912 345 678": "x"} for _ in range(12)], "not shown; is the header missing?"),
    ],
)
def test_a_format_that_is_not_read_is_said_once(tmp_path: Path, name: str, rows: list[dict[str, Any]], words: str) -> None:
    path = write(tmp_path, name, rows)
    report = check_file(path)
    (issue,) = report.issues
    assert (issue.line, issue.rule, report.read_as) == (0, "D914", None)
    assert words in issue.message
    assert "ShareGPT, Alpaca, prompt/completion" in issue.message
    assert "Lan" not in json.dumps(report.to_json(), ensure_ascii=False)
    result = convert_to_file(path, tmp_path / "out.jsonl")
    assert [(entry.line, entry.rule) for entry in result.issues] == [(0, "D914")]
    assert not (tmp_path / "out.jsonl").exists()


def test_the_better_replies_of_pairs_can_be_named(tmp_path: Path) -> None:
    report = check_file(write(tmp_path, "rows.jsonl", DPO), minimum_rows=0, format_in="prompt-completion:prompt,chosen")
    assert (report.rows, report.errors) == (12, 0)


def test_rows_of_a_known_format_beside_others_are_still_judged(tmp_path: Path) -> None:
    rows = [*[{"text": "x"}] * 3, *MESSAGES]
    assert [issue for issue in found(check_file(write(tmp_path, "rows.jsonl", rows))) if issue[1] != "D507"] == [
        (line, rule) for line in (1, 2, 3) for rule in ("D119", "D101")
    ]
    # Garbage is not a format.
    path = tmp_path / "garbage.jsonl"
    path.write_bytes(b'{"a": 1}\n' + b"garbage\n" * 3)
    assert {rule for _, rule in found(check_file(path, minimum_rows=0))} == {"D101", "D119", "D004"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_wide_encodings_are_recognised(tmp_path: Path, encoding: str, pack: Any) -> None:
    for name, data in (("rows.jsonl", jsonl(MESSAGES)), ("rows.csv", csv_table(PAIRS))):
        line, rule, message = the_issue(tmp_path, name, pack(data.decode().encode(encoding)))
        assert (line, rule) == (0, "D001")
        assert f"looks like {encoding.upper().replace('-LE', 'LE').replace('-BE', 'BE')}:" in message


def test_a_spreadsheet_is_named(tmp_path: Path) -> None:
    assert "save the table as CSV" in the_issue(tmp_path, "rows.xlsx", b"PK\x03\x04" + bytes(range(256)) * 9)[2]


@pytest.mark.parametrize(
    ("name", "data"), [("rows.jsonl", jsonl(MESSAGES)), ("rows.csv", csv_table(PAIRS)), ("rows", csv_table(PAIRS))]
)
@pytest.mark.parametrize("end", [b"\r", b"\n", b""])
def test_line_ends_of_cr_alone_are_named(tmp_path: Path, name: str, data: bytes, end: bytes) -> None:
    line, rule, message = the_issue(tmp_path, name, data.strip().replace(b"\n", b"\r") + end)
    assert (line, rule) == (0, "D915")
    assert "found CR alone" in message


def test_a_cr_that_ends_no_row_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[\r" + b",\r".join(line for line in jsonl(MESSAGES).splitlines()) + b"\r]\r")
    assert check_file(path).errors == 0
    path.write_bytes(b'{\r"messages": ' + json.dumps(MESSAGES[0]["messages"]).encode() + b"}\r")
    assert check_file(path, minimum_rows=0).errors == 0


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ('a,b\n"c,d\ne,f\n', (3, "D912"), "opens in line 3 never is"),
        ('a,b\n"two\nlines",x\n"said ""so""\n",c\nd,"e ""f""\ng,h\n\n', (7, "D912"), "opens in line 7 never is"),
        ('a,b\n"x ""y\n"" z","open\nmore', (4, "D912"), "opens in line 4 never is"),
        ('a,b\n"c,d\ne,"f"\ng,h\n', (3, "D913"), "in lines 3 to 4, which would be one record: is a quote not closed?"),
        ('a,b\nc,d\n"x"y,z\n', (4, "D913"), "found other quotes"),
    ],
)
def test_a_quote_that_is_not_closed_is_named_with_its_line(tmp_path: Path, body: str, place: tuple[int, str], words: str) -> None:
    line, rule, message = the_issue(tmp_path, "rows.csv", f"prompt,completion\n{body}".encode(), minimum_rows=0)
    assert ((line, rule), words in message) == (place, True), message


def test_a_record_that_is_too_long_names_its_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loren.data.formats.tables.MAX_LINE_BYTES", 1000)
    data = b'prompt,completion\nQ?,"two\nlines"\n\nQ,"A.\n' + b"more,\n" * 500
    line, rule, message = the_issue(tmp_path, "rows.csv", data, minimum_rows=0)
    assert (line, rule) == (5, "D912")
    assert "the quote that opens in line 5 is not closed" in message


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
@pytest.mark.parametrize(
    ("rows", "place", "column"),
    [
        ([*PAIRS, {"prompt": "Gì?", "completion": None}], "D107", "completion"),
        ([*PAIRS, {"prompt": None, "completion": "Gì."}], "D107", "prompt"),
        ([{"instruction": f"Câu {n}?", "input": "", "response": "Vâng." if n else None} for n in range(12)], "D107", "response"),
        ([SHAREGPT, {"conversations": None}], "D101", "conversations"),
        ([*MESSAGES, {"messages": None, "id": "x"}], "D101", "messages"),
    ],
)
def test_an_empty_cell_is_named_with_its_column(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], place: str, column: str
) -> None:
    filled = [{key: value for key, value in row.items() if value is not None} for row in rows]
    path = tmp_path / name
    path.write_bytes(csv_table(filled) if name == "rows.csv" else parquet(rows))
    (issue,) = check_file(path, minimum_rows=0).issues
    assert issue.rule == place
    assert issue.message == f"expected a value in the column '{column}', found an empty cell"


def test_too_few_rows_are_not_said_of_a_file_that_was_not_read_to_its_end(tmp_path: Path) -> None:
    packed = gzip.compress(jsonl(MESSAGES))
    for name, data, rule in (
        ("rows.gz", packed[:-20], "D911"),
        ("rows.parquet", b"PAR1abc", "D912"),
        ("rows.csv", b'prompt,completion\na,"b', "D912"),
    ):
        assert the_issue(tmp_path, name, data)[1] == rule
    assert the_issue(tmp_path, "rows.csv", b"prompt,completion\na,b\n")[1] == "D901"


@pytest.mark.parametrize("first", [b"", b"prompt,completion\nQ?,A.\n"])
def test_a_small_archive_of_blank_lines_is_cheap(tmp_path: Path, first: bytes) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(first + b"\n" * 4_000_000 + (b"Q,A\n" if first else b"")))
    report = check_file(path, minimum_rows=0)
    assert (report.blank_lines, report.rows) == (4_000_000, 2 if first else 0)
    costs: list[tuple[float, float]] = []
    for _ in range(3):
        began = time.process_time()
        check_file(path, minimum_rows=0)
        checked = time.process_time()
        with gzip.open(path) as lines:
            assert sum(map(bool, map(bytes.strip, lines))) <= 3
        costs.append((checked - began, time.process_time() - checked))
        if costs[-1][0] < 4 * costs[-1][1]:
            return
    pytest.fail(f"a blank line costs more than four times what reading it by itself does: {costs}")


def test_only_jsonl_of_messages_is_redacted(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for name in FILES:
        path = write(tmp_path, name, PAIRS)
        with pytest.raises(ConfigError, match="found prompt/completion") as caught:
            redact_file(path, out)
        assert f"loren convert {path} --to messages" in caught.value.hint
    with pytest.raises(ConfigError, match="JSONL in gzip"):
        redact_file(write(tmp_path, "rows.jsonl.gz", MESSAGES), out)
    with pytest.raises(ConfigError, match="pairs of a better"):
        redact_file(write(tmp_path, "rows.jsonl", DPO), out)
    assert not out.exists()


def test_leaks_of_a_foreign_file_are_at_its_own_fields(tmp_path: Path) -> None:
    old, new, golden = (tmp_path / name for name in ("old", "new", "golden.jsonl"))
    old.write_bytes(jsonl(PAIRS[:4]))
    new.write_bytes(jsonl(PAIRS))
    golden.write_bytes(jsonl(MESSAGES[5:6]))
    from loren.data.load import read_golden

    difference = diff_files(old, new, golden=read_golden([golden]))
    assert {issue.path for issue in difference.leaks} == {"/prompt"}


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [("rows.jsonl", PAIRS, "found prompt/completion, JSONL"), ("rows.jsonl.gz", MESSAGES, "found messages, JSONL in gzip")],
)
def test_croissant_describes_jsonl_of_messages_only(tmp_path: Path, name: str, rows: Any, words: str) -> None:
    path = write(tmp_path, name, rows)
    out = tmp_path / "croissant.json"
    done = _loren("check", str(path), "--croissant", str(out))
    assert (done.returncode, out.exists()) == (2, False)
    assert words in done.stderr
    assert f"loren convert {path} --to messages" in done.stderr


def test_croissant_needs_a_file(tmp_path: Path) -> None:
    done = _loren("check", "-", "--croissant", str(tmp_path / "croissant.json"), stdin=jsonl(MESSAGES).decode())
    assert done.returncode == 2
    assert "--croissant needs a FILE" in done.stderr


def _loren(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loren", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, encoding="utf-8", timeout=900, check=False)
