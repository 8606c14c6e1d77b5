"""The order of weights in memory, for decoding on a CPU.

A linear layer computes ``x W^T``. With few rows in ``x``, as in decoding, BLAS spends most of its time on reading a weight of shape
(out, in) against its grain; stored column by column the same product takes about two thirds of the time. Nothing but the order of
additions changes, and no memory is added. (The backward pass wants the other order, so training leaves weights as they are.)
"""
# pyright: basic

from __future__ import annotations

from typing import Any

import torch


def lay_out_for_decoding(model: Any) -> None:
    """Store the weights of plain linear layers column by column, in place; on a CPU only.

    A weight that two modules share (a head tied to the embeddings) stays: looking up rows wants rows. Quantised layers have an
    order of their own.
    """
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if type(module) is not torch.nn.Linear or weight is None or uses[id(weight)] > 1:
            continue
        if weight.device.type == "cpu" and weight.dtype == torch.float32:
            weight.data = weight.data.t().contiguous().t()
