"""Secrets in a text: where they are, never what they are. Pure.

Most are known by their form (``secrets.toml``); passwords and keys without one are known by the words before them, and then they
must look like one: entropy alone calls every order id a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from typing import NamedTuple

from loren.data.fold import fold, is_plain
from loren.data.rules import Breach
from loren.data.secrets.shape import is_documentation, is_jwt_header, is_password, is_placeholder, is_random
from loren.data.secrets.table import any_of, contexts, hints, one_search, tokens, words
from loren.data.together import Together


class SecretFinding(NamedTuple):
    """A secret at a place; its value is not kept."""

    rule: str
    """Name of the rule that it breaks."""
    start: int
    """0-based, in code points of the text as it was given."""
    end: int
    """One after the last."""
    kind: str
    """What it is, with its article."""


_Span = tuple[str, int, int, str]
"""Rule, start, end and kind, in the folded text."""

_KEY_MARK = re.compile(
    r"-----(?P<what>BEGIN|END) (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----|(?P<age>AGE-SECRET-KEY-1[A-Z0-9]{30,80})"
)
_KEY_BODY = re.compile(
    r"(?:(?:(?:\s|\\[nr])*[A-Za-z0-9+/]{16,100}={0,2}(?![A-Za-z0-9]))++(?:(?:\n|\\n)[A-Za-z0-9+/]{1,100}={0,2})?)?"
)
_MAX_KEY = 16_384

# A password may hold an at sign: the last one before a slash ends it.
_LOGIN = re.compile(r"://(?<=[a-z0-9]://)[^\s/:@\"'<>]{0,128}:(?P<value>[^\s/\"'<>]{1,200})@(?=[\w\[])")
_IS_WEB = re.compile(r"(?:https?|s?ftps?|wss?)\Z")

_HINTS = (
    r"-(?:(?<=-----)BEGIN |(?<=AGE-)SECRET-KEY)",
    r":(?=//[^\s/:@]{0,128}:[^\s/]{1,200}@)",
)
_QUOTED = r"\"(?P<double>[^\"\n]{4,200})\"|'(?P<single>[^'\n]{4,200})'"
_PLAIN = r"[\"'`“*]{0,2}(?P<plain>[^\s\"'`“”;<]{6,200})"
_PLAIN_KEY = r"[\"'`“*]{0,2}(?P<plain>[a-z0-9+/_.~-]{20,200}={0,2})"
_REST = re.compile(r"[^\s\"'`“”;<]*")
_TRAILING = ".,;:?!~)]}…*"


def may_hold_secret(text: str) -> bool:
    """Whether a text must be searched; False is certain."""
    return bool(_prefilter().search(text if is_plain(text) else fold(text).text))


def secret_suspects(together: Together) -> set[int]:
    """The rows, all of them plain, that must be searched."""
    return together.rows_with(_prefilter().search)


def secret_breaches(path: str, text: str) -> Iterator[Breach]:
    """Each secret as a breach: the check of ``text_checks.py``."""
    for finding in find_secrets(path, text):
        place = f"characters {finding.start + 1} to {finding.end} of the text"
        yield Breach(finding.rule, path, f"expected no secret, found {finding.kind} at {place}", (finding.start, finding.end))


def find_secrets(path: str, text: str) -> list[SecretFinding]:
    """All secrets in a text, in the order of their places, none within another.

    Args:
        path: JSON pointer of the text; the value of a key such as ``password`` is one by its place.
        text: as it stands in the row.
    """
    folded = fold(text)
    found = list(_by_place(path, folded.text))
    if _prefilter().search(folded.text):
        for detect in (_private_keys, _tokens, _contexts, _logins, _passwords, _keys):
            found += detect(folded.text)
    kept: list[SecretFinding] = []
    end = 0
    # Of those that overlap, the one that begins first, and of these the longest: nothing of a secret is left outside.
    for rule, first, last, kind in sorted(found, key=lambda item: (item[1], -item[2])):
        if first >= end:
            kept.append(SecretFinding(rule, *folded.span(first, last), kind))
            end = last
    return kept


def _private_keys(text: str) -> Iterator[_Span]:
    marks = list(_KEY_MARK.finditer(text))
    for mark, following in zip_longest(marks, marks[1:]):
        if mark["what"] == "END":
            continue
        end = mark.end()
        if following is not None and following["what"] == "END" and following.start() - end <= _MAX_KEY:
            end = following.end()
        elif not mark["age"] and (body := _KEY_BODY.match(text, end)):
            end = body.end()
        yield "secret-private-key", mark.start(), end, "a private key"


def _tokens(text: str) -> Iterator[_Span]:
    for token in tokens():
        if not token.hint.search(text):
            continue
        for match in token.pattern.finditer(text):
            start, end = match.span("value" if "value" in match.re.groupindex else 0)
            has_header = "header" in match.re.groupindex
            if is_jwt_header(match["header"]) if has_header else not is_placeholder(text[start:end]):
                yield "secret-token", start, end, token.kind


def _contexts(text: str) -> Iterator[_Span]:
    small = _small(text)
    for context in contexts():
        for words_before in context.before.finditer(small):
            match = context.value.match(text, words_before.end())
            if match and is_random(match["value"]):
                yield "secret-token", *match.span("value"), context.kind


def _logins(text: str) -> Iterator[_Span]:
    for match in _LOGIN.finditer(text):
        if not is_documentation(match["value"]):
            is_web = _IS_WEB.search(text, max(0, match.start() - 8), match.start())
            kind = "a password in a web address" if is_web else "a password in a connection string"
            yield "secret-login", *match.span("value"), kind


def _passwords(text: str) -> Iterator[_Span]:
    place, small, assignment = 0, _small(text), _assignment(_PLAIN, "password", "password_short")
    while match := assignment.search(small, place):
        group = match.lastgroup or "plain"
        place, end = match.span(group)
        is_cut = end - place == _MAX_VALUE
        if group == "plain":
            end = place + len(text[place:end].rstrip(_TRAILING))
        if is_password(text[place:end], assigned=group != "plain" or "=" in match["connector"]):
            end = _end_of_word(text, match.end()) if is_cut else end
            yield "secret-password", place, end, "a password"
            place = end


def _keys(text: str) -> Iterator[_Span]:
    place, small, assignment = 0, _small(text), _assignment(_PLAIN_KEY, "key")
    while match := assignment.search(small, place):
        place, end = match.span(match.lastgroup or "plain")
        is_cut = end - place >= _MAX_VALUE
        end = place + len(text[place:end].rstrip(_TRAILING))
        if end - place >= _MIN_KEY and is_random(text[place:end]):
            end = _end_of_word(text, match.end()) if is_cut else end
            yield "secret-key", place, end, "a key that looks random"
            place = end


def _small(text: str) -> str:
    """The text in small letters, each in its place."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)


