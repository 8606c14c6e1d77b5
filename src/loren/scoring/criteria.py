"""Criteria: what a reply must be, each a pure function from a reply and a task to an outcome.

A criterion never guesses: a reply that does not parse has no text to judge, so it fails the criteria about its text too. A reason
says what kind of thing is wrong and how often, never the reply's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from loren.task.definition import Task
from loren.task.replies import (
    MAX_REPLY_CHARACTERS,
    count_kinds,
    invented,
    length_faults,
    names_next_step,
    statement_faults,
    voice_faults,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered, and to what."""

    prompt: str
    """All that the customer wrote (a row's user turns); a reply may say it again."""
    text: str
    """The raw answer."""
    finish_reason: str
    """"stop" where the model ended by itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a reply meets one criterion, and why not."""

    passed: bool
    reason: str = ""
    """Empty where it passed."""


Criterion: TypeAlias = Callable[[Reply, Task], Outcome]
_PASSED = Outcome(True)


def parses(reply: Reply, task: Task) -> Outcome:
    """The reply is one strict JSON value: no fence, no words around it, no double key, no NaN."""
    problems = task.parse(reply.text).problems
    return Outcome(False, problems[0].message) if problems else _PASSED


def schema(reply: Reply, task: Task) -> Outcome:
    """The value satisfies the task's schema."""
    parsed = task.parse(reply.text)
    if not parsed.ok:
        return Outcome(False, "has no value to check, for it does not parse")
    if task.target_schema is None:
        return _PASSED
    problems = task.target_schema.problems(parsed.value)
    return _failed([f"{problem.pointer or 'the target'}: {problem.message}" for problem in problems])


def ended(reply: Reply, task: Task) -> Outcome:
    """The model ended the reply by itself."""
    if reply.finish_reason == "stop":
        return _PASSED
    return Outcome(False, f"was cut at {task.max_new_tokens} new tokens, or ended otherwise than by itself")


def no_invented_policy(reply: Reply, task: Task) -> Outcome:
    """The reply states no fact that the prompt did not hold, and claims or promises nothing.

    A fact is a number, date, time, amount, duration, percentage, link or address; it may also stand in the system prompt. What
    counts as a claim or promise is for the task's statements to say.
    """
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    return _failed([*count_kinds(invented(text, reply.prompt, task)), *statement_faults(text, reply.prompt, task)])


def wording(reply: Reply, task: Task) -> Outcome:
    """The reply is polite, and speaks with the one voice that the task wants."""
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    return _failed(voice_faults(text, task))


def short(reply: Reply, task: Task) -> Outcome:
    """The reply keeps to the task's bounds of length, and says something."""
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    return _failed(length_faults(text, task))


def next_step(reply: Reply, task: Task) -> Outcome:
    """The reply says how it goes on: what the reader should send or do, or what is done for them now."""
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    return _PASSED if names_next_step(text, task) else Outcome(False, "names no next step")


CRITERIA: Mapping[str, Criterion] = MappingProxyType({
    "parses": parses,
    "schema": schema,
    "ended": ended,
    "no_invented_policy": no_invented_policy,
    "wording": wording,
    "short": short,
    "next_step": next_step,
})
"""Every criterion by name, in the order of a table."""


def applicable(task: Task) -> tuple[str, ...]:
    """The criteria that a reply to this task can pass and fail: without a schema, a rule or a text there is nothing to judge by."""
    rules = task.wording
    can_fail = {
        "parses": task.is_json,
        "schema": task.is_json,
        "no_invented_policy": task.has_text,
        "wording": task.has_text and rules.has_voice,
        "short": task.has_text and rules.has_length,
        "next_step": task.has_text and bool(rules.next_step),
    }
    return tuple(name for name in CRITERIA if can_fail.get(name, True))


def _reply_text(reply: Reply, task: Task) -> str | Outcome:
    """The text that a person reads, or the outcome of a reply that has none."""
    parsed = task.parse(reply.text)
    if not parsed.ok:
        return Outcome(False, "has no text to judge, for it does not parse")
    text = task.reply_text(parsed.value)
    if text is None or not text.strip():
        return Outcome(False, "has no text to judge")
    if len(text) > MAX_REPLY_CHARACTERS:
        return Outcome(False, f"has more than {MAX_REPLY_CHARACTERS} characters, too many to be read")
    return text


def _failed(reasons: list[str]) -> Outcome:
    return Outcome(False, "; ".join(reasons)) if reasons else _PASSED
