"""``secrets.toml``, read once and compiled."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that is known by its form."""

    kind: str
    """With its article: "a GitHub token"."""
    hint: re.Pattern[str]
    """Matches in every text with such a token, and is quickly said no by."""
    pattern: re.Pattern[str]
    """Its group ``value``, or without one the whole match, is the secret; a group ``header`` must decode."""


@dataclass(frozen=True, slots=True)
class Context:
    """A secret whose form says too little without the words before it."""

    kind: str
    before: re.Pattern[str]
    """The words, in small letters."""
    value: re.Pattern[str]
    """Matches from the words' end to the secret, its group ``value``."""


@cache
def tokens() -> tuple[Token, ...]:
    """All secrets with a form of their own."""
    return tuple(
        # Neither end lies in a longer word; the signs count at the left only, where a sentence can't have put them.
        Token(
            entry["kind"],
            re.compile(entry["hint"]),
            re.compile(rf"(?<![A-Za-z0-9_-])(?:{entry['pattern']})(?![A-Za-z0-9])"),
        )
        for entry in secrets_table()["token"]
    )


@cache
def contexts() -> tuple[Context, ...]:
    """All secrets that are known by the words before them."""
    left, right = "(?<![A-Za-z0-9/+_-])", "(?![A-Za-z0-9/+=_-])"
    return tuple(
        Context(
            entry["kind"],
            re.compile(entry["before"]),
            re.compile(rf"[^\n]{{0,40}}?[:=\s\"'`]{left}(?P<value>{entry['value']}){right}"),
        )
        for entry in secrets_table()["context"]
    )


def one_search(hints: Iterable[str]) -> re.Pattern[str]:
    """A pattern that finds any of the hints, those of one first character together: a text costs a comparison a character."""
    rests: dict[str, list[str]] = {}
    for hint in hints:
        first = hint[: 2 if hint.startswith("\\") else 1]
        rests.setdefault(first, []).append(hint[len(first) :])
    return re.compile("|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in rests.items()))


def hints() -> Iterator[str]:
    """A pattern for each form and word of the table; a text without a match of one holds no secret of the table."""
    yield from words("hints")
    for entry in secrets_table()["token"]:
        yield entry["hint"]


def words(key: str) -> tuple[str, ...]:
    """A list of ``[words]``."""
    return tuple(secrets_table()["words"][key])


def any_of(chosen: Iterable[str]) -> str:
    """A pattern of words, the longest first: composed or not, with any sign or none for a space."""
    forms = {unicodedata.normalize(form, word) for word in chosen for form in ("NFC", "NFD")}
    return "|".join(re.escape(word).replace("\\ ", "[ _-]?") for word in sorted(forms, key=len, reverse=True))


@cache
def secrets_table() -> Mapping[str, Any]:
    """The parsed ``secrets.toml``."""
    return tomllib.loads(files("loren.data.secrets").joinpath("secrets.toml").read_text(encoding="utf-8"))
