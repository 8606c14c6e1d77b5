"""The proof that a folder on disk is base plus adapter, element by element, against a second computation in fp64.

A merged value is right when some order of fp32 additions gives it, rounded to the stored type: the exact value, more or less the
bound of the sums' rounding errors, is rounded at both ends, and the stored value must lie between. That bound is some millionths of
the adapter's change, whatever the type, so that a scale of 1.001 is told from 1 in bf16 too, where no comparison of answers can
(docs/decisions/0002-merge-thresholds.md).
"""
# pyright: basic

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from loren.errors import LorenError, ModelLoadError
from loren.models.identity import read_model_json
from loren.models.tensor_files import TORCH_DTYPES, StoredTensor, read_folder
from loren.provenance.digests import sha256_file
from loren.runs.files import Json
from loren.weights.merge import copied_files, merged_config
from loren.weights.plan import MergeOp, MergePlan
from loren.weights.proof import Check, Proof, not_these
from loren.weights.quantized import Readable, opened

UNIT_ROUNDOFF = 2.0**-24
"""Of fp32."""
SLOPE_RESOLUTION = 1e-4
"""Half of the narrowest interval that is given for a slope."""
SLOPE_EXCLUDED = 1.01
_SLICE_VALUES = 1 << 18
"""Values compared at once: in fp64, several times over."""


@dataclass(slots=True)
class _Sums:
    """What is counted over the elements of one tensor."""

    values: int = 0
    differing: int = 0
    """Elements outside of the interval that a right merge can reach."""
    moved: int = 0
    """Elements that are not the base's any more."""
    dd: float = 0.0
    """Sum of d², d the exact change W + s·BA − W."""
    dz: float = 0.0
    """Sum of d·z, z what is stored beyond what rounding makes of the exact value."""
    zz: float = 0.0
    kept: float = 0.0
    """Sum of d·(W' − W)."""

    def slope(self) -> tuple[float, float, float] | None:
        """Least-squares slope of W' − W, less the rounding that the type imposes, on d, with its 95 % interval; None without d."""
        if not self.dd:
            return None
        slope = 1 + self.dz / self.dd
        residual = max(0.0, self.zz - self.dz**2 / self.dd)
        half = max(SLOPE_RESOLUTION, 1.96 * math.sqrt(residual / max(1, self.values - 1) / self.dd))
        return slope, slope - half, slope + half

    def add(self, other: _Sums) -> None:
        """Count the other one's elements too."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def verify_tensors(plan: MergePlan, folder: Path) -> Proof:
    """Compare every file of a merged folder with what the plan says it must hold.

    Memory: some megabytes, for a base in NF4 one tensor.

    Args:
        plan: made anew from base and adapter.
        folder: the merged model, on disk.

    Returns:
        The checks and their figures. Damage is a failed check, no error.
    """
    try:
        stored = read_folder(folder)
        config = read_model_json(folder / "config.json")
    except LorenError as error:
        return Proof([Check("files", False, error.summary, "whole files")])
    checks = [_same_tensors(plan, stored), _same_others(plan, folder)]
    is_same = config == merged_config(plan)
    tie = f"the base's config.json with tie_word_embeddings = {str(plan.is_tied).lower()}"
    checks.append(Check("config", is_same, tie if is_same else "another config.json", tie))
    if not checks[0].passed:
        return Proof(checks)
    try:
        untouched = [name for name in plan.sources if name not in plan.ops and name not in plan.nf4]
        changed = [name for name in untouched if not _same_bytes(plan.sources[name], stored[name])]
        sums = {name: _compare(plan, name, stored[name]) for name in plan.sources if name in plan.ops or name in plan.nf4}
    except ModelLoadError as error:  # a file that is cut while it is read
        return Proof([*checks, Check("files", False, error.summary, "whole files")])
    words = f"{len(untouched) - len(changed)} of {len(untouched)} as in the base{not_these(changed)}"
    checks.append(Check("untouched tensors", not changed, words, "all, byte for byte"))
    return Proof(checks) + _judge(sums, plan)


def _judge(sums: Mapping[str, _Sums], plan: MergePlan) -> Proof:
    total = _Sums()
    for found in sums.values():
        total.add(found)
    wrong = sorted((name for name in sums if sums[name].differing), key=lambda name: -sums[name].differing)
    share = total.differing / max(1, total.values)
    moved = sum(sums[name].moved for name in plan.ops)
    slope, furthest = _judge_slopes({name: found for name in plan.ops if (found := sums[name].slope()) is not None})
    checks = [
        Check(
            "merged tensors", not wrong, f"{total.differing} of {total.values} elements differ ({share:.1e}){not_these(wrong)}", "0"
        ),
        slope,
        Check("differs from the base", moved > 0, f"{moved} elements changed in {len(plan.ops)} tensors", "at least 1"),
    ]
    figures: dict[str, Json] = {
        "merged": len(plan.ops),
        "all": len(plan.sources),
        "elements": total.values,
        "differing": total.differing,
        "largest_share": max((found.differing / max(1, found.values) for found in sums.values()), default=0.0),
        "slope": list(furthest) if furthest else None,
        "kept": total.kept / total.dd if total.dd else None,
    }
    return Proof(checks, {"tensors": figures})


def _judge_slopes(slopes: Mapping[str, tuple[float, float, float]]) -> tuple[Check, tuple[float, float, float] | None]:
    off = [name for name, (_, low, high) in slopes.items() if not low <= 1 <= high < SLOPE_EXCLUDED]
    furthest = max(slopes.values(), key=lambda slope: abs(slope[0] - 1), default=None)
    found = (
        f"furthest from 1: {furthest[0]:.5f} ({furthest[1]:.5f} to {furthest[2]:.5f}){not_these(off)}" if furthest else "no change"
    )
    needed = f"1 in the 95 % interval of every tensor, {SLOPE_EXCLUDED} in none"
    return Check("slope", bool(slopes) and not off, found, needed), furthest


def _same_tensors(plan: MergePlan, stored: Mapping[str, StoredTensor]) -> Check:
    wanted = {name: source.layout for name, source in plan.sources.items()}
    found = {name: tensor.layout for name, tensor in stored.items()}
    odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return Check(
        "files", not odd, f"{len(found)} tensors{not_these(odd)}", f"{len(wanted)} tensors with the base's names, shapes, types"
    )


def _same_others(plan: MergePlan, folder: Path) -> Check:
    """Tokenizer, chat template and generation settings are those of adapter and base."""
    wanted = copied_files(plan)
    odd = [name for name, path in wanted.items() if not (folder / name).is_file() or not _same_file(folder / name, path)]
    return Check("tokenizer", not odd, f"{len(wanted) - len(odd)} of {len(wanted)} files{not_these(odd)}", "the adapter's own")


def _same_file(left: Path, right: Path) -> bool:
    return left.stat().st_size == right.stat().st_size and sha256_file(left) == sha256_file(right)


def _same_bytes(left: StoredTensor, right: StoredTensor) -> bool:
    return all(left.read_bytes(start, stop) == right.read_bytes(start, stop) for start, stop in left.slices())


def _compare(plan: MergePlan, name: str, stored: StoredTensor) -> _Sums:
    """One merged tensor against the exact value of each of its elements."""
    sums = _Sums()
    dtype = TORCH_DTYPES[stored.layout.dtype]
    op = plan.ops.get(name)
    with opened(plan, name) as base:
        exact = _Exact(op, base) if op is not None else None
        for start, stop in stored.slices(_SLICE_VALUES):
            before = base.read(start, stop).double()
            wanted, bound = exact.rows(before, start, stop) if exact is not None else (before, torch.zeros_like(before))
            found = stored.read(start, stop)
            low, high = (_rounded(wanted - bound, dtype), _rounded(wanted + bound, dtype))
            value = found.double()
            is_right = (low <= value) & (value <= high)
            change = wanted - before
            beyond = torch.where(is_right, 0.0, value - _rounded(wanted, dtype)).nan_to_num(nan=math.inf)
            sums.values += value.numel()
            sums.differing += int((~is_right).sum())
            sums.moved += int((value != _rounded(before, dtype)).sum())
            sums.dd += float(change.square().sum())
            sums.dz += float((change * beyond).sum())
            sums.zz += float(beyond.square().sum())
            sums.kept += float((change * (value - before)).sum())
    return sums


def _rounded(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As fp32 arithmetic stores them: to fp32 first, then to the type."""
    return values.float().to(dtype).double()


