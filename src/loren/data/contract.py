"""The contract: the bytes of one line -> what breaks the rules, and the row where nothing does. Pure; knows no file.

A line passes through stages, and every stage that can run, does, so that a person mends a row once: bytes to value
(``decode``), value to conversation (``conversation``), conversation to target (``target``, with a task), and then each text through
``TEXT_CHECKS``. A new rule is an entry in ``rule_tables/`` and a line in its stage; one that needs more than its line is a survey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loren.data.conversation import Conversation, Turn, read_conversation
from loren.data.decode import decode_line
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rows import Message, Row
from loren.data.rules import Breach, Breaches
from loren.data.target import Target, decoded, read_target, texts_in
from loren.data.text_checks import TEXT_CHECKS, TextCheck

if TYPE_CHECKING:
    from loren.task.definition import Task


@dataclass(slots=True)
class Verdict:
    """What the contract says about one line."""

    breaches: Breaches = field(default_factory=Breaches)
    row: Row | None = None
    """The row; None where it breaks an error-level rule."""
    label: tuple[str, ...] = ()
    """The target's label values, as JSON text, where they could be read, even of a row that breaks other rules."""
    object_target: bool = False
    """Whether the target was an object, which the row holds as canonical JSON text."""


class Contract:
    """The rules, with or without a task."""

    def __init__(self, task: Task | None = None, more_checks: Sequence[TextCheck] = ()) -> None:
        self._task = task
        self._text_checks = (*TEXT_CHECKS, *more_checks)
        self._object_target = task is not None and task.is_json

    def check(self, line: Line, *, with_row: bool = True) -> Verdict:
        """Judge one line; with ``with_row`` the verdict on a fit line holds its row."""
        if line.data is None:
            verdict = Verdict()
            message = f"expected at most {MAX_LINE_BYTES} bytes, found more; the line was skipped"
            verdict.breaches.append(Breach("line-too-long", "", message))
            return verdict
        value, breaches = decode_line(line.data)
        verdict = Verdict(breaches)
        if value is None:
            return verdict
        conversation = read_conversation(value, breaches, object_target=self._object_target)
        target = None
        if conversation.target is not None:
            target = read_target(conversation.target, breaches, self._task)
            verdict.label = target.label
            verdict.object_target = isinstance(conversation.target.content, dict)
        texts = list(_texts(conversation, target))
        joined = "\n".join([text for _, text in texts])
        for check in self._text_checks:
            if check.may_find(joined):
                for path, text in texts:
                    breaches.extend(check.find(path, text))
        if with_row and not breaches.has_error:
            verdict.row = _row(line.number, conversation, target)
        return verdict


def _texts(conversation: Conversation, target: Target | None) -> Iterator[tuple[str, str]]:
    """Every text of the row with its pointer; of a content that is JSON, the decoded keys and strings."""
    for path, content in conversation.contents:
        value = target.value if target and path == target.path else decoded(content)
        if isinstance(value, (dict, list, str)):
            yield from texts_in(path, value)
        elif isinstance(content, str):
            yield path, content


def _row(line: int, conversation: Conversation, target: Target | None) -> Row:
    messages = tuple(_message(turn, target) for turn in conversation.turns)
    return Row(line, messages, conversation.groups, target.label if target else ())


def _message(turn: Turn, target: Target | None) -> Message:
    content = turn.content if isinstance(turn.content, str) else target.text if target else ""
    return Message(turn.role, content, turn.weight)
