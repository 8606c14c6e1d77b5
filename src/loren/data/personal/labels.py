"""What is written around a number and says what it is: the nearest label, before it or right after it.

The words stand in ``personal.toml``, none for two kinds. A label before a number counts over up to ``REACH`` characters; one after
it does so too, unless it introduces another number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple, cast

from loren.data.personal.tables import one_of, personal_table

REACH = 40
"""Characters between a number and a word that says what it is."""

_LONGEST_LABEL = 24
_WORD_START = r"(?<![^\W_].)(?<!<.)"
"""Behind a word's first letter; a placeholder (<ID_1>) is no label."""
_WORD_BEFORE = re.compile(r"([^\W_]+)[-_/.=]?\Z")
_WORD_AFTER = re.compile(r"[-_/]?[^\W_]")
_GLUED = re.compile(r"[^\W\d_]++(?![\d_])")
_HEXADECIMAL = re.compile(r"[a-f]{4,}")
_SHORT_CODE = 5
"""Fewer capitals than this behind a number are a code's: 0912345678VN."""
_NO_MORE = re.compile(r"[0-9\n]")


class Label(NamedTuple):
    """A word near a number."""

    kind: str
    """A key of ``[labels]``; empty where no label is in reach."""
    between: str
    """What stands between a label and the number after it, in small letters."""


def nearest_label(text: str, start: int, end: int) -> Label:
    """The label nearest to the number between ``start`` and ``end``: before it, or else after it."""
    return label_before(text, start) or label_after(text, end)


def label_before(text: str, start: int) -> Label | None:
    """The nearest label before a place, if one is in reach."""
    window = text[max(0, start - REACH - _LONGEST_LABEL) : start].casefold()
    found = None
    for match in _labels().finditer(window):
        found = match
    if found is not None and len(window) - found.end() <= REACH:
        return Label(_kinds()[found[0]], window[found.end() :])
    return None


def label_after(text: str, end: int) -> Label:
    """The first label after a place, unless it introduces another number."""
    window = text[end : end + REACH + _LONGEST_LABEL].casefold()
    match = _labels().search(window)
    if match is None or match.start() > REACH or _NO_MORE.search(window[: match.end() + _LONGEST_LABEL]):
        return Label("", "")
    return Label(_kinds()[match[0]], "")


def is_attached(text: str, start: int, end: int) -> bool:
    """Whether letters that are written on to a number make it a code; a label before it does not, nor a word after it by a slip."""
    before = text[start - 1 : start]
    if before.isalnum() or (before and before in "-_/.#@&="):
        word = _WORD_BEFORE.search(text, max(0, start - _LONGEST_LABEL), start)
        if word is None:
            return before in "#@&="
        if not (word[1] and _labels().fullmatch(word[1].casefold())):
            return before != "." or word[1][-1].isdigit()
    return bool(_WORD_AFTER.match(text, end)) and not is_slip(text, end)


def is_slip(text: str, end: int) -> bool:
    """Whether what is written on to a number's end is a word of the sentence, a space having been forgotten: 0912345678ạ.

    Capitals, digits among the letters and more letters of hexadecimal digits than a word has are a code's.
    """
    word = _GLUED.match(text, end)
    if word is None or (word[0].isascii() and word[0].isupper() and len(word[0]) < _SHORT_CODE):
        return False
    return not _HEXADECIMAL.fullmatch(word[0])


@cache
def _labels() -> re.Pattern[str]:
    """Every label, over small letters."""
    return re.compile(one_of(_kinds(), head=_WORD_START) + r"(?![^\W\d_])", re.DOTALL)


@cache
def _kinds() -> dict[str, str]:
    """Label -> its kind."""
    table: dict[str, list[str]] = personal_table()["labels"]
    return {word: kind for kind, words in table.items() for word in words}


def holds_label(text: str) -> bool:
    """Whether a text holds a word that can make a number near it a person's."""
    return bool(_personal_labels().search(text.lower()))


@cache
def _personal_labels() -> re.Pattern[str]:
    kinds = _kinds()
    words = [word for word in kinds if kinds[word] not in {"thing", "amount", "phone", "card", "plate"}]
    return re.compile(one_of(words, head=_WORD_START) + r"(?![^\W\d_])", re.DOTALL)


@cache
def not_after_thing() -> str:
    """A pattern, behind the first digit of a number, that fails where the word for a thing stands right before it."""
    kinds = _kinds()
    things = [
        word
        for word in kinds
        if kinds[word] == "thing" and not any(label.endswith(f" {word}") for label in kinds if kinds[label] != "thing")
    ]
    return "".join(f"(?<!(?i:{one_of(group)})[ :].)" for group in _by_length(things))


@cache
def unattached() -> str:
    """A pattern, behind the first digit of a number, that fails where capitals of no label are written on to it."""
    words = {*_kinds(), *cast("list[str]", personal_table()["phone"]["labels"])}
    short = [word for word in words if word.isalpha() and len(word) < 9]
    by_length = "|".join(rf"(?<=(?i:{one_of(group)}).)" for group in _by_length(short))
    return rf"(?:(?<![A-Z].)|{by_length})"


def _by_length(words: Iterable[str]) -> list[list[str]]:
    """The words in groups of one length each, as a look behind needs them."""
    groups: dict[int, list[str]] = {}
    for word in words:
        groups.setdefault(len(word), []).append(word)
    return list(groups.values())
