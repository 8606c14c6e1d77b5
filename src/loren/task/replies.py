"""What a task's wording rules say about the text of a reply. Pure.

The same functions judge what a model answers (``scoring.criteria``) and what a training row would teach it (``data.quality``). A
reason says what kind of thing is wrong and how often, never the reply's words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from loren.task.entities import Entity
from loren.task.phrases import Pattern, Text, fold, key_of

if TYPE_CHECKING:
    from loren.task.definition import Task
    from loren.task.wording import Statement

MAX_REPLY_CHARACTERS = 20_000
"""A longer reply is not read; no bound on length that a task would set is near it."""
_NEAR = 400
"""So many characters around a statement are searched for its exceptions: more than a sentence has."""
_ALPHABETS = 0x2100
"""Below stand the letters of the alphabets, and the usual signs."""
_SHOUTED_WORDS = 4
"""So many words in capitals in a row are shouted; abbreviations come in ones and twos."""


def invented(text: str, prompt: str, task: Task) -> list[Entity]:
    """The facts that a reply states though neither the prompt nor the system prompt holds them."""
    stated = task.entities.states(text)
    if not stated:
        return []
    held = task.entities.held(prompt, task.system_prompt)
    return [entity for entity in stated if not held.covers(entity)]


def statement_faults(text: str, prompt: str, task: Task) -> list[str]:
    """What the reply says that the task's statements forbid."""
    said = task.wording.lexicon.read(text)
    reasons: list[str] = []
    for statement in task.wording.statements:
        patterns = statement.patterns.possible(said)
        if patterns and statement.rule.reason not in reasons and _says(statement, patterns, said, prompt, task):
            reasons.append(statement.rule.reason)
    return reasons


def voice_faults(text: str, task: Task) -> list[str]:
    """Where the reply is not polite, or does not speak with the one voice that the task wants."""
    rules, voice = task.wording, task.wording.file.voice
    said = rules.lexicon.read(text)
    faults: list[str] = []
    if rules.polite and not rules.polite.any_in(said):
        faults.append("holds none of the polite forms")
    if voice.first_person_required and rules.first_person and not rules.first_person.any_in(said):
        faults.append("does not call itself by the task's first person")
    forbidden = sum(1 for pattern in rules.forbidden.possible(said) for _ in pattern.matches(said))
    if forbidden:
        faults.append(f"holds {forbidden} form(s) of address or words that the task forbids")
    if voice.scripts and (foreign := _foreign_letters(text, voice.scripts)):
        faults.append(f"holds {foreign} letter(s) of another script")
    if _shouts(text):
        faults.append("shouts")
    return faults


def length_faults(text: str, task: Task) -> list[str]:
    """Where the reply leaves the task's bounds of length."""
    bounds = task.wording.file.length
    words, characters = len(text.split()), len(text.strip())
    faults: list[str] = []
    if bounds.max_words is not None and words > bounds.max_words:
        faults.append(f"has {words} words, more than {bounds.max_words}")
    if bounds.max_characters is not None and characters > bounds.max_characters:
        faults.append(f"has {characters} characters, more than {bounds.max_characters}")
    return faults


def names_next_step(text: str, task: Task) -> bool:
    """Whether the reply says how it goes on; for a task without such a rule, nothing does."""
    said = task.wording.lexicon.read(text)
    return task.wording.next_step.any_in(said)


def count_kinds(entities: Iterable[Entity]) -> list[str]:
    """The kinds of invented entities, with their numbers."""
    counts = Counter(entity.kind for entity in entities)
    kinds = {"link": "link", "address": "address", "time": "time of day"}
    return [
        f"states {count} {kinds.get(kind, kind)}{'s' if count > 1 else ''} that the prompt does not hold"
        for kind, count in counts.items()
    ]


def _says(statement: Statement, patterns: Sequence[Pattern], said: Text, prompt: str, task: Task) -> bool:
    """Whether a reply says what a statement forbids, its exceptions considered."""
    echoes: set[str] | None = None
    for pattern in patterns:
        for sentence, match in pattern.matches(said):
            before = f"{sentence[max(0, match.start() - _NEAR) : match.start()]} "
            after = sentence[match.end() : match.end() + _NEAR]
            if any(exception.found_in(before) for exception in statement.unless_before):
                continue
            if any(exception.found_in(after) for exception in statement.unless_after):
                continue
            if statement.rule.unless_asked:
                echoes = _asked_keys(statement, task.wording.lexicon.read(prompt)) if echoes is None else echoes
                if fold(key_of(match)) in echoes:
                    continue
            return True
    return False


def _asked_keys(statement: Statement, asked: Text) -> set[str]:
    folded = asked.folded()
    return {key for pattern in (*statement.patterns, *statement.asked) for key in pattern.folded_keys(folded)}


def _foreign_letters(text: str, scripts: list[str]) -> int:
    wanted = tuple(scripts)
    return sum(1 for char in _unknown(wanted).findall(text) if _is_foreign(char, wanted))


@cache
def _unknown(scripts: tuple[str, ...]) -> re.Pattern[str]:
    """Finds what may be foreign: all but the signs and the letters of these scripts in the range of the alphabets."""
    return re.compile(f"[^{re.escape(''.join(char for char in map(chr, range(_ALPHABETS)) if not _is_foreign(char, scripts)))}]")


def _is_foreign(char: str, scripts: tuple[str, ...]) -> bool:
    return char.isalpha() and not unicodedata.name(char, "").startswith(scripts)


def _shouts(text: str) -> bool:
    words = text.split()
    if sum(map(str.isupper, words)) < _SHOUTED_WORDS:
        return False
    run = 0
    for word in words:
        run = run + 1 if word.isupper() and _is_in_capitals(word) else 0
        if run >= _SHOUTED_WORDS:
            return True
    return False


def _is_in_capitals(word: str) -> bool:
    """Whether all letters are capitals; letters without case, which ``str.isupper`` passes over, are none."""
    return all(char.isupper() for char in word if char.isalpha())
