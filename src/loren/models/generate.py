"""Batched greedy decoding, behind the Generator protocol.

The loop is ours because three things make it several times faster than `generate` one prompt at a time, and change no token: a
common prompt prefix is computed once, prompts of like length share a batch, and a row leaves the batch when it has ended.
"""
# pyright: basic

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from loren.data.rows import Message
from loren.errors import ModelLoadError
from loren.models.chat import ChatRenderer
from loren.models.constrain import Constraint, Hold
from loren.models.kv_cache import gather, is_plain, keep_rows, remaining
from loren.models.layout import lay_out_for_decoding
from loren.models.protocol import Completion, Prompt
from loren.runs.files import Json

_MIN_SHARED_TOKENS = 8
"""A shorter common prefix is not worth a forward pass of its own."""
_GROUP_TOKENS = {True: 512, False: 16384}
"""Tokens of prompts that are computed at once, on a CPU and elsewhere: enough to keep the processor busy, few enough for its cache,
and rows of so like length that little is padded."""


class HuggingFaceGenerator:
    """Answers prompts with a causal language model, in batches of similar length."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        renderer: ChatRenderer,
        *,
        batch_size: int = 64,
        constraint: Constraint | None = None,
    ) -> None:
        """Keep the model, laid out for decoding.

        Args:
            model: a causal language model.
            tokenizer: its tokenizer.
            renderer: its chat template.
            batch_size: the largest batch.
            constraint: the schema that every reply is held to while it is decoded; see :meth:`held_to`.
        """
        self._model = model.eval()
        lay_out_for_decoding(model)
        self._tokenizer = tokenizer
        self._renderer = renderer
        self._batch_size = batch_size
        self._stop_ids = stop_token_ids(model, tokenizer)
        self._end_id = min(self._stop_ids, default=0)
        self._prefix = _Prefix([])
        self._constraint = constraint

    def held_to(self, schema: Mapping[str, Json]) -> HuggingFaceGenerator:
        """The same model in memory, its replies held to ``schema`` while they are decoded.

        Raises:
            PrerequisiteError: llguidance is not installed.
            ConfigError: decoding can't be held to the schema, or not with this tokenizer.
        """
        held = copy.copy(self)
        held._constraint = Constraint(schema, self._tokenizer, len(self._model.get_output_embeddings().weight))
        return held

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Prompts of like length together.

        Raises:
            ChatTemplateError: the template can't render a prompt.
            ModelLoadError: a prompt has a token that the model has no embedding for.
        """
        ids = self._render(prompts)
        refuse_foreign_tokens(self._model, self._tokenizer, max((max(row) for row in ids), default=0))
        length = common_prefix(ids) if len(ids) > 1 else 0
        self._prefix = _Prefix(ids[0][:length] if length >= _MIN_SHARED_TOKENS else [])
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        return [order[first : first + self._batch_size] for first in range(0, len(order), self._batch_size)]

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        """Answer one batch, greedily.

        Raises:
            ChatTemplateError: the template can't render a prompt.
            ConfigError: the constraint's grammar ran out of its limits.
        """
        started = time.perf_counter()
        ids = self._render(prompts)
        rows = [_Row(hold=self._constraint.begin(self._stop_ids) if self._constraint else None) for _ in ids]
        with torch.inference_mode():
            self._decode(rows, ids, max_new_tokens)
        return [
            Completion(
                id=prompt.id,
                text=self._renderer.reply_text(row.tokens[:-1] if row.ended else row.tokens),
                finish_reason="stop" if row.ended else "length",
                prompt_tokens=len(prompt_ids),
                completion_tokens=len(row.tokens),
                latency_s=round(row.finished_at - started, 6),
            )
            for prompt, prompt_ids, row in zip(prompts, ids, rows, strict=True)
        ]

    def _render(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return [
            self._renderer.prompt_ids([Message(role, text) for role, text in prompt.turns], place=f"prompt {prompt.id}")  # pyright: ignore[reportArgumentType]
            for prompt in prompts
        ]

    def _decode(self, rows: Sequence[_Row], ids: Sequence[list[int]], max_new_tokens: int) -> None:
        """Fill each row's tokens, greedily, until its end-of-turn token or the limit."""
        order, batch, logits = self._start(ids)
        active = [rows[place] for place in order]
        for left in reversed(range(max_new_tokens)):
            chosen: list[int] = logits.argmax(dim=-1).tolist()
            for place, row in enumerate(active):
                if row.hold:
                    chosen[place] = row.hold.choose(chosen[place], logits[place].float().cpu().numpy())
                    row.hold.take(chosen[place])
            now = time.perf_counter()
            for row, token in zip(active, chosen, strict=True):
                row.tokens.append(token)
                row.finished_at = now
                row.ended = token in self._stop_ids
                if row.hold and row.hold.is_complete and left and not row.ended:
                    row.tokens.append(self._end_id)  # nothing else may follow: no forward pass for it
                    row.ended = True
            keep = remaining([row.ended for row in active])
            if not keep or not left:
                return
            active = [active[place] for place in keep]
            batch.advance(keep, [chosen[place] for place in keep])
            logits = self._forward(batch.input_ids, batch.mask, batch.positions, batch.cache)

    def _start(self, ids: Sequence[list[int]]) -> tuple[list[int], _Batch, Tensor]:
        """Compute the prompts.

        A shared prefix is computed once; then groups of rows of like length, each padded on the left to its own longest row.

        Returns:
            The places of the rows in the order of the batch, the batch, and each row's logits (B, V) for its first token.
        """
        prefix = self._shared_prefix(ids)
        shared = prefix.length
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        own = [ids[place][shared:] for place in order]
        fresh = DynamicCache(config=self._model.config)
        groups = group_rows(own, _GROUP_TOKENS[self._model.device.type == "cpu"]) if is_plain(fresh) else [own]
        caches, logits = [], []
        for group in groups:
            cache = prefix.cache_for(len(group)) or DynamicCache(config=self._model.config)
            input_ids, mask = self._padded(group, shared, width=max(map(len, group)))
            logits.append(self._forward(input_ids, mask, _positions(mask)[:, shared:], cache))
            caches.append(cache)
        cache = gather(caches, self._model.config, shared=shared) if is_plain(fresh) else caches[0]
        input_ids, mask = self._padded(own, shared, width=max(map(len, own)))
        return order, _Batch(input_ids, mask, _positions(mask)[:, shared:], cache), torch.cat(logits)

    def _padded(self, rows: Sequence[list[int]], shared: int, *, width: int) -> tuple[Tensor, Tensor]:
        """(input_ids (B, width), mask (B, shared + width)) of rows that are padded on the left."""
        pad = filler_id(self._model, self._tokenizer)
        input_ids = [[pad] * (width - len(row)) + row for row in rows]
        mask = [[1] * shared + [0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(input_ids, device=self._model.device), torch.tensor(mask, device=self._model.device)

    def _shared_prefix(self, ids: Sequence[list[int]]) -> _Prefix:
        """What all rows begin with: that of all prompts, if ``batches`` saw them, else that of these; it is computed once."""
        known = self._prefix.ids
        if not (known and all(len(row) > len(known) and row[: len(known)] == known for row in ids)):
            length = common_prefix(ids) if len(ids) > 1 else 0
            self._prefix = _Prefix(ids[0][: length if length >= _MIN_SHARED_TOKENS else 0])
        if self._prefix.ids and self._prefix.cache is None:
            self._prefix.cache = DynamicCache(config=self._model.config)
            prefix = torch.tensor([self._prefix.ids], device=self._model.device)
            self._forward(prefix, torch.ones_like(prefix), None, self._prefix.cache)
        return self._prefix

    def _forward(self, input_ids: Tensor, mask: Tensor, positions: Tensor | None, cache: DynamicCache) -> Tensor:
        """The logits (B, V) of each row's last position; the cache grows."""
        return self._model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]


@dataclass(slots=True)
class _Prefix:
    """Tokens that prompts begin with, and their keys and values once they are computed."""

    ids: list[int]
    cache: DynamicCache | None = None

    @property
    def length(self) -> int:
        return len(self.ids)

    def cache_for(self, rows: int) -> DynamicCache | None:
        """A copy for so many rows; None where there is no prefix."""
        cache = copy.deepcopy(self.cache)
        if cache is not None:
            cache.batch_repeat_interleave(rows)
        return cache


@dataclass(slots=True)
class _Row:
    """One answer as it grows."""

    tokens: list[int] = field(default_factory=list)
    """Generated tokens, the end-of-turn token included."""
    ended: bool = False
    finished_at: float = 0.0
    hold: Hold | None = None
    """What the reply may go on with, where decoding is held to a schema."""


@dataclass(slots=True)
class _Batch:
    """What the next forward pass takes. B rows are still active; T is 1 after the first pass."""

    input_ids: Tensor
    """(B, T)."""
    mask: Tensor
    """(B, cached + T)."""
    positions: Tensor
    """(B, T)."""
    cache: DynamicCache

    def advance(self, keep: list[int], tokens: list[int]) -> None:
        """Drop the rows that ended and make the chosen tokens the next input."""
        device = self.mask.device
        if len(keep) < len(self.mask):  # rows that went on may have moved
            kept = torch.tensor(keep, device=device)
            keep_rows(self.cache, keep)
            self.mask, self.positions = self.mask[kept], self.positions[kept]
        self.input_ids = torch.tensor(tokens, device=device)[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(keep), 1)], dim=1)
        self.positions = self.positions[:, -1:] + 1


