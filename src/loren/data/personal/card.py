"""Payment cards: 13 to 19 digits of an issuer's range (``personal.toml``) whose check digit is right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from stdnum import luhn

from loren.data.personal.digits import Number
from loren.data.personal.labels import is_attached, label_before
from loren.data.personal.tables import personal_table

_SPLIT = re.compile(r"[2-69][0-9]{3}(?:[0-9]{2})?(?P<sign>[ .-])[0-9]{2,6}(?:(?P=sign)[0-9]{2,6}){1,5}+(?!(?P=sign)?[0-9])")
_BEFORE_SPLIT = re.compile(r"[0-9][ .-]?\Z")
_MAKERS = frozenset({"card", "bank", "bank_maybe"})
"""Kinds of words that say of a number that it is a card's."""


def find_split_cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each card in a folded text whose groups are no card's, two digits among them: 4242 4242 4242 42 42.

    Its first group has the four digits or six that name the issuer, one sign stands between all groups, the check digit is right,
    and the nearest word before it is for a card or a bank: dates behind a code have such groups too.
    """
    for match in _SPLIT.finditer(text):
        start, end = match.span()
        groups = match[0].split(match["sign"])
        sizes = tuple(map(len, groups))
        if min(sizes[1:-1]) > 2 or _BEFORE_SPLIT.search(text, max(0, start - 2), start) or is_attached(text, start, end):
            continue
        label = label_before(text, start)
        if label is not None and label.kind in _MAKERS and is_card(Number(start, end, "".join(groups), sizes, "")):
            yield start, end


def is_card(number: Number) -> bool:
    """Whether a number can be that of a card."""
    digits, sizes = number.digits, number.sizes
    if len(digits) < 13 or (1 < len(sizes) < len(digits) and max(sizes) < 4):
        return False  # 400 000 000 000 000 is an amount
    return len(set(digits)) > 1 and _is_issued(digits) and luhn.is_valid(digits)


def _is_issued(digits: str) -> bool:
    """Whether the digits begin as an issuer's do, and are as many as that issuer uses."""
    return any(first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _issuers()[digits[0]])


@cache
def _issuers() -> dict[str, list[tuple[str, str, frozenset[int]]]]:
    """Digit -> first and last prefix of each range that begins with it, and its lengths."""
    issuers: dict[str, list[tuple[str, str, frozenset[int]]]] = {str(digit): [] for digit in range(10)}
    for row in personal_table()["card"]["issuers"]:
        issuers[row["first"][0]].append((row["first"], row["last"], frozenset(row["lengths"])))
    return issuers
