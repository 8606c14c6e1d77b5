"""The one seam behind which a model answers: what evaluation and sanity are written against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeAlias

from loren.runs.files import Json

FinishReason: TypeAlias = Literal["stop", "length"]
Turns: TypeAlias = Sequence[tuple[str, str]]
"""(role, content) pairs that end with a user turn."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question, ready to be asked."""

    id: str
    turns: Turns


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer and how it ended."""

    id: str
    text: str
    finish_reason: FinishReason
    """"stop": the model ended by itself; "length": it was cut at max_new_tokens."""
    prompt_tokens: int
    completion_tokens: int
    """Generated tokens, the end-of-turn token included."""
    latency_s: float
    """Seconds from the start of the batch that held the prompt to this answer's end."""

    def to_json(self) -> dict[str, Json]:
        """One line of a predictions file."""
        return asdict(self)


class Generator(Protocol):
    """Answers prompts, in their order."""

    def generate(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> Iterator[Completion]:
        """Yield one completion a prompt, in order."""
        ...


class EchoGenerator:
    """A fake that answers each prompt with a fixed text, or with the last user turn; for tests and dry runs."""

    def __init__(self, reply: str | None = None) -> None:
        self._reply = reply

    def generate(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> Iterator[Completion]:
        """Yield the fixed reply, cut after ``max_new_tokens`` words as a model would be."""
        for prompt in prompts:
            words = (self._reply if self._reply is not None else prompt.turns[-1][1]).split(" ")
            kept = words[:max_new_tokens]
            yield Completion(
                id=prompt.id,
                text=" ".join(kept),
                finish_reason="stop" if len(kept) == len(words) else "length",
                prompt_tokens=sum(len(content.split()) for _, content in prompt.turns),
                completion_tokens=len(kept),
                latency_s=0.0,
            )
