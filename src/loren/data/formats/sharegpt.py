"""ShareGPT: ``conversations`` of turns with ``from`` and ``value`` (or ``role`` and ``content``), and perhaps ``system``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from loren.data.formats.shapes import TURN_LISTS
from loren.data.formats.translate import Draft, Translated, is_turn_list
from loren.task.strict_json import json_type

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "system": "system",
}
"""Who speaks, as published data sets say it."""
TOOL_ROLES = frozenset({
    "tool", "tool_call", "tool_response", "function", "function_call", "function-call", "function_response", "observation",
})  # fmt: skip
_NAMES = ("from", "role")
_VALUES = ("value", "content")
_OWN = (*TURN_LISTS, "messages")


def translate_sharegpt(row: dict[str, Any], columns: Collection[str] = ()) -> Translated:
    """A ShareGPT row as a row of ``messages``; keys of a turn that are not known stay on its message."""
    name = next((name for name in _OWN if isinstance(row.get(name), list)), next((name for name in _OWN if name in row), ""))
    draft = Draft(row, f"/{name}" if name else "", columns)
    own = {name, "system"}
    if not name:
        wanted = next((name for name in _OWN if name in columns), "conversations")
        draft.refuse("messages-missing", "", draft.absent(wanted))
    elif is_turn_list(draft, row[name], f"/{name}"):
        draft.say_system("system")
        for index, turn in enumerate(cast("list[object]", row[name])):
            _turn(draft, turn, f"/{name}/{index}")
    if "tools" in row and not row["tools"]:
        own.add("tools")
        draft.result.notes.append("an empty 'tools' was left out")
    return draft.finish(own)


def _turn(draft: Draft, turn: object, path: str) -> None:
    if not isinstance(turn, dict):
        draft.refuse("message-not-object", path, f"expected an object with from and value, found {json_type(turn)}")
        return
    fields = cast("dict[str, Any]", turn)
    who = next((name for name in _NAMES if name in fields), None)
    what = next((name for name in _VALUES if name in fields), None)
    role = _role(draft, fields, who, path)
    if what is None:
        draft.missing("value", path)
    if role is None or what is None or who is None:
        return
    message = draft.say(role, fields[what], path, role_path=f"{path}/{who}", content_path=f"{path}/{what}")
    for name, value in fields.items():
        if name in message:  # `role` beside `from`: two names of one thing
            if name not in {who, what}:
                draft.refuse("two-formats", f"{path}/{name}", f"expected one of '{who}' and '{name}' in a turn, found both")
        elif name not in {who, what}:
            message[name] = value


def _role(draft: Draft, turn: dict[str, Any], who: str | None, path: str) -> str | None:
    if who is None:
        draft.refuse("role-missing", path, "expected the key 'from', found none")
        return None
    speaker = turn[who]
    if isinstance(speaker, str) and speaker in ROLES:
        return ROLES[speaker]
    if isinstance(speaker, str) and speaker in TOOL_ROLES:
        draft.refuse("tools-unsupported", f"{path}/{who}", f"expected a conversation without tools, found a turn of '{speaker}'")
    else:
        found = "another word" if isinstance(speaker, str) else json_type(speaker)
        draft.refuse("role-unknown", f"{path}/{who}", f"expected human, gpt or system, found {found}")
    return None
