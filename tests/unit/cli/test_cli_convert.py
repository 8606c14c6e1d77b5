"""`loren convert` as a user meets it: nothing is lost in silence, and the file is there whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from format_files import FILES, write
from loren.data.check import check_file
from loren.data.formats.convert import Conversion, convert, convert_to_file
from loren.data.load import load_rows
from loren.errors import ConfigError, StorageError

ROWS: list[dict[str, Any]] = [
    {"instruction": f"Câu {n}?", "input": "", "output": "Vâng ạ.", "topic": "hours", "score": 0.1, "ids": [1, {"a": None}]}
    for n in range(12)
]


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "loren", "convert", *map(str, arguments)],
        input=stdin, capture_output=True, env={**os.environ, "NO_COLOR": "1", "PYTHONUTF8": "1"}, timeout=900, check=False,
    )  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def converted(path: Path, format_in: str | None = None) -> tuple[list[bytes], Conversion]:
    lines: list[bytes] = []
    return lines, convert(path, lines.append, format_in)


def test_a_file_is_converted_and_then_keeps_the_contract(tmp_path: Path) -> None:
    path, out = write(tmp_path, "rows.jsonl.gz", ROWS), tmp_path / "deep" / "train.jsonl"
    done = run(path, "--to", "messages", "--out", out)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert text.startswith(f"read as Alpaca, JSONL in gzip: 12 row(s) in, 12 out, sha256 of the file {digest[:12]}\n")
    assert "kept under their names: ids (12), score (12), topic (12)" in text
    assert "an empty 'input' was left out (12 row(s))" in text
    assert text.rstrip().endswith(f"next: loren check {out}")
    for before, after in zip(ROWS, rows_of(out), strict=True):
        assert [message["content"] for message in after["messages"]] == [before["instruction"], before["output"]]
        assert {name: after[name] for name in ("topic", "score", "ids")} == {
            name: before[name] for name in ("topic", "score", "ids")
        }
    assert [row.messages for row in load_rows(out).rows] == [row.messages for row in load_rows(path).rows]


def test_a_row_that_cant_be_converted_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    canary = "canary@example.com"
    rows = [*ROWS, {"instruction": canary}, {"instruction": "Q?", "output": "A.", "history": [canary]}]
    path, out = write(tmp_path, "rows.json", rows), tmp_path / "train.jsonl"
    out.write_bytes(b"old\n")
    done = run(path, "--out", out)
    text = done.stdout.decode()
    assert done.returncode == 3
    assert "14 row(s) in, 12 out" in text
    assert "row 13: expected the key 'output', found none  [D107]" in text
    assert "row 14 /history/0: expected a pair" in text
    assert "nothing was written" in text
    assert out.read_bytes() == b"old\n"
    assert sorted(os.listdir(tmp_path)) == ["rows.json", "train.jsonl"]
    machine = run(path, "--out", out, "--format", "json")
    report = json.loads(machine.stdout)
    assert (report["rows_in"], report["rows_out"], report["out"], machine.returncode) == (14, 12, None, 3)
    assert [(issue["line"], issue["rule"]) for issue in report["issues"]] == [(13, "D107"), (14, "D104")]
    assert canary not in text + done.stderr.decode() + machine.stdout.decode() + machine.stderr.decode()


def test_without_out_rows_go_to_stdout_and_words_to_stderr(tmp_path: Path) -> None:
    body = b'\n{"prompt": "Q?", "completion": "A."}\nnot json\n'
    done = run("-", stdin=gzip.compress(body))
    assert done.returncode == 3
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}]}
    ]
    said = done.stderr.decode()
    assert "read as prompt/completion, JSONL in gzip: 2 row(s) in, 1 out" in said
    assert "1 blank line(s) skipped" in said
    assert "line 3: expected one JSON object" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rows.jsonl", "--format", "json"), "--format json needs --out"),
        (("rows.jsonl", "--out", "rows.jsonl.gz"), "expected a name for JSONL"),
        (("rows.jsonl", "--out", "rows.jsonl"), "expected another file"),
        (("rows.jsonl", "--format-in", "xml"), "expected one of messages"),
        (("none.jsonl",), "found No such file"),
    ],
)
def test_wrong_calls(tmp_path: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "rows.jsonl", ROWS)
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.decode()


def test_rows_of_messages_keep_their_bytes(tmp_path: Path) -> None:
    lines = [
        b'{"messages":[{"role":"user","content":"\\u0051?"},{"content":"A.","role":"assistant"}],"n":1.10e1}',
        b'  {"id": 12345678901234567890123, "messages": []}\t',  # breaks a rule, and is a row all the same
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n\n".join(lines))
    found, result = converted(path)
    assert found == [line.strip() + b"\n" for line in lines]
    assert (result.rows_in, result.rows_out, result.blank_lines, dict(result.kept)) == (2, 2, 1, {"n": 1, "id": 1})
    assert not result.issues


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file(tmp_path: Path, name: str) -> None:
    rows = [
        {"conversations": [{"from": "human", "value": f"Câu {n}?"}, {"from": "gpt", "value": "Vâng."}], "id": f"a{n}"}
        for n in range(12)
    ]
    found, result = converted(write(tmp_path, name, rows))
    assert (result.rows_in, result.rows_out) == (12, 12)
    assert [json.loads(line)["id"] for line in found] == [row["id"] for row in rows]
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"".join(found))
    assert check_file(out).errors == 0


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"x", "D004"),
        (b"[]", "D006"),
        (b"\xff", "D001"),
        (b'{"prompt": "Q?", "prompt": "R?", "completion": "A."}', "D007"),
        (b'{"prompt": "Q?", "completion": "A.", "n": NaN}', "D008"),
        (b'{"prompt": "Q? \\ud800", "completion": "A."}', "D009"),
        (b'{"prompt": "Q?"}', "D107"),
        (b'{"prompt": "Q?", "completion": "A.", "messages": 1}', "D123"),
        (b'{"a": "' + b"x" * (4 << 20) + b'"}', "D003"),
    ],
)
def test_what_would_lose_something_is_refused(tmp_path: Path, line: bytes, rule: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "Q?", "completion": "A."}\n' * 3 + line + b"\n")
    found, result = converted(path)
    assert len(found) == 3
    assert [(issue.line, issue.rule) for issue in result.issues] == [(4, rule)]
    again = convert_to_file(path, tmp_path / "out.jsonl")
    assert [(issue.line, issue.rule) for issue in again.issues] == [(4, rule)]
    assert not (tmp_path / "out.jsonl").exists()


def test_an_archive_that_was_cut_is_not_half_converted(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.jsonl.gz", ROWS)
    path.write_bytes(path.read_bytes()[:-5])
    result = convert_to_file(path, tmp_path / "out.jsonl")
    assert [issue.rule for issue in result.issues][-1] == "D911"
    assert os.listdir(tmp_path) == [path.name]


def test_the_ledger_shows_no_customers_words_and_is_bounded(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q?", "completion": "A.", "ann@example.com": 1, f"key_{'x' * (n % 9)}_{chr(97 + n % 26)}{n % 77}": n}
        for n in range(900)
    ]
    _, result = converted(write(tmp_path, "rows.jsonl", rows))
    assert "ann" not in json.dumps(result.to_json())
    assert result.kept["*"] == 900
    assert len(result.kept) <= 201
    assert sum(result.kept.values()) == 1800


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:

    path = write(tmp_path, "rows.jsonl", ROWS)
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(StorageError, match="No space left"):
        convert(path, full.write)
    with pytest.raises(ConfigError):
        convert(tmp_path, full.write)
