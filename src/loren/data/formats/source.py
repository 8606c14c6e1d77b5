"""A file of any format, opened: what it is, and its rows as numbered lines that the contract can judge.

A plain JSONL file of ``messages`` is read by :class:`LineReader` alone; every other file pays for what it is.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias, cast

from loren.data.conversation import ROW_KEYS
from loren.data.decode import decode_line
from loren.data.formats.alpaca import translate_alpaca
from loren.data.formats.array import ArrayReader
from loren.data.formats.containers import HEAD_BYTES, Compression, DigestedFile, Unpacked, compression_of
from loren.data.formats.openai import translate_openai
from loren.data.formats.pairs import translate_pair
from loren.data.formats.refusals import NoRows, refused_bytes, refused_fields, refused_line_ends
from loren.data.formats.shapes import FIELD_NAMES, MESSAGES, PAIRS, Shape, common_shape, parse_shape, shape_of, shape_of_names
from loren.data.formats.sharegpt import translate_sharegpt
from loren.data.formats.tables import CsvReader, ParquetReader
from loren.data.formats.translate import Translate, Translated
from loren.data.reader import Line, LineReader
from loren.data.rules import Breach
from loren.errors import ConfigError
from loren.task.strict_json import DECODER, SPACE

FileFormat: TypeAlias = Literal["jsonl", "json", "csv", "parquet"]

STDIN = Path("-")
"""Stands for the standard input."""

_TITLES = {"jsonl": "JSONL", "json": "a JSON list", "csv": "CSV", "parquet": "Parquet"}
_BOM = b"\xef\xbb\xbf"
_PARQUET = b"PAR1"
_DELIMITERS = ",;\t|"
_HEAD_ROWS = 100
_LINE_END = re.compile(rb"[\r\n]")
_FIRST_KEY = re.compile(rb'\s*\{\s*"([A-Za-z_]{1,32})"')


class Reader(Protocol):
    """What every reader of a file is."""

    blank_lines: int

    def __iter__(self) -> Iterator[Line]:
        """Yield every row."""
        ...


@dataclass(frozen=True, slots=True)
class Format:
    """What a file is."""

    shape: Shape
    file: FileFormat = "jsonl"
    compression: Compression | None = None

    @property
    def title(self) -> str:
        """For people: "ShareGPT, CSV in gzip"."""
        file = _TITLES[self.file] + (f" in {self.compression}" if self.compression else "")
        return f"{self.shape.title}, {file}"

    @property
    def unit(self) -> str:
        """What a row's number counts."""
        return "line" if self.file in {"jsonl", "csv"} else "row"

    def to_json(self) -> dict[str, str | None]:
        """The form in reports."""
        return {"rows": self.shape.rows, "file": self.file, "compression": self.compression}


class Source:
    """An open file. Its figures are complete when its lines were read."""

    def __init__(self, format_: Format | None, reader: Reader, digest: Callable[[], str], unpacked: Unpacked | None = None) -> None:
        self.format = format_
        """What the file is; None for one that is not read."""
        self.lines: Reader = reader
        columns = reader.columns if isinstance(reader, CsvReader | ParquetReader) else ()
        self.translate = translator(format_.shape, columns) if format_ else None
        """From a decoded row to a row of ``messages``; None where rows are that already."""
        self._digest = digest
        self._unpacked = unpacked

    def row(self, line: Line) -> dict[str, Any]:
        """The row of ``messages`` at a line; empty where there is none."""
        return self.translated(line).row or {}

    def translated(self, line: Line) -> Translated:
        """The row of ``messages`` at a line, if there is one, with the places of the file's own fields."""
        value = decode_line(line.data).value if line.data is not None else None
        return Translated(value) if value is None or self.translate is None else self.translate(value)

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the file's own bytes."""
        return self._digest()

    @property
    def blank_lines(self) -> int:
        """Lines that hold nothing."""
        return self.lines.blank_lines

    @property
    def end(self) -> tuple[int, Breach] | None:
        """The number and the reason, where the file could not be read to its end; number 0 is the file as a whole."""
        if self._unpacked is not None and self._unpacked.fault is not None:
            return 0, self._unpacked.fault
        return getattr(self.lines, "end", None)


