"""What a run needs of memory and disk, as sums whose parts can be shown.

The memory is what comes on top of the process with its libraries. Measured peaks of the CPU path are 5 to 15 % from these sums
(tests/unit/plan): good enough to refuse what can't fit, which is all that they are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

FLOAT32_BYTES = 4
_ADAM_BYTES = 2 * FLOAT32_BYTES
"""AdamW's two moments of a trained parameter, always fp32."""
_NF4_BYTES = 0.56
"""A 4-bit weight with its share of the scales."""
_LOGIT_COPIES = 3
"""Logits of a chunk, their softmax, and what the arithmetic holds between the two."""


class Part(NamedTuple):
    """One summand, in words that a user knows."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class MemoryShape:
    """The numbers that memory depends on."""

    parameters: int
    """Of the base model."""
    linear_parameters: int
    """Those of them that 4-bit quantisation takes: the matrices but embeddings and output head."""
    trained_parameters: int
    """Of the adapter, or of the whole model."""
    is_full: bool
    """The base model itself is trained."""
    load_in_4bit: bool
    value_bytes: int
    """Of a weight in the compute precision."""
    micro_batch_tokens: int
    """Of the largest micro-batch, padding included; a shared prefix counts once."""
    activation_bytes_per_token: int
    """Of one token from the forward to the backward pass, all layers together."""
    layers: int
    hidden_size: int
    gradient_checkpointing: bool
    logit_rows: int
    """Label positions whose logits are held at once."""
    vocabulary: int


@dataclass(frozen=True, slots=True)
class DiskShape:
    """The numbers that disk space depends on."""

    trained_parameters: int
    tokenizer_bytes: int
    """Tokenizer and template, which go into every checkpoint."""
    checkpoints: int
    """That exist at the same time; the one that is being written included."""


def memory_parts(shape: MemoryShape) -> tuple[Part, ...]:
    """What is in memory at the height of an optimiser step, beside the process itself."""
    trained = shape.trained_parameters
    # All-weights training holds them in fp32; so are an adapter's, beside the frozen base.
    state = trained * (FLOAT32_BYTES + _ADAM_BYTES + (0 if shape.is_full else FLOAT32_BYTES))
    return (
        Part("the base model's weights", _weights_bytes(shape)),
        Part("trained parameters, gradients and AdamW's moments", state),
        Part(f"activations of a micro-batch ({shape.micro_batch_tokens:,} tokens)", _activation_bytes(shape)),
        Part("logits", _LOGIT_COPIES * shape.logit_rows * shape.vocabulary * FLOAT32_BYTES),
    )


def disk_parts(shape: DiskShape) -> tuple[Part, ...]:
    """What a run folder holds at most, beside a few small files."""
    weights = shape.trained_parameters * FLOAT32_BYTES
    checkpoint = weights + shape.trained_parameters * _ADAM_BYTES + shape.tokenizer_bytes
    return (
        Part(f"{shape.checkpoints} checkpoint(s), the one being written included", shape.checkpoints * checkpoint),
        Part("the adapter", weights + shape.tokenizer_bytes),
    )


def total_bytes(parts: Sequence[Part]) -> int:
    """The sum."""
    return sum(part.bytes for part in parts)


def adapter_parameters(matrices: Sequence[tuple[int, int]], r: int) -> int:
    """Parameters of LoRA's two factors.

    Args:
        matrices: (out, in) of every weight that gets an adapter.
        r: rank.
    """
    return sum(r * (rows + columns) for rows, columns in matrices)


def _weights_bytes(shape: MemoryShape) -> int:
    if shape.is_full:
        return shape.parameters * FLOAT32_BYTES
    if shape.load_in_4bit:
        return int(shape.linear_parameters * _NF4_BYTES) + (shape.parameters - shape.linear_parameters) * shape.value_bytes
    return shape.parameters * shape.value_bytes


def _activation_bytes(shape: MemoryShape) -> int:
    per_token = shape.activation_bytes_per_token
    if shape.gradient_checkpointing:
        # Each layer keeps its input only; one layer at a time is computed again.
        per_token = shape.layers * shape.hidden_size * shape.value_bytes + per_token // max(1, shape.layers)
    return shape.micro_batch_tokens * per_token
