"""General questions that a fine-tuned model should not unlearn, and what a reply to each must hold. Pure: nobody is asked here.

The questions lie in ``guard_questions/``, a file a language. A pattern is a text that must stand in the reply as whole words, or,
behind ``re:``, a regular expression; both meet the reply normalised: NFC, case folded, white space evened out line by line.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from loren.data.decode import decode_line
from loren.data.reader import LineReader
from loren.errors import DataContractError, Problem
from loren.provenance.digests import sha256_json
from loren.runs.files import Json
from loren.scoring.stats.shares import wilson_interval

LANGUAGES = ("en", "vi")
KINDS = ("facts", "arithmetic", "translation", "format", "code", "summary", "greeting")
REGEX = "re:"
_JSON_OBJECT = re.compile(r"(?:```\w*\s*)?\{")
_FOLDER = "guard_questions"


def normalise(text: str) -> str:
    """NFC, case folded; each line's white space evened out, blank lines left out."""
    lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", text).casefold().splitlines())
    return "\n".join(line for line in lines if line)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A text matches as whole words, however it is wrapped; a number is no part of a longer one (12 is not in 12.5 or 1,200)."""
    if pattern.startswith(REGEX):
        return re.compile(pattern.removeprefix(REGEX))
    words = r"\s+".join(map(re.escape, pattern.split(" ")))
    left, right = (r"(?<!\d[.,])" if pattern[0].isdigit() else ""), (r"(?![.,]\d)" if pattern[-1].isdigit() else "")
    return re.compile(rf"(?<!\w){left}{words}(?!\w){right}")


def _checked(pattern: str) -> str:
    """Refuse a pattern that could never match, or matches everything.

    Raises:
        ValueError: says why.
    """
    if pattern != unicodedata.normalize("NFC", pattern):
        raise ValueError("expected NFC")
    if not pattern.startswith(REGEX) and (not pattern or pattern != normalise(pattern)):
        raise ValueError("expected a text in lower case without odd spaces, for so is the reply that it meets")
    try:
        compiled = _compiled(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression, found {error}") from error
    if compiled.search(""):
        raise ValueError("expected a pattern that an empty reply does not match")
    return pattern


Pattern = Annotated[str, AfterValidator(_checked)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class _Turn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["user"]
    content: str = Field(min_length=1)


class GuardQuestion(BaseModel):
    """One general question."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)

    id: str = Field(pattern=r"^[a-z]+/[a-z]+/[0-9]+$")
    """``LANGUAGE/KIND/NUMBER``."""
    language: Literal["en", "vi"]
    kind: Literal["facts", "arithmetic", "translation", "format", "code", "summary", "greeting"]
    messages: tuple[_Turn]
    """One turn of a user."""
    accept: Annotated[tuple[Patterns, ...], Field(min_length=1)]
    """Alternatives; all patterns of one of them must match."""
    reject: tuple[Pattern, ...] = ()
    """No reply that one of these matches is accepted."""
    allows_json: bool = False
    """A JSON object was asked for. Elsewhere one is wrong whatever it holds: so speaks an adapter that knows its task alone."""

    @property
    def text(self) -> str:
        """What is asked."""
        return self.messages[0].content

    @model_validator(mode="after")
    def _agrees(self) -> GuardQuestion:
        if not self.id.startswith(f"{self.language}/{self.kind}/"):
            raise ValueError("id: expected it to begin with language and kind")
        if self.text != unicodedata.normalize("NFC", self.text).strip():
            raise ValueError("messages: expected NFC without space around it")
        return self


@dataclass(frozen=True, slots=True)
class GuardSet:
    """Questions in the order in which they are asked."""

    questions: tuple[GuardQuestion, ...]

    @property
    def sha256(self) -> str:
        """Of the questions and of what is accepted."""
        return sha256_json([question.model_dump(mode="json") for question in self.questions])


def load_guard() -> GuardSet:
    """The questions that Loren ships.

    Raises:
        DataContractError: a line is no such question; names every line.
    """
    folder = resources.files("loren.scoring").joinpath(_FOLDER)
    return read_guard({f"{name}.jsonl": folder.joinpath(f"{name}.jsonl").read_bytes() for name in LANGUAGES})


def read_guard(files: Mapping[str, bytes]) -> GuardSet:
    """Questions from files in JSON Lines, by name.

    Raises:
        DataContractError: lines that are no questions, ids that stand twice, or no question at all.
    """
    questions: list[GuardQuestion] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for name, data in files.items():
        for line in LineReader(io.BytesIO(data)):
            place = f"{name}:{line.number}"
            question, found = _question(line.data or b"")
            problems += [Problem(place, message) for message in found]
            if question is None:
                continue
            if question.id in seen:
                problems.append(Problem(place, "id: expected another one than a question before it"))
            seen.add(question.id)
            questions.append(question)
    if not questions and not problems:
        problems.append(Problem(", ".join(files), "expected at least one question, found none"))
    if problems:
        raise DataContractError(f"guard questions: {len(problems)} problem(s)", problems=problems)
    return GuardSet(tuple(questions))


def _question(data: bytes) -> tuple[GuardQuestion | None, list[str]]:
    decoded = decode_line(data)
    if decoded.value is None or decoded.breaches:
        return None, [breach.message for breach in decoded.breaches]
    try:
        return GuardQuestion.model_validate_json(data), []
    except ValidationError as error:
        return None, [f"{'/'.join(map(str, each['loc']))}: {each['msg']}".lstrip(": ") for each in error.errors()]


def score_guard(question: GuardQuestion, text: str, finish_reason: str) -> int:
    """1 where a reply holds what it must, else 0.

    Args:
        question: what was asked.
        text: the reply.
        finish_reason: one that was cut ("length") or never came ("error") is 0: whoever asked has no whole reply.
    """
    if finish_reason != "stop":
        return 0
    reply = normalise(text)
    if not question.allows_json and _JSON_OBJECT.match(reply):
        return 0
    if any(_compiled(pattern).search(reply) for pattern in question.reject):
        return 0
    return int(any(all(_compiled(pattern).search(reply) for pattern in alternative) for alternative in question.accept))


def summarize_guard(questions: Sequence[GuardQuestion], outcomes: Mapping[str, int]) -> dict[str, Json]:
    """Shares with Wilson's 95 % intervals: of all, by language, by kind, and by both.

    Args:
        questions: those that were asked.
        outcomes: question id -> 0 or 1, for each of them.

    Raises:
        ValueError: there are no questions, or one has no outcome.
    """
    if not questions or any(question.id not in outcomes for question in questions):
        raise ValueError("expected questions, and an outcome for each of them")

    def share(of: Iterable[GuardQuestion]) -> dict[str, Json]:
        values = [outcomes[question.id] for question in of]
        low, high = wilson_interval(sum(values), len(values))
        return {"count": sum(values), "of": len(values), "value": sum(values) / len(values), "low": low, "high": high}

    def shares(names: Iterable[str], name_of: Mapping[str, str]) -> dict[str, Json]:
        parts = {name: [question for question in questions if name_of[question.id] == name] for name in names}
        return {name: share(part) for name, part in parts.items() if part}

    language, kind = {q.id: q.language for q in questions}, {q.id: q.kind for q in questions}
    both = {q.id: f"{q.language}/{q.kind}" for q in questions}
    return {
        "all": share(questions),
        "languages": shares(LANGUAGES, language),
        "kinds": shares(KINDS, kind),
        "groups": shares([f"{a}/{b}" for a in LANGUAGES for b in KINDS], both),
    }
