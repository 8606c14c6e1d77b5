"""Wording: the rules of a task's wording.toml, checked and compiled.

All facts of a language live in that file: which words are polite, how a reply calls itself, which words are numbers and units, what
would claim or promise too much. This module knows only what kinds of rules there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from loren.errors import Problem
from loren.task.phrases import Lexicon, Pattern, Patterns, is_group_name

UnitKind: TypeAlias = Literal["duration", "amount", "percentage", "count"]
Phrases: TypeAlias = list[str]


class _Part(BaseModel):
    """A frozen part of wording.toml that refuses unknown keys and loose types."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True, allow_inf_nan=False)


class VoiceRules(_Part):
    """[voice] - who speaks, and how."""

    polite: Phrases = []
    """Patterns; a reply must hold at least one."""
    first_person: Phrases = []
    """How a reply calls itself."""
    first_person_required: bool = False
    """Whether a reply must call itself by one of these."""
    forbidden: Phrases = []
    """Other forms of address, and rude words: a reply must hold none."""
    scripts: Phrases = []
    """Unicode scripts whose letters may appear ("LATIN"); none given means any."""


class LengthRules(_Part):
    """[length] - bounds of a reply."""

    max_words: int | None = Field(default=None, ge=1)
    """Words by white space: in Vietnamese, syllables."""
    max_characters: int | None = Field(default=None, ge=1)
    """Characters."""


class NextStepRules(_Part):
    """[next_step] - what makes a reply tell the reader how it goes on."""

    patterns: Phrases = []
    """A reply must hold at least one."""


class StatementRule(_Part):
    """[[statements]] - something that a reply must not say."""

    reason: str = Field(min_length=1, max_length=120)
    """What a matching reply does, as the end of a sentence: "claims that something was done"."""
    patterns: Phrases = Field(min_length=1)
    """A reply that holds one says it."""
    unless_before: Phrases = []
    """...but not where one of these stands earlier in the sentence,"""
    unless_after: Phrases = []
    """...or later in the sentence,"""
    unless_asked: bool = False
    """...or where the prompt says it too: its key phrase in one of the patterns, or of `asked`; accents do not count."""
    asked: Phrases = []
    """Further patterns that are looked for in the prompt only."""


class Unit(_Part):
    """[[numbers.units]] - what a number may count."""

    kind: UnitKind
    """A unit's numbers are compared within their kind."""
    factor: int = Field(default=1, ge=1)
    """The unit in the kind's smallest: seconds of a duration, currency units of an amount."""
    names: Phrases = Field(min_length=1)
    """Names after a number, in digits or words."""
    signs: Phrases = []
    """Short names that stand after digits only."""


class NumberRules(_Part):
    """[numbers] - how the language writes numbers in words."""

    words: dict[str, int] = {}
    """Words and their values. They count as numbers only before a unit or scale, or after an ordinal."""
    tails: dict[str, int] = {}
    """Words that have a value only after a scale word."""
    scales: dict[str, int] = {}
    """Words that multiply what stands before them."""
    signs: dict[str, int] = {}
    """Short scales that stand after digits only."""
    ordinals: Phrases = []
    """Words before a number word that make it a number ("thứ", "number")."""
    calendar: Phrases = []
    """Units that name a date where a number follows them: in "20 tháng 11" nothing lasts."""
    vague: Phrases = []
    """Words that make a duration of a unit without a number ("vài", "a few")."""
    one_is_an_article: bool = True
    """Whether the word for one says nothing about a count ("a question")."""
    dates: list[Phrases] = []
    """Dates in words: each list holds ways to say the same."""
    units: list[Unit] = []


