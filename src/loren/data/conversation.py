"""The shape of a conversation: a decoded row -> its turns and what breaks the rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, cast

from loren.data.formats.shapes import shape_of
from loren.data.pointer import safe_name
from loren.data.rows import Role
from loren.data.rules import Breach, Breaches
from loren.data.unsupported import (
    TOOL_MESSAGE_KEYS,
    TOOL_ROLES,
    media_in,
    unsupported_message_keys,
    unsupported_row_keys,
)
from loren.task.strict_json import json_type

ROLES = ("system", "user", "assistant")
_USUAL_ORDERS = (("user", "assistant"), ("system", "user", "assistant"))
"""Nearly every row; they need no further look."""
GROUP_KEYS = ("situation", "customer", "conversation")
"""Keys whose equal values tie rows together: a split never separates them."""
ROW_KEYS = frozenset({"messages", "id", *GROUP_KEYS})
MESSAGE_KEYS = frozenset({"role", "content"})

VISIBLE = re.compile(
    "["
    "^\x00-\x20"  # control characters and the space
    "\x7f-\xa0"  # more of them, and the no-break space
    "\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f"  # wide and narrow spaces, zero-width characters, direction marks
    "\u2028-\u202f\u205f-\u206f"  # line and paragraph separators, more marks and spaces, invisible operators
    "\u2800\u3000\u3164\uffa0\ufeff"  # fillers that draw nothing
    "\ufe00-\ufe0f\ufff0-\ufffb\U000e0000-\U000e01ef"  # variation selectors, tags
    "]"
).search
"""Finds a character that shows something; a text without one is blank."""


def content_path(place: int) -> str:
    """JSON pointer of the content of the message at an index."""
    return CONTENT_PATHS[place] if place < len(CONTENT_PATHS) else f"/messages/{place}/content"


CONTENT_PATHS = tuple(f"/messages/{place}/content" for place in range(64))


class Turn(NamedTuple):
    """One well-formed message."""

    place: int
    """Its index in ``messages``."""
    role: Role
    content: str | dict[str, Any]
    """The text; an object only in the last message, as the target of a task."""
    weight: int = 1

    @property
    def path(self) -> str:
        """JSON pointer of the content."""
        return content_path(self.place)


@dataclass(slots=True)
class Conversation:
    """What could be read of a row; complete where no breach was found."""

    turns: list[Turn] = field(default_factory=list[Turn])
    contents: list[tuple[str, str | dict[str, Any]]] = field(default_factory=list[tuple[str, "str | dict[str, Any]"]])
    """Pointer and value of each content that is a text, or an object that may be a target, also of messages with faults."""
    target: Turn | None = None
    """The last message, where it is the assistant's and well-formed."""
    groups: dict[str, str] = field(default_factory=dict[str, str])
    breaches: Breaches = field(default_factory=Breaches)


def read_conversation(row: Mapping[str, Any], breaches: Breaches, *, object_target: bool) -> Conversation:
    """Read a decoded row; everything in its shape that breaks a rule is added to ``breaches``.

    Args:
        row: the decoded line.
        breaches: those of the line so far.
        object_target: whether the last message's content may be an object (with a task, it may).
    """
    conversation = Conversation(breaches=breaches)
    if not row.keys() <= ROW_KEYS:
        breaches.extend(_unknown_row_keys(row, unsupported_row_keys(row, breaches)))
    if len(row) > 1:
        _read_groups(row, conversation)
    messages = row.get("messages")
    if "messages" not in row:
        shape = shape_of(row)
        found = f"those of {shape.title}" if shape else "none"
        breaches.append(Breach("messages-missing", "", f"expected the key 'messages', found {found}"))
    elif not isinstance(messages, list):
        breaches.append(Breach("messages-not-list", "/messages", f"expected a list, found {json_type(messages)}"))
    elif not messages:
        breaches.append(Breach("messages-empty", "/messages", "expected at least a user and an assistant message, found none"))
    else:
        _read_messages(cast("list[object]", messages), conversation, object_target=object_target)
    return conversation


