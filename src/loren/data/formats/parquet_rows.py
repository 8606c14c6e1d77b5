"""The rows of a Parquet file, read in a process of their own: ``python -P -m loren.data.formats.parquet_rows < FILE``.

On some damaged files pyarrow ends its process (an exception in C++ that nothing catches), and how much memory a page takes is its
author's choice. Here the one ends this process alone, and the other has a bound.

Each line of the output begins with what it is: ``[`` the list of columns, first; ``{`` a row as JSON; ``!`` a row that JSON can't
hold; ``>`` one that is too long; ``#`` why nothing more is read; ``.`` the end. A process that died wrote neither of the last two.
"""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from loren.data.decode import decode_text
from loren.data.formats.tables import LIST_COLUMNS
from loren.data.reader import MAX_LINE_BYTES

UNFIT, TOO_LONG, REFUSED, END = b"!", b">", b"#", b"."

_MAX_MEMORY_BYTES = 4 * 1024 * 1024 * 1024
_MAX_COLUMNS = 1000
_BATCH_ROWS = 64
_FREE_ROWS = 1_000_000
"""A small file may hold so many equal rows; a larger one has a byte for each."""
_BUFFER_BYTES = 1024 * 1024
_MAX_FOOTER_BYTES = 64 * 1024 * 1024
# What pyarrow raises for bytes that are no Parquet: its own errors, and what its Python side trips over.
_ERRORS: tuple[type[Exception], ...] = (
    cast("type[Exception]", pa.ArrowException),
    *(ValueError, TypeError, LookupError, OSError, NotImplementedError, ArithmeticError, MemoryError),
)


def write_rows(stream: BinaryIO, out: BinaryIO) -> None:
    """Write the lines for the Parquet file ``stream``."""
    try:
        for line in _lines(stream):
            out.write(line + b"\n")
        out.write(END + b"\n")
    except _RefusedError as error:
        out.write(REFUSED + str(error).encode() + b"\n")
    except _ERRORS:
        out.write(REFUSED + b"expected a whole Parquet file, found a damaged or an unknown one\n")
    out.flush()


class _RefusedError(Exception):
    """The file is not read; the message says why, and holds nothing of it."""


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    file = pq.ParquetFile(
        stream,
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        thrift_string_size_limit=_MAX_FOOTER_BYTES,
        thrift_container_size_limit=1_000_000,
        page_checksum_verification=True,
    )
    columns = list(cast("list[str]", file.schema_arrow.names))
    if len(set(columns)) < len(columns) or len(columns) > _MAX_COLUMNS:
        raise _RefusedError(f"expected at most {_MAX_COLUMNS} columns, and none of them twice")
    if cast("int", file.metadata.num_rows) > _FREE_ROWS + size:
        raise _RefusedError("expected a byte for each row at least, found fewer: the file would unpack without end")
    yield json.dumps(columns).encode()
    for batch in cast("Iterator[Any]", file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)):
        if batch.nbytes > _BATCH_ROWS * MAX_LINE_BYTES:
            raise _RefusedError(f"expected rows of at most {MAX_LINE_BYTES} bytes, found longer ones")
        for row in cast("list[dict[str, Any]]", batch.to_pylist()):
            yield _line(row)


def _line(row: dict[str, Any]) -> bytes:
    try:
        values = cast("dict[str, Any]", _plain(row))
    except ValueError:
        return UNFIT
    for name in LIST_COLUMNS & values.keys():
        text = values[name]
        if isinstance(text, str) and text.lstrip().startswith("[") and (decoded := decode_text(text)) is not None:
            values[name] = decoded
    data = json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    return data if len(data) <= MAX_LINE_BYTES else TOO_LONG


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


def _bound_memory() -> None:
    """Let this process fail rather than the machine; where there are no such bounds (Windows), go on without."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = _MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MAX_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    _bound_memory()
    with open(0, "rb", closefd=False) as source:
        write_rows(source, sys.stdout.buffer)
