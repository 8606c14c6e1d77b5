"""Parquet: the rows of a file, each as the bytes of a JSON object, in constant memory.

A damaged file can end the process that reads it: the library aborts where its own checks fail. So another process reads, and what
it says comes through a pipe, a line a row; if it dies, the file is damaged. Null and NaN mean that the row has no such field.
"""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from loren.data.decode import decode_text
from loren.data.formats.tables import LIST_COLUMNS, MAX_COLUMNS, line_of
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rules import Breach

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_BATCH_ROWS = 64
_FREE_ROWS = 1_000_000
"""A small file may hold so many equal rows; a larger one has a byte for each."""
_BUFFER_BYTES = 1024 * 1024
_MAX_FOOTER_BYTES = 64 * 1024 * 1024
_MAX_HEAD_BYTES = 4 * 1024 * 1024
_ROW, _TOO_LONG, _OTHER_CELLS, _END = b"R", b"L", b"C", b"E"
"""How a line from the other process begins."""


class ParquetReader:
    """Iterates over the rows of a Parquet file once. A row's number is its place in the file, from 1."""

    def __init__(self, path: Path) -> None:
        self.blank_lines = 0
        self.end: tuple[int, Breach] | None = None
        """Why the file could not be read to its end, and the row at which."""
        # -P: a folder called loren where the command runs is not ours.
        command = [sys.executable, "-P", "-m", __name__]
        with path.open("rb") as stream:
            self._process = subprocess.Popen(command, stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        head = self._pipe.readline(_MAX_HEAD_BYTES)
        self.columns: list[str] = json.loads(head) if head.endswith(b"\n") else []

    def __iter__(self) -> Iterator[Line]:
        """Yield every row."""
        number = 0
        end: tuple[int, str] | None = (1, "")
        try:
            for number, line in enumerate(iter(self._pipe.readline, b""), start=1):
                kind, data = line[:1], line[1:-1]
                if kind == _END:
                    end = json.loads(data)
                    break
                if kind == _OTHER_CELLS:
                    fault = Breach("table-row", "", "expected cells that JSON can hold, found another kind")
                    yield Line(number, None, fault)
                else:
                    yield Line(number, data if kind == _ROW else None)
            else:
                end = number + 1, "expected more rows, found damage; the rest was not read"
        finally:
            self._process.kill()
            self._pipe.close()
            self._process.wait()
        if end is not None:
            self.end = end[0], Breach("table-unreadable", "", end[1])

    @property
    def _pipe(self) -> io.BufferedReader:
        return cast("io.BufferedReader", self._process.stdout)


def _send(table: _Rows, out: BinaryIO) -> None:
    """Write what the other end reads."""
    out.write(json.dumps(table.columns).encode() + b"\n")
    for line in table:
        if line.fault is not None:
            out.write(_OTHER_CELLS + b"\n")
        else:
            out.write(_TOO_LONG + b"\n" if line.data is None else _ROW + line.data + b"\n")
    out.write(_END + json.dumps(table.end).encode() + b"\n")


class _Rows:
    """The rows of a Parquet file, by small batches, in this process."""

    def __init__(self, stream: BinaryIO) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.columns: list[str] = []
        self.end: tuple[int, str] | None = None
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
        if len(set(self.columns)) < len(self.columns) or len(self.columns) > MAX_COLUMNS:
            self._refuse(1, f"expected at most {MAX_COLUMNS} columns, and none of them twice")
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
        self.end = (number, message)


def _parquet_line(number: int, row: Mapping[str, object]) -> Line:
    try:
        values = _plain(row)
    except ValueError:
        return Line(number, None, Breach("table-row", "", "expected cells that JSON can hold, found another kind"))
    for name in LIST_COLUMNS & values.keys():
        text = values[name]
        if isinstance(text, str) and text.lstrip().startswith("[") and (decoded := decode_text(text)) is not None:
            values[name] = decoded
    return line_of(number, values)


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


if __name__ == "__main__":
    _send(_Rows(sys.stdin.buffer), sys.stdout.buffer)
