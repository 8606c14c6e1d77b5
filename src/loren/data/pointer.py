"""JSON pointers (RFC 6901) that are safe to print.

A key of a row is text from outside, and may be a customer's. A key is shown only when it looks like the name of a field; any
other is shown as ``*``.

A pointer continues into a target, as if its JSON stood in the row in place of the string that holds it:
``/messages/1/content/answer`` is the key ``answer`` of the target in message 1, whether ``content`` is a string or an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import cast

HIDDEN = "*"
"""Stands for a key that may hold a customer's text."""

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,31}[0-9]{0,2}\Z")
_LONGEST_NAME = 34


def safe_name(key: str) -> str:
    """``key`` where it looks like the name of a field, else ``*``."""
    return _short_name(key) if len(key) <= _LONGEST_NAME else HIDDEN


@lru_cache(maxsize=1024)
def _short_name(key: str) -> str:
    """A file has few keys, which come again in every row."""
    return key if _FIELD_NAME.match(key) else HIDDEN


def child(path: str, token: str | int) -> str:
    """The pointer of an item (an int) or a key (a str) of the value at ``path``."""
    return f"{path}/{token if isinstance(token, int) else safe_name(token)}"


def walk(path: str, root: object) -> Iterator[tuple[str, object, int]]:
    """Yield every value in a decoded one, itself first, each with its pointer and its depth (1 for the root).

    It neither recurses nor copies: a hostile value is as deep as it likes, or holds millions of items.
    """
    yield path, root, 1
    frames = [(path, _items(root))]
    while frames:
        path, items = frames[-1]
        for token, value in items:
            place = child(path, token)
            yield place, value, len(frames) + 1
            if isinstance(value, (dict, list)):
                frames.append((place, _items(cast("object", value))))
                break
        else:
            frames.pop()


def _items(value: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, dict):
        return iter(cast("dict[str | int, object]", value).items())
    return iter(enumerate(cast("list[object]", value))) if isinstance(value, list) else iter(())
