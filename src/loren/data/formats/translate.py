"""A row of another format -> a row of ``messages``, with the places of the user's own fields. Pure.

A field that a format does not know stays in the row under its name. What a row needs and does not have is a breach of the same rule
that a row of ``messages`` would break, in the words of its own format; such a row has no translation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from loren.data.rules import Breach
from loren.task.strict_json import json_type


@dataclass(slots=True)
class Translated:
    """What became of a row."""

    row: dict[str, Any] | None = None
    """The row of ``messages``; None where there is none."""
    breaches: list[Breach] = field(default_factory=list[Breach])
    """What is wrong, at the row's own fields."""
    places: dict[str, str] = field(default_factory=dict[str, str])
    """Pointer into the row of ``messages`` -> the pointer of the user's own field."""
    parts: dict[str, list[tuple[str, str]]] = field(default_factory=dict[str, list[tuple[str, str]]])
    """Pointer of a content that was put together -> its parts, each with its own pointer."""
    notes: list[str] = field(default_factory=list[str])
    """What was done that a field's name does not say, in fixed words: for the ledger of a conversion."""

    def place(self, path: str) -> str:
        """The user's own pointer for one into the row of ``messages``."""
        head, tail = path, ""
        while head:
            if head in self.places:
                return self.places[head] + tail
            head, _, last = head.rpartition("/")
            tail = f"/{last}{tail}"
        return path


Translate: TypeAlias = Callable[[dict[str, Any]], Translated]


class Draft:
    """A translation in the making."""

    def __init__(self, row: Mapping[str, Any], list_path: str, columns: Collection[str] = ()) -> None:
        """Begin one.

        Args:
            row: the foreign row.
            list_path: the pointer that stands for the conversation as a whole.
            columns: those of the table that the row is from: a field that it does not have is an empty cell there.
        """
        self._row = row
        self._columns = columns
        self._messages: list[dict[str, Any]] = []
        self.result = Translated(places={"/messages": list_path})

    def say(self, role: str, content: object, path: str, *, role_path: str = "", content_path: str = "") -> dict[str, Any]:
        """Add a message, whose pointers are those of the foreign row; returns it."""
        index = f"/messages/{len(self._messages)}"
        message: dict[str, Any] = {"role": role, "content": content}
        self._messages.append(message)
        self.result.places |= {index: path, f"{index}/role": role_path or path, f"{index}/content": content_path or path}
        return message

    def say_parts(self, role: str, parts: list[tuple[str, str]], note: str) -> dict[str, Any]:
        """Add a message whose text is several fields, one under the other."""
        path = f"/messages/{len(self._messages)}/content"
        self.result.parts[path] = parts
        self.result.notes.append(note)
        return self.say(role, "\n".join(text for _, text in parts), parts[0][0])

    def say_system(self, name: str) -> None:
        """Add the system message that stands in a field of its own, if it holds anything."""
        content = self._row.get(name)
        if content is None or content == "":
            if name in self._row:
                self.result.notes.append(f"an empty '{name}' was left out")
        else:
            self.say("system", content, f"/{name}")

    def refuse(self, rule: str, path: str, message: str) -> None:
        """Say what is wrong; the row will have no translation."""
        self.result.breaches.append(Breach(rule, path, message))

    def refuse_second(self, name: str) -> None:
        """Say that the row holds its conversation twice."""
        self.refuse("two-formats", f"/{name}", f"expected one conversation in a row, found '{name}' beside it")

    def missing(self, name: str, path: str = "") -> None:
        """Say that a field is missing."""
        self.refuse("content-missing", path, self.absent(name) if not path else f"expected the key '{name}', found none")

    def absent(self, name: str) -> str:
        """What is said of a field that the row does not have."""
        return empty_cell(name) if name in self._columns else f"expected the key '{name}', found none"

    def finish(self, own: Collection[str]) -> Translated:
        """The translation: the messages, then every field that is not in ``own``."""
        if "messages" in self._row and "messages" not in own:
            self.refuse_second("messages")
        if not self.result.breaches:
            rest = {name: value for name, value in self._row.items() if name not in own}
            self.result.row = {"messages": self._messages, **rest}
        return self.result


def empty_cell(name: str) -> str:
    """What is said of a row of a table without the one thing that it needs."""
    return f"expected a value in the column '{name}', found an empty cell"


def is_turn_list(draft: Draft, value: object, path: str) -> bool:
    """Whether ``value`` is a list with something in it; if not, that was said."""
    if not isinstance(value, list):
        draft.refuse("messages-not-list", path, f"expected a list, found {json_type(value)}")
    elif not value:
        draft.refuse("messages-empty", path, "expected a question and a reply at least, found none")
    else:
        return True
    return False
