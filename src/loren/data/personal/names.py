"""Hints at names and addresses of persons: precise rather than complete. Who needs more takes a recogniser (``recognizers.py``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import cast

from loren.data.personal.tables import one_of, personal_table

UPPER = "A-Z" + "".join(letter for letter in map(chr, [*range(0xC0, 0x250), *range(0x1E00, 0x1F00)]) if letter.isupper())
"""Capital letters, as the inside of a character class."""
_WORD = rf"[{UPPER}][^\W\d_]{{0,15}}(?![^\W_])"
"""A word that begins with a capital."""
_WORD_START = r"(?<![^\W_].)"
_CUE_REACH = 32
"""Characters before a name in which it is introduced."""

_HOUSE_TAIL = r"(?<![^\W_].)(?<![0-9][.,/:-].)[0-9]{0,3}+[A-Za-z]?+(?:/[0-9]{1,4}+[A-Za-z]?+){0,4}+(?![^\W_])"
"""What follows the first digit of the number of a house: 12, 12B, 12/5/7."""


def find_names(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each name in a folded text that is introduced as a person's: "chị Nguyễn Thị Lan", "my name is Ann Lee"."""
    spans = [
        match.span()
        for match in _vietnamese().finditer(text)
        if _cues().search(text[max(0, match.start() - _CUE_REACH) : match.start()].casefold())
    ]
    spans.extend(match.span("name") for match in _titled().finditer(text))
    if "name" in text:
        spans.extend(match.span("name") for match in _introduced().finditer(text))
    end = 0
    for span in sorted(spans):
        if span[0] >= end:
            yield span
            end = span[1]


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each postal address in a folded text: a house number with its street, and mostly ward or district."""
    end = 0
    for match in sorted(
        [*_house_and_street().finditer(text), *_number_and_areas().finditer(text)], key=lambda match: match.start()
    ):
        if match.start() >= end:
            before = _small_area().search(text, max(end, match.start() - _CUE_REACH), match.start())
            yield (before.start() if before else match.start()), match.end()
            end = match.end()


def _words(table: str, key: str) -> list[str]:
    return cast("list[str]", personal_table()[table][key])


@cache
def name_starts() -> tuple[str, str]:
    """The first letters of what the name patterns begin with, and a pattern of what follows: for ``glance.py``."""
    starts = [*_words("name", "surnames"), *map(str.upper, _words("name", "surnames")), *_words("name", "titles")]
    return "".join(sorted({start[0] for start in starts})), rf"(?:{one_of({start[1:] for start in starts})})\.?[ ][{UPPER}]"


@cache
def address_starts() -> str:
    """A pattern of what follows the first digit of an address: for ``glance.py``."""
    streets, areas = (
        one_of({form for word in _words("address", key) for form in (word, word.capitalize(), word.upper())})
        for key in ("streets", "areas")
    )
    return rf"{_HOUSE_TAIL}(?:,?[ ](?:[{UPPER}][^\W\d_]*[ ][{UPPER}]|{streets}[ ])|[ ]?[,\-–]?[ ]?{areas}[ ]?[{UPPER}0-9])"


@cache
def _vietnamese() -> re.Pattern[str]:
    """A surname and one to four more words, all with a capital or all in capitals."""
    surnames = _words("name", "surnames")
    return re.compile(rf"{one_of([*surnames, *map(str.upper, surnames)], head=_WORD_START)}(?: {_WORD}){{1,4}}", re.DOTALL)


@cache
def _titled() -> re.Pattern[str]:
    """An English title and a name."""
    return re.compile(rf"{one_of(_words('name', 'titles'), head=_WORD_START)}\.? (?P<name>{_WORD}(?: {_WORD}){{0,2}})", re.DOTALL)


@cache
def _introduced() -> re.Pattern[str]:
    """An English full name that is said to be one."""
    return re.compile(rf"(?<![^\W_])(?i:{one_of(_words('name', 'introductions'))}):? (?P<name>{_WORD}(?: {_WORD}){{1,2}})")


@cache
def _cues() -> re.Pattern[str]:
    """What introduces a Vietnamese name, right before it."""
    cues, fillers = one_of(_words("name", "cues")), one_of(_words("name", "fillers"))
    return re.compile(rf"(?<![^\W_])(?:{cues})(?:\s(?:{fillers})){{0,2}}\s?[:(\-]?\s?\Z")


@cache
def _area() -> str:
    """Pattern of a ward, a district, a city after a comma or a space."""
    name = rf"(?:{_WORD}|[0-9]{{1,3}}(?![0-9/.]))(?: {_WORD}){{0,4}}"
    return rf"(?:\s?[,\-–]\s?|\s)(?i:{one_of(_words('address', 'areas'))})\s?{name}"


@cache
def _house_and_street() -> re.Pattern[str]:
    streets, english = one_of(_words("address", "streets")), one_of(_words("address", "english_streets"))
    tail = rf"(?:{_area()}|,\s?{_WORD}(?: {_WORD}){{0,3}}){{0,4}}"
    part = rf"(?i:{streets}) (?:{_WORD}|[0-9]{{1,3}}[A-Z]?(?:/[0-9]{{1,3}})?(?![^\W_]))(?: {_WORD}){{0,4}}"
    named = rf"{part}(?:,? {part}){{0,2}}"
    return re.compile(
        rf"[0-9]{_HOUSE_TAIL},?[ ]"
        rf"(?:{named}{tail}|{_WORD}(?: {_WORD}){{1,4}}{_area()}{tail}|{_WORD}(?: {_WORD}){{0,3}} (?:{english})(?![^\W_])\.?{tail})"
    )


@cache
def _number_and_areas() -> re.Pattern[str]:
    """The number of a house, a room or a hamlet, and at least two areas after it."""
    return re.compile(rf"[0-9]{_HOUSE_TAIL}{_area()}(?:{_area()}){{1,3}}")


@cache
def _small_area() -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?i:{one_of(_words('address', 'small_areas'))})\s?\Z")
