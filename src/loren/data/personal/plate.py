"""Licence plates: Vietnam's shapes, and any other right after a word for one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from loren.data.personal.labels import nearest_label
from loren.data.personal.tables import one_of, personal_table

PLATE_TAIL = (
    r"(?<![^\W_].)(?<![^\W_][.,_/-].)[0-9][ ]?-?[ ]?[A-Za-z\u0110\u0111]{1,2}[0-9]?[ ]?[-.]?[ ]?"
    r"(?:[0-9]{3}\.[0-9]{2}|[0-9]{4,5})(?![^\W_]|[.,][0-9])"
)
"""Pattern of what follows the first digit of Vietnam's: 29A-123.45, 59-X1 234.56, 30F 12345."""
_PLATE = re.compile("[1-9]" + PLATE_TAIL, re.DOTALL)


def find_plates(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each licence plate in a folded text.

    With a dot between its last five digits a plate is known by its shape; without one a word near it must say so.
    """
    known: set[int] = set()
    for match in _PLATE.finditer(text):
        plate = match[0]
        if plate[:2] in _provinces():
            dotted = plate[-3] == "." and plate == plate.upper()
            if dotted or nearest_label(text, *match.span()).kind == "plate":
                known.update(range(*match.span()))
                yield match.span()
    if "plate" in text or "registration" in text:
        for match in _foreign().finditer(text):
            if match.start("plate") not in known:
                yield match.span("plate")


@cache
def _provinces() -> frozenset[str]:
    return frozenset(personal_table()["plate"]["provinces"])


@cache
def _foreign() -> re.Pattern[str]:
    """A word for a plate, and letters with digits right after it."""
    table = personal_table()["plate"]
    introduction = rf"(?<!\w)(?i:{one_of(table['words'])})(?: (?:{one_of(table['fillers'])})){{0,2}}[ :#]{{1,3}}"
    plate = r"(?=[A-Z -]{0,4}[0-9])(?=[0-9 -]{0,4}[A-Z])[A-Z0-9]{2,4}[ -]?[A-Z0-9]{2,4}"
    return re.compile(rf"{introduction}(?P<plate>{plate})(?!\w)")
