"""The contract: the bytes of one line -> what breaks the rules, and the row where nothing does. Pure; knows no file.

A line passes through stages, and every stage that can run, does, so that a person mends a row once: bytes to value
(``decode``), value to conversation (``conversation``), conversation to target (``target``, with a task), and then each text through
``TEXT_CHECKS``. A new rule is an entry in ``rule_tables/`` and a line in its stage; one that needs more than its line is a survey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from loren.data.conversation import Conversation, Turn, read_conversation
from loren.data.decode import decode_line
from loren.data.formats.translate import Translate, Translated
from loren.data.plain import settle
from loren.data.quality.row import NO_TRAITS, Traits, judge_row
from loren.data.reader import MAX_LINE_BYTES, Line
from loren.data.rows import Message, Row
from loren.data.rules import Breach, Breaches, all_rules, is_approvable, raised_rules
from loren.data.similar.forms import target_digest
from loren.data.similar.question import asked_in, question_of
from loren.data.target import Target, decoded, read_target, texts_in
from loren.data.text_checks import TEXT_CHECKS, TextCheck
from loren.data.usual import UsualRow, conversation_of, decode_usual

if TYPE_CHECKING:
    from loren.data.approvals import Approvals, Met
    from loren.data.similar.golden import GoldenIndex
    from loren.task.definition import Task


Parts: TypeAlias = Mapping[str, list[tuple[str, str]]]
"""Pointer of a content that was put together from several fields -> the fields."""
_NO_PARTS: Parts = {}


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
    traits: Traits = NO_TRAITS
    """What the rules of quality over the file need of the row."""
    row_id: str = ""
    """``Row.id``, where a breach can be approved."""
    approved: list[Breach] = field(default_factory=list[Breach])
    """Breaches that someone answers for: they are not among ``breaches``."""
    met: tuple[Met, ...] = ()
    """Approvals that the row met, ended ones too."""
    digests: tuple[int, int] | None = None
    """64 bits of the question and of the target, by which duplicates are found; None where there is no target."""


class Contract:
    """The rules, with or without a task."""

    def __init__(
        self,
        task: Task | None = None,
        approvals: Approvals | None = None,
        golden: GoldenIndex | None = None,
        more_checks: Sequence[TextCheck] = (),
    ) -> None:
        """Make a contract.

        Args:
            task: judges targets and labels.
            approvals: issues that someone answers for.
            golden: a row that shares something with one of these breaks a rule.
            more_checks: looks at texts besides the rules' own.
        """
        self._task = task
        self._approvals = approvals
        self._golden = golden
        self._text_checks = (*TEXT_CHECKS, *more_checks)
        self._object_target = task is not None and task.is_json
        self.translate: Translate | None = None
        """What turns a row of the file's format into a row of ``messages``."""
        self.raised = raised_rules(task.raised if task else ())
        """The rules, by name, whose breaches are errors because the task says so."""

    def check(self, line: Line, *, with_row: bool = True) -> Verdict:
        """Judge one line; with ``with_row`` the verdict on a fit line holds its row."""
        return self.check_all((line,), with_rows=with_row)[0]

    def check_all(self, lines: Sequence[Line], *, with_rows: bool = True) -> list[Verdict]:
        """Judge some lines: plain ones together, each of the others by itself."""
        if self.translate is not None:
            return [self._check(line, None, with_row=with_rows) for line in lines]
        rows = [None if line.data is None else decode_usual(line.data) for line in lines]
        if self._task is not None or self._golden is not None:  # these look closer at every row
            return [self._check(line, row, with_row=with_rows) for line, row in zip(lines, rows, strict=True)]
        verdicts: list[Verdict] = []
        for line, row, settled in zip(lines, rows, settle(rows, self._text_checks), strict=True):
            if row is None or settled is None:
                verdicts.append(self._check(line, row, with_row=with_rows))
            else:
                fit = _row(line.number, conversation_of(row), None) if with_rows else None
                # By position: naming the fields is half of the price, and this is what most rows cost.
                verdicts.append(Verdict(Breaches(), fit, (), False, settled.traits, "", [], (), settled.digests))
        return verdicts

    def _check(self, line: Line, usual: UsualRow | None, *, with_row: bool) -> Verdict:
        """Judge one line, which may have been read as a usual row."""
        number = line.number if with_row else None
        if usual is not None:
            return self._verdict(conversation_of(usual), number)
        if line.data is None:
            verdict = Verdict()
            message = f"expected at most {MAX_LINE_BYTES} bytes, found more; the line was skipped"
            verdict.breaches.append(line.fault or Breach("line-too-long", "", message))
            return verdict
        value, breaches = decode_line(line.data)
        if value is None:
            return Verdict(breaches)
        if self.translate is not None:
            return self._check_foreign(self.translate(value), value, breaches, number)
        return self._verdict(read_conversation(value, breaches, object_target=self._object_target), number)

    def _check_foreign(self, translated: Translated, value: dict[str, Any], breaches: Breaches, number: int | None) -> Verdict:
        """Judge a row of another format by its translation, in the places of its own fields."""
        breaches.extend(translated.breaches)
        if translated.row is None:  # its texts are searched all the same
            texts = texts_in("", value)
            self._search(texts, "\n".join([text for _, text in texts]), breaches)
            return Verdict(breaches)
        conversation = read_conversation(translated.row, Breaches(), object_target=self._object_target)
        verdict, target = self._judge(conversation, translated.parts)
        breaches.absorb(verdict.breaches, translated.place)
        verdict.breaches = breaches
        return self._finish(verdict, conversation, target, number)

    def _verdict(self, conversation: Conversation, number: int | None) -> Verdict:
        verdict, target = self._judge(conversation, _NO_PARTS)
        return self._finish(verdict, conversation, target, number)

    def _judge(self, conversation: Conversation, parts: Parts) -> tuple[Verdict, Target | None]:
        """Judge a conversation, whose own breaches come first; what its texts say, each by itself and beside others."""
        breaches = conversation.breaches
        verdict = Verdict(breaches)
        target = None
        if conversation.target is not None:
            target = read_target(conversation.target, breaches, self._task)
            verdict.label = target.label
            verdict.object_target = isinstance(conversation.target.content, dict)
            if conversation.target.place == len(conversation.turns) - 1:  # a message that can't be read may be what differs
                verdict.digests = question_of(conversation.turns).digest, target_digest(target.text)
        texts = _texts(conversation, target, parts)
        joined = "\n".join([text for _, text in texts])
        self._search(texts, joined, breaches)
        verdict.traits, found = judge_row(conversation, target, texts, joined, self._task)
        breaches.extend(found)
        if self._golden is not None:
            asked = asked_in((turn.place, turn) for turn in conversation.turns)
            breaches.extend(self._golden.leaks(asked, conversation.groups))
        return verdict, target

    def _search(self, texts: Sequence[tuple[str, str]], joined: str, breaches: Breaches) -> None:
        for check in self._text_checks:
            if check.may_find(joined):
                for path, text in texts:
                    breaches.extend(check.find(path, text))

    def _finish(self, verdict: Verdict, conversation: Conversation, target: Target | None, number: int | None) -> Verdict:
        """Take out what is approved; where the row is fit and ``number`` is given, the verdict holds the row."""
        if verdict.breaches:
            self._approve(verdict, conversation, target)
        if number is not None and not verdict.breaches.has_error(self.raised):
            verdict.row = _row(number, conversation, target)
        return verdict

    def _approve(self, verdict: Verdict, conversation: Conversation, target: Target | None) -> None:
        """Name the row where a breach can be approved, and take out what is."""
        rules = all_rules()
        names = [breach for breach in verdict.breaches if breach.path and is_approvable(rules[breach.rule])]
        if not names or any(rules[b.rule].severity == "error" and not is_approvable(rules[b.rule]) for b in verdict.breaches):
            return
        row_id = verdict.row_id = _row(0, conversation, target).id
        if self._approvals is None:
            return
        answers = {(b.path, b.rule): self._approvals.meets(row_id, b.path, rules[b.rule].id) for b in names}
        verdict.met = tuple(dict.fromkeys(met for met in answers.values() if met is not None))
        open_or_ended = {name for name, met in answers.items() if met is None or met.has_ended}
        verdict.approved = verdict.breaches.take(lambda b: (b.path, b.rule) in answers and (b.path, b.rule) not in open_or_ended)


def _texts(conversation: Conversation, target: Target | None, parts: Parts) -> list[tuple[str, str]]:
    """Every text of the row with its pointer; of a content that is JSON, the decoded keys and strings."""
    texts: list[tuple[str, str]] = []
    for path, content in conversation.contents:
        if path in parts:  # put together from fields of another format
            texts.extend(parts[path])
            continue
        value = target.value if target and path == target.path else decoded(content)
        if isinstance(value, (dict, list, str)):
            texts.extend(texts_in(path, value))
        elif isinstance(content, str):
            texts.append((path, content))
    return texts


def _row(line: int, conversation: Conversation, target: Target | None) -> Row:
    messages = tuple(_message(turn, target) for turn in conversation.turns)
    return Row(line, messages, conversation.groups, target.label if target else ())


def _message(turn: Turn, target: Target | None) -> Message:
    content = turn.content if isinstance(turn.content, str) else target.text if target else ""
    return Message(turn.role, content, turn.weight)
