"""Facts that change: prices, rates, dates, opening hours and links that a reply states though nothing before it did. Pure.

A model that learned such a fact says it for ever; it belongs where it can be looked up. What the question or the system prompt
holds is no fact of the model's, and neither is what follows from it by one step of arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache, cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from loren.data.quality.tables import any_of, number_rules, quality_table

if TYPE_CHECKING:
    from loren.task.entities import Held

_FIRST_FIXED_YEAR = 2000
"""A date before this year is history, which does not change."""
_MAX_FACTS = 50
"""Facts of one reply that are looked at."""
_LONGEST = 20_000
"""Characters before a reply that are read for numbers."""
_MAX_NUMBERS = 12
"""Numbers of the question from which a reply may calculate."""


class Fact(NamedTuple):
    """A statement in a reply."""

    kind: str
    """As a message says it."""
    start: int
    end: int


_DIGIT = re.compile("[0-9]")
_DOT_IN_WORD = re.compile(r"\.[a-z]")


def may_state(reply: str) -> bool:
    """Whether a reply must be searched; False is certain."""
    return bool(_DIGIT.search(reply)) or "://" in reply or bool(_DOT_IN_WORD.search(reply))


def find_facts(reply: str, held: str) -> Iterator[Fact]:
    """The changing facts that ``reply`` states and ``held``, all that was said before it, does not."""
    before = _Before(held.lower())
    for kind, match in islice(_stated(reply.lower()), _MAX_FACTS):
        if not before.holds(kind, match[0]):
            yield Fact(kind, match.start(), match.end())


class _Before:
    """What was said before a reply, read as far as a reply asks for it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._squeezed = _squeeze(text)

    def holds(self, kind: str, fact: str) -> bool:
        """Whether the same is said, perhaps in another form, or follows from what is said."""
        if _squeeze(fact) in self._squeezed:
            return True
        if kind == "a link":
            return re.sub(r"^(?:https?://)?(?:www\.)?", "", fact).rstrip("/.,;:!?)") in self._text
        if kind in {"a date", "opening hours"}:
            return all(int(number) in self._integers for number in re.findall(r"\d{1,9}", fact))
        stated = number_rules().states(fact)
        return bool(stated) and all(self._held.covers(each) or Decimal(each.value) in self._derived for each in stated)

    @cached_property
    def _integers(self) -> set[int]:
        return {int(number) for number in re.findall(r"\d{1,9}", self._text)}

    @cached_property
    def _held(self) -> Held:
        return number_rules().held(self._text[:_LONGEST])

    @cached_property
    def _derived(self) -> set[Decimal]:
        """Sums, differences, products, shares and quotients of two numbers that were said."""
        kinds = {"number", "amount", "percentage", "duration"}
        said = {
            Decimal(each.value)
            for each in number_rules().states(self._text[:_LONGEST])
            if each.kind in kinds and each.value[0].isdigit()
        }
        return set(_derived(sorted(said)[:_MAX_NUMBERS]))


def _squeeze(text: str) -> str:
    return "".join(text.split()).rstrip("/")


def _stated(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    taken: list[tuple[int, int]] = []
    for kind, expression in _expressions():
        for match in expression.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in taken[-_MAX_FACTS:]):
                continue
            if kind == "a date" and _stays(match[0]):
                continue
            if kind == "a link" and match[0] in _table()["no_links"]:
                continue
            taken.append(match.span())
            yield kind, match


def _stays(date: str) -> bool:
    """Whether a date is one of history, or the same day of every year."""
    years = [int(number) for number in re.findall(r"(?<!\d)\d{4}(?!\d)", date)]
    if years:
        return max(years) < _FIRST_FIXED_YEAR
    return any(day in _table()["fixed_days"] for day in re.findall(r"\d+/\d+", date.replace(_table()["day_and_month"], "/")))


def _derived(known: Sequence[Decimal]) -> Iterator[Decimal]:
    for one in known:
        for other in known:
            yield from (one + other, one - other, one * other, one * other / 100, one - one * other / 100, one + one * other / 100)
            if other:
                yield one / other


@cache
def _table() -> dict[str, Any]:
    return quality_table()["facts"]


@cache
def _expressions() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Kinds and what they look like in a text of lower case."""
    patterns: dict[str, list[str]] = quality_table()["facts"]["patterns"]
    return tuple((kind, re.compile("|".join(map(_expanded, sources)))) for kind, sources in patterns.items())


_NAME = re.compile(r"<([a-z_]+)>(?!=)")


def _expanded(source: str) -> str:
    """A pattern with its names replaced."""
    table = quality_table()["facts"]

    def meaning(match: re.Match[str]) -> str:
        part = table["parts"].get(match[1])
        return any_of(table[match[1]]) if part is None else f"(?:{_expanded(part)})"

    return _NAME.sub(meaning, source)
