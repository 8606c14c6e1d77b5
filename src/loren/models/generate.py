"""Batched greedy generation with transformers, behind the Generator protocol."""
# pyright: basic

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList

from loren.data.rows import Message
from loren.models.chat import ChatRenderer
from loren.models.protocol import Completion, Prompt
from loren.runs.files import Json

DECODING: dict[str, Json] = {"do_sample": False, "repetition_penalty": 1.0, "num_beams": 1}
"""Greedy, whatever the model's generation_config says; written into every sidecar."""
_MIN_SHARED_TOKENS = 32
"""A shorter common prefix (a template's own words) is not worth a forward pass of its own."""
_WINDOW_BATCHES = 8
"""Prompts of this many batches are sorted by length together; a window's answers are yielded in order."""


class HuggingFaceGenerator:
    """Answers prompts with a causal language model, in batches of similar length."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, renderer: ChatRenderer, *, batch_size: int = 8) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._renderer = renderer
        self._batch_size = batch_size
        self._stop_ids = stop_token_ids(model, tokenizer)
        # transformers fills what we leave out from the model's own generation_config (sampling, penalties): leave it nothing.
        model.generation_config = GenerationConfig()

    def generate(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> Iterator[Completion]:
        """Yield one completion a prompt, in order.

        Raises:
            ChatTemplateError: the template can't render a prompt.
        """
        window = self._batch_size * _WINDOW_BATCHES
        for start in range(0, len(prompts), window):
            part = prompts[start : start + window]
            ids = [
                self._renderer.prompt_ids([Message(role, text) for role, text in prompt.turns], place=f"prompt {prompt.id}")  # pyright: ignore[reportArgumentType]
                for prompt in part
            ]
            order = sorted(range(len(part)), key=lambda index: len(ids[index]))
            done: dict[int, Completion] = {}
            for first in range(0, len(order), self._batch_size):
                batch = order[first : first + self._batch_size]
                answers = self._answer([part[i] for i in batch], [ids[i] for i in batch], max_new_tokens)
                done.update(zip(batch, answers, strict=True))
            yield from (done[index] for index in range(len(part)))

    def _answer(self, prompts: Sequence[Prompt], ids: Sequence[list[int]], max_new_tokens: int) -> list[Completion]:
        shared = common_prefix(ids) if len(ids) > 1 else 0
        shared = shared if shared >= _MIN_SHARED_TOKENS else 0
        suffixes = [row[shared:] for row in ids]
        width = max(map(len, suffixes))
        pad = self._tokenizer.pad_token_id
        device = self._model.device
        rows = [ids[0][:shared] + [pad] * (width - len(suffix)) + suffix for suffix in suffixes]
        masks = [[1] * shared + [0] * (width - len(suffix)) + [1] * len(suffix) for suffix in suffixes]
        clock = _RowClock(self._stop_ids, len(ids))
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(masks, device=device),
                past_key_values=self._prefix_cache(ids[0][:shared], len(ids)),
                generation_config=GenerationConfig(
                    **DECODING, max_new_tokens=max_new_tokens, eos_token_id=sorted(self._stop_ids), pad_token_id=pad
                ),
                stopping_criteria=StoppingCriteriaList([clock]),
            )
        return [
            self._completion(prompt, row, output[index, shared + width :].tolist(), clock.seconds(index))
            for index, (prompt, row) in enumerate(zip(prompts, ids, strict=True))
        ]

    def _prefix_cache(self, prefix: list[int], rows: int) -> DynamicCache | None:
        """Keys and values of a prompt prefix, computed once and repeated for every row; None for an empty prefix."""
        if not prefix:
            return None
        cache = DynamicCache(config=self._model.config)
        self._model(input_ids=torch.tensor([prefix], device=self._model.device), past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(rows)
        return cache

    def _completion(self, prompt: Prompt, prompt_ids: list[int], generated: list[int], latency_s: float) -> Completion:
        end = next((position for position, token in enumerate(generated) if token in self._stop_ids), None)
        kept = generated if end is None else generated[:end]
        return Completion(
            id=prompt.id,
            text=self._tokenizer.decode(kept, skip_special_tokens=True),  # pyright: ignore[reportArgumentType]
            finish_reason="length" if end is None else "stop",
            prompt_tokens=len(prompt_ids),
            completion_tokens=len(generated) if end is None else end + 1,
            latency_s=latency_s,
        )


def common_prefix(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with, leaving each row at least one of its own."""
    first, last = min(rows), max(rows)  # the prefix of the extremes in dictionary order is the prefix of all
    limit = min(map(len, rows)) - 1
    return next((place for place in range(limit) if first[place] != last[place]), limit)


def stop_token_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token at which generation ends: the generation_config's, the model's and the tokenizer's."""
    found: set[int] = set()
    for value in (
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        if isinstance(value, int):
            found.add(value)
        elif value is not None:
            found.update(int(token) for token in value)
    return found


class _RowClock(StoppingCriteria):
    """Stops nothing; notes when each row ended, for its latency."""

    def __init__(self, stop_ids: set[int], rows: int) -> None:
        self._stop_ids = stop_ids
        self._started = time.perf_counter()
        self._ended: list[float | None] = [None] * rows

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        now = time.perf_counter()
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if self._ended[row] is None and token in self._stop_ids:
                self._ended[row] = now
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    def seconds(self, row: int) -> float:
        ended = self._ended[row]
        return round((ended if ended is not None else time.perf_counter()) - self._started, 6)
