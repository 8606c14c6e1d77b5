"""Runs of digits with the signs that people write between them, cut into their groups. Texts are folded ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SPACES = " \t\u00a0"
SIGNS = r".,\-_·•*()\u2010-\u2015\u2212"
BETWEEN = rf"[{SPACES}]{{0,2}}(?:[{SIGNS}][{SPACES}]{{0,2}}){{0,2}}"
"""Pattern of what may stand between two digits of one number."""

_RUN = re.compile(r"(?<![0-9])[0-9](?:[ \t\u00a0]?[.\-_·\u2010-\u2015\u2212]?[ \t\u00a0]?[0-9]){5,}+")
_GROUP = re.compile(r"[0-9]+")
_LEAST_DIGITS, _MOST_DIGITS = 6, 19
_LONG_GROUP = 8
"""Two groups this long that a sign joins without a space are two numbers, not parts of one."""
_ZEROS = re.compile(r"[oO](?:(?<![^\W_].)[oO]?(?=[ .-]?[0-9]{2})|(?<=[0-9].)[oO]?(?![^\W\d_]))", re.DOTALL)


def read_zeros(text: str) -> str:
    """The text with each letter o that is written for a zero as one; of the same length."""
    return _ZEROS.sub(lambda match: "0" * len(match[0]), text)


class Number(NamedTuple):
    """Whole groups of a run that may be one number."""

    start: int
    end: int
    digits: str
    sizes: tuple[int, ...]
    """How many digits each of its groups has."""
    separators: str
    """Every sign between its groups, spaces not."""


def is_border(text: str, group: tuple[int, int], following: tuple[int, int]) -> bool:
    """Whether a number may end with one group of a run, and another begin with the next."""
    sizes = group[1] - group[0], following[1] - following[0]
    if sizes == (1, 1):
        return False  # digits written one by one are one number
    return any(character in text[group[1] : following[0]] for character in f"{SPACES}(") or min(sizes) >= _LONG_GROUP


def find_numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of 6 to 19 digits: every sequence of whole groups; of those from one place, longest first.

    Only the last group may have one or two digits, as in numbers that people write, so a place begins a handful of numbers, and the
    work grows with the length of the text only.
    """
    for run in _RUN.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, run.start(), run.end())]
        for first in range(len(groups)):
            if first == 0 or is_border(text, groups[first - 1], groups[first]):
                yield from reversed(list(_from(text, groups, first)))


def _from(text: str, groups: Sequence[tuple[int, int]], first: int) -> Iterator[Number]:
    """Yield the numbers that begin with group ``first``."""
    digits = separators = ""
    sizes: list[int] = []
    for last in range(first, len(groups)):
        start, end = groups[last]
        if last > first:
            if sizes[-1] < 3 and not sizes[-1] == 1 == end - start:
                return
            separators += text[groups[last - 1][1] : start].strip(SPACES)
        digits += text[start:end]
        sizes.append(end - start)
        if len(digits) > _MOST_DIGITS:
            return
        if len(digits) >= _LEAST_DIGITS and (last == len(groups) - 1 or is_border(text, groups[last], groups[last + 1])):
            yield Number(groups[first][0], end, digits, tuple(sizes), separators)
