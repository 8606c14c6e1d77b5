"""The JSON decoder that keeps what others hide: double keys and numbers without a finite value stay visible in the value.

Python's decoder keeps the last of two equal keys and lets NaN, Infinity, ``1e400`` and integers of any length through. A value
from :data:`DECODER` holds a :class:`DoubleKeys` or a :class:`BadNumber` in these places, for the caller to find and to name.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 64
"""Deepest nesting of lists and objects that is read. A row needs four levels and a target's own; a deeper one is an attack on
whatever reads the file next."""
MAX_DIGITS = 400
"""Longest integer. A double, which most readers use, ends near 309 digits, and Python refuses to print 4,301."""
SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a pair: no character, and no UTF-8 can hold it."""
SPACE = " \t\r\n"
"""What JSON takes for white space, and nothing else."""


class BadNumber:
    """Stands in a decoded value for a number that no finite double holds."""


class DoubleKeys(dict[str, Any]):
    """An object that named keys twice; the last value of each is kept."""

    names: tuple[str, ...] = ()
    """The keys in question, each once."""


def json_type(value: object) -> str:
    """The type of a decoded value in JSON's own words: "a string", "null"."""
    if value is None:
        return "null"
    names = ((bool, "a boolean"), ((int, float, BadNumber), "a number"), (str, "a string"), ((list, tuple), "a list"))
    return next((name for kinds, name in names if isinstance(value, kinds)), "an object")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    double = DoubleKeys(value)
    double.names = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))
    return double


def _integer(digits: str) -> object:
    return int(digits) if len(digits) <= MAX_DIGITS else BadNumber()


def _real(digits: str) -> object:
    number = float(digits)
    return number if abs(number) != float("inf") else BadNumber()


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_real, parse_constant=lambda _: BadNumber(), strict=True
)
"""Decodes one value; :meth:`json.JSONDecoder.raw_decode` tells where it ends."""
