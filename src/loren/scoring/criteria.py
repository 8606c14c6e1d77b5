"""Criteria: what a reply must be, each a pure function from a reply and a task to an outcome.

A criterion never guesses: a reply that does not parse has no text to judge, so it fails the criteria about its text too. A reason
says what kind of thing is wrong and how often, never the reply's words.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from loren.task.definition import Task
from loren.task.entities import Entity
from loren.task.phrases import Text, fold, key_of
from loren.task.wording import Statement

MAX_REPLY_CHARACTERS = 20_000
"""A longer reply is not read; no bound on length that a task would set is near it."""
_NEAR = 400
"""So many characters around a statement are searched for its exceptions: more than a sentence has."""
_SHOUTED_WORDS = 4
"""So many words in capitals in a row are shouted; abbreviations come in ones and twos."""


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
    held = task.entities.held(f"{reply.prompt}\n{task.system_prompt}")
    invented = [entity for entity in task.entities.states(text) if not held.covers(entity)]
    lexicon = task.wording.lexicon
    said, asked = lexicon.read(text), lexicon.read(reply.prompt)
    statements = [statement.rule.reason for statement in task.wording.statements if _says(statement, said, asked)]
    return _failed([*_count_kinds(invented), *dict.fromkeys(statements)])


def wording(reply: Reply, task: Task) -> Outcome:
    """The reply is polite, and speaks with the one voice that the task wants."""
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    rules, voice = task.wording, task.wording.file.voice
    said = rules.lexicon.read(text)
    sentences = said.sentences
    faults: list[str] = []
    if rules.polite and not any(pattern.found_in(sentence) for pattern in rules.polite for sentence in sentences):
        faults.append("holds none of the polite forms")
    first_person = any(pattern.found_in(sentence) for pattern in rules.first_person for sentence in sentences)
    if voice.first_person_required and rules.first_person and not first_person:
        faults.append("does not call itself by the task's first person")
    forbidden = sum(1 for pattern in rules.forbidden for _ in pattern.matches(said))
    if forbidden:
        faults.append(f"holds {forbidden} form(s) of address or words that the task forbids")
    if voice.scripts and (foreign := _foreign_letters(text, voice.scripts)):
        faults.append(f"holds {foreign} letter(s) of another script")
    if _shouts(text):
        faults.append("shouts")
    return _failed(faults)


def short(reply: Reply, task: Task) -> Outcome:
    """The reply keeps to the task's bounds of length, and says something."""
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    bounds = task.wording.file.length
    words, characters = len(text.split()), len(text.strip())
    faults: list[str] = []
    if bounds.max_words is not None and words > bounds.max_words:
        faults.append(f"has {words} words, more than {bounds.max_words}")
    if bounds.max_characters is not None and characters > bounds.max_characters:
        faults.append(f"has {characters} characters, more than {bounds.max_characters}")
    return _failed(faults)


def next_step(reply: Reply, task: Task) -> Outcome:
    """The reply says how it goes on: what the reader should send or do, or what is done for them now."""
    text = _reply_text(reply, task)
    if isinstance(text, Outcome):
        return text
    sentences = task.wording.lexicon.read(text).sentences
    if any(pattern.found_in(sentence) for pattern in task.wording.next_step for sentence in sentences):
        return _PASSED
    return Outcome(False, "names no next step")


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
    """The criteria that a reply to this task can fail: without a schema or a rule there is nothing to judge by."""
    rules = task.wording
    can_fail = {
        "parses": task.is_json,
        "schema": task.is_json,
        "wording": rules.has_voice,
        "short": rules.has_length,
        "next_step": bool(rules.next_step),
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


def _says(statement: Statement, said: Text, asked: Text) -> bool:
    """Whether a reply says what a statement forbids, its exceptions considered."""
    echoes: set[str] | None = None
    for pattern in statement.patterns:
        for sentence, match in pattern.matches(said):
            before = f"{sentence[max(0, match.start() - _NEAR) : match.start()]} "
            after = sentence[match.end() : match.end() + _NEAR]
            if any(exception.found_in(before) for exception in statement.unless_before):
                continue
            if any(exception.found_in(after) for exception in statement.unless_after):
                continue
            if statement.rule.unless_asked:
                echoes = _asked_keys(statement, asked) if echoes is None else echoes
                if fold(key_of(match)) in echoes:
                    continue
            return True
    return False


def _asked_keys(statement: Statement, asked: Text) -> set[str]:
    folded = asked.folded()
    return {key for pattern in (*statement.patterns, *statement.asked) for key in pattern.folded_keys(folded)}


def _count_kinds(entities: list[Entity]) -> list[str]:
    counts = Counter(entity.kind for entity in entities)
    kinds = {"link": "link", "address": "address", "time": "time of day"}
    return [
        f"states {count} {kinds.get(kind, kind)}{'s' if count > 1 else ''} that the prompt does not hold"
        for kind, count in counts.items()
    ]


def _foreign_letters(text: str, scripts: list[str]) -> int:
    letters = (char for char in text if char.isalpha())
    return sum(1 for char in letters if not unicodedata.name(char, "").startswith(tuple(scripts)))


def _shouts(text: str) -> bool:
    run = 0
    for word in text.split():
        letters = [char for char in word if char.isalpha()]
        run = run + 1 if letters and all(char.isupper() for char in letters) else 0
        if run >= _SHOUTED_WORDS:
            return True
    return False


def _failed(reasons: list[str]) -> Outcome:
    return Outcome(False, "; ".join(reasons)) if reasons else _PASSED
