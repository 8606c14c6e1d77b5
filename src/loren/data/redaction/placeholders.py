"""Placeholders: what stands for a value, the same one wherever it stands in a conversation."""

from __future__ import annotations

import re
import unicodedata

from loren.data.fold import fold

_WRITTEN = re.compile(r"<([A-Z][A-Z_]{0,40})_([0-9]{1,6})>")
_NOT_DIGITS = re.compile(r"[^0-9]+")
_IS_NUMBER = re.compile(r"[\d\s().,_+*·•/\u2010-\u2015\u2212-]+\Z")
_COUNTRY = re.compile(r"(?:00)?840?(?=[0-9]{9,10}\Z)")


def word_of(rule: str) -> str:
    """The word in the placeholder of a rule's findings: ``pii-phone`` -> PHONE, every secret -> SECRET."""
    family, _, kind = rule.partition("-")
    return (kind if family == "pii" else family).replace("-", "_").upper()


class Placeholders:
    """The placeholders of one conversation."""

    def __init__(self, text: str) -> None:
        """Number on from those that ``text``, the whole line, holds already."""
        self._last: dict[str, int] = {}
        self._given: dict[tuple[str, str], str] = {}
        for word, number in _WRITTEN.findall(text):
            self._last[word] = max(self._last.get(word, 0), int(number))

    def of(self, rule: str, value: str) -> str:
        """The placeholder of a value: equal ones, as a reader sees them, get the same."""
        word = word_of(rule)
        name = (word, _plain(value))
        if name not in self._given:
            self._last[word] = self._last.get(word, 0) + 1
            self._given[name] = f"<{word}_{self._last[word]}>"
        return self._given[name]


def _plain(value: str) -> str:
    """The value without what a reader does not see as a difference: script, case, the signs between digits, +84 for 0."""
    folded = unicodedata.normalize("NFC", fold(value).text).strip().casefold()
    if _IS_NUMBER.match(folded):
        return _COUNTRY.sub("0", _NOT_DIGITS.sub("", folded))
    return folded
