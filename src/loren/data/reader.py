"""Lines of a file, by number, in constant memory: whatever the file is, no more than one bounded line is held."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from loren.data.rules import Breach

MAX_LINE_BYTES = 4 * 1024 * 1024
"""A longer line is reported and skipped. Four MiB is about a million tokens, more than any context that a row could be trained
in; and a hostile line of this size (a million empty lists) is judged in some 200 MB."""

_CHUNK_BYTES = 1024 * 1024


class Line(NamedTuple):
    """One line that is not blank."""

    number: int
    """1-based; blank lines are counted, so it is the number that an editor shows."""
    data: bytes | None
    """Its bytes without the line end; None where it is longer than the limit, or has a fault."""
    fault: Breach | None = None
    """What is wrong with a row of a table that has no bytes."""


class LineReader:
    """Iterates over the lines of a binary stream once; LF and CR LF end a line.

    The figures are complete when the iteration is.
    """

    def __init__(self, stream: BinaryIO, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._stream = stream
        self._max_line_bytes = max_line_bytes
        self._digest = hashlib.sha256()
        self.bytes_read = 0
        """Bytes read so far, for a progress bar."""
        self.blank_lines = 0
        """Lines that hold nothing but white space; they are skipped."""

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the bytes read so far; of the file, when the iteration is complete."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Line]:
        """Yield every line that is not blank."""
        number = 0
        too_long = False  # the line being read has passed the limit and is no longer held
        rest = b""
        while chunk := self._stream.read(_CHUNK_BYTES):
            self._digest.update(chunk)
            self.bytes_read += len(chunk)
            pieces = chunk.split(b"\n")
            pieces[0] = rest + pieces[0]
            rest = pieces.pop()
            for piece in pieces:
                number += 1
                line = Line(number, None) if too_long else self._line(number, piece)
                too_long = False
                if line is not None:
                    yield line
            if len(rest) > self._max_line_bytes + 1:  # one more: it may be the \r of the line end
                too_long, rest = True, b""
        if too_long:
            yield Line(number + 1, None)
        elif rest and (line := self._line(number + 1, rest)):
            yield line

    def _line(self, number: int, piece: bytes) -> Line | None:
        if piece.endswith(b"\r"):
            piece = piece[:-1]
        if len(piece) > self._max_line_bytes:
            return Line(number, None)
        if not piece.strip():
            self.blank_lines += 1
            return None
        return Line(number, piece)
