"""OpenAI's fine-tuning rows are rows of ``messages``; two of their ways to write a text are taken where the format is named.

A ``content`` that is a list of text parts is their text, and ``developer`` is the system's newer name. Tools, images and audio are
refused by the rules for ``messages``, as everywhere.
"""

from __future__ import annotations

from typing import Any, cast

from loren.data.formats.translate import Translated


def translate_openai(row: dict[str, Any]) -> Translated:
    """The row with its text parts joined, and `developer` turned into `system`; nothing else is touched."""
    result = Translated(row)
    messages = row.get("messages")
    if isinstance(messages, list):
        turns = [_message(result, turn, f"/messages/{index}") for index, turn in enumerate(cast("list[object]", messages))]
        result.row = {**row, "messages": turns}
    return result


def _message(result: Translated, turn: object, path: str) -> object:
    if not isinstance(turn, dict):
        return turn
    message = cast("dict[str, Any]", turn)
    if message.get("role") == "developer":
        message = {**message, "role": "system"}
        result.notes.append("role 'developer' became 'system'")
    texts = _texts(message.get("content"))
    if texts:
        message = {**message, "content": "\n".join(texts)}
        result.parts[f"{path}/content"] = [(f"{path}/content/{index}/text", text) for index, text in enumerate(texts)]
        result.notes.append("text parts became one text, with line breaks between them")
    return message


def _texts(content: object) -> list[str]:
    """The texts of a content that is nothing but text parts."""
    if not isinstance(content, list):
        return []
    parts = cast("list[object]", content)
    texts: list[str] = []
    for part in parts:
        fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        if fields.keys() == {"type", "text"} and fields["type"] == "text" and isinstance(fields["text"], str):
            texts.append(fields["text"])
    return texts if len(texts) == len(parts) else []
