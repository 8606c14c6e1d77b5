"""Approved issues: a person answers, by name and until a day, for one rule at one place of one row.

An approvals file (TOML) holds one table an approval; ``row``, ``path`` and ``rule`` stand in the JSON report of ``loren check``::

    [[approval]]
    row = "6b1f…"                      # digest of the row's messages: a row that changes loses its approval
    path = "/messages/0/content"
    rule = "D302"
    who = "Nguyen Thi Lan, data owner"
    why = "the shop's own hotline, printed on every parcel"
    until = 2027-06-30

It names a place, never the value nor a digest of it, and there is no way to approve a rule, a file or a whole row. What makes a row
unreadable (syntax, conversation, target) can't be approved: such rows can't be trained on.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from loren.data.pointer import safe_name
from loren.data.rules import Breach, find_rule, is_approvable
from loren.data.text_checks import TEXT_CHECKS
from loren.errors import ConfigError, Problem

if TYPE_CHECKING:
    from loren.data.contract import Verdict

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_PROBLEMS = 50
_KEYS = ("row", "path", "rule", "who", "why", "until")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_POINTER = re.compile(r"(?:/[A-Za-z0-9_*-]{1,64}){1,70}\Z")
_MAX_WORDS = 500
_HINT = "`loren check FILE --format json` prints row, path and rule of each issue that can be approved"


class Approval(NamedTuple):
    """One approved issue."""

    row: str
    """Hex SHA-256 of the row's messages (``Row.id``)."""
    path: str
    """JSON pointer of the place."""
    rule: str
    """The rule's id."""
    who: str
    why: str
    until: datetime.date
    """The last day on which it counts."""


class Met(NamedTuple):
    """An approval that a row met."""

    number: int
    """Its place in the file, from 0."""
    has_ended: bool


@dataclass(frozen=True)
class Approvals:
    """The approvals of a file, on a day."""

    file: str
    sha256: str
    entries: tuple[Approval, ...]
    today: datetime.date

    @cached_property
    def _numbers(self) -> dict[tuple[str, str, str], int]:
        return {(entry.row, entry.path, entry.rule): number for number, entry in enumerate(self.entries)}

    def meets(self, row: str, path: str, rule: str) -> Met | None:
        """The approval of that issue, also where it has ended; None where there is none."""
        number = self._numbers.get((row, path, rule))
        return None if number is None else Met(number, self.entries[number].until < self.today)


def load_approvals(path: Path, *, today: datetime.date | None = None) -> Approvals:
    """Read and validate an approvals file.

    Args:
        path: the file.
        today: the day on which approvals must not have ended; by default this machine's.

    Raises:
        ConfigError: everything that is wrong with it, by approval and key.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, found {size}")
        data = path.read_bytes()
        table = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(f"{path}: expected an approvals file, found {error.strerror or 'an unreadable one'}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        place = f": {error}" if isinstance(error, tomllib.TOMLDecodeError) else ""
        raise ConfigError(f"{path}: expected TOML in UTF-8, found something else{place}") from None
    problems = list(_problems(table))
    if problems:
        more = f" (the first {MAX_PROBLEMS} are listed)" if len(problems) > MAX_PROBLEMS else ""
        raise ConfigError(
            f"{path}: {len(problems)} problem(s) in the approvals{more}", problems=problems[:MAX_PROBLEMS], hint=_HINT
        )
    entries = tuple(Approval(**entry) for entry in cast("list[dict[str, Any]]", table.get("approval", [])))
    name = path.name.encode("utf-8", "backslashreplace").decode()
    return Approvals(name, hashlib.sha256(data).hexdigest(), entries, today or datetime.date.today())


def _problems(table: Mapping[str, Any]) -> Iterator[Problem]:
    entries: object = table.get("approval", [])
    for key in table:
        if key != "approval":
            yield Problem(safe_name(key), "expected tables [[approval]] only")
    if not isinstance(entries, list):
        yield Problem("approval", "expected tables [[approval]], found another value")
        return
    seen: dict[tuple[object, ...], int] = {}
    for number, entry in enumerate(cast("list[object]", entries), start=1):
        place = f"approval {number}"
        if not isinstance(entry, dict):
            yield Problem(place, "expected a table")
            continue
        fields = cast("dict[str, object]", entry)
        found = [*_key_problems(place, fields), *_value_problems(place, fields)]
        yield from found
        name = tuple(fields.get(key) for key in ("row", "path", "rule"))
        if not found and name in seen:
            yield Problem(place, f"expected each issue once, found it in approval {seen[name]} too")
        elif not found:
            seen[name] = number


def _key_problems(place: str, entry: Mapping[str, object]) -> Iterator[Problem]:
    for key in _KEYS:
        if key not in entry:
            yield Problem(f"{place} {key}", "expected this key, found none")
    for key in entry:
        if key not in _KEYS:
            yield Problem(f"{place} {safe_name(key)}", f"expected only {', '.join(_KEYS)}")


def _value_problems(place: str, entry: Mapping[str, object]) -> Iterator[Problem]:
    for key, form, words in (
        ("row", _DIGEST, "the 64 hex digits of a row's digest"),
        ("path", _POINTER, "a JSON pointer such as /messages/0/content"),
    ):
        value = entry.get(key, "")
        if key in entry and not (isinstance(value, str) and form.match(value)):
            yield Problem(f"{place} {key}", f"expected {words}, found another value")
    if "rule" in entry:
        yield from _rule_problems(f"{place} rule", entry["rule"])
    for key in ("who", "why"):
        value = entry.get(key, "")
        if key in entry and not (isinstance(value, str) and len(value.strip()) >= 3 and len(value) <= _MAX_WORDS):
            yield Problem(f"{place} {key}", f"expected 3 to {_MAX_WORDS} characters in words, found another value")
        elif key == "why" and isinstance(value, str) and any(list(check.find("", value)) for check in TEXT_CHECKS):
            yield Problem(
                f"{place} why", "expected a reason, found personal data or a secret in it: an approval names the place only"
            )
    # A datetime is a date to Python, and no day.
    if "until" in entry and type(entry["until"]) is not datetime.date:
        yield Problem(f"{place} until", "expected the last day, as 2027-06-30 without quotes, found another value")


def _rule_problems(place: str, value: object) -> Iterator[Problem]:
    rule = find_rule(value) if isinstance(value, str) else None
    if rule is None or rule.id != value:
        yield Problem(place, "expected the id of a rule, such as D302, found another value")
    elif not is_approvable(rule):
        yield Problem(place, f"expected a rule about texts (D3, D4 or D6), found {rule.id}, which can't be approved: mend the row")


class ApprovalUse:
    """A survey: approvals that have ended, and those that no row of the file needs."""

    def __init__(self, approvals: Approvals | None) -> None:
        self._approvals = approvals
        self._met: set[int] = set()
        self._ended: dict[int, int] = {}

    def add(self, line: int, verdict: Verdict) -> None:
        """See what one line met."""
        for number, has_ended in verdict.met:
            self._met.add(number)
            if has_ended:
                self._ended.setdefault(number, line)

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Yield the ended ones at their first line, then the unused ones."""
        if self._approvals is None:
            return
        for number, entry in enumerate(self._approvals.entries):
            name = f"approval {number + 1} of {self._approvals.file}"
            if number in self._ended:
                yield self._ended[number], Breach("approval-ended", entry.path, f"{name}, for {entry.rule}, ended on {entry.until}")
            elif number not in self._met:
                yield 0, Breach("approval-unused", "", f"{name} matches no issue: its row has changed, or is not in this file")
