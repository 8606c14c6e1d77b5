"""Numbers that are written out in words, a word a digit, as people do who want to get past a filter: không chín một hai."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from loren.data.personal.tables import one_of, personal_table
from loren.data.together import Together

_BETWEEN = r"[ \t,.\-–…/]{1,3}"
_LEAST_DIGITS, _LEAST_WORDS = 8, 4
_WORD = re.compile(r"[^\W\d_]+|[0-9]+")
_FIGURES = "[0-9]{1,3}"
"""Between the words some digits may be written as such, a few together: không chín một hai 65 bảy tám. Four are a year."""


def find_spelled(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each number of eight digits or more in a folded text of which at least four are words.

    A person who counts (one two three…) or repeats one word says no number.
    """
    if may_spell(text):
        for match in _run().finditer(text):
            words = _WORD.findall(match[0].casefold())
            numbers = list(_numbers(words))
            is_long = sum(map(len, numbers)) >= _LEAST_DIGITS and sum(word.isalpha() for word in words) >= _LEAST_WORDS
            if is_long and not _is_counting(numbers):
                yield match.span()


def may_spell(text: str) -> bool:
    """Whether a text holds what a number in words has: a zero or a digit above six, and another digit after it."""
    return any(sign in text and after.search(text) for sign, after in _signs())


def spelling_rows(together: Together) -> set[int]:
    """The rows that may hold a number in words."""
    found: set[int] = set()
    for sign, after in _signs():
        if sign in together.text:
            found |= together.rows_with(after.search)
    return found


@cache
def _signs() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Such parts of a word, each with a pattern of it and another digit after it."""
    return tuple((sign, _after(sign)) for sign in personal_table()["spelled"]["signs"])


def _after(sign: str) -> re.Pattern[str]:
    return re.compile(rf"{sign}{_BETWEEN}(?:(?i:{one_of(_values())})|{_FIGURES})(?![^\W_])")


def _numbers(words: list[str]) -> Iterator[str]:
    values, times = _values(), 1
    for word in words:
        value = values.get(word, word)
        if value.startswith("x"):
            times = int(value[1:])
        else:
            yield value * times
            times = 1


def _is_counting(numbers: list[str]) -> bool:
    steps = {int(after) - int(before) for before, after in pairwise(numbers)}
    return len(steps) == 1 or len(set("".join(numbers))) < 3


@cache
def _values() -> dict[str, str]:
    """Word -> its digit, or ``x2`` for a word that doubles the next one."""
    table: dict[str, list[str]] = personal_table()["spelled"]["words"]
    return {word: value for value, words in table.items() for word in words}


@cache
def _run() -> re.Pattern[str]:
    word = rf"(?:{one_of(_values())}|{_FIGURES})(?![^\W_])"
    return re.compile(rf"(?<![^\W_]){word}(?:{_BETWEEN}{word}){{4,}}+", re.IGNORECASE)
