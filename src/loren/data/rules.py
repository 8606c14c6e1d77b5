"""The rules of the data contract, and what breaking one looks like.

The rules stand in ``rule_tables/``, a file a family: id, name, severity, words and examples. The code that finds a breach names its
rule; ids stay the same for ever, so that reports can be compared and a rule can be looked up with ``loren check --explain ID``.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal, NamedTuple, TypeAlias

from loren.errors import ConfigError, Problem

Severity: TypeAlias = Literal["error", "warning"]
Scope: TypeAlias = Literal["line", "target", "file", "labels", "golden", "tokens", "approvals", "release"]
Language: TypeAlias = Literal["en", "vi"]

_APPROVABLE = ("D3", "D4", "D6")
"""Families whose issues a person may answer for; the others make a row unfit to learn from, or a figure untrue."""


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

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as plain tuples: verdicts cross process borders by the thousand."""
        return (Breaches._unpack, ([tuple(breach) for breach in self._kept], self._counts))

    def __iter__(self) -> Iterator[Breach]:
        """Yield those that were kept, then one for the rest of each rule, which says how many there are."""
        yield from self._kept
        kept = Counter(breach.rule for breach in self._kept)
        for rule, count in self._counts.items():
            if count > kept[rule]:
                yield Breach(rule, "", f"and {count - kept[rule]} more of this kind in the line")

    def take(self, wanted: Callable[[Breach], bool]) -> list[Breach]:
        """Take out those that are wanted; of those that were only counted, none is."""
        taken = [breach for breach in self._kept if wanted(breach)]
        if taken:
            self._kept = [breach for breach in self._kept if breach not in taken]
            self._counts = dict(Counter(self._counts) - Counter(breach.rule for breach in taken))
        return taken

    @classmethod
    def _unpack(cls, kept: list[tuple[Any, ...]], counts: dict[str, int]) -> Breaches:
        breaches = cls()
        breaches._kept, breaches._counts = [Breach(*values) for values in kept], counts
        return breaches

    def has_error(self, raised: frozenset[str] = frozenset()) -> bool:
        """Whether one of them makes the row unfit, rather than doubtful; those of the rules in ``raised`` do."""
        if not self._counts:
            return False
        rules = all_rules()
        return any(rule in raised or rules[rule].severity == "error" for rule in self._counts)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the contract."""

    id: str
    name: str
    severity: Severity
    scope: Scope
    """What it judges: a line; its target (needs a task); the file; its label values (needs a task); golden rows; its tokens (needs
    a base model); approvals; the dataset card of a file that is to be released."""
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
    row: str = ""
    """Hex digest of the row's messages, where the issue can be approved."""

    def to_json(self) -> dict[str, Any]:
        """The form in the JSON report; ``span`` and ``row`` only where there are such."""
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
        if self.row:
            value["row"] = self.row
        return value


@cache
def all_rules() -> Mapping[str, Rule]:
    """Name -> rule, in the order of the ids."""
    tables = _tables(files("loren.data").joinpath("rule_tables"))
    rules = [Rule(id=key, **_filled(entry)) for key, entry in tables]
    rules.sort(key=lambda rule: rule.id)
    return {rule.name: rule for rule in rules}


def find_rule(name_or_id: str) -> Rule | None:
    """The rule with that id or name, in any case."""
    wanted = name_or_id.casefold()
    return next((rule for rule in all_rules().values() if wanted in {rule.id.casefold(), rule.name}), None)


def nearest_rule(word: str) -> str | None:
    """The id or name that is most like ``word``; None where nothing is."""
    from difflib import get_close_matches

    known = {name.casefold(): name for rule in all_rules().values() for name in (rule.id, rule.name)}
    near = get_close_matches(word.casefold(), known, n=1, cutoff=0.4)
    return known[near[0]] if near else None


class Words(NamedTuple):
    """What a rule says to people, in one language."""

    hint: str
    explanation: str


def words(rule: Rule, language: Language) -> Words:
    """Hint and explanation of a rule; in English where it has not been translated."""
    english = Words(rule.hint, rule.explanation)
    return english if language == "en" else _translations(language).get(rule.id, english)


@cache
def _translations(language: Language) -> Mapping[str, Words]:
    tables = _tables(files("loren.data").joinpath("rule_tables", language))
    return {key: Words(**_one_line(entry)) for key, entry in tables}


def raised_rules(names: Iterable[str]) -> frozenset[str]:
    """The rules, by name, that a task's ``contract.raise`` makes errors.

    Raises:
        ConfigError: names every entry that is no rule.
    """
    found = {name: find_rule(name) for name in names}
    problems = [
        Problem("task.toml contract.raise", f"expected a rule's id or name, found {name[:60]!r}{_nearest(name)}")
        for name, rule in found.items()
        if rule is None
    ]
    if problems:
        raise ConfigError(
            f"{len(problems)} rule(s) of the task are not known", problems=problems, hint="docs/reference/rules.md lists them"
        )
    return frozenset(rule.name for rule in found.values() if rule is not None)


def is_approvable(rule: Rule) -> bool:
    """Whether issues of a rule can be approved, each by itself (``approvals.py``)."""
    return rule.id.startswith(_APPROVABLE) and rule.scope == "line"


def issue(breach: Breach, line: int, raised: frozenset[str] = frozenset(), *, row: str = "") -> Issue:
    """The issue that a breach is at its line.

    Args:
        breach: what breaks a rule.
        line: 1-based; 0 for the file as a whole.
        raised: rules, by name, whose warnings are errors.
        row: digest of the row, where that is known; kept where the issue can be approved.
    """
    rule = all_rules()[breach.rule]
    severity = "error" if rule.name in raised else rule.severity
    row = row if is_approvable(rule) and breach.path else ""
    return Issue(line, rule.id, severity, breach.path, breach.message, rule.hint, breach.span, row)


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
    return {"severity": "error", "scope": "line", **entry, **_one_line(entry)}


def _one_line(entry: Mapping[str, str]) -> dict[str, str]:
    return {key: " ".join(entry[key].split()) for key in ("hint", "explanation")}


def _tables(folder: Traversable) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the id and the entry of every rule in the files of a folder."""
    for file in folder.iterdir():
        if file.name.endswith(".toml"):
            yield from tomllib.loads(file.read_text(encoding="utf-8")).get("rules", {}).items()


def _nearest(word: str) -> str:
    near = nearest_rule(word)
    return f"; did you mean {near}?" if near else ""
