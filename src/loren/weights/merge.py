"""Apply a plan: each tensor is computed in fp32 some rows at a time, cast to the base's precision and written as it is made.

The adapter is read, never changed. What is written is a folder that transformers and vLLM load without Loren.
"""
# pyright: basic

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from loren.errors import IntegrityError
from loren.models.cache import Progress
from loren.models.identity import TEMPLATE, TOKENIZER_FILES, WEIGHTS_INDEX, read_model_json
from loren.models.tensor_files import SLICE_VALUES, TORCH_DTYPES, StoredTensor, write_file
from loren.runs.files import Json, write_json
from loren.weights.plan import MergeOp, MergePlan
from loren.weights.quantized import Readable, opened

_FROM_BASE = ("generation_config.json", "LICENSE", "LICENSE.txt", "NOTICE")


def apply_merge(plan: MergePlan, folder: Path, *, progress: Progress | None = None) -> None:
    """Write the merged model into ``folder``: weights in the base's shards, config, the adapter's tokenizer and chat template.

    Memory: some megabytes, and for a base in NF4 one tensor, whatever the size of the model.

    Args:
        plan: from :func:`loren.weights.plan.plan_merge`.
        folder: an empty folder.
        progress: hears how many bytes of weights are written.

    Raises:
        IntegrityError: a merged weight is not finite.
    """
    written = 0

    def counted(name: str) -> Iterator[torch.Tensor]:
        nonlocal written
        for part in _merged_slices(plan, name):
            yield part
            written += part.nbytes
            if progress is not None:
                progress("merging", written, plan.total_bytes)

    for shard, names in plan.shards.items():
        write_file(folder / shard, {name: (plan.sources[name].layout, counted(name)) for name in names})
    if (plan.base / WEIGHTS_INDEX).is_file():
        weight_map = {name: shard for shard, names in plan.shards.items() for name in names}
        write_json(folder / WEIGHTS_INDEX, {"metadata": {"total_size": plan.total_bytes}, "weight_map": weight_map})
    _write_others(plan, folder)


def merged_config(plan: MergePlan) -> dict[str, Json]:
    """The base's config.json, with the ties that the merged weights have."""
    values: dict[str, Any] = dict(read_model_json(plan.base / "config.json"))
    inner = values.get("text_config")
    for part in (values, inner):
        if isinstance(part, dict) and "tie_word_embeddings" in part:
            part["tie_word_embeddings"] = plan.is_tied
    if not plan.is_tied:  # some classes tie where the key is missing
        values["tie_word_embeddings"] = False
        if isinstance(inner, dict):
            inner["tie_word_embeddings"] = False
    return values


def copied_files(plan: MergePlan) -> dict[str, Path]:
    """Files of the merged folder that are copies -> their originals: tokenizer and template are the adapter's."""
    found = {name: plan.base / name for name in _FROM_BASE}
    found |= {name: plan.adapter / name for name in (*TOKENIZER_FILES, TEMPLATE)}
    return {name: path for name, path in found.items() if path.is_file()}


def _write_others(plan: MergePlan, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(merged_config(plan), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for name, path in copied_files(plan).items():
        shutil.copyfile(path, folder / name)


def _merged_slices(plan: MergePlan, name: str) -> Iterator[torch.Tensor]:
    """The rows of one merged tensor in the base's type, some megabytes at a time.

    Raises:
        IntegrityError: a value is not finite.
    """
    source, op = plan.sources[name], plan.ops.get(name)
    if op is None and name not in plan.nf4:
        for start, stop in source.slices():
            yield _raw(source, start, stop)
        return
    dtype = TORCH_DTYPES[source.layout.dtype]
    with opened(plan, name) as values:
        weights = _Change(op, values) if op is not None else None
        for start, stop in source.slices():
            rows = values.read(start, stop).float() if weights is None else weights.rows(start, stop)
            rows = rows.to(dtype)
            if not torch.isfinite(rows).all():
                raise IntegrityError(f"{name}: expected finite merged weights in {source.layout.dtype}, found others")
            yield rows


def _raw(source: StoredTensor, start: int, stop: int) -> torch.Tensor:
    return torch.frombuffer(source.read_bytes(start, stop), dtype=torch.uint8)


class _Change:
    """One record with the adapter's part of it in memory (rank-sized), applied to rows.

    LoRA: W' = W + s·BA (Hu et al. 2021, eq. 3). DoRA: W' = m · (W + s·BA) / ‖W + s·BA‖, the norm over each output's row, of the
    unmerged base (Liu et al. 2024, eq. 5; PEFT 0.21, tuners/lora/variants.py).
    """

    def __init__(self, op: MergeOp, base: Readable) -> None:
        self._op = op
        self._base = base
        self._parts: Mapping[str, torch.Tensor] = {
            name: part.read().float() for name, part in op.parts.items() if op.kind in {"linear", "embedding", "rows", "bias"}
        }
        magnitude = self._parts.get("magnitude")
        self._factors = magnitude / self._norms() if magnitude is not None else None

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows of the merged tensor, fp32."""
        op = self._op
        if op.kind == "replaced":
            return op.parts["value"].read(start, stop).float()
        weights = self._base.read(start, stop).float()
        if op.kind == "bias":
            return weights + self._parts["value"][start:stop] * op.scale
        if op.kind == "rows":
            for place, row in enumerate(op.rows):
                if start <= row < stop:
                    weights[row - start] = self._parts["value"][place]
            return weights
        merged = weights + self._delta(start, stop)
        if self._factors is None:
            return merged
        return merged * (self._factors if op.is_transposed else self._factors[start:stop, None])

    def _delta(self, start: int, stop: int) -> torch.Tensor:
        """s·BA, laid out as the base stores the module."""
        first, second = self._parts["A"], self._parts["B"]
        if self._op.is_transposed or self._op.kind == "embedding":
            return (first[:, start:stop].T @ second.T) * self._op.scale
        return (second[start:stop] @ first) * self._op.scale

    def _norms(self) -> torch.Tensor:
        """Length of each output's row of W + s·BA, summed in fp64."""
        squares: list[torch.Tensor] = []
        for start, stop in self._op.layout.slices(SLICE_VALUES):
            merged = (self._base.read(start, stop).float() + self._delta(start, stop)).double().square()
            squares.append(merged.sum(dim=0 if self._op.is_transposed else 1))
        whole = torch.stack(squares).sum(dim=0) if self._op.is_transposed else torch.cat(squares)
        return whole.sqrt().float()
