"""Outcomes that are numbers: the difference of two variants' mean scores over the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from loren.scoring.stats.formulas import SMALLEST_P, critical_value, ratio_variance, two_sided_p
from loren.scoring.stats.rows import FloatArray, Interval, PairedRows, require_level

RESAMPLES = 9_999
SEED = 20_260_101
_SMALLEST_SPREAD = 1e-12
"""Of situations' differences relative to the range of a score: below it is rounding."""
_BATCH_VALUES = 2_000_000
"""Resampled values that are in memory at once."""


class Draws(NamedTuple):
    """What bootstrap and permutations need to know."""

    confidence: float = 0.95
    """Of intervals."""
    resamples: int = RESAMPLES
    """Of the bootstrap, and of the permutation test where there are more choices of signs."""
    seed: int = SEED
    """The same one, on the same rows in any order, gives the same figures."""


_USUAL_BOUNDS = (0.0, 1.0)
_USUAL_DRAWS = Draws()


@dataclass(frozen=True, slots=True)
class PairedScores:
    """The means of paired scores, and how sure their difference is; see ``paired_scores``."""

    rows: int
    situations: int
    before: float
    """Mean of the first variant over all rows; 0 without rows."""
    after: float
    """Mean of the second variant."""
    interval: Interval
    """Of after - before."""
    standard_error: float
    """Of the difference, over situations; 0 where all situations differ alike, or there are fewer than two."""
    span: float
    """The highest score less the lowest: what a difference can't exceed."""
    p_value: float
    """Two-sided, of no difference; 1 without rows, and where the variants differ nowhere."""

    @property
    def difference(self) -> float:
        """``after - before``."""
        return self.after - self.before

    def non_inferiority_p(self, margin: float) -> float:
        """Twice the one-sided p of "worse by ``margin`` or more", from a t test over situations.

        Where these all differ alike it is the chance that as many hide others that would pull the mean below ``-margin``, as in the
        interval. 1 with fewer than two situations.
        """
        above = self.difference + margin
        if self.situations < 2 or above <= 0:
            return 1.0
        if self.standard_error > 0:
            return min(1.0, max(two_sided_p(above / self.standard_error, self.situations - 1), SMALLEST_P))
        hidden = above / (self.difference + self.span)
        return min(1.0, max(2 * max(1 - hidden, 0.0) ** self.situations, SMALLEST_P))


def paired_scores(paired: PairedRows, *, bounds: tuple[float, float] = _USUAL_BOUNDS, draws: Draws = _USUAL_DRAWS) -> PairedScores:
    """Compare the mean scores of two variants, situations being drawn and swapped as wholes.

    Args:
        paired: Their scores.
        bounds: The lowest and the highest score that there can be.
        draws: Confidence of the interval, resamples and seed.

    Raises:
        ValueError: A score is outside ``bounds``, these are no range, ``confidence`` is outside (0, 1), or ``resamples`` is below
        100.
    """
    _require_scores((paired.before, paired.after), bounds, draws)
    span, n = bounds[1] - bounds[0], paired.rows
    if n == 0:
        return PairedScores(0, 0, 0.0, 0.0, Interval(-span, span), 0.0, span, 1.0)
    sums, sizes, side = _from_one_side(paired.difference_sums(), paired.situation_sizes)
    is_alike = len(sums) < 2 or np.ptp(sums / sizes) <= _SMALLEST_SPREAD * 2 * span
    interval = _interval(sums, sizes, Interval(-span, span), draws)
    return PairedScores(
        rows=n,
        situations=len(sums),
        before=float(paired.before.mean()),
        after=float(paired.after.mean()),
        interval=_seen_from(side, interval),
        standard_error=0.0 if is_alike else math.sqrt(ratio_variance(sums, sizes)),
        span=span,
        p_value=sign_flip_p(sums, draws),
    )


def mean_interval(
    values: FloatArray, paired: PairedRows, *, bounds: tuple[float, float] = _USUAL_BOUNDS, draws: Draws = _USUAL_DRAWS
) -> Interval:
    """BCa bootstrap interval of one variant's mean, over situations; ``bounds`` with fewer than two of them.

    Args:
        values: float64 ``(N,)``: ``paired.before`` or ``paired.after``.
        paired: The rows that they belong to.
        bounds: The lowest and the highest score that there can be.
        draws: Confidence, resamples and seed.

    Raises:
        ValueError: As ``paired_scores``.
    """
    _require_scores((values,), bounds, draws)
    sums, sizes = paired.sums(values), paired.situation_sizes
    order = np.lexsort((sizes, sums))
    return _interval(sums[order], sizes[order], Interval(*bounds), draws)


