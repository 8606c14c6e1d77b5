"""Tables: the records of a CSV or Parquet file, each as the bytes of a JSON object, in constant memory.

A table has no way to leave a field out: an empty cell of a CSV file, and null (or NaN) in a Parquet file, mean that the row has no
such field. Lists stand in a CSV cell as JSON text.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from loren.data.decode import decode_text
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rules import Breach

if TYPE_CHECKING:
    import pyarrow.parquet as pq

LIST_COLUMNS = frozenset({"messages", "conversations", "conversation", "history", "prompt", "completion"})
"""Columns whose CSV cell may hold a list, written as JSON."""

_BOM = "\ufeff"
_MAX_COLUMNS = 1000
_BATCH_ROWS = 64
_FREE_ROWS = 1_000_000
"""A small Parquet file may hold so many equal rows; a larger one has a byte for each."""
_BUFFER_BYTES = 1024 * 1024
_MAX_FOOTER_BYTES = 64 * 1024 * 1024


class CsvReader:
    """Iterates over the records of a CSV file once. A record's number is the line that it begins on, as an editor shows it."""

    def __init__(self, stream: BinaryIO, delimiter: str) -> None:
        self._stream = stream
        self._line = 0
        self._record_bytes = 0
        self._is_utf8 = True
        csv.field_size_limit(MAX_LINE_BYTES)  # the module's own bound is for the whole process
        self._records = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        self.blank_lines = 0
        self.end: tuple[int, Breach] | None = None
        """Why the file could not be read to its end, and the line of the record at which."""
        self.columns = self._header()

    def __iter__(self) -> Iterator[Line]:
        """Yield every record but the header."""
        while self.end is None and (found := self._next()) is not None:
            number, cells = found
            if isinstance(cells, Breach):
                yield Line(number, None, cells)
            elif not cells:
                self.blank_lines += 1
            elif len(cells) != len(self.columns):
                expected = f"expected {len(self.columns)} fields, as the header has them; found {len(cells)}"
                yield Line(number, None, Breach("table-row", "", expected))
            else:
                yield _line(number, _filled(zip(self.columns, cells, strict=True)))

    def _header(self) -> list[str]:
        found = self._next()
        while found is not None and not found[1]:
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
        number = self._line + 1
        self._record_bytes, self._is_utf8 = 0, True
        try:
            cells = next(self._records, None)
        except csv.Error:
            return number, Breach("table-row", "", "expected fields with quotes around or doubled inside them, found other quotes")
        except _TooLongError:
            found = f"expected at most {MAX_LINE_BYTES} bytes, found more; is a quote never closed?"
            self.end = (number, Breach("table-unreadable", "", f"{found} The rest of the file was not read"))
            return None
        if cells is not None and not self._is_utf8:
            return number, Breach("not-utf8", "", "expected UTF-8, found another encoding in the record")
        return None if cells is None else (number, cells)

    def _lines(self) -> Iterator[str]:
        while data := self._stream.readline(MAX_LINE_BYTES + 1):
            self._line += 1
            self._record_bytes += len(data)
            if self._record_bytes > MAX_LINE_BYTES:
                raise _TooLongError
            try:
                yield data.decode()
            except UnicodeDecodeError:
                self._is_utf8 = False
                yield data.decode(errors="replace")


class _TooLongError(Exception):
    """A record passes the bound."""


class ParquetReader:
    """Iterates over the rows of a Parquet file once, by small batches. A row's number is its place in the file, from 1."""

    def __init__(self, stream: BinaryIO) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.blank_lines = 0
        self.columns: list[str] = []
        self.end: tuple[int, Breach] | None = None
        """Why the file could not be read to its end, and the row at which."""
        self._file: pq.ParquetFile | None = None
        # What pyarrow raises for bytes that are no Parquet: its own errors, and what its Python side trips over.
        self._errors = (
            *(pa.ArrowException, ValueError, TypeError, LookupError),
            *(OSError, NotImplementedError, ArithmeticError, MemoryError),
        )
        try:
            self._file = pq.ParquetFile(
                stream,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                thrift_string_size_limit=_MAX_FOOTER_BYTES,
                thrift_container_size_limit=1_000_000,
                page_checksum_verification=True,
            )
            self.columns = list(cast("list[str]", self._file.schema_arrow.names))
            rows = cast("int", self._file.metadata.num_rows)
        except self._errors:
            self._refuse(1, "expected a Parquet file, found a damaged or an unknown one")
            return
        if len(set(self.columns)) < len(self.columns) or len(self.columns) > _MAX_COLUMNS:
            self._refuse(1, f"expected at most {_MAX_COLUMNS} columns, and none of them twice")
        elif rows > _FREE_ROWS + stream.seek(0, io.SEEK_END):
            self._refuse(1, "expected a byte for each row at least, found fewer: the file would unpack without end")

    def __iter__(self) -> Iterator[Line]:
        """Yield every row."""
        number = 0
        batches = self._batches()
        while True:
            try:
                rows = next(batches, None)
            except self._errors:
                self._refuse(number + 1, "expected more rows, found damage; the rest was not read")
                return
            if rows is None:
                return
            for row in rows:
                number += 1
                yield _parquet_line(number, row)

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        if self._file is None or self.end is not None:
            return
        for batch in cast("Iterator[Any]", self._file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)):
            if batch.nbytes > _BATCH_ROWS * MAX_LINE_BYTES:
                raise ValueError("rows of more bytes than any row may have")
            yield batch.to_pylist()

    def _refuse(self, number: int, message: str) -> None:
        self.end = (number, Breach("table-unreadable", "", message))


def _filled(cells: Iterator[tuple[str, str]]) -> dict[str, object]:
    """The cells that hold something; a list that is written as JSON is one."""
    row: dict[str, object] = {}
    for name, text in cells:
        if not text:
            continue
        decoded = decode_text(text) if name in LIST_COLUMNS and text.lstrip().startswith("[") else None
        row[name] = text if decoded is None else decoded
    return row


def _parquet_line(number: int, row: Mapping[str, object]) -> Line:
    try:
        values = _plain(row)
    except ValueError:
        return Line(number, None, Breach("table-row", "", "expected cells that JSON can hold, found another kind"))
    for name in LIST_COLUMNS & values.keys():
        text = values[name]
        if isinstance(text, str) and text.lstrip().startswith("[") and (decoded := decode_text(text)) is not None:
            values[name] = decoded
    return _line(number, values)


def _line(number: int, row: Mapping[str, object]) -> Line:
    data = json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    return Line(number, data if len(data) <= MAX_LINE_BYTES else None)


def _plain(value: Any) -> Any:
    """A cell as JSON has it; fields that are null are left out.

    Raises:
        ValueError: JSON has nothing like it.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError("infinite")
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {str(key): _plain(item) for key, item in fields.items() if not _is_absent(item)}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    raise ValueError("another kind of cell")


def _is_absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
