"""The usual row, read at once: bytes -> row or conversation where there is no fault, at a third of the price.

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


class UsualRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row as it is written nearly always."""

    messages: list[_Message]
    id: _Id = msgspec.UNSET
    situation: _Id = msgspec.UNSET
    customer: _Id = msgspec.UNSET
    conversation: _Id = msgspec.UNSET


_decode = msgspec.json.Decoder(UsualRow).decode
_MOST_PAIRS = 32
_PAIRS: tuple[Role, ...] = ("user", "assistant")
_ORDERS = frozenset((*first, *_PAIRS * count) for first in ((), ("system",)) for count in range(1, _MOST_PAIRS + 1))
"""Who speaks, without and with a system message; more messages are not usual."""
_LARGEST = 2**63
"""A larger id may have more digits than are read."""
_new_turn = cast("Callable[[tuple[int, Role, str, int]], Turn]", partial(tuple.__new__, Turn))  # a third of the call's price


def decode_usual(data: bytes) -> UsualRow | None:
    """The row of a line that breaks no rule of syntax and shape; None where that is not certain."""
    try:
        row = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    messages = row.messages
    if COLON_ESCAPE in data or tuple([message.role for message in messages]) not in _ORDERS:
        return None
    # As many colons in the text as keys and colons of what was read: no key stood there twice (see decode.py).
    colons = 1 + 2 * len(messages)
    for message in messages:
        content = message.content
        if not ("!" <= content[:1] <= "~" or VISIBLE(content)):
            return None
        colons += content.count(":")
    for value in (row.id, row.situation, row.customer, row.conversation):
        if value is msgspec.UNSET:
            continue
        if type(value) is str:
            if not VISIBLE(value):
                return None
            colons += value.count(":")
        elif value is not None and (type(value) is not int or not -_LARGEST <= value < _LARGEST):
            return None
        colons += 1
    return row if colons == data.count(b":") else None


def conversation_of(row: UsualRow) -> Conversation:
    """A usual row as the later stages see it."""
    turns = [_new_turn((place, message.role, message.content, 1)) for place, message in enumerate(row.messages)]
    contents: list[tuple[str, str | dict[str, Any]]] = [
        (path, message.content) for path, message in zip(CONTENT_PATHS, row.messages, strict=False)
    ]
    groups: dict[str, str] = {}
    for key, value in zip(GROUP_KEYS, (row.situation, row.customer, row.conversation), strict=True):
        if value is not None and value is not msgspec.UNSET:
            groups[key] = str(value).strip()
    return Conversation(turns, contents, turns[-1], groups, Breaches())