def bca_ends(sums: FloatArray, sizes: FloatArray, draws: Draws) -> tuple[FloatArray, FloatArray]:
    """BCa bootstrap interval of ``sum(sums) / sum(sizes)``; situations are drawn, rows stay in theirs.

    With K situations the bootstrap's spread is too small by sqrt((K-1)/K), and normal where a t distribution is due: the confidence
    is raised so that the interval of a mean would be as wide as that of a t test.

    Args:
        sums: ``(*S, K)`` sums over each situation that do not all have the same mean; K is at least 2.
        sizes: ``(*S, K)`` rows of each situation.
        draws: Confidence, resamples and seed; all S meet the same draws.

    Source: Efron 1987, Journal of the American Statistical Association 82, 171-185 (BCa, scipy's); Field and Welsh 2007, Journal of
    the Royal Statistical Society B 69, 369-390 (drawing clusters); Hesterberg 2015, The American Statistician 69, 371-386 (the
    raised confidence).
    """
    # Here, for it takes most of a second to import.
    from scipy import stats

    situations = sums.shape[-1]
    wider = critical_value(draws.confidence, situations - 1) * math.sqrt(situations / (situations - 1))
    result = stats.bootstrap(
        (sums, np.broadcast_to(sizes, sums.shape)),
        _ratio,
        paired=True,
        vectorized=True,
        axis=-1,
        method="BCa",
        # A tail of less than one resample has no place in them.
        confidence_level=min(1 - two_sided_p(wider), 1 - 2 / (draws.resamples + 1)),
        n_resamples=draws.resamples,
        batch=max(1, _BATCH_VALUES // sums.size),
        rng=np.random.default_rng(draws.seed),
    )
    ends = result.confidence_interval
    return cast(FloatArray, ends.low), cast(FloatArray, ends.high)


def sign_flip_p(sums: FloatArray, draws: Draws) -> float:
    """Two-sided p of the sign-flip test over situations; 1 where fewer than two of them lean to a side.

    All choices of signs are counted where there are no more than ``resamples``, else that many are drawn.

    Args:
        sums: ``(K,)`` sums of after - before over each situation.
        draws: Resamples and seed.

    Source: Fisher 1935, The Design of Experiments, section 21; the drawn p counts the data among the draws (Phipson and Smyth 2010,
    Statistical Applications in Genetics and Molecular Biology 9:39), as scipy does.
    """
    from scipy import stats

    leaning = sums[sums != 0]
    if len(leaning) < 2:
        return 1.0
    result = stats.permutation_test(
        (leaning,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=draws.resamples,
        batch=max(1, _BATCH_VALUES // len(leaning)),
        rng=np.random.default_rng(draws.seed),
    )
    return min(1.0, float(result.pvalue))


def _ratio(sums: FloatArray, sizes: FloatArray, axis: int = -1) -> FloatArray:
    return np.asarray(sums.sum(axis=axis) / sizes.sum(axis=axis))


def _interval(sums: FloatArray, sizes: FloatArray, limits: Interval, draws: Draws) -> Interval:
    """Of ``sum(sums) / sum(sizes)``, which lies within ``limits``: these where there are fewer than two situations.

    Where K situations all have the same mean, a share q of others could still hide, at either limit: ``(1 - q)^K`` is how likely it
    is that none was seen.

    Source: for the latter, the exact upper limit of a share of which nothing was seen (Clopper and Pearson 1934, Biometrika 26,
    404-413).
    """
    if len(sums) < 2:
        return limits
    if np.ptp(sums / sizes) > _SMALLEST_SPREAD * (limits.high - limits.low):
        low, high = bca_ends(sums, sizes, draws)
        return Interval(float(low), float(high))
    mean = float(sums.sum() / sizes.sum())
    hidden = 1 - ((1 - draws.confidence) / 2) ** (1 / len(sums))
    return Interval(mean - hidden * (mean - limits.low), mean + hidden * (limits.high - mean))


def _require_scores(scores: Sequence[FloatArray], bounds: tuple[float, float], draws: Draws) -> None:
    require_level("confidence", draws.confidence)
    low, high = bounds
    if not low < high or draws.resamples < 100:
        raise ValueError(f"expected bounds in order and 100 resamples or more, found {bounds} and {draws.resamples}")
    if any(((values < low) | (values > high)).any() for values in scores):
        raise ValueError(f"a score lies outside {bounds}")


def _from_one_side(sums: FloatArray, sizes: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    """The situations in an order of their own, seen from the side on which their differences are the larger ones.

    Draws meet the same numbers, then, in whatever order rows came, and whichever variant was called the first.

    Returns:
        Sums, sizes, and 1 (as they were), -1 (with the other sign) or 0 (both sides look the same).
    """
    sides = {sign: sorted(zip((sign * sums).tolist(), sizes.tolist(), strict=True), reverse=True) for sign in (1, -1)}
    side = 0 if sides[1] == sides[-1] else 1 if sides[1] > sides[-1] else -1
    ordered = np.array(sides[side or 1])
    return ordered[:, 0], ordered[:, 1], side


def _seen_from(side: int, interval: Interval) -> Interval:
    if side == 0:
        reach = max(-interval.low, interval.high)
        return Interval(-reach, reach)
    return interval if side > 0 else Interval(-interval.high, -interval.low)