def group_rows(rows: Sequence[list[int]], most_tokens: int) -> list[list[list[int]]]:
    """Rows that stand in the order of their lengths, cut into groups of at most so many tokens with padding (or of one row)."""
    groups: list[list[list[int]]] = []
    for row in rows:
        if groups and (len(groups[-1]) + 1) * len(row) <= most_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def common_prefix(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with, leaving each row at least one of its own."""
    first, last = min(rows), max(rows)  # the prefix of the extremes in dictionary order is the prefix of all
    limit = min(map(len, rows)) - 1
    return next((place for place in range(limit) if first[place] != last[place]), limit)


def _positions(mask: Tensor) -> Tensor:
    """Each token's position in its row, from the mask (B, T); padding has 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def stop_token_ids(model: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token at which generation ends: the generation_config's, the model's and the tokenizer's."""
    return plain_stop_ids(model) | _token_ids(getattr(model.config, "eos_token_id", None)) | _token_ids(tokenizer.eos_token_id)


def plain_stop_ids(model: Any) -> set[int]:
    """The tokens at which transformers' own ``generate`` ends: it asks the generation_config alone."""
    return _token_ids(getattr(model.generation_config, "eos_token_id", None))


def _token_ids(value: Any) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else {int(token) for token in value}


def filler_id(model: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills batches up: the pad token, or 0 where there is none, or none that the model has an embedding for."""
    pad = tokenizer.pad_token_id
    return pad if isinstance(pad, int) and pad < len(model.get_input_embeddings().weight) else 0


def refuse_foreign_tokens(model: Any, tokenizer: PreTrainedTokenizerBase, highest_id: int) -> None:
    """Refuse tokens that the model has no embedding for: added to the tokenizer, but never to the model.

    Raises:
        ModelLoadError: ``highest_id`` is beyond the embeddings.
    """
    rows = len(model.get_input_embeddings().weight)
    if highest_id >= rows:
        token = tokenizer.convert_ids_to_tokens(highest_id)
        raise ModelLoadError(
            f"the model has embeddings for {rows} tokens, the text needs token {highest_id} ({token!r}), which was added later",
            hint="model.resize_token_embeddings(len(tokenizer)), and save model and tokenizer as a new base",
        )
