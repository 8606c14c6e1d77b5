"""A JSON file that is one list of rows -> its rows, in constant memory: no more than one bounded row is held."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rules import Breach
from loren.task.strict_json import SPACE

_OUTSIDE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'\\.|"', re.DOTALL)
_SPACE = SPACE.encode()
_CHUNK_BYTES = 1024 * 1024


class ArrayReader:
    """Iterates over the items of the list once. An item's number is its place in the list, from 1: many may share a line.

    What stands between two commas of the list is an item, whatever it is; the decoder judges it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._depth = 0
        self._is_in_string = False
        self._skip = 0  # 1: the chunk before ended with a backslash
        self._held = bytearray()
        self._is_too_long = False
        self._number = 0
        self.blank_lines = 0
        self.end: tuple[int, Breach] | None = None
        """Why the list could not be read to its end, and the row at which."""

    def __iter__(self) -> Iterator[Line]:
        """Yield every item."""
        while chunk := self._stream.read(_CHUNK_BYTES):
            start = 0
            for cut in self._cuts(chunk):
                self._hold(chunk[start:cut])
                start = cut + 1
                if chunk[cut : cut + 1] in (b"[", b"{"):
                    self._held.clear()
                elif (line := self._item(is_last=self._depth == 0)) is not None:
                    yield line
                if self._depth == 0:
                    self._judge_rest(chunk[start:])
                    return
            self._hold(chunk[start:])
        self._refuse("not-json", "expected the closing bracket of the list of rows, found the end of the file")

    def _cuts(self, chunk: bytes) -> Iterator[int]:
        """Where the list begins and ends in ``chunk``, and where its commas are."""
        position = self._skip
        while match := (_IN_STRING if self._is_in_string else _OUTSIDE).search(chunk, position):
            position, token = match.end(), match[0]
            if token == b'"':
                self._is_in_string = not self._is_in_string
            elif token in b"[{":
                self._depth += 1
                if self._depth == 1:
                    yield match.start()
            elif token in b"]}":
                self._depth -= 1
                if self._depth == 0:
                    yield match.start()
            elif token == b"," and self._depth == 1:
                yield match.start()
        self._skip = int(self._is_in_string and chunk.endswith(b"\\", position))

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > MAX_LINE_BYTES:
            self._is_too_long = True
            self._held.clear()

    def _item(self, *, is_last: bool) -> Line | None:
        data, is_too_long = bytes(self._held).strip(_SPACE), self._is_too_long
        self._held.clear()
        self._is_too_long = False
        if is_last and not data and not is_too_long and self._number == 0:
            return None  # an empty list
        self._number += 1
        if data or is_too_long:
            return Line(self._number, None if is_too_long else data)
        where = "after the last comma" if is_last else "before a comma"
        return Line(self._number, None, Breach("not-json", "", f"expected a row, found none {where}"))

    def _judge_rest(self, rest: bytes) -> None:
        while not rest.strip(_SPACE):
            rest = self._stream.read(_CHUNK_BYTES)
            if not rest:
                return
        self._refuse("trailing-text", "expected the end of the file after the list of rows, found text")

    def _refuse(self, rule: str, message: str) -> None:
        self.end = (self._number + 1, Breach(rule, "", message))