@contextmanager
def open_source(path: Path, format_in: str | None = None, *, on_read: Callable[[int], None] | None = None) -> Generator[Source]:
    """Open a file, whatever its format.

    Args:
        path: the file; ``-`` is the standard input.
        format_in: the format of its rows, which is detected otherwise.
        on_read: told how many of the file's bytes were read so far; of a Parquet file it hears nothing.

    Raises:
        ConfigError: there is no such format, or the file can't be read from a pipe.
        OSError: the file can't be opened.
    """
    named = parse_shape(format_in) if format_in is not None else None
    if path == STDIN:
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - a process may be started without one
            raise ConfigError("expected rows on the standard input, found it closed")
        yield _open(sys.stdin.buffer, "", named, on_read, is_pipe=True)
        return
    with path.open("rb") as stream:
        yield _open(stream, path.name.lower(), named, on_read, is_pipe=not stream.seekable())


def translator(shape: Shape, columns: Collection[str] = ()) -> Translate | None:
    """What turns rows of a format, of a table with these columns, into rows of ``messages``; picklable."""
    columns = frozenset(columns)
    if shape.rows == "prompt-completion":
        return partial(translate_pair, fields=shape.fields, columns=columns)
    if shape.rows == "openai":
        return translate_openai
    translate = {"sharegpt": translate_sharegpt, "alpaca": translate_alpaca}.get(shape.rows)
    return partial(translate, columns=columns) if translate else None


def _open(stream: BinaryIO, name: str, named: Shape | None, on_read: Callable[[int], None] | None, *, is_pipe: bool) -> Source:
    packed = DigestedFile(stream, on_read)
    content: io.BufferedReader = io.BufferedReader(packed, HEAD_BYTES)
    head = content.peek(1)
    unpacked = None
    if compression := compression_of(head):
        unpacked = Unpacked(content, packed, compression)
        content = io.BufferedReader(unpacked, HEAD_BYTES)
        head = content.peek(1)
        name = name.rpartition(".")[0]
    head = head.removeprefix(_BOM)
    if head.startswith(_PARQUET):
        if is_pipe or compression:
            raise ConfigError(
                "expected a Parquet file as it is, found one in a pipe or an archive: it is read from its end",
                hint="save it, or unpack it, and give the path of the file",
            )
        return _parquet(stream, named)
    delimiter = _delimiter(head, name, named)
    fault = refused_bytes(head) or refused_line_ends(head, is_table=delimiter is not None)
    if fault is not None:
        return Source(None, NoRows(fault), packed.digest_of_all, unpacked)
    if delimiter is not None:
        return _table(CsvReader(content, delimiter), named, "csv", packed.digest_of_all, compression, unpacked)
    is_list = _is_list_of_rows(head, named)
    shape, fault = (named, None) if named else _shape_of_rows(head, is_list=is_list)
    if fault is not None:
        return Source(None, NoRows(fault), packed.digest_of_all, unpacked)
    format_ = Format(shape or MESSAGES, "json" if is_list else "jsonl", compression)
    if not is_list and not is_pipe and not compression:  # at full speed
        stream.seek(0)
        lines = LineReader(stream, on_read=on_read)
        return Source(format_, lines, lambda: lines.sha256)
    return Source(format_, ArrayReader(content) if is_list else LineReader(content), packed.digest_of_all, unpacked)


def _parquet(stream: BinaryIO, named: Shape | None) -> Source:
    def digest() -> str:
        stream.seek(0)
        return DigestedFile(stream).digest_of_all()

    return _table(ParquetReader(Path(str(stream.name))), named, "parquet", digest)  # it opens the file for itself


