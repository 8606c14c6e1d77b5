"""Changing strings in a JSON text while all else stays: numbers, spaces, the order of keys, other strings' escapes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from loren.data.pointer import child

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]', re.DOTALL)


class JsonString(NamedTuple):
    """A string of a JSON text at its place."""

    path: str
    """Its pointer, safe to print; of a key, that of its object."""
    is_key: bool
    value: str
    start: int
    end: int


def strings_in(text: str, path: str = "") -> Iterator[JsonString]:
    """Yield every string of a valid JSON text in order, keys too; the root is at ``path``."""
    # Of each open list or object: its pointer, and its index, or its last key.
    frames: list[tuple[str, int | str | None]] = []
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in {"{", "["}:
            frames.append((_place(path, frames), None if sign == "{" else 0))
        elif sign in {"}", "]"}:
            frames.pop()
        elif sign == ",":
            place, step = frames[-1]
            frames[-1] = (place, step + 1 if isinstance(step, int) else None)
        elif sign != ":":
            value: str = json.loads(sign)
            is_key = bool(frames) and frames[-1][1] is None
            yield JsonString(frames[-1][0] if is_key else _place(path, frames), is_key, value, *token.span())
            if is_key:
                frames[-1] = (frames[-1][0], value)


def _place(path: str, frames: list[tuple[str, int | str | None]]) -> str:
    if not frames:
        return path
    place, step = frames[-1]
    return place if step is None else child(place, step)


def edit_strings(text: str, edit: Callable[[JsonString], str | None], path: str = "") -> str:
    """A JSON text with the strings for which ``edit`` returns another; it must return None for keys."""
    pieces: list[str] = []
    done = 0
    for found in strings_in(text, path):
        changed = edit(found)
        if changed is not None and changed != found.value:
            # As the file writes its strings: escaped where they were, plain where they were not.
            is_escaped = text[found.start : found.end].isascii() and not found.value.isascii()
            pieces += [text[done : found.start], json.dumps(changed, ensure_ascii=is_escaped)]
            done = found.end
    return "".join([*pieces, text[done:]])
