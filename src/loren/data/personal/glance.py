"""One look at all texts of a row: may they hold personal data at all? It is what most rows cost, a few microseconds.

One search walks from one suspect character to the next (at signs, invisible and foreign characters, digits, first letters of
surnames) and tries what may follow there, without a step of Python.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import groupby

from loren.data.fold import ORDINARY
from loren.data.personal.digits import BETWEEN, SIGNS, SPACES
from loren.data.personal.iban import IBAN_TAIL
from loren.data.personal.labels import holds_label, not_after_thing, unattached
from loren.data.personal.names import address_starts, name_starts
from loren.data.personal.plate import PLATE_TAIL
from loren.data.personal.spelled import may_spell, spelling_rows
from loren.data.together import Together

_MORE = f"(?:{BETWEEN}[0-9oO])"
_LONG = (
    f"(?<=8){BETWEEN}4{_MORE}{{9}}",
    f"(?<=1){BETWEEN}[89]{BETWEEN}0{BETWEEN}0{_MORE}{{4}}",
    r"(?<=\+.)|(?<=[+(][ +(].)",
    r"(?<=[2-9])[0-9]{2}[^0-9]{1,3}[2-9][0-9]{2}[^0-9]{1,3}[0-9]{4}",
    rf"(?<=[oO].)(?<![^\W_][oO].){_MORE}{{8}}",
    r"(?<=[2-69])(?:[ \t\u00a0]?[.\-_·\u2010-\u2015\u2212]?[ \t\u00a0]?[0-9]){12}",
)
"""What follows the first digit of a number of eight or more: other phone numbers than those with a 0, and cards."""
_LETTERED = (
    r"(?<![^\W_]..)[0-9]{6,7}(?![^\W_])",
    r"(?<=[A-Za-z]{2}.)(?<![^\W_]...)[0-9]{5,6}(?![^\W_])",
)
"""What follows the first digit of a passport's number, behind one letter or two; a word near it must say that it is one."""
_GROUPS = r"[0-9]{5}|[0-9]{2}[ -][0-9]{3,4}[ -]?[0-9]|[0-9]{3}[ .-][0-9]{3}|[0-9]{2}\.[0-9]{3}\.[0-9]{3}"
"""What follows the first digit of a number that a word near it must explain."""

_WORDS = re.compile("name|plate")


def may_hold_pii(text: str) -> bool:
    """Whether a text must be searched; False is certain."""
    doubt = False
    for suspect in _suspects().finditer(text):
        if suspect.lastgroup is None:
            return True
        doubt = True
    return (doubt and holds_label(text)) or may_spell(text) or bool(_WORDS.search(text))


def pii_suspects(together: Together) -> set[int]:
    """The rows that must be searched: those in which something is suspect, after a look at each of them."""
    found = together.rows_with(_suspects().search) | spelling_rows(together)
    if "name" in together.text or "plate" in together.text:
        found |= together.rows_with(_WORDS.search)
    return {row for row in found if may_hold_pii(together.row(row))}


@cache
def _suspects() -> re.Pattern[str]:
    """A digit, a surname's first letter, or anything else that is out of the ordinary, and what must follow it."""
    initials, name = name_starts()
    free, no_thing = unattached(), not_after_thing()
    zero = rf"(?<=0)(?!(?!084)[0-9]{{12}})(?={_MORE}{{9}}){free}(?:(?![0-9]{{9}})|{no_thing})"
    numbers = "|".join((
        "[\ufe0f\u20e3]",  # a digit that is drawn as a key
        rf"(?=[0-9oO{SPACES}{SIGNS}]{{7}})(?:{zero}|{'|'.join(_LONG)})",
        IBAN_TAIL,
        rf"(?<=[1-9]){PLATE_TAIL}",
        address_starts(),
        rf"(?P<lettered>(?<=[A-Za-z].)(?:{'|'.join(_LETTERED)}))",
        rf"(?P<doubt>(?={_GROUPS})(?<![#@&=].)(?<![^\W\d_][-_/].){free}{no_thing})",
    ))
    return re.compile(
        rf"[^{_without(f'0-9@{initials}')}](?:(?<=[0-9])(?<![0-9].)(?:{numbers})"
        rf"|(?<=[{initials}])(?<![^\W_].){name}|(?<=[^0-9{initials}]))",
        re.DOTALL,
    )


def _without(suspects: str) -> str:
    """The ordinary characters but some, as the inside of a character class; a picture may be followed by its variation sign."""
    chosen = re.compile(f"(?![{suspects}])[{ORDINARY}\ufe0f]+")
    pictures = "\U0001f300-\U0001faff"
    plane = "".join(map(chr, range(0x20))) + "".join(map(chr, range(0x20, 0xD800))) + "\ufe0f"
    ranges: list[str] = []
    for _, run in groupby(enumerate(filter(chosen.match, plane)), key=lambda item: ord(item[1]) - item[0]):
        characters = [character for _, character in run]
        ranges.append(f"{re.escape(characters[0])}-{re.escape(characters[-1])}")
    return "".join(ranges) + pictures
