"""Numbers that are a person's where a word near them says so: identity number, bank account, tax code, passport.

An identity number is told by its shape too: province, century and sex, year of birth. No digit of it checks the others, so a shape
alone is a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache

from stdnum.vn import mst

from loren.data.personal.card import is_card
from loren.data.personal.digits import Number, find_numbers
from loren.data.personal.labels import Label, is_attached, label_after, label_before, nearest_label
from loren.data.personal.tables import personal_table

_MOBILE = re.compile(r"(?:0|84)[35-9][0-9]{8}\Z")
_SIGNED = re.compile(r"(?<!\S)[+\-]\Z")
_PASSPORT = re.compile(r"[0-9]{6}(?:(?<=[A-Za-z]{2}.{6})[0-9]?|(?<=[A-Za-z].{6})[0-9]{1,2})(?![^\W_])")
_NEAR = 20
"""How near a doubtful word for an account must stand."""
_BESIDE = 6
"""So near a word for an identity number, digits in threes are one and no amount."""
_GROUPINGS = frozenset({(12,), (3, 3, 3, 3), (4, 4, 4), (3, 9), (3, 3, 6), (6, 6)})
"""How people group the digits of a CCCD, where nothing says that it is one."""


def find_numbered(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield rule and span of the cards and of a person's numbers in a folded text, in order, without overlap."""
    taken, place, before = 0, -1, None
    for number in find_numbers(text):
        if number.start < taken or is_attached(text, number.start, number.end):
            continue
        if number.start != place:  # several numbers begin at a place
            place, before = number.start, label_before(text, number.start)
        if is_card(number) and not (before and before.kind == "thing" and len(number.sizes) == 1):
            rule = "pii-card"
        else:
            rule = _rule(number, before or label_after(text, number.end))
        if rule is not None:
            yield rule, number.start, number.end
            taken = number.end


def _rule(number: Number, label: Label) -> str | None:
    size = len(number.digits)
    is_said = label.kind == "id" and len(label.between) <= _BESIDE
    if (_is_amount(number) and not is_said) or label.kind in {"thing", "amount", "phone", "card"} or len(set(number.digits)) < 3:
        return None  # fewer than three different digits stand for a number: 000000000000
    if label.kind == "id" or (label.kind == "tax" and size == 12):
        return "pii-id-number" if size == 9 or (size == 12 and number.digits[0] in "0123") else None
    if label.kind == "tax":
        return "pii-tax-code" if size in {10, 13} and mst.is_valid(number.digits) else None
    if label.kind in {"bank", "bank_maybe"}:
        return "pii-bank-account" if _is_account(number, label) else None
    if label.kind == "passport":
        return "pii-passport" if number.sizes == (9,) else None
    return "pii-id-shape" if _has_identity_shape(number) else None


def _is_account(number: Number, label: Label) -> bool:
    """Whether digits near a word for an account are its number, rather than a sum that went in or out of it."""
    digits, near = number.digits, len(label.between) <= _NEAR
    if digits.endswith("000") and digits[0] != "0":
        return False
    if label.kind == "bank":
        return near or not _MOBILE.match(digits)
    return near and len(digits) >= 8 and not _SIGNED.search(label.between)


def _is_amount(number: Number) -> bool:
    """Whether the groups are those of an amount: 1.250.000."""
    sizes = number.sizes
    grouped = len(sizes) > 1 and sizes[0] <= 3 and set(sizes[1:]) == {3} and bool(number.separators)
    return grouped and number.digits[0] != "0"


def _has_identity_shape(number: Number) -> bool:
    """Whether twelve digits name a province, and a year of birth that a living person can have."""
    digits = number.digits
    if number.sizes not in _GROUPINGS or digits[:3] not in _provinces():
        return False
    born = 1900 + 100 * (int(digits[3]) // 2) + int(digits[4:6])
    return 1905 <= born <= date.today().year


@cache
def _provinces() -> frozenset[str]:
    return frozenset(personal_table()["id"]["provinces"])


def find_passports(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each number in a folded text that is written on to one or two letters, near a word for a passport."""
    for match in _PASSPORT.finditer(text):
        start = match.start()
        while match.start() - start < 2 and text[start - 1 : start].isalpha():
            start -= 1
        if not text[start - 1 : start].isalnum() and nearest_label(text, start, match.end()).kind == "passport":
            yield start, match.end()