def _read_messages(messages: list[object], conversation: Conversation, *, object_target: bool) -> None:
    last = len(messages) - 1
    roles: list[Role | None] = []
    is_usual = True
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            place = f"/messages/{index}"
            found = f"expected an object with role and content, found {json_type(message)}"
            conversation.breaches.append(Breach("message-not-object", place, found))
            roles.append(None)
            is_usual = False
            continue
        fields = cast("dict[str, Any]", message)
        role, content = fields.get("role"), fields.get("content")
        if len(fields) == 2 and role in ROLES and isinstance(content, str) and VISIBLE(content):
            turn = Turn(index, role, content)  # the usual case, at once
        else:
            turn = _read_message(index, fields, conversation.breaches, object_target=object_target and index == last)
            is_usual = False
        roles.append(role if role in ROLES else None)
        if turn is not None:
            conversation.turns.append(turn)
            conversation.contents.append((turn.path, turn.content))
        elif isinstance(content, str):
            conversation.contents.append((content_path(index), content))
    if conversation.turns and conversation.turns[-1].place == last and roles[-1] == "assistant":
        conversation.target = conversation.turns[-1]
    if is_usual and tuple(roles) in _USUAL_ORDERS:
        return
    if None not in roles:  # where a speaker is unknown, the order can't be judged
        conversation.breaches.extend(_order(cast("list[Role]", roles)))
        conversation.breaches.extend(_labels(cast("list[dict[str, Any]]", messages)))


def _read_message(index: int, message: Mapping[str, Any], breaches: Breaches, *, object_target: bool) -> Turn | None:
    """The turn that a message is, or None; what is wrong with it is added to ``breaches``."""
    path = f"/messages/{index}"
    before = len(breaches)
    role = message.get("role")
    breaches.extend(_role(path, message))
    if tools := list(unsupported_message_keys(path, message)):
        breaches.extend(tools)  # beside a call, OpenAI leaves the content out
    else:
        breaches.extend(_content(path, message, object_target=object_target and role == "assistant"))
    weight = message.get("weight", 1)
    if role == "assistant" and (type(weight) is not int or weight not in {0, 1}):
        found = "another number" if json_type(weight) == "a number" else json_type(weight)
        breaches.append(Breach("weight-invalid", f"{path}/weight", f"expected the number 0 or 1, found {found}"))
    fit = len(breaches) == before
    known = MESSAGE_KEYS | {"weight"} if role == "assistant" else MESSAGE_KEYS
    for number, key in enumerate(message, start=1):
        if key not in known and not (key in TOOL_MESSAGE_KEYS and message[key]):
            found = "a weight on a message that is no label" if key == "weight" else _unknown(key, number)
            breaches.append(Breach("unknown-message-key", path, f"expected only known keys, found {found}"))
    return Turn(index, cast("Role", role), message["content"], weight if role == "assistant" else 1) if fit else None


def _role(path: str, message: Mapping[str, Any]) -> Iterator[Breach]:
    if "role" not in message:
        yield Breach("role-missing", path, "expected the key 'role', found none")
        return
    role = message["role"]
    if isinstance(role, str) and role in TOOL_ROLES:
        yield Breach("tools-unsupported", f"{path}/role", f"expected a conversation without tools, found a turn of '{role}'")
    elif role not in ROLES:
        found = f"'{role}'" if isinstance(role, str) and role in _FOREIGN_ROLES else "another word"
        found = found if isinstance(role, str) else json_type(role)
        yield Breach("role-unknown", f"{path}/role", f"expected system, user or assistant, found {found}")


_FOREIGN_ROLES = frozenset({"human", "gpt", "bot", "model", "ai", "developer", "customer", "agent", "chatbot"})
"""Role names of other formats: shown in a message because they are no customer's words."""


