"""Texts as a reader sees them: other scripts' digits and signs as ASCII, invisible characters gone, places kept.

``０９１２`` and ``0<zero width space>912`` read as 0912, so a detector must see them so, while its findings point into the text as
it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# What needs no folding: printable ASCII and line ends, Latin letters with their marks (Vietnamese, composed or not), dashes,
# quotes, and the currency sign of the dong. Anything else sends a text through the slow way, character by character.
_UNUSUAL = re.compile(
    "[^\t\n\r\x20-\x7e\u00a0-\u00ac\u00ae-\u00b1\u00b4-\u00b8\u00ba-\u024f\u0300-\u034e\u0350-\u036f\u1e00-\u1eff"
    "\u2010-\u2016\u2018-\u201f\u2022\u2026\u20ab\u2212\U0001f300-\U0001faff]"
)

_FILLERS = frozenset("\u034f\u115f\u1160\u20e3\u3164\uffa0")
"""Invisible, or drawn around the character before, though Unicode does not class them as format characters."""


class Folded(NamedTuple):
    """A folded text and the way back."""

    text: str
    offsets: Sequence[int] | None
    """For each character, its place in the text as it was; None where nothing moved."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the text as it was of the characters from ``start`` to before ``end`` (at least one)."""
        if self.offsets is None:
            return start, end
        return self.offsets[start], self.offsets[end - 1] + 1


def fold(text: str) -> Folded:
    """Fold a text; ordinary text comes back as it is, at the price of one search."""
    if not _UNUSUAL.search(text):
        return Folded(text, None)
    folded: list[str] = []
    offsets: list[int] = []
    for place, character in enumerate(text):
        if plain := _fold_character(character):
            folded.append(plain)
            offsets.append(place)
    return Folded("".join(folded), offsets)


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    """One character for a visible one, nothing for an invisible one."""
    if character in "\t\n\r" or " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in {"Cf", "Cc"} or character in _FILLERS or "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0000":
        return ""
    if category == "Zs":
        return " "
    if category == "Pd":
        return "-"
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKC", character)
    if plain in {"。", "．"}:
        return "."
    return plain if len(plain) == 1 and plain.isascii() else character
