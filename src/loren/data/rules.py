"""The rules of the data contract, and what breaking one looks like.

The rules stand in ``rule_tables/``, a file a family: id, name, severity, words and examples. The code that finds a breach names its
rule; ids stay the same for ever, so that reports can be compared and a rule can be looked up with ``loren check --explain ID``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["error", "warning"]
Scope: TypeAlias = Literal["line", "target", "file", "labels", "golden"]


class Breach(NamedTuple):
    """One place where a value breaks a rule. Holds nothing of the value itself."""

    rule: str
    """The rule's name."""
    path: str
    """JSON pointer of the place in the row; empty for the row as a whole."""
    message: str
    """What was expected and what was found."""
    span: tuple[int, int] | None = None
    """Where in the text at ``path``: first character and the one after the last, 0-based, in code points."""


MAX_BREACHES = 100
"""Breaches of one rule that are kept for one line; a hostile line could hold millions."""


class Breaches:
    """The breaches of one line. Of each rule ``MAX_BREACHES`` are kept, and what is not kept is counted."""

    __slots__ = ("_counts", "_kept")

    def __init__(self) -> None:
        self._kept: list[Breach] = []
        self._counts: dict[str, int] = {}

    def append(self, breach: Breach) -> None:
        """Add one."""
        count = self._counts.get(breach.rule, 0) + 1
        self._counts[breach.rule] = count
        if count <= MAX_BREACHES:
            self._kept.append(breach)

    def extend(self, breaches: Iterable[Breach]) -> None:
        """Add several."""
        for breach in breaches:
            self.append(breach)

    def absorb(self, others: Breaches, place: Callable[[str], str]) -> None:
        """Add those of another list, their pointers changed by ``place``."""
        self._kept += [breach._replace(path=place(breach.path)) for breach in others._kept]
        for rule, count in others._counts.items():
            self._counts[rule] = self._counts.get(rule, 0) + count

    def __len__(self) -> int:
        """How many were added."""
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[Breach]:
        """Yield those that were kept, then one for the rest of each rule, which says how many there are."""
        yield from self._kept
        for rule, count in self._counts.items():
            if count > MAX_BREACHES:
                yield Breach(rule, "", f"and {count - MAX_BREACHES} more of this kind in the line")

    @property
    def has_error(self) -> bool:
        """Whether one of them makes the row unfit, rather than doubtful."""
        rules = all_rules()
        return any(rules[rule].severity == "error" for rule in self._counts)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the contract."""

    id: str
    name: str
    severity: Severity
    scope: Scope
    """What it judges: a line; its target (needs a task); the file; its label values (needs a task); golden rows."""
    hint: str
    """How to mend it, in a phrase."""
    explanation: str
    """Why the rule is there."""
    breaks: str
    """A file that breaks this rule and no other; see :func:`expand_example` for its marks."""
    passes: str
    """The same, mended."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A breach at its line in a file: what a report lists. Holds no text of the row."""

    line: int
    """1-based; 0 for the file as a whole."""
    rule: str
    """The rule's id."""
    severity: Severity
    path: str
    message: str
    hint: str
    span: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The form in the JSON report; ``span`` only where there is one."""
        value: dict[str, Any] = {
            "line": self.line,
            "rule": self.rule,
            "severity": self.severity,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }
        if self.span is not None:
            value["span"] = list(self.span)
        return value


@cache
def all_rules() -> Mapping[str, Rule]:
    """Name -> rule, in the order of the ids."""
    rules: list[Rule] = []
    for file in files("loren.data").joinpath("rule_tables").iterdir():
        if file.name.endswith(".toml"):
            table: dict[str, dict[str, str]] = tomllib.loads(file.read_text(encoding="utf-8")).get("rules", {})
            rules.extend(Rule(id=key, **_filled(entry)) for key, entry in table.items())
    rules.sort(key=lambda rule: rule.id)
    return {rule.name: rule for rule in rules}


def find_rule(name_or_id: str) -> Rule | None:
    """The rule with that id or name, in any case."""
    wanted = name_or_id.casefold()
    return next((rule for rule in all_rules().values() if wanted in {rule.id.casefold(), rule.name}), None)


def issue(breach: Breach, line: int) -> Issue:
    """The issue that a breach is at its line."""
    rule = all_rules()[breach.rule]
    return Issue(line, rule.id, rule.severity, breach.path, breach.message, rule.hint, breach.span)


def expand_example(example: str) -> bytes:
    """The bytes of an example.

    Examples are written so that they can be read and printed; three marks stand for what can't:
    ``<FF>`` is the byte 0xFF, ``<a*1000>`` is ``a`` a thousand times, and a line that ends with ``<n=1..9>`` stands for nine
    lines, in which ``<n>`` is 1 to 9.
    """
    lines = "".join(_expand_line(line) for line in example.strip("\n").split("\n"))
    body = lines.encode()
    body = re.sub(rb"<(.)\*(\d+)>", lambda mark: mark[1] * int(mark[2]), body)
    return re.sub(rb"<([0-9A-F]{2})>", lambda mark: bytes.fromhex(mark[1].decode()), body)


def _expand_line(line: str) -> str:
    times = re.search(r"<n=(\d+)\.\.(\d+)>$", line)
    if not times:
        return line + "\n"
    pattern = line[: times.start()]
    return "".join(pattern.replace("<n>", str(n)) + "\n" for n in range(int(times[1]), int(times[2]) + 1))


def _filled(entry: Mapping[str, str]) -> dict[str, Any]:
    words = {key: " ".join(entry[key].split()) for key in ("hint", "explanation")}
    return {"severity": "error", "scope": "line", **entry, **words}