class WordingFile(_Part):
    """wording.toml as it is written."""

    groups: dict[str, Phrases] = {}
    """[groups] - phrases under a name, for patterns."""
    spelling: dict[str, str] = {}
    """[spelling] - variant -> the form to read it as."""
    ordinary: Phrases = []
    """Phrases of which no word is read by itself ("một lần nữa")."""
    voice: VoiceRules = VoiceRules()
    length: LengthRules = LengthRules()
    next_step: NextStepRules = NextStepRules()
    numbers: NumberRules = NumberRules()
    statements: list[StatementRule] = []


@dataclass(frozen=True)
class Statement:
    """A compiled :class:`StatementRule`."""

    rule: StatementRule
    patterns: Patterns
    unless_before: Patterns
    unless_after: Patterns
    asked: Patterns


@dataclass(frozen=True)
class Wording:
    """The compiled rules of a task; empty rules where it has no wording.toml."""

    file: WordingFile = field(default_factory=WordingFile)
    lexicon: Lexicon = field(default_factory=lambda: Lexicon({}))
    polite: Patterns = field(default_factory=Patterns)
    first_person: Patterns = field(default_factory=Patterns)
    forbidden: Patterns = field(default_factory=Patterns)
    next_step: Patterns = field(default_factory=Patterns)
    statements: tuple[Statement, ...] = ()

    @property
    def has_voice(self) -> bool:
        """Whether any rule of politeness or consistency is given."""
        voice = self.file.voice
        return bool(voice.polite or voice.forbidden or voice.scripts or (voice.first_person and voice.first_person_required))

    @property
    def has_length(self) -> bool:
        """Whether the length is bounded."""
        return self.file.length.max_words is not None or self.file.length.max_characters is not None


def compile_wording(file: WordingFile, *, place: str) -> tuple[Wording, list[Problem]]:
    """Compile the rules of a file.

    Args:
        file: the validated file.
        place: its name, for problems.

    Returns:
        The rules (without the patterns that do not compile) and a problem for each of those.
    """
    problems = [
        Problem(f"{place} groups.{name}", "expected a name of lower-case letters, digits and _, found another")
        for name in file.groups
        if not is_group_name(name)
    ]
    lexicon = Lexicon(file.groups, spelling=file.spelling, ordinary=file.ordinary)

    def patterns(key: str, sources: Sequence[str]) -> Patterns:
        return Patterns(_compile(lexicon.compile, key, sources, place, problems))

    statements = tuple(
        Statement(
            rule,
            patterns(f"statements[{index}].patterns", rule.patterns),
            patterns(f"statements[{index}].unless_before", rule.unless_before),
            patterns(f"statements[{index}].unless_after", rule.unless_after),
            patterns(f"statements[{index}].asked", rule.asked),
        )
        for index, rule in enumerate(file.statements)
    )
    wording = Wording(
        file,
        lexicon,
        polite=patterns("voice.polite", file.voice.polite),
        first_person=patterns("voice.first_person", file.voice.first_person),
        forbidden=patterns("voice.forbidden", file.voice.forbidden),
        next_step=patterns("next_step.patterns", file.next_step.patterns),
        statements=statements,
    )
    problems.extend(_number_problems(file.numbers, place))
    return wording, problems


def _compile(
    compiler: Callable[[str], Pattern], key: str, sources: Sequence[str], place: str, problems: list[Problem]
) -> Iterator[Pattern]:
    for index, source in enumerate(sources):
        try:
            yield compiler(source)
        except ValueError as error:
            problems.append(Problem(f"{place} {key}[{index}]", str(error)))


def _number_problems(numbers: NumberRules, place: str) -> Iterator[Problem]:
    tables: Mapping[str, Mapping[str, int]] = {"words": numbers.words, "tails": numbers.tails, "scales": numbers.scales}
    for name, table in tables.items():
        for word, value in table.items():
            if value < (2 if name == "scales" else 0):
                yield Problem(f"{place} numbers.{name}.{word}", f"expected a larger value, found {value}")
            if len(word.split()) != 1:
                yield Problem(f"{place} numbers.{name}.{word}", "expected one word, found another number of them")
