"""A file of any format -> JSONL of ``messages``. Nothing is lost in silence: a row is written whole, or its place is named.

A field that a format does not know is written under its own name. What was put together, renamed or left out because it was empty
stands in the ledger, by number of rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from loren.data.conversation import MESSAGE_KEYS
from loren.data.decode import decode_line
from loren.data.formats.source import Format, open_source
from loren.data.formats.translate import Translate
from loren.data.pointer import safe_name
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.report import IssueLog
from loren.data.rules import Breach, Breaches, issue
from loren.errors import ConfigError, LorenError, StorageError
from loren.runs.files import staged_file
from loren.task.strict_json import json_type

_MAX_NAMES = 200
"""Names of fields that the ledger tells apart; a hostile file could have a new one in every row."""


@dataclass(slots=True)
class Conversion:
    """What became of a file. Holds no text of a row."""

    read_as: Format | None
    """What the file is; None for one that is not read at all."""
    sha256: str = ""
    """Of the bytes of the file that was read."""
    rows_in: int = 0
    rows_out: int = 0
    blank_lines: int = 0
    kept: Counter[str] = field(default_factory=Counter[str])
    """Field that is no part of the conversation, kept under its name -> rows; of a message: ``messages[].NAME``."""
    notes: Counter[str] = field(default_factory=Counter[str])
    """What else was done to a row -> rows."""
    issues: IssueLog = field(default_factory=IssueLog)
    """Why rows could not be converted."""

    def to_json(self) -> dict[str, Any]:
        """The ledger as JSON, with every issue."""
        return {
            "read_as": self.read_as.to_json() if self.read_as else None,
            "sha256": self.sha256,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "blank_lines": self.blank_lines,
            "kept": dict(self.kept),
            "notes": dict(self.notes),
            "issues": list(self.issues.json_values()),
        }


def convert(path: Path, write: Callable[[bytes], object], format_in: str | None = None) -> Conversion:
    """Write every row of a file that can be converted, one line each, in the file's order.

    A row that holds ``messages`` already is written as its bytes are; it need not keep the contract, which ``loren check`` judges.

    Args:
        path: the file; ``-`` is the standard input.
        write: takes one line with its end.
        format_in: the format of the rows, where it is not to be detected.

    Raises:
        ConfigError: the file can't be read.
        StorageError: a line can't be written.
        LorenError: as these two.
    """
    try:
        with open_source(path, format_in) as source:
            result = Conversion(source.format)
            for line in source.lines:
                result.rows_in += 1
                data = _converted(line, source.translate, result)
                if data is not None:
                    _write(write, data + b"\n")
                    result.rows_out += 1
            result.sha256, result.blank_lines = source.sha256, source.blank_lines
            if source.end is not None:
                number, breach = source.end
                result.issues.append(issue(breach, number))
            return result
    except LorenError:
        raise  # some are OSErrors too, and say more
    except OSError as error:
        found = error.strerror or "an unreadable one"
        raise ConfigError(f"{path}: expected a file of rows, found {found}", hint="give the path of a file, or -") from error


def _write(write: Callable[[bytes], object], data: bytes) -> None:
    """Write one line.

    Raises:
        StorageError: it was refused.
    """
    try:
        write(data)
    except OSError as error:
        raise StorageError(f"could not write the rows: {error.strerror or 'refused'}", hint="free disk space") from error


def convert_to_file(path: Path, out: Path, format_in: str | None = None) -> Conversion:
    """Write a file of ``messages`` rows atomically: it appears when every row was converted, and not otherwise.

    Raises:
        ConfigError: the file can't be read, or ``out`` is the same file.
        StorageError: the disk refused; an old ``out`` is as it was.
    """
    if out.exists() and path.exists() and out.samefile(path):
        raise ConfigError(f"--out: expected another file than the one that is read, found {out}")
    result: Conversion | None = None
    try:
        with staged_file(out) as stream:
            result = convert(path, stream.write, format_in)
            _refuse_half(result)
    except _IncompleteError:
        pass
    assert result is not None
    return result


class _IncompleteError(Exception):
    """Not every row was converted."""


def _refuse_half(result: Conversion) -> None:
    """End the writing of a file that would lack rows.

    Raises:
        _IncompleteError: it would.
    """
    if result.issues:
        raise _IncompleteError


def _converted(line: Line, translate: Translate | None, result: Conversion) -> bytes | None:
    """The row as the bytes of a line; None where there is none, which is then an issue."""
    if line.data is None:
        message = f"expected at most {MAX_LINE_BYTES} bytes, found more"
        return _refused(line, [line.fault or Breach("line-too-long", "", message)], result)
    value, breaches = decode_line(line.data)
    if value is None or breaches:
        return _refused(line, breaches, result)
    if translate is None:
        if not isinstance(value.get("messages"), list):
            return _refused(line, [_no_messages(value)], result)
        _count_kept(value, result)
        return line.data.strip()
    translated = translate(value)
    if translated.row is None:
        return _refused(line, translated.breaches, result)
    if not isinstance(translated.row.get("messages"), list):
        return _refused(line, [_no_messages(value)], result)
    _count_kept(translated.row, result)
    result.notes.update(set(translated.notes))
    return json.dumps(translated.row, ensure_ascii=False, allow_nan=False).encode()


def _refused(line: Line, breaches: list[Breach] | Breaches, result: Conversion) -> None:
    for breach in breaches:
        result.issues.append(issue(breach, line.number))


def _no_messages(row: dict[str, Any]) -> Breach:
    if "messages" not in row:
        return Breach("messages-missing", "", "expected the key 'messages', found none")
    return Breach("messages-not-list", "/messages", f"expected a list, found {json_type(row['messages'])}")


def _count_kept(row: dict[str, Any], result: Conversion) -> None:
    names = {safe_name(name) for name in row if name != "messages"}
    for message in cast("list[object]", row["messages"]):
        if isinstance(message, dict) and len(cast("dict[str, object]", message)) > 2:
            names |= {f"messages[].{safe_name(name)}" for name in cast("dict[str, object]", message).keys() - MESSAGE_KEYS}
    for name in names:
        result.kept[name if name in result.kept or len(result.kept) < _MAX_NAMES else "other"] += 1
