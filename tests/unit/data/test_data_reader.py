"""The line reader: numbers, line ends, blank and endless lines, memory."""

from __future__ import annotations

import hashlib
import io
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.reader import MAX_LINE_BYTES, Line, LineReader, lines_in


def lines(data: bytes, *, limit: int = MAX_LINE_BYTES) -> list[Line]:
    return list(LineReader(io.BytesIO(data), max_line_bytes=limit))


def test_numbers_count_blank_lines_and_every_line_end() -> None:
    reader = LineReader(io.BytesIO(b"a\r\n\n \t\nb\n\r\nc"))
    assert list(reader) == [Line(1, b"a"), Line(4, b"b"), Line(6, b"c")]
    assert reader.blank_lines == 3


def test_a_last_line_needs_no_line_end() -> None:
    assert lines(b"a\n") == lines(b"a") == [Line(1, b"a")]
    assert lines(b"") == []


def test_a_long_line_is_reported_by_number_and_the_next_is_read() -> None:
    assert lines(b"ab\nabcdef\ncd\n", limit=4) == [Line(1, b"ab"), Line(2, None), Line(3, b"cd")]
    assert lines(b"abcdef", limit=4) == [Line(1, None)]
    assert lines(b"abcd\r\nx", limit=4) == [Line(1, b"abcd"), Line(2, b"x")]


def test_the_digest_is_the_files() -> None:
    data = b"a\r\n\nb" * 100_000
    reader = LineReader(io.BytesIO(data))
    list(reader)
    assert reader.sha256 == hashlib.sha256(data).hexdigest()
    assert reader.bytes_read == len(data)


class _Endless(io.RawIOBase):
    """A stream of many bytes that holds none of them."""

    def __init__(self, size: int, tail: bytes) -> None:
        self._left, self._tail = size, tail

    def read(self, size: int = -1) -> bytes:
        if self._left > 0:
            self._left -= size
            return b"x" * size
        tail, self._tail = self._tail, b""
        return tail


def test_memory_is_constant_for_a_line_without_end() -> None:
    def peak(size: int) -> int:
        tracemalloc.start()
        found = list(LineReader(_Endless(size, b"\nlast\n")))  # pyright: ignore[reportArgumentType]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == [Line(1, None), Line(2, b"last")]
        return peak

    assert peak(512 * 1024 * 1024) < 1.2 * peak(32 * 1024 * 1024)


@pytest.mark.parametrize("cut", [1, 2, 3, 1024 * 1024])
def test_chunks_make_no_difference(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loren.data.reader._CHUNK_BYTES", cut)
    assert lines(b"ab\n\nabcdef\r\n\ncd\r\n", limit=4) == [Line(1, b"ab"), Line(3, None), Line(5, b"cd")]


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=30), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_lines_are_those_of_split(pieces: list[bytes], limit: int) -> None:
    expected: list[Line] = []
    for number, piece in enumerate(pieces, start=1):
        body = piece.removesuffix(b"\r")
        if len(body) > limit:
            expected.append(Line(number, None))
        elif body.strip():
            expected.append(Line(number, body))
    assert lines(b"\n".join(pieces), limit=limit) == expected


@given(
    st.lists(st.sampled_from([b"", b"a", b"abcd", b"abcdefgh", b"\r", b" \r"]), max_size=30), st.integers(1, 9), st.integers(1, 3)
)
@settings(max_examples=150, deadline=None)
def test_blocks_hold_all_lines_whatever_their_size(pieces: list[bytes], chunk: int, most: int) -> None:
    data = b"\n".join(pieces)
    whole = lines(data, limit=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loren.data.reader._CHUNK_BYTES", chunk)
        patch.setattr("loren.data.reader.MAX_BLOCK_LINES", most)
        reader = LineReader(io.BytesIO(data), max_line_bytes=4)
        blocks = list(reader.blocks())
        assert all(block.data is None or block.data.isspace() or block.data.count(b"\n") <= most for block in blocks)
        read = [lines_in(block, max_line_bytes=4) for block in blocks]
        assert [line for found, _ in read for line in found] == whole
        ends = [block.number + len(found) + blank_lines for block, (found, blank_lines) in zip(blocks, read, strict=True)]
        assert [block.number for block in blocks] == [1, *ends[:-1]][: len(blocks)]


def test_blank_lines_cost_next_to_nothing() -> None:
    """A small archive holds millions of them."""
    for line in (b"\n", b" \r\n"):
        reader = LineReader(io.BytesIO(b"a\n" + line * 8_000_000 + b"b"))
        began = time.process_time()
        assert [each.number for each in reader] == [1, 8_000_002]
        assert reader.blank_lines == 8_000_000
        read = time.process_time()
        assert sum(1 for _ in io.BytesIO(line * 8_000_000)) == 8_000_000
        assert read - began < 2 * (time.process_time() - read)  # about a third of it; line by line Loren took twelve times
