"""One line of a file without its personal data and secrets: which strings are looked at, and what can't be replaced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from loren.data.contract import Contract
from loren.data.conversation import GROUP_KEYS
from loren.data.reader import Line
from loren.data.redaction.json_text import JsonString, edit_strings
from loren.data.redaction.placeholders import Placeholders
from loren.data.redaction.text import Replacement, findings_in, redact_text
from loren.data.rules import Breach, all_rules
from loren.data.target import decoded

if TYPE_CHECKING:
    from loren.task.definition import Task

_CONTENT = re.compile(r"/messages/[0-9]+/content\Z")
_GROUPS = frozenset(f"/{key}" for key in GROUP_KEYS)
_SOUGHT = ("D3", "D4")
"""Families of what is replaced."""
_FORBIDDEN = "expected a place that can hold a placeholder, found one where the contract forbids it"
_IN_KEY = "expected no personal data or secret in a key of an object, found one; only values are replaced"


class Fault(NamedTuple):
    """Something that can't be redacted."""

    path: str
    message: str
    rule: str
    """The rule's id."""


@dataclass(slots=True)
class RedactedLine:
    """What became of a line."""

    data: bytes = b""
    replaced: list[tuple[str, Replacement]] = field(default_factory=list[tuple[str, Replacement]])
    """Pointer and replacement, in the order of the line."""
    faults: list[Fault] = field(default_factory=list[Fault])
    """Not empty: ``data`` must not be used."""


class Redactor:
    """Redacts the lines of one file, in order."""

    def __init__(self, task: Task | None = None, *, errors_only: bool = False) -> None:
        """With a task, a placeholder that its schema forbids is a fault; ``errors_only`` leaves what only warns."""
        self._contract = Contract(task)
        self._errors_only = errors_only
        self._groups: dict[bytes, int] = {}

    def redact(self, line: Line) -> RedactedLine:
        """Redact one line that is not blank."""
        before = list(self._contract.check(line, with_row=False).breaches)
        unreadable = [breach for breach in before if _id(breach).startswith("D0")]
        if line.data is None or unreadable:
            return RedactedLine(faults=[Fault(breach.path, breach.message, _id(breach)) for breach in unreadable])
        edit = _LineEdit(self, Placeholders(line.data.decode()))
        result = edit.result
        result.data = edit_strings(line.data.decode(), edit.string).encode()
        after = self._contract.check(Line(line.number, result.data), with_row=False).breaches
        result.faults += self._left(before, after)
        return result

    def wants(self, rule: str) -> bool:
        """Whether what breaks the rule of that name is replaced."""
        return not self._errors_only or all_rules()[rule].severity == "error"

    def group(self, path: str, value: str) -> str:
        """The placeholder of a group's id: the same in the whole file, so that rows stay tied."""
        key = blake2b(f"{path}\0{value}".encode(), digest_size=16).digest()
        return f"<{path[1:].upper()}_{self._groups.setdefault(key, len(self._groups) + 1)}>"

    def _left(self, before: list[Breach], after: Iterable[Breach]) -> Iterator[Fault]:
        """What the contract says of the new line: something that is still there, or that a placeholder broke."""
        rules = all_rules()
        known = {(breach.rule, breach.path) for breach in before}
        for breach in after:
            if _id(breach).startswith(_SOUGHT):
                if self.wants(breach.rule):
                    yield Fault(breach.path, breach.message, _id(breach))
            elif rules[breach.rule].severity == "error" and (breach.rule, breach.path) not in known:
                yield Fault(breach.path, _FORBIDDEN, _id(breach))


@dataclass(slots=True)
class _LineEdit:
    """The walk over the strings of one line."""

    redactor: Redactor
    placeholders: Placeholders
    result: RedactedLine = field(default_factory=RedactedLine)

    def string(self, found: JsonString) -> str | None:
        """What stands for a string of the row; None where nothing does."""
        if _CONTENT.match(found.path) and not found.is_key and decoded(found.value) is not None:
            return edit_strings(found.value, self.text, found.path)
        return self.text(found)

    def text(self, found: JsonString) -> str | None:
        """The same for a string that is a text, in the row or in a content that is JSON."""
        redactor, path = self.redactor, found.path
        if found.is_key or path in _GROUPS:
            finding = next(findings_in(path, found.value, redactor.wants), None)
            if finding is None:
                return None
            if found.is_key:
                self.result.faults.append(Fault(path, _IN_KEY, all_rules()[finding.rule].id))
                return None
            placeholder = redactor.group(path, found.value)
            self.result.replaced.append((path, Replacement(0, len(found.value), finding.rule, placeholder)))
            return placeholder
        changed, replaced = redact_text(path, found.value, self.placeholders, redactor.wants)
        self.result.replaced += [(path, item) for item in replaced]
        return changed if replaced else None


def _id(breach: Breach) -> str:
    return all_rules()[breach.rule].id
