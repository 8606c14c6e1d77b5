"""Kinds of files: the same rows are judged the same in each, memory is bounded, and what can't be read to its end is said."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from format_files import FILES, csv_table, json_list, jsonl, parquet, write, zst
from loren.data.check import check_file
from loren.data.formats.array import ArrayReader
from loren.data.formats.containers import FREE_BYTES
from loren.data.formats.tables import CsvReader
from loren.data.load import load_rows
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.report import CheckReport
from loren.errors import ConfigError, DataContractError

REPLY: dict[str, Any] = {"role": "assistant", "content": "Yes."}
GOOD: dict[str, list[dict[str, Any]]] = {
    "messages": [{"messages": [{"role": "user", "content": f'Câu {n}?\nDòng 2, "x"'}, REPLY], "id": f"r{n}"} for n in range(20)],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": f"Câu {n}?"}, {"from": "gpt", "value": "Vâng; ạ."}], "id": f"r{n}"}
        for n in range(20)
    ],
    "alpaca": [{"instruction": f"Câu {n}?", "input": "\ta" * (n % 2), "output": "Vâng, ạ."} for n in range(20)],
    "prompt-completion": [{"question": f"Câu {n}?", "answer": "Vâng\nạ."} for n in range(20)],
}


def found(report: CheckReport) -> list[tuple[int, str]]:
    return [(issue.line, issue.rule) for issue in report.issues]


@pytest.mark.parametrize("rows", GOOD)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, rows: str) -> None:
    expected = load_rows(write(tmp_path, "rows.jsonl", GOOD[rows])).rows
    for name in FILES:
        path = write(tmp_path, name, GOOD[rows])
        loaded = load_rows(path)
        assert [row.messages for row in loaded.rows] == [row.messages for row in expected], name
        assert len({row.line for row in loaded.rows}) == len(expected)
        assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest(), name
        assert loaded.report.read_as is not None
        assert loaded.report.read_as.shape.rows == rows
        assert loaded.report.issues.counts.keys() <= {"D119"}


def test_faults_are_found_in_every_kind_of_file(tmp_path: Path) -> None:
    rows = [*GOOD["prompt-completion"]]
    rows[3] = {"question": "Câu?", "answer": " "}
    rows[7] = {"question": "Gọi 0912 345 678", "answer": "Vâng."}
    rows[11] = {"question": "Câu?"}
    places = {name: found(check_file(write(tmp_path, name, rows))) for name in FILES}
    for name, issues in places.items():
        if not name.startswith(("rows.csv", "rows.tsv")):
            assert issues == [(4, "D109"), (8, "D302"), (12, "D107")], name
    # A record is two lines here, but the one without an answer; the header is one.
    assert places["rows.csv"] == places["rows.csv.zst"] == places["rows.tsv"] == [(8, "D109"), (15, "D302"), (22, "D107")]


def test_the_line_of_a_record_is_the_one_it_begins_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfprompt,completion\r\n\r\n"a\r\nb",c\r\n"x"y,z\r\nd,"e, f",g\r\nh,\xff\r\ni,\r\n"k",l')
    report = check_file(path, minimum_rows=0)
    assert found(report) == [(5, "D913"), (6, "D913"), (7, "D001"), (8, "D107")]
    assert (report.rows, report.blank_lines) == (6, 1)
    assert [row.line for row in _rows(path)] == [3, 9]


def _rows(path: Path) -> list[Any]:
    rows: list[Any] = []
    check_file(path, minimum_rows=0, on_row=rows.append)
    return rows


def test_a_table_has_no_way_to_leave_a_field_out_so_empty_means_absent(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [{"role": "user", "content": "Q?", "weight": None}, {**REPLY, "weight": 1}],
            "situation": None,
            "score": float("nan"),
        }
    ]
    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet(rows))
    assert found(check_file(path, minimum_rows=0)) == []
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,situation\nQ?,Yes.,\n", encoding="utf-8")
    assert found(check_file(path, minimum_rows=0)) == []


def test_parquets_own_kinds_of_cells(tmp_path: Path) -> None:
    import datetime
    import decimal

    row = {
        "prompt": "Q?",
        "completion": "Yes.",
        "at": datetime.datetime(2026, 1, 2),
        "price": decimal.Decimal("1.10"),
        "tags": ["a", None],
    }
    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet([row]))
    assert found(check_file(path, minimum_rows=0)) == [(1, "D119")] * 3
    for value in (b"\xff", float("inf")):
        path.write_bytes(parquet([{**row, "more": value}]))
        assert found(check_file(path, minimum_rows=0)) == [(1, "D913")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"prompt": "Q?", "completion": "A."}, ]', [(2, "D004")]),
        ('[{"prompt": "Q?", "completion": "A."},, {"prompt": "Q?", "completion": "A."}]', [(2, "D004")]),
        ('[{"prompt": "Q?", "completion": "A."} {"prompt": "Q?", "completion": "A."}]', [(1, "D004")]),
        (
            '[{"prompt": "Q", "completion": "A"}, {"prompt": "Q", "completion": "A"} {}, {}]',
            [(2, "D005"), (3, "D107"), (3, "D107")],
        ),
        ('[{"prompt": "Q?", "completion": "A."}, {"prompt": "Q?", "completion": "A."}', [(2, "D004")]),
        ('[{"prompt": "Q?", "completion": "A."}] x', [(1, "D005")]),
        ('[{"prompt": "Q?", "completion": "A."}, {"prompt": "Q?", "completion": "A."}] x', [(3, "D005")]),
        ('[{"prompt": "Q", "completion": "A"}, "x", {"prompt": "Q", "completion": NaN}]', [(2, "D006"), (3, "D008"), (3, "D108")]),
        ('\ufeff [\n{"prompt": "]},\\\\\\"[", "completion": "A."}\n]\n', []),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_a_list_of_rows(tmp_path: Path, text: str, expected: list[Any], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loren.data.formats.array._CHUNK_BYTES", chunk)
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    assert found(check_file(path, minimum_rows=0)) == expected


def test_a_list_of_messages_in_a_line_is_no_list_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps([{"role": "user", "content": "Q?"}, REPLY]) + "\n[]\n[[]]\n", encoding="utf-8")
    assert found(check_file(path, minimum_rows=0)) == [(1, "D006"), (2, "D006"), (3, "D006")]


@pytest.mark.parametrize("first", ["[%s]", "[%s", "[%s]]", "[[%s]]", "[%s, %s]", "[", "[]", "%s]"])
def test_a_bracket_in_the_first_of_many_lines_is_a_fault_of_that_line(tmp_path: Path, first: str) -> None:
    row = json.dumps(GOOD["messages"][0])
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([first.replace("%s", row), *[row] * 20]), encoding="utf-8")
    assert {issue.line for issue in check_file(path, minimum_rows=0).issues} == {1}, first


def test_a_row_of_a_list_that_is_too_long_is_skipped() -> None:
    data = b'[{"a": "' + b"x" * (MAX_LINE_BYTES + 9) + b'"}, {"b": 1}]'
    assert list(ArrayReader(io.BytesIO(data))) == [Line(1, None), Line(2, b'{"b": 1}')]


@pytest.mark.parametrize("pack", [gzip.compress, zst])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-9], "cut"),
        (lambda data: data[: len(data) // 2], "cut"),
        (lambda data: data + b"more", "damaged or foreign"),
        (lambda data: data[:40] + bytes(20) + data[60:], "damaged or foreign"),
    ],
)
def test_an_archive_that_cant_be_read_to_its_end(
    tmp_path: Path, pack: Callable[[bytes], bytes], spoil: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(spoil(pack(os.urandom(3000).hex().encode() + b"\n" + jsonl(GOOD["messages"]))))
    report = check_file(path)
    (issue,) = [issue for issue in report.issues if issue.rule == "D911"]
    assert message in issue.message
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataContractError):
        load_rows(path)


def test_members_and_frames_follow_each_other(tmp_path: Path) -> None:
    parts = [jsonl(GOOD["messages"][:10]), b"\n", jsonl(GOOD["messages"][10:])]
    for pack in (gzip.compress, zst):
        path = tmp_path / "rows"
        path.write_bytes(b"".join(map(pack, parts)))
        report = check_file(path)
        assert (report.rows, report.blank_lines, report.errors) == (20, 1, 0)


def bomb_gzip(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(size >> 20)) + packer.flush()


@pytest.mark.parametrize("pack", [bomb_gzip, lambda size: zstandard.compress(bytes(size))])
def test_a_bomb_is_left_alone(tmp_path: Path, pack: Callable[[int], bytes]) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(pack(192 * 1024 * 1024))
    tracemalloc.start()
    report = check_file(path, minimum_rows=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found(report) == [(1, "D003"), (0, "D911")]
    assert "100 times" in [issue.message for issue in report.issues][1]
    assert peak < 40 * 1024 * 1024


def test_a_small_archive_of_equal_rows_is_no_bomb(tmp_path: Path) -> None:
    data = jsonl(GOOD["messages"][:1]) * 2000
    packed = gzip.compress(data)
    assert len(data) > 100 * len(packed)
    assert len(data) < FREE_BYTES
    path = tmp_path / "rows.gz"
    path.write_bytes(packed)
    assert check_file(path).rows == 2000


def test_a_quote_that_is_never_closed_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loren.data.formats.tables.MAX_LINE_BYTES", 100_000)
    path = tmp_path / "rows.csv"
    path.write_bytes(b'prompt,completion\nQ?,A.\nQ?,"A.\n' + b"more,\n" * 2_000_000)
    tracemalloc.start()
    report = check_file(path, minimum_rows=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found(report) == [(3, "D912")]
    assert peak < 4_000_000  # of 12 MB
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_line_without_end_in_a_table_is_not_either() -> None:
    reader = CsvReader(io.BytesIO(b"prompt,completion\n" + b"x" * (2 * MAX_LINE_BYTES)), ",")
    assert list(reader) == []
    assert reader.end is not None
    assert reader.end[0] == 2


@pytest.mark.parametrize("header", ["prompt,completion,prompt", "prompt,completion,", '"prompt"x,completion'])
def test_a_header_that_names_no_columns(tmp_path: Path, header: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{header}\na,b,c\n", encoding="utf-8")
    (issue,) = check_file(path, minimum_rows=0).issues
    assert issue.rule in {"D912", "D913"}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small buffers, so that what grows shows in a small file.
    for module in ("reader", "formats.array"):
        monkeypatch.setattr(f"loren.data.{module}._CHUNK_BYTES", 16_384)

    def peak(name: str, rows: int) -> int:
        path = write(tmp_path, name, [{"question": f"Câu {n}?", "answer": "Vâng ạ. " * 20} for n in range(rows)])
        tracemalloc.start()
        assert check_file(path, minimum_rows=0).rows == rows
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    for name in ("rows.csv", "rows.json", "rows.jsonl.gz", "rows.parquet"):
        peak(name, 30)
        assert peak(name, 1_500) < peak(name, 500) + 100_000, name  # 250 kB more


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    data = parquet(GOOD["prompt-completion"])
    path = tmp_path / "rows.parquet"
    broken = 0
    for place in range(4, len(data), len(data) // 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        report = check_file(path, minimum_rows=0)  # whatever is raised inside, a report comes out
        broken += any(issue.rule == "D912" for issue in report.issues)
    assert broken > 2
    path.write_bytes(data[:-30])
    assert found(check_file(path, minimum_rows=0)) == [(1, "D912")]


ABORTS = base64.b64decode(
    "UEFSMRUEGRw1ABgGc2NoZW1hFQAAFgAZHBkMFgAW/yYAFgAAGRwYDEFSUk9XOnNjaGVtYRhMLy8vLy96QUFBQUFRQUFBQUFBQUtBQXdBQmdBRk"
    "FBZ0FDZ0FBQUFBQkJBQU1BQUFBQ0FBSUFBQUFCQUFJQUFBQUJBQUFBQUFBQUFBPQAYIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4x"
    "GQwApAAAAFBBUjE="
)
"""A file on which pyarrow 26 ends its process: an exception in C++ that nothing catches."""


def test_a_file_that_ends_pyarrow_is_an_issue(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(ABORTS)
    assert found(check_file(path, minimum_rows=0)) == [(1, "D912")]


def test_damage_that_ends_the_reading_process_is_an_issue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "rows.parquet", GOOD["prompt-completion"])
    program = tmp_path / "dies"
    program.write_text(
        '#!/bin/sh\necho \'["question", "answer"]\'\necho \'{"question": "Q?", "answer": "A."}\'\nprintf \'{"ques\'\nkill -9 $$\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    report = check_file(path, minimum_rows=0)
    assert (report.rows, found(report)) == (1, [(2, "D912")])
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_parquet_is_read_from_its_end_so_not_from_a_pipe_or_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet.gz"
    path.write_bytes(gzip.compress(parquet(GOOD["messages"])))
    with pytest.raises(ConfigError, match="found one in a pipe or an archive"):
        check_file(path)


def test_the_next_command_reads_the_file_as_the_check_did(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl", [{"q": f"Câu {n}?", "a": "Vâng."} for n in range(12)])
    command = [sys.executable, "-m", "loren", "check", str(path), "--format-in", "prompt-completion:q,a"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert "read as prompt/completion (q, a), JSONL" in done.stdout
    assert done.stdout.rstrip().endswith(f"next: DATA_PATH={path} loren train --set data.format=prompt-completion:q,a")
    from loren.config import load_config

    assert (
        load_config(None, environment={}, overrides=["data.format=prompt-completion:q,a"]).config.data.format
        == "prompt-completion:q,a"
    )


@pytest.mark.parametrize("data", [jsonl, lambda rows: gzip.compress(json_list(rows)), csv_table])
def test_the_standard_input(tmp_path: Path, data: Callable[[Any], bytes]) -> None:
    body = data(GOOD["sharegpt"])
    done = subprocess.run(
        [sys.executable, "-m", "loren", "check", "-", "--format", "json"], input=body, capture_output=True, timeout=900, check=False
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["rows"], report["errors"]) == (0, 20, 0), done.stderr
    assert report["sha256"] == hashlib.sha256(body).hexdigest()
    assert report["read_as"]["rows"] == "sharegpt"
    assert done.stderr.decode().rstrip().endswith("next: DATA_PATH=FILE loren train")
