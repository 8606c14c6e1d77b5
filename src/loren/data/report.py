"""What a check found, in constant memory: counts and the first issues are held, all issues go to a temporary file.

Issues hold no text of a row, so neither does the temporary file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from loren.data.rules import Issue, Scope, Severity, find_rule
from loren.data.temporary import TemporaryFile

if TYPE_CHECKING:
    from loren.data.formats.source import Format

SCHEMA_VERSION = 1

FIRST_ISSUES = 100
"""Issues of each rule that are held for the text report, which tells those together that differ in their line only."""

_HELD_BYTES = 4 * 1024 * 1024
"""Up to this size the issues stay in memory; a file with more of them goes to the disk."""


class IssueLog:
    """Issues in the order in which they were found: written once, read any number of times."""

    def __init__(self) -> None:
        self._spool = TemporaryFile(_HELD_BYTES)
        self._is_at_end = True
        self.counts: dict[str, int] = {}
        """Rule id -> number of issues."""
        self.first: dict[str, list[Issue]] = {}
        """Rule id -> its first issues."""
        self.severities: dict[str, Severity] = {}
        """Rule id -> severity of its issues, which a task may have raised."""
        self.errors = 0
        self.warnings = 0

    def append(self, issue: Issue) -> None:
        """Add an issue at the end.

        Raises:
            StorageError: the temporary disk refused.
        """
        if not self._is_at_end:
            self._spool.seek(0, 2)
            self._is_at_end = True
        self._spool.write(msgspec.json.encode(issue) + b"\n")
        count = self.counts[issue.rule] = self.counts.get(issue.rule, 0) + 1
        if count == 1:
            self.first[issue.rule] = [issue]
            self.severities[issue.rule] = issue.severity
        elif count <= FIRST_ISSUES:
            self.first[issue.rule].append(issue)
        if issue.severity == "error":
            self.errors += 1
        else:
            self.warnings += 1

    def __len__(self) -> int:
        """The number of issues."""
        return self.errors + self.warnings

    def __iter__(self) -> Iterator[Issue]:
        """Yield every issue."""
        place = 0
        while True:
            self._spool.seek(place)
            self._is_at_end = False
            lines = self._spool.readlines(_READ_BYTES)
            place = self._spool.tell()
            if not lines:
                return
            for line in lines:
                yield _decode_issue(line)

    def json_values(self) -> Iterator[dict[str, Any]]:
        """Yield every issue in its JSON form."""
        return (issue.to_json() for issue in self)


_READ_BYTES = 64 * 1024
_decode_issue = msgspec.json.Decoder(Issue).decode
_json_text = json.JSONEncoder(ensure_ascii=False).encode


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
    """What the file is; None for one that is not read at all."""
    object_targets: int = 0
    """Targets that were objects and were taken as their canonical JSON text."""
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """Label pointer -> value, as JSON text -> rows that have it."""
    issues: IssueLog = field(default_factory=IssueLog)
    scopes: tuple[Scope, ...] = ("line", "file")
    """What was judged: rules of other scopes were not asked."""
    raised: tuple[str, ...] = ()
    """Ids of the rules whose warnings are errors because the task says so."""
    dataset: Mapping[str, Any] | None = None
    """The dataset's card, of a file that is to be released."""
    approved: IssueLog = field(default_factory=IssueLog)
    """Issues that an approvals file answers for: neither errors nor warnings, and shown all the same."""
    approvals_sha256: str = ""
    """Of the approvals file; empty without one."""
    tokens: Mapping[str, Any] | None = None
    """Token statistics, where a base model was given."""
    duplicates: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How copies in other words were looked for; empty where the rules over the file are off."""

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
        lists = {"issues": list(self.issues.json_values()), "approved_issues": list(self.approved.json_values())}
        return {**self._head(), **lists, "tokens": self.tokens}

    def write_json(self, out: TextIO) -> None:
        """Write the report as JSON, one issue a line."""
        head = json.dumps(self._head(), ensure_ascii=False, indent=2)
        out.write(head.removesuffix("\n}"))
        for name, log in (("issues", self.issues), ("approved_issues", self.approved)):
            out.write(f',\n  "{name}": [')
            separator = "\n    "
            for value in log.json_values():
                out.write(separator + _json_text(value))
                separator = ",\n    "
            out.write("]" if separator == "\n    " else "\n  ]")
        out.write(f',\n  "tokens": {json.dumps(self.tokens, ensure_ascii=False, allow_nan=False)}\n}}\n')

    def by_rule(self) -> list[dict[str, Any]]:
        """Each rule that was broken, with its number of issues; errors first, then by id."""
        severities = self.issues.severities
        rules = [(severities[id_], rule, count) for id_, count in self.issues.counts.items() if (rule := find_rule(id_))]
        rules.sort(key=lambda item: (item[0], item[1].id))
        return [{"rule": rule.id, "name": rule.name, "severity": severity, "issues": count} for severity, rule, count in rules]

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
            "approved": len(self.approved),
            "approvals_sha256": self.approvals_sha256,
            "object_targets": self.object_targets,
            "labels": {pointer: dict(values) for pointer, values in self.labels.items()},
            "duplicates": dict(self.duplicates),
            "raised": list(self.raised),
            "rules": self.by_rule(),
            "dataset": self.dataset,
        }
