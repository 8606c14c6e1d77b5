"""The tables of ``personal.toml``, and patterns made of their words."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def personal_table() -> dict[str, Any]:
    """The parsed ``personal.toml``."""
    return tomllib.loads(files("loren.data.personal").joinpath("personal.toml").read_text(encoding="utf-8"))


def one_of(words: Iterable[str], *, head: str = "") -> str:
    """A pattern for any of the words, the longest that fits: a tree of their letters, so that most places are left after one.

    Args:
        words: what to match; none is empty.
        head: a pattern, mostly a look behind, that is tried after the first letter, where it costs little.
    """
    branches: dict[str, list[str]] = {}
    for word in sorted(words):
        branches.setdefault(word[0], []).append(word[1:])
    return "(?:" + "|".join(re.escape(first) + head + _rest(rests) for first, rests in branches.items()) + ")"


def _rest(rests: list[str]) -> str:
    longer = [rest for rest in rests if rest]
    if not longer:
        return ""
    if len(set(rests)) == 1:
        return re.escape(rests[0])
    tree = one_of(longer)
    return tree if len(longer) == len(rests) else f"{tree}?"
