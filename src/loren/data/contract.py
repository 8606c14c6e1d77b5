"""The contract: the bytes of one line -> what breaks the rules, and the row where nothing does. Pure; knows no file.

A line passes through stages, and every stage that can run, does, so that a person mends a row once: bytes to value
(``decode``), value to conversation (``conversation``), conversation to target (``target``, with a task), and then each text through
``TEXT_CHECKS``. A new rule is an entry in ``rule_tables/`` and a line in its stage; one that needs more than its line is a survey.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loren.data.conversation import Conversation, Turn, read_conversation
from loren.data.decode import decode_line
from loren.data.formats.translate import Translate, Translated
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rows import Message, Row
from loren.data.rules import Breach, Breaches
from loren.data.target import Target, decoded, read_target, texts_in
from loren.data.text_checks import TEXT_CHECKS

if TYPE_CHECKING:
    from loren.task.definition import Task


_NO_PARTS: Mapping[str, list[tuple[str, str]]] = {}


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

    def __init__(self, task: Task | None = None, translate: Translate | None = None) -> None:
        """Make a contract.

        Args:
            task: judges targets and labels.
            translate: turns a row of another format into a row of ``messages``.
        """
        self._task = task
        self._translate = translate
        self._object_target = task is not None and task.is_json

    def check(self, line: Line, *, with_row: bool = True) -> Verdict:
        """Judge one line; with ``with_row`` the verdict on a fit line holds its row."""
        if line.data is None:
            verdict = Verdict()
            message = f"expected at most {MAX_LINE_BYTES} bytes, found more; the line was skipped"
            verdict.breaches.append(line.fault or Breach("line-too-long", "", message))
            return verdict
        value, breaches = decode_line(line.data)
        if value is None:
            return Verdict(breaches)
        if self._translate is not None:
            return self._check_foreign(self._translate(value), value, breaches, line.number if with_row else None)
        return self._check_row(value, breaches, line.number if with_row else None)

    def _check_row(
        self, value: dict[str, Any], breaches: Breaches, line: int | None, parts: Mapping[str, list[tuple[str, str]]] = _NO_PARTS
    ) -> Verdict:
        """Judge a row of ``messages``; the verdict holds its row where ``line`` is given."""
        verdict = Verdict(breaches)
        conversation = read_conversation(value, breaches, object_target=self._object_target)
        target = None
        if conversation.target is not None:
            target = read_target(conversation.target, breaches, self._task)
            verdict.label = target.label
            verdict.object_target = isinstance(conversation.target.content, dict)
        _search(list(_texts(conversation, target, parts)), breaches)
        if line is not None and not breaches.has_error:
            verdict.row = _row(line, conversation, target)
        return verdict

    def _check_foreign(self, translated: Translated, value: dict[str, Any], breaches: Breaches, line: int | None) -> Verdict:
        """Judge a row of another format by its translation, in the places of its own fields."""
        breaches.extend(translated.breaches)
        if translated.row is None:  # its texts are searched all the same
            _search(list(texts_in("", value)), breaches)
            return Verdict(breaches)
        verdict = self._check_row(translated.row, Breaches(), None if breaches.has_error else line, translated.parts)
        breaches.absorb(verdict.breaches, translated.place)
        verdict.breaches = breaches
        return verdict


def _search(texts: list[tuple[str, str]], breaches: Breaches) -> None:
    joined = "\n".join([text for _, text in texts])
    for check in TEXT_CHECKS:
        if check.may_find(joined):
            for path, text in texts:
                breaches.extend(check.find(path, text))


def _texts(
    conversation: Conversation, target: Target | None, parts: Mapping[str, list[tuple[str, str]]]
) -> Iterator[tuple[str, str]]:
    """Every text of the row with its pointer; of a content that is JSON, the decoded keys and strings."""
    for path, content in conversation.contents:
        if path in parts:  # put together from fields of another format
            yield from parts[path]
            continue
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
