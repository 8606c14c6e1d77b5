"""What a row asks: its question, and where to look for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from loren.data.similar.forms import digest


class Turn(Protocol):
    """A message of a row, in any of its shapes."""

    @property
    def role(self) -> str:
        """Who speaks."""
        ...

    @property
    def content(self) -> object:
        """A text, or an object where it is a target."""
        ...


class Question(NamedTuple):
    """All that stands before a target: what the target answers."""

    system: str
    text: str
    """The turns but the system's, one a line."""

    @property
    def whole(self) -> str:
        """What its digest is of. The system turn belongs to it: another instruction asks for another answer."""
        return f"{self.system}\0{self.text}" if self.system else self.text

    @property
    def digest(self) -> int:
        """64 bits of its exact form."""
        return digest(self.whole)


def question_of(turns: Sequence[Turn]) -> Question:
    """The question that the last of these turns answers."""
    if len(turns) == 2 and turns[0].role != "system":  # nearly always
        return Question("", str(turns[0].content))
    system = ""
    spoken: list[str] = []
    for turn in turns[:-1]:
        if turn.role == "system":
            system = str(turn.content)
        else:
            spoken.append(str(turn.content))
    return Question(system, spoken[0] if len(spoken) == 1 else "\n".join(spoken))


class Asked(NamedTuple):
    """A text of a customer that a golden question may be a copy of."""

    path: str
    """JSON pointer of its message, or of all messages."""
    text: str
    is_whole: bool
    """Whether it is all that the customer says in the row."""


def asked_in(turns: Iterable[tuple[int, Turn]]) -> list[Asked]:
    """What a customer says in a row: all of it as one text, and each turn where there are several.

    ``turns`` come with their index in ``messages``.
    """
    said = [(f"/messages/{index}/content", str(turn.content)) for index, turn in turns if turn.role == "user"]
    if len(said) == 1:
        return [Asked(*said[0], is_whole=True)]
    whole = [Asked("/messages", "\n".join(text for _, text in said), is_whole=True)] if said else []
    return [*whole, *(Asked(path, text, is_whole=False) for path, text in said)]