def _content(path: str, message: Mapping[str, Any], *, object_target: bool) -> Iterator[Breach]:
    if "content" not in message:
        yield Breach("content-missing", path, "expected the key 'content', found none")
        return
    content = message["content"]
    if isinstance(content, str):
        if not VISIBLE(content):
            found = "an empty string" if not content else "nothing but spaces or invisible characters"
            yield Breach("content-blank", f"{path}/content", f"expected text, found {found}")
    elif isinstance(content, list) and (kind := media_in(cast("list[object]", content))):
        yield Breach("media-unsupported", f"{path}/content", f"expected text, found {kind}")
    elif not (object_target and isinstance(content, dict)):
        yield Breach("content-not-text", f"{path}/content", f"expected a string, found {json_type(cast('object', content))}")


def _order(roles: list[Role]) -> Iterator[Breach]:
    for index, role in enumerate(roles):
        if role == "system" and index > 0:
            found = "a second one" if roles[0] == "system" else "it later"
            place = f"/messages/{index}/role"
            yield Breach("system-not-first", place, f"expected one system message, as the first, found {found}")
    spoken = [(index, role) for index, role in enumerate(roles) if role != "system"]
    asked = any(role == "user" for _, role in spoken)
    answered = any(role == "assistant" for _, role in spoken)
    if not asked:
        yield Breach("no-user", "/messages", "expected at least one user message, found none")
    if not answered:
        yield Breach("no-assistant", "/messages", "expected at least one assistant message, found none")
    for (_, before), (index, role) in pairwise(spoken):
        if role == before:
            other = "user" if role == "assistant" else "assistant"
            yield Breach("roles-alternate", f"/messages/{index}/role", f"expected {other} after {before}, found {role} again")
    if asked and spoken[0][1] == "assistant":
        yield Breach("user-not-first", f"/messages/{spoken[0][0]}/role", "expected the user to speak first, found the assistant")
    if answered and roles[-1] != "assistant":
        place = f"/messages/{len(roles) - 1}/role"
        yield Breach("last-not-assistant", place, f"expected the last message to be the assistant's, found the {roles[-1]}'s")


def _labels(messages: list[dict[str, Any]]) -> Iterator[Breach]:
    weights = [message.get("weight", 1) for message in messages if message["role"] == "assistant"]
    if weights and all(type(weight) is int and weight == 0 for weight in weights):
        yield Breach("nothing-to-learn", "/messages", "expected an assistant message with weight 1, found weight 0 on every one")


def _unknown_row_keys(row: Mapping[str, Any], named: Collection[str]) -> Iterator[Breach]:
    for number, key in enumerate(row, start=1):
        if key not in ROW_KEYS and key not in named:
            yield Breach("unknown-row-key", "", f"expected only known keys, found {_unknown(key, number)}")


def _unknown(key: str, number: int) -> str:
    name = safe_name(key)
    if name != key:
        return f"key {number} of the object, which does not look like a field's name and is not shown"
    return f"'{name}'{_meant(name)}"


@lru_cache(maxsize=256)
def _meant(name: str) -> str:
    """The known key that a slip of the pen may have meant."""
    from difflib import get_close_matches

    near = get_close_matches(name, (*ROW_KEYS, *MESSAGE_KEYS, "weight"), n=1, cutoff=0.75)
    return f"; did you mean '{near[0]}'?" if near else ""


def _read_groups(row: Mapping[str, Any], conversation: Conversation) -> None:
    for key in GROUP_KEYS:
        value = row.get(key)
        if value is None:
            continue
        if (isinstance(value, str) and VISIBLE(value)) or type(value) is int:
            conversation.groups[key] = str(value).strip()
        else:
            found = "a blank string" if isinstance(value, str) else json_type(value)
            conversation.breaches.append(Breach("group-id", f"/{key}", f"expected a string or an integer, found {found}"))
