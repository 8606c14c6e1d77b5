"""The usual row, read at once: bytes -> conversation for a row without a fault, at a third of the price.

Nine rows of ten have no fault in syntax and shape. They are decoded straight into typed messages, and counting colons proves that
nothing was lost on the way; any doubt, and ``decode`` and ``conversation`` look, who know what is wrong and where. So this file
reports nothing, and must never take what they would complain of.
"""

from __future__ import annotations

import msgspec

from loren.data.conversation import BLANK, GROUP_KEYS, Conversation, Role, Turn, content_path
from loren.data.decode import COLON_ESCAPE
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
_SPEAKERS: tuple[Role, Role] = ("user", "assistant")
_LARGEST = 2**63
"""A larger id may have more digits than are read."""


def read_usual(data: bytes) -> Conversation | None:
    """The conversation of a line that breaks no rule of syntax and shape; None where that is not certain."""
    try:
        row = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    messages = row.messages
    system = 1 if messages and messages[0].role == "system" else 0
    if len(messages) < system + 2 or (len(messages) - system) % 2 or COLON_ESCAPE in data:
        return None
    # As many colons in the text as keys and colons of what was read: no key stood there twice (see decode.py).
    colons = 1 + 2 * len(messages)
    turns: list[Turn] = []
    contents: list[tuple[str, str | dict[str, object]]] = []
    for place, message in enumerate(messages):
        role, content = message.role, message.content
        if role != (_SPEAKERS[(place - system) & 1] if place >= system else "system") or not content.strip(BLANK):
            return None
        colons += content.count(":")
        turns.append(Turn(place, role, content))
        contents.append((content_path(place), content))
    groups: dict[str, str] = {}
    for key in _IDS:
        value = getattr(row, key)
        if value is not msgspec.UNSET:
            if not _is_usual_id(value):
                return None
            colons += 1 + (value.count(":") if type(value) is str else 0)
            if value is not None and key != "id":
                groups[key] = str(value).strip()
    return Conversation(turns, contents, turns[-1], groups, Breaches()) if colons == data.count(b":") else None


def _is_usual_id(value: object) -> bool:
    if type(value) is str:
        return bool(value.strip(BLANK))
    return value is None or (type(value) is int and -_LARGEST <= value < _LARGEST)
