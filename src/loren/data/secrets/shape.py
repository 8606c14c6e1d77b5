"""What a value looks like: random, chosen by a person, or standing where a secret would. Pure."""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode
from collections import Counter

from loren.data.secrets.table import words

_MIN_DISTINCT = 6
"""A token that is written with fewer characters, or mostly with one, is drawn, not made: ghp_xxxxxxxx."""
_MIN_ENTROPY, _MIN_HEX_ENTROPY, _MIN_MIXED_ENTROPY = 3.5, 3.0, 3.8
"""Bits a character. Random hex has 3.5 on average and seldom less than 3.0; words joined by signs reach 3.5 too, so that a text of
one case also needs a long run without a sign."""
_LONG_RUN = 16
_MIN_PASSWORD = 6
_MAX_PIN = 12
_NAME_OF_ONE = re.compile("pass|pwd|secret", re.IGNORECASE)

_RUN = re.compile(r"[A-Za-z0-9]+")
_HEX = re.compile(r"[0-9a-fA-F-]+\Z")
_VERSION_OR_DATE = re.compile(r"v?[0-9]+(?:[./:-][0-9]+)+[a-z]?\Z", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.|[\w.+-]+@[\w-]+(?:\.[\w-]+)+\Z|[\w-]+(?:\.[\w-]+)+/|/)", re.IGNORECASE)
_CALL = re.compile(r"[A-Za-z_][\w.]*[(\[]")
_CODE_NAME = re.compile(r"[$%@]?[A-Za-z_][A-Za-z_]*(?:\.[A-Za-z_]\w*)+\Z|\$\w+\Z|%\w+%\Z")
_INNER_CAPITAL = re.compile(r"[a-z][A-Z]")
_INNER_SIGN = re.compile(r"[^\W_][@#$%^&*!~]+[^\W_]")
_LOOKED_AT = 40
"""Characters of a password that are looked at, so that the quick look at a row can be as short-sighted."""


def is_placeholder(value: str) -> bool:
    """Whether a value stands where a secret would: an example, a variable, dots."""
    small = value.casefold()
    counts = Counter(value)
    is_drawn = len(counts) < min(_MIN_DISTINCT, len(value) // 2) or max(counts.values(), default=0) > max(8, len(value) // 3)
    return is_drawn or any(word in small for word in words("placeholders"))


def is_documentation(value: str) -> bool:
    """Whether a password in an address is one of those that pages of documentation write: user:password@host."""
    return value.casefold() in words("documentation") or is_placeholder(value)


def is_jwt_header(part: str) -> bool:
    """Whether the first part of a token decodes to a JSON object that names its algorithm."""
    try:
        header: object = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def is_random(value: str) -> bool:
    """Whether a value of 20 and more characters was drawn by a machine."""
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value) or is_placeholder(value):
        return False
    if _HEX.match(value):
        return entropy(value) >= _MIN_HEX_ENTROPY
    if entropy(value) < _MIN_ENTROPY:
        return False
    longest = max(map(len, _RUN.findall(value)), default=0)
    is_mixed = any(c.islower() for c in value) and any(c.isupper() for c in value) and entropy(value) >= _MIN_MIXED_ENTROPY
    return longest >= _LONG_RUN or (is_mixed and longest >= _LONG_RUN // 2)


def is_password(value: str, *, assigned: bool) -> bool:
    """Whether a person's password may look like this.

    Args:
        value: without quotes and without the sentence's signs at its end.
        assigned: whether it was written in quotes or right after an equals sign, as in code and configurations.
    """
    head = value[:_LOOKED_AT]
    has_digit, has_letter = any(c.isdigit() for c in head), any(c.isalpha() for c in head)
    if value.isdigit():
        is_like_one = len(value) <= _MAX_PIN
    else:
        is_like_one = (has_digit and (has_letter or assigned)) or bool(_INNER_SIGN.search(head))
        is_like_one = is_like_one or (assigned and bool(_INNER_CAPITAL.search(head)) and not _NAME_OF_ONE.search(value))
    return is_like_one and len(value) >= _MIN_PASSWORD and not _is_other(value)


def _is_other(value: str) -> bool:
    """Whether a value is a placeholder, an address, a version, a date, or a name in code."""
    return (
        is_placeholder(value)
        or any(pattern.match(value) is not None for pattern in (_VERSION_OR_DATE, _ADDRESS, _CALL, _CODE_NAME))
        or value.casefold() in words("documentation")
    )


def entropy(value: str) -> float:
    """Shannon's entropy of the characters, in bits a character."""
    counts = Counter(value).values()
    return math.log2(len(value)) - sum(count * math.log2(count) for count in counts) / len(value)