def _table(
    table: CsvReader | ParquetReader,
    named: Shape | None,
    file: FileFormat,
    digest: Callable[[], str],
    compression: Compression | None = None,
    unpacked: Unpacked | None = None,
) -> Source:
    shape = named or shape_of_names(set(table.columns))
    if named is None and table.end is None and table.columns and (fault := refused_fields([table.columns], shape)):
        return Source(None, NoRows(fault), digest, unpacked)
    shape = shape or MESSAGES
    if shape.rows in {"messages", "openai"} and "messages" in table.columns:
        table.needed = "messages"
    return Source(Format(shape, file, compression), table, digest, unpacked)


def _delimiter(head: bytes, name: str, named: Shape | None) -> str | None:
    """What separates the fields of a CSV file; None where the file is none: it says so by its name, or by its header."""
    is_named = name.endswith((".csv", ".tsv"))
    if head.lstrip().startswith((b"{", b"[")):
        return None
    first = _LINE_END.split(head.lstrip(), maxsplit=1)[0].decode("utf-8", "replace").strip()
    headers = {mark: {cell.strip().strip('"') for cell in first.split(mark)} for mark in _DELIMITERS}
    for mark, cells in headers.items():
        wanted = {*named.fields} if named and named.fields != PAIRS[0] else None
        if shape_of_names(cells) or (wanted and cells >= wanted):
            return mark
    if not is_named:
        return None
    return max(_DELIMITERS, key=lambda mark: (len(headers[mark]), mark == ("\t" if name.endswith(".tsv") else ",")))


def _is_list_of_rows(head: bytes, named: Shape | None) -> bool:
    """Whether the file is one JSON list of rows.

    A line that is a list of messages is none, nor is a list in the first of several lines: there one row is at fault.
    """
    text = head.decode("utf-8", "replace").lstrip(SPACE)
    line, _, more = text.partition("\n")
    if not text.startswith("[") or (more.strip(SPACE) and _is_json(line)):
        return False
    is_cut = len(head) >= HEAD_BYTES - len(_BOM)
    start = len(text) - len(text[1:].lstrip(SPACE))
    try:
        first, end = cast("tuple[object, int]", DECODER.raw_decode(text, start))
    except (json.JSONDecodeError, RecursionError):  # no JSON, or a row that is longer than the head
        key = _FIRST_KEY.match(head.lstrip()[1:])
        return is_cut and key is not None and (named is not None or key[1].decode() in FIELD_NAMES)
    if not isinstance(first, dict):
        return False
    row, rest = cast("dict[str, Any]", first), text[end:].lstrip(SPACE)
    if not (rest.startswith(",") or rest.rstrip(SPACE) == "]" or (is_cut and not rest)):
        return False
    if shape_of(row) is not None:
        return True
    # Rows of an unknown format are a list of rows too, which is then refused as one; messages are none.
    return not {"role", "from"} & row.keys() and (named is not None or not ROW_KEYS.issuperset(row))


def _is_json(text: str) -> bool:
    """Whether a text is one JSON value, and nothing after it."""
    try:
        _, end = DECODER.raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return False
    return not text[end:].strip(SPACE)


def _shape_of_rows(head: bytes, *, is_list: bool) -> tuple[Shape | None, Breach | None]:
    """What most of the first rows are, or why the file is not read; of a row that is longer than the head, its first key tells."""
    if is_list:
        rows = _rows(ArrayReader(io.BytesIO(head)))
    else:
        whole = head if len(head) < HEAD_BYTES - len(_BOM) else head[: head.rfind(b"\n") + 1]
        rows = _rows(LineReader(io.BytesIO(whole)))
        if not whole and (key := _FIRST_KEY.match(head)):
            return shape_of_names({key[1].decode()}), None
    shape = common_shape(rows)
    return shape, refused_fields(rows, shape)


def _rows(lines: Reader) -> list[Mapping[str, Any]]:
    """The first rows; an empty one for what can't be decoded."""
    first = islice(lines, _HEAD_ROWS)
    return [(decode_line(line.data).value or {}) if line.data is not None else {} for line in first]
