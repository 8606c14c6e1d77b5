"""Tables: the records of a CSV or Parquet file, each as the bytes of a JSON object, in constant memory.

A table has no way to leave a field out: an empty cell of a CSV file, and null (or NaN) in a Parquet file, mean that the row has no
such field. Lists stand in a CSV cell as JSON text.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from loren.data.decode import decode_text
from loren.data.formats.translate import empty_cell
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rules import Breach

LIST_COLUMNS = frozenset({"messages", "conversations", "conversation", "history", "prompt", "completion"})
"""Columns whose CSV cell may hold a list, written as JSON."""

_BOM = "\ufeff"


class CsvReader:
    """Iterates over the records of a CSV file once. A record's number is the line that it begins on, as an editor shows it."""

    def __init__(self, stream: BinaryIO, delimiter: str) -> None:
        self._stream = stream
        self._delimiter = delimiter
        self._line = 0
        self._record = bytearray()  # the lines of the record so far
        self._record_lines = 0
        self._is_utf8 = True
        self._is_at_end = False
        csv.field_size_limit(MAX_LINE_BYTES)  # the module's own bound is for the whole process
        self._records = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        self.blank_lines = 0
        self.needed: str | None = None
        """A column without which a row is nothing, and whose empty cell is a fault of the table."""
        self.end: tuple[int, Breach] | None = None
        """Why the file could not be read to its end, and the line at which."""
        self.columns = self._header()

    def __iter__(self) -> Iterator[Line]:
        """Yield every record but the header."""
        while self.end is None and (found := self._next()) is not None:
            number, cells = found
            if isinstance(cells, Breach):
                yield Line(number, None, cells)
            elif len(cells) != len(self.columns):
                expected = f"expected {len(self.columns)} fields, as the header has them; found {len(cells)}"
                yield Line(number, None, Breach("table-row", "", expected))
            else:
                row = _filled(zip(self.columns, cells, strict=True))
                yield _no_cell(number, self.needed) if self.needed and self.needed not in row else _line(number, row)

    def _header(self) -> list[str]:
        found = self._next()
        if found is None:
            return []
        number, cells = found
        if isinstance(cells, Breach):
            self.end = (number, cells)
            return []
        columns = [cell.removeprefix(_BOM).strip() for cell in cells]
        if len(set(columns)) < len(columns) or "" in columns:
            self.end = (number, Breach("table-unreadable", "", "expected a header that names each column, and none twice"))
        return columns

    def _next(self) -> tuple[int, list[str] | Breach] | None:
        """The next record's line, and its cells or what is wrong with it; None at the end."""
        self._record.clear()
        self._record_lines, self._is_utf8 = 0, True
        try:
            cells = next(self._records, None)
        except csv.Error:
            return self._misquoted()
        except _TooLongError:
            found = f"expected a record of at most {MAX_LINE_BYTES} bytes, found a longer one"
            line = self._quote_line()
            found += f": the quote that opens in line {line} is not closed" if line else ""
            self.end = (line or self._first_line(), Breach("table-unreadable", "", f"{found}. The rest of the file was not read"))
            return None
        number = self._first_line()
        if cells is not None and not self._is_utf8:
            return number, Breach("not-utf8", "", "expected UTF-8, found another encoding in the record")
        return None if cells is None else (number, cells)

    def _misquoted(self) -> tuple[int, Breach] | None:
        """What is wrong with the quotes of the record at hand; None where the file ends inside one, which is its end."""
        first, quote = self._first_line(), self._quote_line()
        if self._is_at_end and quote:
            found = f"expected every quote to be closed, found that the one that opens in line {quote} never is"
            self.end = (quote, Breach("table-unreadable", "", f"{found}; the record and what follows it were not read"))
            return None
        found = "expected fields with quotes around or doubled inside them, found other quotes"
        if first < self._line:
            found += f" in lines {first} to {self._line}, which would be one record: is a quote not closed?"
        return first, Breach("table-row", "", found)

    def _first_line(self) -> int:
        return self._line - self._record_lines + 1

    def _quote_line(self) -> int:
        """The line in which the quote opens that the record does not close; 0 where it closes all.

        A quote opens at the start of a field; inside, two are one that belongs to the text.
        """
        opened: int | None = None
        for run in _QUOTES.finditer(self._record):
            start = run.start()
            is_at_start = start == 0 or self._record.endswith(self._delimiter.encode(), 0, start)
            if (opened is not None or is_at_start) and len(run[0]) % 2:
                opened = start if opened is None else None
        return 0 if opened is None else self._first_line() + self._record.count(b"\n", 0, opened)

    def _lines(self) -> Iterator[str]:
        while data := self._stream.readline(MAX_LINE_BYTES + 1):
            self._line += 1
            if data in _LINE_ENDS and not self._record:
                self.blank_lines += 1
                continue
            self._record += data
            self._record_lines += 1
            if len(self._record) > MAX_LINE_BYTES:
                raise _TooLongError
            try:
                yield data.decode()
            except UnicodeDecodeError:
                self._is_utf8 = False
                yield data.decode(errors="replace")
        self._is_at_end = True


