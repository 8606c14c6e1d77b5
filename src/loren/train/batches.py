"""The order of rows and the shape of micro-batches.

The order is a pure function of (seed, epoch): a permutation, cut into the rows of each optimiser step, each slice sorted by length,
so that the micro-batches of a step hold rows of like length. Sorting inside a step changes no sum: a step's loss is normalised by
its label tokens, however it is cut.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from loren.models.chat import IGNORED


class StepSampler(Sampler[int]):
    """Row indices, step after step; :meth:`set_epoch` chooses the permutation.

    Args:
        lengths: tokens of each row.
        seed: of the permutations.
        rows_per_step: of one optimiser step, over all processes.
        multiple_of: the last step of an epoch is filled up to a multiple of this with the index ``len(lengths)``, which stands for
            a row without labels. It adds nothing to the loss, where a repeated row would.
    """

    def __init__(self, lengths: Sequence[int], *, seed: int, rows_per_step: int, multiple_of: int = 1) -> None:
        self._lengths = lengths
        self._seed = seed
        self._rows_per_step = rows_per_step
        self._blanks = -len(lengths) % multiple_of
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of one epoch; the Trainer calls this, on resume too."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths) + self._blanks

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        for start in range(0, len(order), self._rows_per_step):
            step = order[start : start + self._rows_per_step]
            yield from sorted(step, key=lambda index: (self._lengths[index], index))
        yield from [len(self._lengths)] * self._blanks


class RightPadCollator:
    """Rows -> ``input_ids`` and ``labels``, int64 (B, T), and ``lengths``, int64 (B,).

    There is no attention mask: padding stands to the right of a causal model's row, where no real position looks, and carries no
    label. Leaving the mask out lets attention take its causal kernel.
    """

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Join rows; the widest decides T."""
        width = max(len(row["input_ids"]) for row in rows)

        def padded(key: str, filler: int) -> torch.Tensor:
            return torch.tensor([[*row[key], *[filler] * (width - len(row[key]))] for row in rows])

        return {
            "input_ids": padded("input_ids", self._pad),
            "labels": padded("labels", IGNORED),
            "lengths": torch.tensor([len(row["input_ids"]) for row in rows]),
        }
