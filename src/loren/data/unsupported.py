"""What other platforms put into a conversation and nothing here can train on: tools, media, a second conversation. Pure.

Each is refused by a rule of its own: left out in silence, it would leave replies that make no sense without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from loren.data.formats.shapes import other_conversation
from loren.data.rules import Breach, Breaches

TOOL_ROLES = frozenset({"tool", "function"})
TOOL_ROW_KEYS = frozenset({"tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"})
TOOL_MESSAGE_KEYS = frozenset({"tool_calls", "function_call", "tool_call_id"})
MEDIA_ROW_KEYS = frozenset({"image", "images", "video", "videos", "audio", "audios"})
UNSUPPORTED_ROW_KEYS = TOOL_ROW_KEYS | MEDIA_ROW_KEYS
EMPTY: tuple[object, ...] = (None, "", [], {})
"""Values that say nothing: a key that is there for other rows' sake."""


def unsupported_row_keys(row: Mapping[str, Any], breaches: Breaches) -> set[str]:
    """The keys of a row that bring tools, media or a second conversation; what is wrong with them is added to ``breaches``."""
    found = {key for key in row if key in UNSUPPORTED_ROW_KEYS and row[key] not in EMPTY}
    for key in row:
        if key in found and key in TOOL_ROW_KEYS:
            breaches.append(Breach("tools-unsupported", f"/{key}", f"expected a conversation without tools, found '{key}'"))
        elif key in found:
            breaches.append(Breach("media-unsupported", f"/{key}", f"expected text alone, found '{key}'"))
    other = other_conversation(row) if row.get("messages") else ()
    if other:
        message = f"expected one conversation in a row, found 'messages' and '{other[0]}'"
        breaches.append(Breach("two-formats", f"/{other[0]}", message))
    return found.union(other)


def unsupported_message_keys(path: str, message: Mapping[str, Any]) -> Iterator[Breach]:
    """Tool calls and their results in a message."""
    for key in message:
        if key in TOOL_MESSAGE_KEYS and message[key]:
            yield Breach("tools-unsupported", f"{path}/{key}", f"expected a conversation without tools, found '{key}'")


def media_in(parts: list[object]) -> str:
    """What a content that is a list of parts holds besides text; empty where it is nothing known."""
    for part in parts:
        kind = cast("dict[str, Any]", part).get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _PARTS:
            return _PARTS[kind]
    return ""


_PARTS = {
    "image": "an image",
    "image_url": "an image",
    "input_image": "an image",
    "audio": "audio",
    "input_audio": "audio",
    "video": "a video",
    "video_url": "a video",
    "file": "a file",
    "input_file": "a file",
}
