"""Cross-entropy at label positions only, in chunks, without ever holding the full logits.

TRL's own loss projects every position on a CPU and computes figures that nobody asked for. Here the decoder runs once, the hidden
states at the positions that predict a label are kept (about half of them in a chat row), and the output head is applied to those, a
chunk at a time. The head's weights are frozen under LoRA, so the gradient of the hidden states is formed in the same pass and no
chunk of logits outlives its turn. Where the model allows it, the decoder takes the rows without padding (``packed``).

Loss of a step with N label tokens in all its micro-batches: ``1/N * sum_i -log softmax(W h_i + b)[y_i]``; the caller divides.
"""
# pyright: basic

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from loren.errors import TrainingError
from loren.models.chat import IGNORED
from loren.train.packed import can_pack, decode_packed, pack

CHUNK_ROWS = 256
"""Label positions a chunk; 256 x 152k logits in fp32 are 156 MB."""


_VOCABULARY_CHUNK = 8192
"""Columns of the logits that one matrix product fills: it runs half as fast again as one over the whole vocabulary."""


class HeadScaling(NamedTuple):
    """What a family does to its logits after the head: multiply, then cap."""

    scale: float
    softcap: float | None


class LabelLoss:
    """The loss that was attached to a model, and how its decoder is run."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._scaling = head_scaling(model)
        self.is_packed = can_pack(model)
        """Whether the rows of a micro-batch go through the decoder as one line of tokens; may be switched off."""

    def __call__(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        """The sum of the losses over the label positions, a float32 scalar.

        Args:
            input_ids: int64 (B, T).
            labels: int64 (B, T), -100 where not trained; position t predicts label t + 1.
        """
        model = self._model
        # A checkpointed layer is computed again in the backward pass, and would then attend as the model usually does.
        if self.is_packed and not model.is_activation_checkpointing:
            packed = pack(input_ids, labels)
            hidden, targets = decode_packed(model, packed), packed.targets
        else:
            hidden = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
            targets = labels[:, 1:]
        # Looked up at every call: PEFT and sharding replace the head after this was attached.
        head: Any = model.get_output_embeddings()
        return label_loss_sum(hidden, targets, head.weight, head.bias, self._scaling)


def attach_label_loss(model: PreTrainedModel) -> LabelLoss:
    """Teach ``model.forward`` the argument ``loss_labels``.

    With it, the forward returns the *sum* of the losses over the label positions (a scalar); without it, it is what it was. Going
    through ``forward`` keeps every wrapper (PEFT, DDP) in force.

    Returns:
        The loss, whose decoder path can be chosen.

    Raises:
        TrainingError: the model has no plain output head.
    """
    original = model.forward
    if not isinstance(getattr(model.get_output_embeddings(), "weight", None), Tensor):
        raise TrainingError(f"{type(model).__name__}: expected a linear output head, found none")
    label_loss = LabelLoss(model)

    @functools.wraps(type(model).forward)
    def forward(input_ids: Tensor | None = None, *args: Any, loss_labels: Tensor | None = None, **kwargs: Any) -> Any:
        if loss_labels is None or input_ids is None:
            return original(input_ids, *args, **kwargs)
        return label_loss(input_ids, loss_labels)

    model.forward = forward
    return label_loss


def path_difference(loss: LabelLoss, parameters: Sequence[Tensor], input_ids: Tensor, labels: Tensor) -> float:
    """How far the packed decoder is from the plain one on the same rows: the larger relative difference of loss and gradients.

    Args:
        loss: of a model in evaluation mode; without dropout the two are equal but for rounding.
        parameters: those whose gradients are compared, all together, in norm.
        input_ids: int64 (B, T).
        labels: int64 (B, T).
    """
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for loss.is_packed in (False, True):
        value = loss(input_ids, labels)
        each = torch.autograd.grad(value, list(parameters), materialize_grads=True)
        losses.append(value.detach().double())
        gradients.append(torch.cat([gradient.flatten().double() for gradient in each]))
    return max(float(abs(one - other).norm() / one.norm().clamp(min=1e-12)) for one, other in (tuple(losses), tuple(gradients)))


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


def label_loss_sum(hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, scaling: HeadScaling) -> Tensor:
    """Sum of the cross-entropies of all targets.

    Args:
        hidden: last hidden states, (..., D).
        targets: int64 (...), the token that each of them predicts; -100 where not trained.
        weight: output head, (V, D).
        bias: (V,) or None.
        scaling: the family's logit scaling.

    Returns:
        A float32 scalar.
    """
    trained = targets != IGNORED
    return _ChunkedCrossEntropy.apply(hidden[trained], targets[trained], weight, bias, scaling)


def _logits(rows: Tensor, weight: Tensor, bias: Tensor | None, scaling: HeadScaling) -> Tensor:
    """Scaled and capped logits in fp32, (N, V)."""
    logits = rows.new_empty((len(rows), len(weight)), dtype=weight.dtype)
    rows = rows.to(weight.dtype)
    for start in range(0, len(weight), _VOCABULARY_CHUNK):
        torch.mm(rows, weight[start : start + _VOCABULARY_CHUNK].t(), out=logits[:, start : start + _VOCABULARY_CHUNK])
    if bias is not None:
        logits += bias
    logits = logits.float()
    if scaling.scale != 1.0:
        logits *= scaling.scale
    if scaling.softcap is not None:
        logits = logits.div_(scaling.softcap).tanh_().mul_(scaling.softcap)
    return logits


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward computes the loss and, chunk by chunk, the gradients that backward only has to scale."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, scaling: HeadScaling) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if weight.requires_grad else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and bias.requires_grad else None
        for start in range(0, len(targets), CHUNK_ROWS):
            rows, wanted = hidden[start : start + CHUNK_ROWS], targets[start : start + CHUNK_ROWS, None]
            logits = _logits(rows, weight, bias, scaling)
            slope = None if scaling.softcap is None else 1 - (logits / scaling.softcap) ** 2  # d/dx cap*tanh(x/cap)
            logits -= logits.amax(dim=-1, keepdim=True)
            total -= logits.gather(1, wanted).sum()
            normaliser = logits.exp_().sum(dim=-1, keepdim=True)
            total += normaliser.log().sum()
            grad = logits.div_(normaliser)  # softmax, in the logits' own memory
            grad.scatter_add_(1, wanted, grad.new_full(wanted.shape, -1.0))
            if slope is not None:
                grad *= slope
            if scaling.scale != 1.0:
                grad *= scaling.scale
            grad = grad.to(weight.dtype)
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
