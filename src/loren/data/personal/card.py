"""Payment cards: 13 to 19 digits of an issuer's range (``personal.toml``) whose check digit is right."""

from __future__ import annotations

from functools import cache

from stdnum import luhn

from loren.data.personal.digits import Number
from loren.data.personal.tables import personal_table


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
