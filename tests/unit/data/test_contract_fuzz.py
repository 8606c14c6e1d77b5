"""Whatever bytes a file holds: a report comes out, with right numbers, in bounded memory; only errors of ours escape.

`LOREN_FUZZ_FILES` says how many files the slow test makes; 100,000 by default.
"""

from __future__ import annotations

import io
import os
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import any_file
from loren.data.check import check_file
from loren.data.contract import Contract
from loren.data.formats.convert import convert
from loren.data.formats.shapes import Shape
from loren.data.formats.source import translator
from loren.data.reader import Line, LineReader
from loren.data.rows import Row
from loren.errors import LorenError

FORMATS = [None, None, None, "messages", "sharegpt", "alpaca", "openai", "prompt-completion", "prompt-completion:question,answer"]


def judge(path: Path, data: bytes, format_in: str | None) -> None:
    """One file through reader and rules, and through the conversion."""
    path.write_bytes(data)
    rows: list[Row] = []
    try:
        report = check_file(path, minimum_rows=0, on_row=rows.append, format_in=format_in)
        lines: list[bytes] = []
        result = convert(path, lines.append, format_in)
    except LorenError:
        return
    if report.read_as is None:  # a file that is not read at all, which is said once
        assert [issue.line for issue in report.issues] == [issue.line for issue in result.issues] == [0]
        assert (rows, lines) == ([], [])
        return
    numbers = [row.line for row in rows]
    broken = {issue.line for issue in report.issues if issue.severity == "error"}
    assert numbers == sorted(set(numbers))
    assert broken.isdisjoint(numbers)
    assert len(broken - {0}) + len(numbers) >= report.rows
    if report.read_as.file == "jsonl" and report.read_as.compression is None:
        filled = {number for number, line in enumerate(data.split(b"\n"), start=1) if line.strip()}
        assert broken | {*numbers} == filled
    assert (result.rows_in, result.sha256) == (report.rows, report.sha256)
    assert len(lines) == result.rows_out
    assert bool(result.issues) or result.rows_out == result.rows_in
    _convert_back(rows, lines)


def _convert_back(rows: list[Row], lines: list[bytes]) -> None:
    """Rows that keep the contract are the same after the conversion."""
    contract = Contract()
    converted = [contract.check(line).row for line in LineReader(io.BytesIO(b"".join(lines)))]
    again = [row.messages for row in converted if row is not None]
    assert all(row.messages in again for row in rows)


@given(st.integers(0, 2**32), st.sampled_from(FORMATS))
@settings(max_examples=150, deadline=None)
def test_any_file_ends_in_a_report(tmp_path_factory: pytest.TempPathFactory, seed: int, format_in: str | None) -> None:
    judge(tmp_path_factory.getbasetemp() / "fuzz", any_file(random.Random(seed)), format_in)


@given(st.binary(max_size=120), st.sampled_from(FORMATS))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_judged_as_a_line(data: bytes, format_in: str | None) -> None:
    from loren.data.formats.shapes import parse_shape

    shape = parse_shape(format_in) if format_in else Shape("messages")
    contract = Contract()
    contract.translate = translator(shape)
    verdict = contract.check(Line(1, data))
    assert (verdict.row is None) == verdict.breaches.has_error()


@pytest.mark.slow
def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    count = int(os.environ.get("LOREN_FUZZ_FILES", "100000"))
    rng = random.Random(5)
    for number in range(count):
        seed = rng.randrange(2**40)
        try:
            judge(tmp_path / "fuzz", any_file(random.Random(seed)), FORMATS[number % len(FORMATS)])
        except Exception as error:
            raise AssertionError(f"file {number}: any_file(random.Random({seed})) as {FORMATS[number % len(FORMATS)]}") from error


@pytest.mark.slow
def test_memory_is_bounded_by_a_rows_size(tmp_path: Path) -> None:
    """Two files of one long line each; ten times as many lines need no more."""

    def peak(lines: int) -> int:
        path = tmp_path / "long.jsonl"
        with path.open("wb") as file:
            for _ in range(lines):
                file.write(
                    b'{"conversations": [' + b'{"from": "human", "value": "x"},' * 30_000 + b'{"from": "gpt", "value": "x"}]}\n'
                )
        tracemalloc.start()
        check_file(path, minimum_rows=0, format_in="sharegpt")
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(10) < 1.3 * peak(2)
