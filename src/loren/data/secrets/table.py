"""``secrets.toml``, read once and compiled."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that is known by its form, or by the words before it."""

    kind: str
    """With its article: "a GitHub token"."""
    pattern: re.Pattern[str]
    """Its group ``value``, or without one the whole match, is the secret."""
    needs_random: bool = False
    """Whether the form alone says too little."""


@cache
def tokens() -> tuple[Token, ...]:
    """All tokens, those with a form of their own first."""
    table = secrets_table()
    found = [
        # Neither end lies in a longer word; the signs count at the left only, where a sentence can't have put them.
        Token(entry["kind"], re.compile(rf"(?<![A-Za-z0-9_-])(?:{entry['pattern']})(?![A-Za-z0-9])"))
        for entry in table["token"]
    ]
    for entry in table["context"]:
        value = rf"(?<![A-Za-z0-9/+_-])(?P<value>{entry['value']})(?![A-Za-z0-9/+=_-])"
        found.append(Token(entry["kind"], re.compile(rf"(?i:{entry['before']})[^\n]{{0,40}}?[:=\s\"'`]{value}"), needs_random=True))
    return tuple(found)


@cache
def hints() -> str:
    """The pattern that every text with a token matches: it costs a comparison a character."""
    return "|".join(entry["hint"] for entry in secrets_table()["token"])


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
