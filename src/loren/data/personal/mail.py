"""E-mail addresses: a text is walked outwards from each at sign."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from loren.data.personal.tables import personal_table

_LOCAL_SIGNS = frozenset(".!#$%&'*+-/=?^_`{|}~")
_TOP_LEVEL = re.compile(r"(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63})\Z", re.IGNORECASE)
_MAX_LOCAL, _MAX_DOMAIN = 64, 255
"""Bounds of RFC 5321, in characters."""
_MAX_LOGIN = 300
_LOGIN = re.compile(r"://[^\s/?#]{0,256}\Z")
"""Before an at sign: an address of a server begins there, and what follows is a name or a password, and then its host."""
_PASSWORD = re.compile(r"://[^\s/:@]{0,128}:")
_REMOTE_PATH = re.compile(r":[\w~/.]")
_MASK = "**"


def find_mails(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each e-mail address in a folded text.

    A walk ends at the next at sign, so the work grows with the text's length only.
    """
    at = text.find("@")
    while at >= 0:
        start, end = _local_start(text, at), _domain_end(text, at)
        if start < at and end > at + 1 and _MASK not in text[start:at] and not _is_login(text, start, at, end):
            yield start, end
        at = text.find("@", at + 1)


def _local_start(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start < _MAX_LOCAL and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_SIGNS):
        start -= 1
    while start < at and (text[start] in _LOCAL_SIGNS and text[start] != "_"):
        start += 1  # `'name@...` and `--name@...`: the signs belong to the sentence
    return start


def _domain_end(text: str, at: int) -> int:
    """The end of the domain after the at sign; ``at`` where there is none."""
    end = at + 1
    while end < len(text) and end - at <= _MAX_DOMAIN and (text[end].isalnum() or text[end] in ".-"):
        end += 1
    labels = text[at + 1 : end].split(".")
    # The sentence may go on ("...@shop.vn.Cảm ơn", "...@shop.vn..."): the last label that can be a top-level one ends it.
    while len(labels) > 1 and not _TOP_LEVEL.match(labels[-1]):
        labels.pop()
    if len(labels) < 2 or not all(labels) or labels[-1].casefold() in _words("file_endings"):
        return at
    return at + 1 + len(".".join(labels))


def _is_login(text: str, start: int, at: int, end: int) -> bool:
    """Whether the name before an at sign is that of an account on a server, or the end of its password.

    ``postgres://app:password@host`` (whose password is a secret, and told as one), ``ssh://git@host`` and, of the accounts that
    stand for no person, ``git@host:folder/name.git``.
    """
    login = _LOGIN.search(text, max(0, at - _MAX_LOGIN), at)
    if login:
        scheme = re.search(r"[a-z0-9+.-]{1,20}\Z", text[max(0, login.start() - 20) : login.start()].casefold())
        return bool(_PASSWORD.match(login[0])) or (scheme is not None and scheme[0] in _words("login_schemes"))
    return text[start:at].casefold() in _words("accounts") and bool(_REMOTE_PATH.match(text, end))


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(personal_table()["mail"][name])