def _by_place(path: str, text: str) -> Iterator[_Span]:
    """The whole text, where its key in an object says that it is a secret and it looks like one."""
    name = path.rpartition("/")[2]
    value = text.strip()
    if not name or not 4 <= len(value) <= _MAX_VALUE or any(map(str.isspace, value)):
        return
    start = text.index(value)
    if _names("password", "password_short").search(name):
        if is_password(value, assigned=True):
            yield "secret-password", start, start + len(value), "a password"
    elif _names("key").search(name) and len(value) >= _MIN_KEY and is_random(value):
        yield "secret-key", start, start + len(value), "a key that looks random"


_MAX_VALUE, _MIN_KEY = 200, 20


def _end_of_word(text: str, place: int) -> int:
    """Where the value that was cut at ``place`` really ends."""
    rest = _REST.match(text, place)
    return rest.end() if rest else place


@cache
def _prefilter() -> re.Pattern[str]:
    return one_search([*hints(), *_HINTS])


@cache
def _names(*lists: str) -> re.Pattern[str]:
    """Names of keys that end with a word of these lists."""
    return re.compile(rf"(?:{any_of(word for name in lists for word in words(name))})s?\Z", re.IGNORECASE)


@cache
def _assignment(plain: str, *lists: str) -> re.Pattern[str]:
    """A word of the lists, up to four more ("mật khẩu wifi của em là"), a connector and the value, in small letters."""
    long = any_of(word for name in lists if not name.endswith("short") for word in words(name))
    # A short one begins where a word begins; said after the letters, so that the search skips to these.
    short = [word for name in lists if name.endswith("short") for word in words(name)]
    word = "|".join([long, *(rf"{each}(?<![^\W_]{each})" for each in short)])
    gap = r"[\"'`\])*]{0,3}(?:[ _]{1,2}[^\s\d:=,.;!?\"'()]{1,12}){0,4}?\s{0,3}"
    connector = rf"(?P<connector>(?<=\s)(?:{any_of(words('connectors'))})(?:\s?:|(?=\s))|:=|={{1,2}}>?|:)"
    return re.compile(rf"(?:{word}){gap}{connector}\s{{0,3}}(?:{_QUOTED}|{plain})")
