"""What a check found, in constant memory: counts and the first issues are held, all issues go to a temporary file.

Issues hold no text of a row, so neither does the temporary file.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from loren.data.rules import Issue, find_rule

if TYPE_CHECKING:
    from loren.data.formats.source import Format

SCHEMA_VERSION = 1

FIRST_ISSUES = 5
"""Issues of each rule that are held for the text report."""

_HELD_BYTES = 4 * 1024 * 1024
"""Up to this size the issues stay in memory; a file with more of them goes to the disk."""


class IssueLog:
    """Issues in the order in which they were found: written once, read any number of times."""

    def __init__(self) -> None:
        # Binary, so that reading can go on where it left off. Unnamed: nothing is left behind, whatever happens.
        self._spool = tempfile.SpooledTemporaryFile(max_size=_HELD_BYTES, mode="w+b")  # noqa: SIM115 - closed by finalize
        weakref.finalize(self, self._spool.close)
        self.counts: dict[str, int] = {}
        """Rule id -> number of issues."""
        self.first: dict[str, list[Issue]] = {}
        """Rule id -> its first issues."""
        self.errors = 0
        self.warnings = 0

    def append(self, issue: Issue) -> None:
        """Add an issue at the end."""
        self._spool.seek(0, 2)
        self._spool.write(json.dumps(issue.to_json(), ensure_ascii=False).encode() + b"\n")
        self.counts[issue.rule] = self.counts.get(issue.rule, 0) + 1
        first = self.first.setdefault(issue.rule, [])
        if len(first) < FIRST_ISSUES:
            first.append(issue)
        if issue.severity == "error":
            self.errors += 1
        else:
            self.warnings += 1

    def __len__(self) -> int:
        """The number of issues."""
        return self.errors + self.warnings

    def __iter__(self) -> Iterator[Issue]:
        """Yield every issue."""
        for value in self.json_values():
            span = value.pop("span", None)
            yield Issue(**value, span=tuple(span) if span else None)

    def json_values(self) -> Iterator[dict[str, Any]]:
        """Yield every issue in its JSON form."""
        place = 0
        while True:
            self._spool.seek(place)
            line = self._spool.readline()
            place = self._spool.tell()
            if not line:
                return
            yield json.loads(line)


@dataclass(slots=True)
class CheckReport:
    """The verdict over a file. Holds no text of a row."""

    file: str
    sha256: str = ""
    """Of the file's bytes."""
    rows: int = 0
    """Lines that are not blank."""
    blank_lines: int = 0
    read_as: Format | None = None
    """What the file is."""
    object_targets: int = 0
    """Targets that were objects and were taken as their canonical JSON text."""
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Label pointer -> value, as JSON text -> rows that have it."""
    issues: IssueLog = field(default_factory=IssueLog)
    tokens: Mapping[str, Any] | None = None
    """Token statistics, where a base model was given."""

    @property
    def errors(self) -> int:
        """Number of issues that are errors."""
        return self.issues.errors

    @property
    def warnings(self) -> int:
        """Number of issues that are warnings."""
        return self.issues.warnings

    def to_json(self) -> dict[str, Any]:
        """The whole report as one value; :meth:`write_json` writes the same without holding it."""
        return {**self._head(), "issues": list(self.issues.json_values()), "tokens": self.tokens}

    def write_json(self, out: TextIO) -> None:
        """Write the report as JSON, one issue a line."""
        head = json.dumps(self._head(), ensure_ascii=False, indent=2)
        out.write(head.removesuffix("\n}") + ',\n  "issues": [')
        separator = "\n    "
        for value in self.issues.json_values():
            out.write(separator + json.dumps(value, ensure_ascii=False))
            separator = ",\n    "
        tail = "" if separator == "\n    " else "\n  "
        out.write(f'{tail}],\n  "tokens": {json.dumps(self.tokens, ensure_ascii=False, allow_nan=False)}\n}}\n')

    def by_rule(self) -> list[dict[str, Any]]:
        """Each rule that was broken, with its number of issues; errors first, then by id."""
        rules = [(rule, count) for id_, count in self.issues.counts.items() if (rule := find_rule(id_))]
        rules.sort(key=lambda item: (item[0].severity, item[0].id))
        return [{"rule": rule.id, "name": rule.name, "severity": rule.severity, "issues": count} for rule, count in rules]

    def _head(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "file": self.file,
            "sha256": self.sha256,
            "rows": self.rows,
            "blank_lines": self.blank_lines,
            "read_as": self.read_as.to_json() if self.read_as else None,
            "errors": self.errors,
            "warnings": self.warnings,
            "object_targets": self.object_targets,
            "labels": {pointer: dict(values) for pointer, values in self.labels.items()},
            "rules": self.by_rule(),
        }
