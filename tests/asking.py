"""Ask a generator all prompts, as `loren.evaluate.predict` does, without files."""

from __future__ import annotations

from collections.abc import Sequence

from loren.models.protocol import Completion, Generator, Prompt


def ask(generator: Generator, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
    """One completion a prompt, in order."""
    found: dict[int, Completion] = {}
    for places in generator.batches(prompts):
        answers = generator.answer([prompts[place] for place in places], max_new_tokens=max_new_tokens)
        found.update(zip(places, answers, strict=True))
    return [found[place] for place in range(len(prompts))]
