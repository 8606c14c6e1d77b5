"""Outcomes that are yes or no: a share, and the difference of two variants' shares over the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loren.scoring.stats.formulas import (
    SMALLEST_P,
    critical_value,
    effective_rows,
    mcnemar_mid_p,
    newcombe,
    sign_flip_mid_p,
    two_sided_p,
    wilson,
)
from loren.scoring.stats.rows import FloatArray, Interval, PairedRows, require_level

_HALVINGS = 60
_FARTHEST = 40.0
"""A critical value whose p is 0 in double precision."""


def wilson_interval(passed: int, rows: int, *, confidence: float = 0.95) -> Interval:
    """Wilson interval of one share of independent rows; 0 to 1 where there are none.

    Raises:
        ValueError: ``passed`` is no part of ``rows``, or ``confidence`` is outside (0, 1).
    """
    require_level("confidence", confidence)
    if not 0 <= passed <= rows:
        raise ValueError(f"expected 0 <= passed <= rows, found {passed} of {rows}")
    if rows == 0:
        return Interval(0.0, 1.0)
    return _interval(*wilson(passed / rows, rows, critical_value(confidence)))


def newcombe_interval(both: int, fixed: int, broken: int, neither: int, *, confidence: float = 0.95) -> Interval:
    """Interval of after - before over independent rows (Newcombe's method 10); -1 to 1 where there are none.

    Args:
        both: Rows that both variants pass.
        fixed: Rows that only the second passes.
        broken: Rows that only the first passes.
        neither: Rows that neither passes.
        confidence: Of the interval.

    Raises:
        ValueError: A count is negative, or ``confidence`` is outside (0, 1).
    """
    require_level("confidence", confidence)
    if min(both, fixed, broken, neither) < 0:
        raise ValueError("counts are not negative")
    rows = both + fixed + broken + neither
    if rows == 0:
        return Interval(-1.0, 1.0)
    return _interval(*newcombe(both / rows, fixed / rows, broken / rows, rows, critical_value(confidence)))


@dataclass(frozen=True, slots=True)
class PairedShares:
    """The counts of paired yes-or-no outcomes, and what they are worth; see ``paired_shares``."""

    rows: int
    situations: int
    both: int
    fixed: int
    broken: int
    effective_rows: float
    """As many independent rows would say as much about the difference; between 0 (no rows) and ``rows``."""
    degrees: float
    """Of freedom of the t distribution: situations - 1; infinite (a normal distribution) where each row is its own situation."""
    p_value: float
    """Two-sided, of no difference: McNemar's mid-p, or the sign-flip test's where situations have several rows. 1 without rows, and
    where the variants differ nowhere."""

    @property
    def before(self) -> float:
        """Share that the first variant passes; 0 without rows."""
        return (self.both + self.broken) / max(self.rows, 1)

    @property
    def after(self) -> float:
        """Share that the second variant passes; 0 without rows."""
        return (self.both + self.fixed) / max(self.rows, 1)

    @property
    def difference(self) -> float:
        """``after - before``."""
        return (self.fixed - self.broken) / max(self.rows, 1)

    @property
    def discordance(self) -> float:
        """Share of rows on which the variants disagree; 0 without rows."""
        return (self.fixed + self.broken) / max(self.rows, 1)

    def interval(self, confidence: float = 0.95) -> Interval:
        """Of the difference: Newcombe's method 10 over the effective rows.

        It is -1 to 1 where one situation holds all of several rows, or there is no row: nothing is known about other situations.

        Raises:
            ValueError: ``confidence`` is outside (0, 1).
        """
        require_level("confidence", confidence)
        if self.degrees < 1:
            return Interval(-1.0, 1.0)
        return self._interval_at(critical_value(confidence, self.degrees))

    def non_inferiority_p(self, margin: float) -> float:
        """Twice the one-sided p of "worse by ``margin`` or more": the smallest alpha whose interval lies above ``-margin``.

        Twice, so that all gates compare with the same alpha. 1 where nothing is known.
        """
        if self.degrees < 1 or self.difference <= -margin:
            return 1.0
        near, far = 0.0, _FARTHEST
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            near, far = (middle, far) if self._interval_at(middle).low > -margin else (near, middle)
        return min(1.0, max(two_sided_p(near, self.degrees), SMALLEST_P))

    def _interval_at(self, critical: float) -> Interval:
        n = self.rows
        return _interval(*newcombe(self.both / n, self.fixed / n, self.broken / n, self.effective_rows, critical))


def paired_shares(paired: PairedRows) -> PairedShares:
    """Count paired outcomes of 0 and 1, and see how much rows of one situation fall together.

    Raises:
        ValueError: An outcome is neither 0 nor 1.
    """
    _require_binary(paired.before, paired.after)
    before, after = paired.before == 1, paired.after == 1
    fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
    sums, sizes = paired.difference_sums(), paired.situation_sizes
    n, situations = paired.rows, len(sizes)
    worth, degrees = float(n), math.inf if n else 0.0
    if paired.is_clustered:
        degrees = situations - 1.0
        variance = (fixed + broken) / n - ((fixed - broken) / n) ** 2
        worth = float(effective_rows(sums, sizes, variance)) if situations > 1 else 1.0
    p_value = sign_flip_mid_p(np.rint(sums)) if paired.is_clustered else float(mcnemar_mid_p(fixed, broken))
    return PairedShares(n, situations, int((before & after).sum()), fixed, broken, worth, degrees, p_value)


def share_interval(outcomes: FloatArray, paired: PairedRows, *, confidence: float = 0.95) -> Interval:
    """Wilson interval of one variant's share, over the effective rows where situations have several.

    Args:
        outcomes: float64 ``(N,)``: ``paired.before`` or ``paired.after``.
        paired: The rows that they belong to.
        confidence: Of the interval.

    Returns:
        0 to 1 without rows, and where one situation holds all of several rows.

    Raises:
        ValueError: An outcome is neither 0 nor 1, or ``confidence`` is outside (0, 1).
    """
    require_level("confidence", confidence)
    _require_binary(outcomes)
    passed, sizes = int(outcomes.sum()), paired.situation_sizes
    if not paired.is_clustered:
        return wilson_interval(passed, paired.rows, confidence=confidence)
    if len(sizes) < 2:
        return Interval(0.0, 1.0)
    share = passed / paired.rows
    worth = effective_rows(paired.sums(outcomes), sizes, share * (1 - share))
    return _interval(*wilson(share, worth, critical_value(confidence, len(sizes) - 1)))


def _interval(low: FloatArray, high: FloatArray) -> Interval:
    return Interval(float(low), float(high))


def _require_binary(*outcomes: FloatArray) -> None:
    if not all(np.isin(values, (0.0, 1.0)).all() for values in outcomes):
        raise ValueError("outcomes are 0 or 1")
