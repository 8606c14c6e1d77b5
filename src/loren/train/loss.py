"""Cross-entropy at label positions only, in chunks, without ever holding the full logits.

TRL's own loss projects every position on a CPU and computes figures that nobody asked for. Here the decoder runs once, the hidden
states at the positions that predict a label are kept (about half of them in a chat row), and the output head is applied to those, a
chunk at a time. The head's weights are frozen under LoRA, so the gradient of the hidden states is formed in the same pass and no
chunk of logits outlives its turn. A prompt prefix that all rows of a micro-batch share (the template's own words, a system prompt)
goes through the decoder once.

Loss of a step with N label tokens in all its micro-batches: ``1/N * sum_i -log softmax(W h_i + b)[y_i]``; the caller divides.
"""
# pyright: basic

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from loren.errors import TrainingError
from loren.models.chat import IGNORED

CHUNK_ROWS = 256
"""Label positions a chunk; 256 x 152k logits in fp32 are 156 MB."""


MIN_SHARED_TOKENS = 8
"""A shorter shared prefix costs more in calls than it saves in work."""


class HeadScaling(NamedTuple):
    """What a family does to its logits after the head: multiply, then cap."""

    scale: float
    softcap: float | None


def attach_label_loss(model: PreTrainedModel) -> None:
    """Teach ``model.forward`` the argument ``loss_labels``.

    With it, the forward returns the *sum* of the losses over the label positions (a scalar); without it, it is what it was. Going
    through ``forward`` keeps every wrapper (PEFT, DDP) in force.

    Raises:
        TrainingError: the model has no plain output head.
    """
    original = model.forward
    if not isinstance(getattr(model.get_output_embeddings(), "weight", None), Tensor):
        raise TrainingError(f"{type(model).__name__}: expected a linear output head, found none")
    scaling = head_scaling(model)

    @functools.wraps(type(model).forward)
    def forward(input_ids: Tensor | None = None, *args: Any, loss_labels: Tensor | None = None, **kwargs: Any) -> Any:
        if loss_labels is None or input_ids is None:
            return original(input_ids, *args, **kwargs)
        hidden, labels = _decode(model, input_ids, loss_labels)
        # Looked up at every call: PEFT and sharding replace the head after this patch.
        head: Any = model.get_output_embeddings()
        return label_loss_sum(hidden, labels, head.weight, head.bias, scaling)

    model.forward = forward


def _decode(model: PreTrainedModel, input_ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and the labels that go with them; a prompt prefix that all rows share is computed once.

    In a causal model a position sees only what is before it, so the prefix's keys and values are the same in every row: they are
    computed for one row with their graph, and repeated. Gradients add up over the rows as they would have.
    """
    rows = len(input_ids)
    prefix = shared_prefix(input_ids, labels) if rows > 1 and _can_share(model) else 0
    if prefix < MIN_SHARED_TOKENS:
        return model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state, labels
    cache = DynamicCache(config=model.config)
    model.base_model(input_ids=input_ids[:1, :prefix], past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(rows)
    suffix = model.base_model(input_ids=input_ids[:, prefix:], past_key_values=cache, use_cache=True)
    return suffix.last_hidden_state, labels[:, prefix:]


def _can_share(model: PreTrainedModel) -> bool:
    """Only where every layer keeps plain keys and values, and none is recomputed (which can't fill a cache)."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"]
    return set(kinds) == {"full_attention"} and not model.is_activation_checkpointing


def shared_prefix(input_ids: Tensor, labels: Tensor) -> int:
    """How many leading tokens all rows share, ending before the last prompt token of any row.

    Args:
        input_ids: (B, T).
        labels: (B, T); the first label of a row is predicted by the position before it, which therefore stays in the suffix.
    """
    differs = (input_ids != input_ids[:1]).any(dim=0)
    labelled = (labels != IGNORED).any(dim=0)
    limit = input_ids.shape[1]
    if bool(differs.any()):
        limit = int(differs.int().argmax())
    if bool(labelled.any()):
        limit = min(limit, int(labelled.int().argmax()) - 1)
    return max(0, limit)


def head_scaling(model: PreTrainedModel) -> HeadScaling:
    """The family's logit multiplier and soft cap, from its config (Cohere, Granite, Falcon-H1, Gemma 2)."""
    config = model.config.get_text_config()
    scale = next(
        (
            float(value)
            for name in ("logit_scale", "output_multiplier", "lm_head_multiplier")
            if (value := getattr(config, name, None)) is not None
        ),
        1.0,
    )
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        scale /= float(divisor)
    softcap = getattr(config, "final_logit_softcapping", None)
    return HeadScaling(scale, float(softcap) if softcap is not None else None)


def label_loss_sum(hidden: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None, scaling: HeadScaling) -> Tensor:
    """Sum of the cross-entropies of all labels.

    Args:
        hidden: last hidden states, (B, T, D).
        labels: int64 (B, T), -100 where not trained; position t of ``hidden`` predicts label t + 1.
        weight: output head, (V, D).
        bias: (V,) or None.
        scaling: the family's logit scaling.

    Returns:
        A float32 scalar.
    """
    targets = labels[:, 1:]
    trained = targets != IGNORED
    return _ChunkedCrossEntropy.apply(hidden[:, :-1][trained], targets[trained], weight, bias, scaling)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward computes the loss and, chunk by chunk, the gradients that backward only has to scale."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, scaling: HeadScaling) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if weight.requires_grad else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and bias.requires_grad else None
        for start in range(0, len(targets), CHUNK_ROWS):
            rows, wanted = hidden[start : start + CHUNK_ROWS], targets[start : start + CHUNK_ROWS]
            logits = torch.nn.functional.linear(rows.to(weight.dtype), weight, bias).float() * scaling.scale
            capped = logits if scaling.softcap is None else torch.tanh(logits / scaling.softcap) * scaling.softcap
            log_normaliser = torch.logsumexp(capped, dim=-1, keepdim=True)
            total += (log_normaliser.squeeze(-1) - capped.gather(1, wanted[:, None]).squeeze(-1)).sum()
            grad = torch.exp(capped - log_normaliser)  # softmax
            grad.scatter_add_(1, wanted[:, None], grad.new_full((len(wanted), 1), -1.0))
            if scaling.softcap is not None:
                grad *= 1 - (capped / scaling.softcap) ** 2  # d/dx cap*tanh(x/cap)
            grad = (grad * scaling.scale).to(weight.dtype)
            grad_hidden[start : start + CHUNK_ROWS] = grad @ weight
            if grad_weight is not None:
                grad_weight += grad.T.float() @ rows.float()
            if grad_bias is not None:
                grad_bias += grad.float().sum(0)
        ctx.grads = (grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = (weight.dtype, None if bias is None else bias.dtype)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        grad_hidden, grad_weight, grad_bias = ctx.grads
        weight_dtype, bias_dtype = ctx.dtypes
        return (
            grad_hidden * grad_output,
            None,
            None if grad_weight is None else (grad_weight * grad_output).to(weight_dtype),
            None if grad_bias is None else (grad_bias * grad_output).to(bias_dtype),
            None,
        )
