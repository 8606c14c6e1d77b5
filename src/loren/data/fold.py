"""Texts as a reader sees them: other scripts' digits, signs and look-alike letters as ASCII, nothing invisible, places kept.

``０９１２`` and ``0<zero width space>912`` read as 0912, and an address with a Cyrillic ``а`` reads like the one without, so a
detector must see them so, while its findings point into the text as it is. Letters with loose marks become the composed letter,
so that a word is found in either form of Unicode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from loren.data.together import Together

ORDINARY = (
    "\t\n\r\x20-\x7e\u00a0-\u00ac\u00ae-\u00b1\u00b4-\u00b8\u00ba-\u024f\u1e00-\u1eff"
    "\u2010-\u2016\u2018-\u201f\u2022\u2026\u20ab\u2212\u2600-\u2775\u2794-\u27bf\U0001f300-\U0001faff"
)
"""What needs no folding, as the inside of a character class: printable ASCII and line ends, composed Latin letters, dashes, quotes,
the sign of the dong, pictures. Anything else sends a text through the slow way, character by character."""

_FOREIGN = re.compile(f"[^{ORDINARY}]")
_UNUSUAL = re.compile(
    "[^\t\n\r\x20-\x25\x27-\x3b\x3d-\x5a\\\\-\x7a\x7c-\x7eÀ-ÃÈ-ÊÌÍÒ-ÕÙÚÝà-ãè-êìíò-õùúýĂăĐđĨĩŨũƠơƯưẠ-ỹ–—‘’“”…•₫\U0001f300-\U0001faff]"
)

_FILLERS = frozenset("\u034f\u115f\u1160\u20e3\u3164\uffa0")
"""Invisible, or drawn around the character before, though Unicode does not class them as format characters."""

_LOOK_ALIKES = str.maketrans(
    # Cyrillic, then Greek, then Armenian and Latin letters that are drawn like others.
    "аеорсухіјѕһԁԛԝѵӏ" "АВЕКМНОРСТУХІЈЅԌԚԜҮ" "οανρυικγχ" "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ" "օսոհցɑɡıⅼƖ",
    "aeopcyxijshdqwvl" "ABEKMHOPCTYXIJSGQWY" "oavpuikyx" "ABEZHIKMNOPTYXC" "ouuhgagill",
)  # fmt: skip
"""Letters of other scripts that readers take for Latin ones."""


def unusual_rows(together: Together) -> set[int]:
    """The rows that are not plain."""
    return together.rows_with(_UNUSUAL.search)


@lru_cache(maxsize=1)
def is_plain(text: str) -> bool:
    """Whether a text is of plain ASCII, Vietnamese letters, typographic signs and emoji alone, and holds none of ``& < [ {``.

    Such a text needs no folding, and holds no markup and no character that nobody wrote; several rules ask it of the same text.
    """
    return not _UNUSUAL.search(text)


class Folded(NamedTuple):
    """A folded text and the way back."""

    text: str
    places: Sequence[tuple[int, int]] | None
    """For each character, where it begins and ends in the text as it was; None where nothing moved."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the text as it was of the characters from ``start`` to before ``end`` (at least one)."""
        if self.places is None:
            return start, end
        return self.places[start][0], self.places[end - 1][1]


def fold(text: str) -> Folded:
    """Fold a text; ordinary text comes back as it is, at the price of one search."""
    if not _FOREIGN.search(text):
        return Folded(text, None)
    folded: list[str] = []
    places: list[tuple[int, int]] = []
    for place, character in enumerate(text):
        plain = _fold_character(character)
        if plain is None:
            if folded:  # a mark belongs to the letter before, or is drawn over it
                composed = unicodedata.normalize("NFC", folded[-1] + character)
                folded[-1] = composed if len(composed) == 1 else folded[-1]
                places[-1] = places[-1][0], place + 1
        elif plain:
            folded.append(plain)
            places.append((place, place + 1))
    return Folded("".join(folded), places)


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str | None:
    """One character for a visible one, nothing for an invisible one, None for a mark."""
    if character in "\t\n\r" or " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in {"Cf", "Cc"} or character in _FILLERS or "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0000":
        return ""
    if unicodedata.combining(character):
        return None
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
    plain = plain.translate(_LOOK_ALIKES)
    return plain if len(plain) == 1 and plain.isascii() else character
