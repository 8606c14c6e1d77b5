"""A base in 4 bits: what NF4 makes of a weight is what a QLoRA adapter was trained on."""
# pyright: basic

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

import torch

from loren.errors import PrerequisiteError
from loren.models.tensor_files import StoredTensor
from loren.weights.plan import MergePlan


class Readable(Protocol):
    """Rows of a tensor."""

    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Rows ``start`` to ``stop`` of the first dimension."""
        ...


class _InMemory:
    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Rows ``start`` to ``stop``."""
        return self._values[start:stop].clone()


@contextmanager
def opened(plan: MergePlan, name: str) -> Generator[Readable]:
    """The base's values of a tensor: from its file, or, where the plan says so, what NF4 makes of them (then held in memory)."""
    source = plan.sources[name]
    yield _InMemory(dequantised(source, double_quant=plan.double_quant)) if name in plan.nf4 else source


def dequantised(source: StoredTensor, *, double_quant: bool) -> torch.Tensor:
    """What NF4 with blocks of 64 makes of a weight, fp32: quantised and back, as bitsandbytes does when it loads a model.

    Raises:
        PrerequisiteError: bitsandbytes is not installed.
    """
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    except ImportError as error:
        raise PrerequisiteError("4-bit weights need bitsandbytes", hint="pip install 'loren[quantization]'") from error
    packed, state = quantize_4bit(source.read().float(), blocksize=64, compress_statistics=double_quant, quant_type="nf4")
    return dequantize_4bit(packed, state).reshape(source.layout.shape)
