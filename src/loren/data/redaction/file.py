"""A file without its personal data and secrets: all of it or nothing, and a ledger of what was replaced."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from loren.data.formats.source import open_source
from loren.data.reader import LineReader
from loren.data.redaction.row import RedactedLine, Redactor
from loren.data.rules import all_rules
from loren.errors import ConfigError, DataContractError, Problem
from loren.runs.files import staged_file

if TYPE_CHECKING:
    from loren.task.definition import Task

MAX_PROBLEMS = 100
"""Places that the error lists."""


@dataclass(slots=True)
class Redaction:
    """What was done to a file."""

    rows: int = 0
    changed_rows: int = 0
    sha256: str = ""
    """Of the file that was read."""
    out_sha256: str = ""
    replaced: Counter[str] = field(default_factory=Counter[str])
    """Rule id -> number of replacements."""


def redact_file(
    source: Path, out: Path, *, ledger: Path | None = None, task: Task | None = None, errors_only: bool = False
) -> Redaction:
    """Write ``source`` to ``out`` with placeholders for its personal data and secrets.

    Bytes of a row that hold none stay as they are, and so do the numbers of its lines; line ends become LF.

    Args:
        source: JSONL of ``messages``; a placeholder must stand where the contract looks, and the file stay as its author wrote it.
        out: where the result goes; there must be nothing yet.
        ledger: where the list of replacements goes, a JSON object a line: line, pointer, rule, span (characters of the text that
            was there), placeholder; never a value.
        task: its schema must allow the placeholders.
        errors_only: leave what only warns.

    Raises:
        ConfigError: a path can't be used, or the file is in another format.
        DataContractError: something can't be redacted; nothing was written.
        StorageError: the disk refused; nothing was written.
    """
    refuse_paths(source, out, ledger)
    _refuse_other_formats(source)
    result = Redaction()
    faults: list[Problem] = []
    digest = hashlib.sha256()
    with ExitStack() as stack:
        rows = stack.enter_context(staged_file(out))
        notes = stack.enter_context(staged_file(ledger)) if ledger else None
        reader = LineReader(stack.enter_context(_opened(source)))
        redactor = Redactor(task, errors_only=errors_only)
        written = count = 0
        for line in reader:
            redacted = redactor.redact(line)
            count += len(redacted.faults)
            faults += _problems(f"{source.name}:{line.number}", redacted, MAX_PROBLEMS - len(faults))
            if count:
                continue  # nothing of it will be kept: only the other places are looked for
            data = b"\n" * (line.number - written - 1) + redacted.data + b"\n"
            written = line.number
            rows.write(data)
            digest.update(data)
            _note(result, redacted, line.number, notes)
        if count:
            more = f" (the first {MAX_PROBLEMS} are listed)" if count > MAX_PROBLEMS else ""
            raise DataContractError(
                f"{source}: {count} place(s) can't be redacted{more}; nothing was written",
                problems=faults,
                hint="mend these rows, or take them out, and run the command again",
            )
    result.sha256, result.out_sha256 = reader.sha256, digest.hexdigest()
    return result


def refuse_paths(source: Path, out: Path, ledger: Path | None) -> None:
    """What is written must be new: a redaction never replaces a file, least of all the one that it reads.

    Raises:
        ConfigError: a path is taken, or two are the same.
    """
    for name, path in (("--out", out), ("--ledger", ledger)):
        if path is not None and (path.exists() or path.is_symlink()):
            same = path.exists() and source.exists() and path.samefile(source)
            found = "the file that is read" if same else "another file"
            raise ConfigError(f"{name} {path}: expected a path where nothing is, found {found}", hint="choose another path")
    if ledger is not None and ledger.resolve() == out.resolve():
        raise ConfigError(f"--ledger {ledger}: expected another path than --out, found the same")


def _refuse_other_formats(source: Path) -> None:
    """Only JSONL of messages is redacted: elsewhere values would be left in fields and cells that no rule reads.

    Raises:
        ConfigError: the file is something else, or can't be read.
    """
    if source.exists() and not source.is_file():
        return  # a pipe, which can be read once
    try:
        with open_source(source) as opened:
            found, end = opened.format, opened.end
    except OSError as error:
        raise ConfigError(_unreadable(source, error), hint=_HINT) from error
    if found is None:
        assert end is not None
        raise ConfigError(f"{source}: {end[1].message}", hint=all_rules()[end[1].rule].hint)
    if (found.shape.rows, found.file, found.compression) != ("messages", "jsonl", None):
        raise ConfigError(
            f"{source}: expected JSONL of messages, found {found.title}",
            hint=f"`loren convert {shlex.quote(str(source))} --to messages --out NEW.jsonl` makes such a file; redact that",
        )


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise ConfigError(_unreadable(source, error), hint=_HINT) from error


_HINT = "give the path of a file with one JSON object a line"


def _unreadable(source: Path, error: OSError) -> str:
    return f"{source}: expected JSONL of messages, found {error.strerror or 'an unreadable file'}"


def _problems(place: str, redacted: RedactedLine, room: int) -> Iterator[Problem]:
    for fault in redacted.faults[: max(0, room)]:
        yield Problem(f"{place}  {fault.path}".rstrip(), fault.message, fault.rule)


def _note(result: Redaction, redacted: RedactedLine, line: int, notes: BinaryIO | None) -> None:
    result.rows += 1
    result.changed_rows += bool(redacted.replaced)
    for path, item in redacted.replaced:
        rule = all_rules()[item.rule].id
        result.replaced[rule] += 1
        if notes is not None:
            entry: dict[str, Any] = {
                "line": line,
                "pointer": path,
                "rule": rule,
                "span": [item.start, item.end],
                "placeholder": item.placeholder,
            }
            notes.write(json.dumps(entry).encode() + b"\n")
