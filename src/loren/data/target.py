"""The target of a row, its last assistant message: what a task says about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from loren.data.conversation import Turn
from loren.data.decode import decode_text
from loren.data.pointer import child, safe_name
from loren.data.rules import Breach, Breaches
from loren.runs.files import Json

if TYPE_CHECKING:
    from loren.task.definition import Task
    from loren.task.target import TargetSchema

JSON_STARTS = frozenset('{["')
"""What a content begins with that is looked at as JSON, behind spaces."""
FAST_CHARACTERS = 65_536
"""A longer target takes the slow way, which knows the bound of a target in bytes (four times this)."""


@dataclass(slots=True)
class Target:
    """What a row teaches."""

    path: str
    """JSON pointer of the content."""
    text: str
    """The text to learn: as it stands, or the canonical form of an object."""
    value: Json = None
    """The decoded JSON; None where the text is no strict JSON."""
    label: tuple[str, ...] = ()
    """The values at the task's label pointers, as JSON text; empty where the target could not be parsed."""


def read_target(turn: Turn, breaches: Breaches, task: Task | None) -> Target:
    """Read the target of a conversation's last turn; what in it breaks a rule of the task is added to ``breaches``."""
    if isinstance(turn.content, dict):
        from loren.task.target import canonical_json

        try:
            target = Target(turn.path, canonical_json(turn.content), turn.content)
        except (TypeError, ValueError):  # it holds a number without a finite value, which is an error of the line already
            return Target(turn.path, "")
    else:
        target = Target(turn.path, turn.content, decoded(turn.content))
    if task is not None and task.target_schema is not None:
        _judge(target, breaches, task, task.target_schema)
    return target


def _judge(target: Target, breaches: Breaches, task: Task, schema: TargetSchema) -> None:
    """Add what the task says: the faults of the text, or else those of the value, and the label."""
    if target.value is None:
        from loren.task.target import parse_strict

        parsed = parse_strict(target.text)
        if parsed.problems:
            rule = "target-fenced" if target.text.lstrip().startswith("```") else "target-not-json"
            breaches.extend(Breach(rule, target.path + problem.pointer, problem.message) for problem in parsed.problems)
            return
        target.value = parsed.value
    for fault in schema.problems(target.value):
        breaches.append(Breach("target-schema", target.path + fault.pointer, fault.message))
    target.label = task.label_values(target.value)


def decoded(content: str | dict[str, Any]) -> Json:
    """The value of a content that is an object, or a text that looks like JSON and is strict; else None."""
    if isinstance(content, dict):
        return content
    if content.lstrip()[:1] in JSON_STARTS and len(content) <= FAST_CHARACTERS:
        return cast("Json", decode_text(content))
    return None


def texts_in(path: str, value: Json) -> list[tuple[str, str]]:
    """The texts of a decoded value, at most ``MAX_DEPTH`` levels deep, with pointers: strings, and keys at that of their object."""
    texts: list[tuple[str, str]] = []
    _add_texts(path, value, texts)
    return texts


def _add_texts(path: str, value: Json, texts: list[tuple[str, str]]) -> None:
    if isinstance(value, str):
        texts.append((path, value))
    elif isinstance(value, dict):
        texts.extend([(path, key) for key in value])
        for key, item in value.items():
            if type(item) is str:  # nearly always
                texts.append((f"{path}/{safe_name(key)}", item))
            elif item is not None:
                _add_texts(child(path, key), item, texts)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _add_texts(child(path, index), item, texts)
