"""The rows of a micro-batch as one line of tokens: no padding, nothing after the last label, a shared prompt prefix once.

All of a decoder but its attention treats tokens one by one, so it can take the tokens of all rows as one row. Only attention must
know which token belongs where: there the tokens are spread into right-padded rows (each with the whole prefix), attend causally
without a mask, and are gathered again. In a causal model a position sees only what is before it, so the keys and values of a shared
prefix are the same in every row, and its gradients add up over the rows as they would have.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from loren.models.chat import IGNORED

ATTENTION = "loren_packed"
"""The name under which transformers finds :func:`_attend`; no mask is made for it."""


class Packed(NamedTuple):
    """The tokens of a micro-batch in one line. B rows of at most T tokens that are needed, M tokens in all."""

    input_ids: Tensor
    """(1, M)."""
    position_ids: Tensor
    """(1, M), each token's place in its row."""
    targets: Tensor
    """(M,), the label that each token predicts, or -100."""
    spread: Tensor
    """(B * T,), for each place of the padded rows its token; any token where there is padding."""
    gather: Tensor
    """(M,), each token's place in the padded rows."""
    rows: int
    """B."""


def pack(input_ids: Tensor, labels: Tensor) -> Packed:
    """Lay the rows of a batch out in one line.

    Args:
        input_ids: int64 (B, T).
        labels: int64 (B, T), -100 where not trained; position t predicts label t + 1.
    """
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    targets = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    needed = torch.where(targets != IGNORED, places + 1, 0).amax(dim=1)
    if not bool(needed.any()):
        needed[0] = 1  # a batch without labels still needs a graph
    is_used = needed > 0
    input_ids, labels, targets, needed = input_ids[is_used], labels[is_used], targets[is_used], needed[is_used]
    prefix = shared_prefix(input_ids, labels) if len(input_ids) > 1 else 0
    width = int(needed.amax())
    place = places[:width].expand(len(input_ids), width)
    is_there = place < needed[:, None]
    is_kept = is_there & (place >= prefix)
    is_kept[0] = is_there[0]  # the prefix is the first row's
    number = is_kept.flatten().cumsum(0).view_as(place) - 1
    gather = is_kept.flatten().nonzero().squeeze(1)
    return Packed(
        input_ids=input_ids[:, :width].flatten()[gather][None],
        position_ids=place.flatten()[gather][None],
        targets=targets[:, :width].flatten()[gather],
        spread=torch.where(place < prefix, place, torch.where(is_there, number, 0)).flatten(),
        gather=gather,
        rows=len(input_ids),
    )


def shared_prefix(input_ids: Tensor, labels: Tensor) -> int:
    """How many leading tokens all rows share, ending before the last prompt token of any row.

    Args:
        input_ids: (B, T).
        labels: (B, T); the first label of a row is predicted by the position before it, which therefore is the row's own.
    """
    differs = (input_ids != input_ids[:1]).any(dim=0)
    labelled = (labels != IGNORED).any(dim=0)
    limit = input_ids.shape[1]
    if bool(differs.any()):
        limit = int(differs.int().argmax())
    if bool(labelled.any()):
        limit = min(limit, int(labelled.int().argmax()) - 1)
    return max(0, limit)


def can_pack(model: PreTrainedModel) -> bool:
    """Whether attention can be replaced: every layer attends to all that is before it, by a function that can be named.

    What the config does not tell (another way of placing tokens, layers that are no attention), the self-test finds.
    """
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        kinds = ["sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"]
    return (
        set(kinds) == {"full_attention"}
        and config._attn_implementation == "sdpa"
        and bool(getattr(model, "_supports_attention_backend", False))
    )


def decode_packed(model: PreTrainedModel, packed: Packed) -> Tensor:
    """The last hidden states of the tokens, (M, D)."""
    with _packed_attention(model):
        output = model.base_model(input_ids=packed.input_ids, position_ids=packed.position_ids, use_cache=False, packed=packed)
    return output.last_hidden_state[0]


@contextmanager
def _packed_attention(model: PreTrainedModel) -> Generator[None]:
    config = model.config.get_text_config()
    usual = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = usual


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Packed,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention in transformers' terms: (1, heads, M, head size) each -> (1, M, heads, head size)."""
    del attention_mask, is_causal  # there is no padding that is seen, and every row is causal
    padded = [_spread(states, packed) for states in (query, key, value)]
    output, _ = sdpa_attention_forward(module, *padded, attention_mask=None, is_causal=True, **kwargs)
    return output.flatten(0, 1).index_select(0, packed.gather)[None], None


def _spread(states: Tensor, packed: Packed) -> Tensor:
    """(1, heads, M, head size) -> (B, heads, T, head size)."""
    tokens = states[0].transpose(0, 1)  # as they lie in memory, so that whole tokens are copied
    return tokens.index_select(0, packed.spread).unflatten(0, (packed.rows, -1)).transpose(1, 2)


AttentionInterface.register(ATTENTION, _attend)
