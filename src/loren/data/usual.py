"""The usual row, read at once: bytes -> conversation for a row without a fault, at a third of the price.

Nine rows of ten have no fault in syntax and shape. They are decoded straight into typed messages, and counting colons proves that
nothing was lost on the way; any doubt, and ``decode`` and ``conversation`` look, who know what is wrong and where. So this file
reports nothing, and must never take what they would complain of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec

from loren.data.conversation import CONTENT_PATHS, GROUP_KEYS, VISIBLE, Conversation, Turn
from loren.data.decode import COLON_ESCAPE
from loren.data.rows import Role
from loren.data.rules import Breaches

_Id = str | int | float | None | msgspec.UnsetType


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Role
    content: str


class _UsualRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: list[_Message]
    id: _Id = msgspec.UNSET
    situation: _Id = msgspec.UNSET
    customer: _Id = msgspec.UNSET
    conversation: _Id = msgspec.UNSET


_decode = msgspec.json.Decoder(_UsualRow).decode
_IDS = ("id", *GROUP_KEYS)
_PAIRS: tuple[Role, ...] = ("user", "assistant") * 32
_ORDERS: tuple[tuple[Role, ...], ...] = (_PAIRS, ("system", *_PAIRS))
"""Who speaks, without and with a system message; more messages are not usual."""
_LARGEST = 2**63
"""A larger id may have more digits than are read."""
_new_turn = cast("Callable[[tuple[int, Role, str, int]], Turn]", partial(tuple.__new__, Turn))  # a third of the call's price


def read_usual(data: bytes) -> Conversation | None:
    """The conversation of a line that breaks no rule of syntax and shape; None where that is not certain."""
    try:
        row = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    messages = row.messages
    system = 1 if messages and messages[0].role == "system" else 0
    count = len(messages)
    if count < system + 2 or (count - system) % 2 or count > len(CONTENT_PATHS) or COLON_ESCAPE in data:
        return None
    # As many colons in the text as keys and colons of what was read: no key stood there twice (see decode.py).
    colons = 1 + 2 * count
    turns: list[Turn] = []
    contents: list[tuple[str, str | dict[str, Any]]] = []
    for place, message, role, path in zip(range(count), messages, _ORDERS[system], CONTENT_PATHS, strict=False):
        content = message.content
        if message.role != role or not VISIBLE(content):
            return None
        colons += content.count(":")
        turns.append(_new_turn((place, role, content, 1)))
        contents.append((path, content))
    groups: dict[str, str] = {}
    for key, value in zip(_IDS, (row.id, row.situation, row.customer, row.conversation), strict=True):
        if value is not msgspec.UNSET:
            if not _is_usual_id(value):
                return None
            colons += 1 + (value.count(":") if type(value) is str else 0)
            if value is not None and key != "id":
                groups[key] = str(value).strip()
    return Conversation(turns, contents, turns[-1], groups, Breaches()) if colons == data.count(b":") else None


def _is_usual_id(value: object) -> bool:
    if type(value) is str:
        return VISIBLE(value) is not None
    return value is None or (type(value) is int and -_LARGEST <= value < _LARGEST)