class _Exact:
    """The merged rows in fp64, and how far fp32 arithmetic may lead from them.

    A sum of R products has an error of at most (R + 2)·u·Σ|b·a| in any order (Higham, Accuracy and Stability, §3.1), u = 2^-24.
    """

    def __init__(self, op: MergeOp, base: Readable) -> None:
        self._op = op
        self._parts = {name: part.read().double() for name, part in op.parts.items() if op.kind != "replaced"}
        self._lengths = self._row_lengths(base) if "magnitude" in self._parts else None

    def rows(self, before: torch.Tensor, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(exact value, bound of the error) of rows ``start`` to ``stop``; ``before`` are the base's."""
        op = self._op
        if op.kind == "replaced":
            value = op.parts["value"].read(start, stop).double()
            return value, torch.zeros_like(value)
        if op.kind == "rows":
            value = before.clone()
            for place, row in enumerate(op.rows):
                if start <= row < stop:
                    value[row - start] = self._parts["value"][place]
            return value, torch.zeros_like(value)
        if op.kind == "bias":
            value = before + op.scale * self._parts["value"][start:stop]
            return value, 3 * UNIT_ROUNDOFF * (value.abs() + before.abs())
        change, size = self._change(start, stop)
        value = before + change
        bound = (self._parts["A"].shape[0] + 2) * UNIT_ROUNDOFF * size
        if self._lengths is not None:
            magnitude = self._parts["magnitude"]
            factor = magnitude / self._lengths if op.is_transposed else (magnitude[start:stop] / self._lengths[start:stop])[:, None]
            value, bound = value * factor, bound * factor.abs() + 6 * UNIT_ROUNDOFF * (value * factor).abs()
        return value, bound + UNIT_ROUNDOFF * value.abs()

    def _change(self, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(s·BA, s·|B||A|) of these rows, as the base stores the module."""
        first, second, scale = self._parts["A"], self._parts["B"], self._op.scale
        if self._op.is_transposed or self._op.kind == "embedding":
            left, right = first[:, start:stop].T, second.T
        else:
            left, right = second[start:stop], first
        return scale * (left @ right), scale * (left.abs() @ right.abs())

    def _row_lengths(self, base: Readable) -> torch.Tensor:
        whole = [self._squares(base, start, stop) for start, stop in self._op.layout.slices(_SLICE_VALUES)]
        return (torch.stack(whole).sum(dim=0) if self._op.is_transposed else torch.cat(whole)).sqrt()

    def _squares(self, base: Readable, start: int, stop: int) -> torch.Tensor:
        merged = base.read(start, stop).double() + self._change(start, stop)[0]
        return merged.square().sum(dim=0 if self._op.is_transposed else 1)
