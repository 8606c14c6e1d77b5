"""Alpaca: ``instruction``, ``input``, ``output``, and perhaps ``system`` and ``history``; Dolly's names for the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from loren.data.formats.shapes import INPUTS, OUTPUTS
from loren.data.formats.translate import Draft, Translated
from loren.task.strict_json import json_type


def translate_alpaca(row: dict[str, Any], columns: Collection[str] = ()) -> Translated:
    """An Alpaca row as a row of ``messages``: system, the turns of history, instruction with input below it, output."""
    extra = next((name for name in INPUTS if name in row), "input")
    reply = next((name for names in (row, columns) for name in OUTPUTS if name in names), "output")
    draft = Draft(row, "", columns)
    draft.say_system("system")
    _history(draft, row.get("history"))
    if "instruction" in row:
        _question(draft, row, extra)
    else:
        draft.missing("instruction")
    if reply in row:
        draft.say("assistant", row[reply], f"/{reply}")
    else:
        draft.missing(reply)
    return draft.finish({"instruction", extra, reply, "system", "history"})


def _question(draft: Draft, row: Mapping[str, Any], extra: str) -> None:
    instruction, more = row["instruction"], row.get(extra)
    if more is None or more == "":
        if extra in row:
            draft.result.notes.append(f"an empty '{extra}' was left out")
        draft.say("user", instruction, "/instruction")
    elif not isinstance(instruction, str) or not isinstance(more, str):
        wrong, name = (more, extra) if isinstance(instruction, str) else (instruction, "instruction")
        draft.refuse("content-not-text", f"/{name}", f"expected a string, found {json_type(wrong)}")
    elif not instruction:
        draft.say("user", more, f"/{extra}")
    else:
        parts = [("/instruction", instruction), (f"/{extra}", more)]
        draft.say_parts("user", parts, f"'{extra}' was put below 'instruction', after a line break")


def _history(draft: Draft, history: object) -> None:
    if history is None or history == "":
        return
    if not isinstance(history, list):
        draft.refuse("messages-not-list", "/history", f"expected a list of pairs, found {json_type(history)}")
        return
    for index, pair in enumerate(cast("list[object]", history)):
        path = f"/history/{index}"
        turns = cast("list[object]", pair) if isinstance(pair, list) else []
        if len(turns) != 2:
            draft.refuse("message-not-object", path, "expected a pair: a question and its reply; found another value")
        else:
            draft.say("user", turns[0], f"{path}/0")
            draft.say("assistant", turns[1], f"{path}/1")
