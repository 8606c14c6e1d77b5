"""Two variants' outcomes of the same rows, and which rows belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


class Interval(NamedTuple):
    """Both ends belong to it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class PairedRows:
    """Outcomes of two variants over the same rows; made by ``pair_rows`` or ``pair_by_id``, in an order of their own."""

    before: FloatArray
    """float64 ``(N,)``: what the first variant reached; 0 and 1 where the outcome is yes or no."""
    after: FloatArray
    """float64 ``(N,)``: what the second variant reached."""
    situations: IntArray
    """int64 ``(N,)``: 0 to K - 1, the same number for rows of one situation."""
    missing: int
    """Rows that should have been judged, and were not."""

    @property
    def rows(self) -> int:
        """N."""
        return len(self.before)

    @property
    def situation_sizes(self) -> FloatArray:
        """float64 ``(K,)``: rows of each situation."""
        return self.sums(np.ones(self.rows))

    @property
    def is_clustered(self) -> bool:
        """Some situation has more than one row."""
        return self.rows > len(self.situation_sizes)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums of one value a row ``(N,)`` over each situation ``(K,)``."""
        return np.bincount(self.situations, weights=values).astype(np.float64)

    def difference_sums(self) -> FloatArray:
        """float64 ``(K,)``: after - before, summed over each situation."""
        return self.sums(self.after - self.before)


def pair_rows(
    before: Sequence[float] | FloatArray,
    after: Sequence[float] | FloatArray,
    situations: Sequence[str] | Sequence[int] | IntArray | None = None,
    *,
    missing: int = 0,
) -> PairedRows:
    """Pair outcomes that stand in the same order.

    Args:
        before: ``(N,)`` outcomes of the first variant.
        after: ``(N,)`` outcomes of the second variant.
        situations: ``(N,)`` names of the rows' situations; without them every row is a situation of its own.
        missing: Rows that should be here and are not.

    Raises:
        ValueError: The lengths differ, an outcome is no finite number, or ``missing`` is negative.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    names = np.arange(len(first)) if situations is None else np.asarray(situations)
    if not first.ndim == second.ndim == names.ndim == 1 or not len(first) == len(second) == len(names):
        raise ValueError(f"one outcome a row: found {first.shape} before, {second.shape} after, {names.shape} situations")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("outcomes are finite numbers")
    if missing < 0:
        raise ValueError(f"missing rows are counted from 0, found {missing}")
    codes = np.unique(names, return_inverse=True)[1].astype(np.int64)
    # Sums of floats depend on their order: with one of our own they don't depend on that of the rows.
    order = np.lexsort((second, first, codes))
    return PairedRows(first[order], second[order], codes[order], missing)


def pair_by_id(before: Mapping[str, float], after: Mapping[str, float], situations: Mapping[str, str]) -> PairedRows:
    """Pair outcomes by row id.

    Args:
        before: Row id -> outcome of the first variant.
        after: Row id -> outcome of the second variant.
        situations: Row id -> situation, for every row that should be judged. One that a variant lacks counts as missing.

    Raises:
        ValueError: An outcome's id is not among ``situations``, or an outcome is no finite number.
    """
    unknown = (before.keys() | after.keys()) - situations.keys()
    if unknown:
        raise ValueError(f"{len(unknown)} outcomes belong to no known row")
    present = [row for row in situations if row in before and row in after]
    return pair_rows(
        [before[row] for row in present],
        [after[row] for row in present],
        [situations[row] for row in present],
        missing=len(situations) - len(present),
    )


def require_level(name: str, value: float) -> None:
    """Refuse a confidence, alpha or power outside (0, 1).

    Raises:
        ValueError: It is outside.
    """
    if not 0 < value < 1:
        raise ValueError(f"{name} lies between 0 and 1, found {value}")
