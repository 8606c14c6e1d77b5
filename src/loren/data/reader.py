"""Lines of a file, by number, in constant memory: whatever the file is, no more than one bounded line is held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from loren.data.rules import Breach

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is reported and skipped. Four MiB is about a million tokens, more than any context that a row could be trained
in; and a hostile line of this size (a million empty lists) is judged in some 200 MB."""

_CHUNK_BYTES = 1024 * 1024
MAX_BLOCK_LINES = 4096
"""Lines of a block, so that what a block of hostile lines breaks stays small."""


class Line(NamedTuple):
    """One line that is not blank."""

    number: int
    """1-based; blank lines are counted, so it is the number that an editor shows."""
    data: bytes | None
    """Its bytes without the line end; None where it is longer than the limit, or has a fault."""
    fault: Breach | None = None
    """What is wrong with a row of a table that has no bytes."""


class Block(NamedTuple):
    """Some whole lines that follow each other, to be judged together; or one that is too long."""

    number: int
    """1-based number of its first line."""
    data: bytes | None
    """The lines with their ends; None for a line that is longer than the limit."""


class LineReader:
    """Iterates over the lines of a binary stream once; LF and CR LF end a line.

    The figures are complete when the iteration is.
    """

    def __init__(
        self, stream: BinaryIO, *, max_line_bytes: int = MAX_LINE_BYTES, on_read: Callable[[int], None] | None = None
    ) -> None:
        """Read ``stream``; ``on_read`` is told how many bytes were read so far, often enough for a progress bar."""
        self._stream = stream
        self.max_line_bytes = max_line_bytes
        """A longer line is skipped."""
        self._on_read = on_read
        self._digest = hashlib.sha256()
        self.bytes_read = 0
        """Bytes read so far."""
        self.blank_lines = 0
        """Lines that hold nothing but white space; they are skipped."""

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the bytes read so far; of the file, when the iteration is complete."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Line]:
        """Yield every line that is not blank."""
        for block in self.blocks():
            lines, blank_lines = lines_in(block, max_line_bytes=self.max_line_bytes)
            self.blank_lines += blank_lines
            yield from lines

    def blocks(self) -> Iterator[Block]:
        """Yield the stream in blocks of whole lines, about as large as a chunk (or the longest line)."""
        number = 1
        too_long = False  # the line being read has passed the limit and is no longer held
        rest = b""
        while chunk := self._read():
            first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
            if first < 0:
                rest = b"" if too_long else rest + chunk
            elif too_long:
                yield Block(number, None)
                yield from _parts(Block(number + 1, chunk[first + 1 : last + 1]))
                number += chunk.count(b"\n")
                too_long, rest = False, chunk[last + 1 :]
            else:
                yield from _parts(Block(number, rest + chunk[: last + 1]))
                number += chunk.count(b"\n")
                rest = chunk[last + 1 :]
            if len(rest) > self.max_line_bytes + 1:  # one more: it may be the \r of the line end
                too_long, rest = True, b""
        if too_long:
            yield Block(number, None)
        elif rest:
            yield Block(number, rest)

    def _read(self) -> bytes:
        chunk = self._stream.read(_CHUNK_BYTES)
        self._digest.update(chunk)
        self.bytes_read += len(chunk)
        if self._on_read is not None:
            self._on_read(self.bytes_read)
        return chunk


def lines_in(block: Block, *, max_line_bytes: int = MAX_LINE_BYTES) -> tuple[list[Line], int]:
    """The lines of a block that are not blank, and the number of those that are."""
    if block.data is None:
        return [Line(block.number, None)], 0
    if len(block.data) <= max_line_bytes and block.data.isspace():
        return [], block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    pieces = block.data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    lines: list[Line] = []
    for number, piece in enumerate(pieces, start=block.number):
        if not piece or (piece.isspace() and len(piece) <= max_line_bytes):
            continue
        data = piece[:-1] if piece.endswith(b"\r") else piece
        if len(data) > max_line_bytes:
            lines.append(Line(number, None))
        elif not data.isspace():
            lines.append(Line(number, data))
    return lines, len(pieces) - len(lines)


def _parts(block: Block) -> Iterator[Block]:
    """The block, in parts of at most ``MAX_BLOCK_LINES`` lines: what is found in a block is held together.

    A block of blank lines, in which nothing can be found, stays whole: a small archive may hold millions of them.
    """
    data = block.data
    if data and (data.count(b"\n") <= MAX_BLOCK_LINES or data.isspace()):
        yield block
    elif data:
        lines = data.removesuffix(b"\n").split(b"\n")
        for start in range(0, len(lines), MAX_BLOCK_LINES):
            yield Block(block.number + start, b"\n".join(lines[start : start + MAX_BLOCK_LINES]) + b"\n")
