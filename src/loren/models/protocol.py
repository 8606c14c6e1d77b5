"""The one seam behind which a model answers: what evaluation and sanity are written against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeAlias

from loren.runs.files import Json

FinishReason: TypeAlias = Literal["stop", "length", "error"]
Turns: TypeAlias = Sequence[tuple[str, str]]
"""(role, content) pairs that end with a user turn."""
DECODING: dict[str, Json] = {"do_sample": False, "repetition_penalty": 1.0, "num_beams": 1}
"""Greedy, whatever a model's generation_config says; written into every sidecar."""


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
    """"stop": the model ended by itself; "length": it was cut at max_new_tokens; "error": an endpoint gave no answer."""
    prompt_tokens: int
    completion_tokens: int
    """Generated tokens, the end-of-turn token included."""
    latency_s: float
    """Seconds from the start of the batch that held the prompt to this answer's end."""
    requests: int = 1
    """How often the model was asked for it; tokens and seconds are sums over all requests."""

    def to_json(self) -> dict[str, Json]:
        """One line of a predictions file."""
        return asdict(self)


class Generator(Protocol):
    """Answers prompts batch by batch, so that whoever asks can keep each batch before the next one begins."""

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Which prompts are best answered together: their places in ``prompts``, every one once."""
        ...

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        """Answer one batch; one completion a prompt, in order."""
        ...


class EchoGenerator:
    """A fake that answers each prompt with a fixed text, or with the last user turn; for tests and dry runs."""

    def __init__(self, reply: str | None = None, *, batch_size: int = 8) -> None:
        self._reply = reply
        self._batch_size = batch_size

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """In order, a few at a time."""
        return [
            list(range(start, min(start + self._batch_size, len(prompts)))) for start in range(0, len(prompts), self._batch_size)
        ]

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        """Say the fixed reply, cut after ``max_new_tokens`` words as a model would be."""
        return [self._completion(prompt, max_new_tokens) for prompt in prompts]

    def _completion(self, prompt: Prompt, max_new_tokens: int) -> Completion:
        words = (self._reply if self._reply is not None else prompt.turns[-1][1]).split(" ")
        kept = words[:max_new_tokens]
        return Completion(
            id=prompt.id,
            text=" ".join(kept),
            finish_reason="stop" if len(kept) == len(words) else "length",
            prompt_tokens=sum(len(content.split()) for _, content in prompt.turns),
            completion_tokens=len(kept),
            latency_s=0.0,
        )
