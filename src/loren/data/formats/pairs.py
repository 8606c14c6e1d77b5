"""Prompt and completion: one field asks, one replies. Each is a text, or a list of messages as TRL has it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from loren.data.formats.translate import Draft, Translated
from loren.task.strict_json import json_type


def translate_pair(row: dict[str, Any], fields: tuple[str, str], columns: Collection[str] = ()) -> Translated:
    """A row with a question and a reply in ``fields`` as a row of ``messages``; both texts stay exactly as they are."""
    draft = Draft(row, "", columns)
    own = {*fields}
    if isinstance(row.get("system"), str | None) and "system" not in fields:
        own.add("system")
        draft.say_system("system")
    for name, role in zip(fields, ("user", "assistant"), strict=True):
        if name not in row:
            draft.missing(name)
        elif isinstance(row[name], list):
            _turns(draft, cast("list[object]", row[name]), f"/{name}")
        else:
            draft.say(role, row[name], f"/{name}")
    return draft.finish(own)


def _turns(draft: Draft, turns: list[object], path: str) -> None:
    if not turns:
        draft.refuse("messages-empty", path, "expected at least one message, found none")
    for index, turn in enumerate(turns):
        place = f"{path}/{index}"
        if not isinstance(turn, dict):
            draft.refuse("message-not-object", place, f"expected an object with role and content, found {json_type(turn)}")
            continue
        fields = cast("dict[str, Any]", turn)
        for name, rule in (("role", "role-missing"), ("content", "content-missing")):
            if name not in fields:
                draft.refuse(rule, place, f"expected the key '{name}', found none")
        role_path, content_path = f"{place}/role", f"{place}/content"
        draft.say("", None, place, role_path=role_path, content_path=content_path).update(fields)