_LINE_ENDS = (b"\n", b"\r\n", b"\r")
_QUOTES = re.compile(rb'"+')


class _TooLongError(Exception):
    """A record passes the bound."""


class ParquetReader:
    """Iterates over the rows of a Parquet file once. A row's number is its place in the file, from 1.

    Another process reads them (``parquet_rows``), which damage may end and this one survives.
    """

    def __init__(self, path: Path) -> None:
        self.blank_lines = 0
        self.needed: str | None = None
        """As of :class:`CsvReader`."""
        self.end: tuple[int, Breach] | None = None
        """Why the file could not be read to its end, and the row at which."""
        # Opened anew: the two processes would share one place in the file.
        with path.open("rb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "loren.data.formats.parquet_rows"],
                stdin=stream,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # The system's allocator reserves no more than it uses, and the process has a bound.
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            )
        weakref.finalize(self, _stop, self._process)
        first = self._read()
        self.columns: list[str] = json.loads(first) if first.startswith(b"[") else []
        self._pending = b"" if first.startswith(b"[") else first

    def __iter__(self) -> Iterator[Line]:
        """Yield every row."""
        number = 0
        while data := self._pending or self._read():
            self._pending = b""
            if data.startswith(b"."):
                break
            if data.startswith(b"#"):
                self._refuse(number + 1, data[1:].decode())
                break
            number += 1
            if data.startswith(b"{"):
                is_empty = self.needed is not None and f'"{self.needed}":'.encode() not in data
                yield _no_cell(number, self.needed) if self.needed and is_empty else Line(number, data)
            elif data.startswith(b">"):
                yield Line(number, None)
            else:
                yield Line(number, None, Breach("table-row", "", "expected cells that JSON can hold, found another kind"))
        else:
            self._refuse(number + 1, "expected more rows, found damage that ended the reading")
        _stop(self._process)

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return line[:-1] if line.endswith(b"\n") else b""  # half a line: it died

    def _refuse(self, number: int, message: str) -> None:
        self.end = (number, Breach("table-unreadable", "", message))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process that reads, whether it is at its end or not."""
    if process.stdout is not None:
        process.stdout.close()
    process.kill()
    process.wait()


def _filled(cells: Iterator[tuple[str, str]]) -> dict[str, object]:
    """The cells that hold something; a list that is written as JSON is one."""
    row: dict[str, object] = {}
    for name, text in cells:
        if not text:
            continue
        decoded = decode_text(text) if name in LIST_COLUMNS and text.lstrip().startswith("[") else None
        row[name] = text if decoded is None else decoded
    return row


def _no_cell(number: int, column: str) -> Line:
    return Line(number, None, Breach("messages-missing", "", empty_cell(column)))


def _line(number: int, row: Mapping[str, object]) -> Line:
    data = json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    return Line(number, data if len(data) <= MAX_LINE_BYTES else None)
