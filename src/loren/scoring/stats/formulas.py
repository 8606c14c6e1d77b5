"""The published formulas, over arrays: what the other modules apply to rows, and what simulations can run by the thousand.

Letters for shapes: S any leading axes (simulations), K situations. Shares are fractions, ``rows`` may be fractions too (an
effective number), ``critical`` is the quantile of the normal or t distribution that belongs to a confidence.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import special

from loren.scoring.stats.rows import FloatArray

SMALLEST_P = 1e-15
"""What double precision can tell from 0 in a sum of probabilities."""
_NO_VARIANCE = 1e-12


def critical_value(confidence: float, degrees: float = math.inf) -> float:
    """Two-sided quantile: 1.96 for 0.95 of a normal distribution (infinite ``degrees`` of freedom), more of a t distribution."""
    upper = (1 + confidence) / 2
    return float(special.ndtri(upper) if math.isinf(degrees) else special.stdtrit(degrees, upper))


def two_sided_p(statistic: float, degrees: float = math.inf) -> float:
    """The inverse of ``critical_value``: 2 P(X > statistic), which is more than 1 where the statistic is negative."""
    return 2 * float(special.ndtr(-statistic) if math.isinf(degrees) else special.stdtr(degrees, -statistic))


def wilson(share: npt.ArrayLike, rows: npt.ArrayLike, critical: float) -> tuple[FloatArray, FloatArray]:
    """Score interval of a share: ``(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)``.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    p = np.asarray(share, dtype=np.float64)
    spread = critical**2 / np.asarray(rows, dtype=np.float64)
    centre = (p + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    # The ends enclose the share, whatever rounding does.
    return np.clip(np.minimum(centre - half, p), 0, 1), np.clip(np.maximum(centre + half, p), 0, 1)


def newcombe(
    both: npt.ArrayLike, fixed: npt.ArrayLike, broken: npt.ArrayLike, rows: npt.ArrayLike, critical: float
) -> tuple[FloatArray, FloatArray]:
    """Interval of after - before for paired shares: the Wilson intervals of both, added in squares, with their correlation.

    Args:
        both: Share of rows that both variants pass.
        fixed: Share that only the second passes.
        broken: Share that only the first passes.
        rows: Their number.
        critical: See ``critical_value``.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10: the correlation phi with its continuity correction, and
    0 where a variant passes all rows or none.
    """
    passed, gained, lost = (np.asarray(share, dtype=np.float64) for share in (both, fixed, broken))
    n = np.asarray(rows, dtype=np.float64)
    before, after = passed + lost, passed + gained
    determinant = passed * (1 - passed - gained - lost) - gained * lost
    corrected = np.where(determinant > 0, np.maximum(determinant - 1 / (2 * n), 0), determinant)
    scale = np.sqrt(np.clip(before * (1 - before) * after * (1 - after), 0, None))
    phi = np.where(scale > _NO_VARIANCE, corrected / np.maximum(scale, _NO_VARIANCE), 0.0)
    low_before, high_before = wilson(before, n, critical)
    low_after, high_after = wilson(after, n, critical)
    down = _add_in_squares(after - low_after, high_before - before, phi)
    up = _add_in_squares(high_after - after, before - low_before, phi)
    return np.maximum(after - before - down, -1), np.minimum(after - before + up, 1)


def _add_in_squares(first: FloatArray, second: FloatArray, correlation: FloatArray) -> FloatArray:
    return np.sqrt(np.clip(first**2 - 2 * correlation * first * second + second**2, 0, None))


def mcnemar_mid_p(fixed: npt.ArrayLike, broken: npt.ArrayLike) -> FloatArray:
    """Two-sided mid-p of McNemar's test: rows on which two variants disagree are fair coins; 1 where there are none.

    With n = fixed + broken, X ~ Binomial(n, 1/2) and m the smaller count it is ``2 P(X < m) + P(X = m)``, and ``1 - P(X = m) / 2``
    where the counts are equal.

    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91.
    """
    b, c = np.broadcast_arrays(np.asarray(fixed, dtype=np.int64), np.asarray(broken, dtype=np.int64))
    n, fewer = b + c, np.minimum(b, c)
    at_most: FloatArray = special.bdtr(fewer, n, 0.5)
    one_less: FloatArray = special.bdtr(np.maximum(fewer - 1, 0), n, 0.5)
    below = np.where(fewer > 0, one_less, 0.0)
    p = np.where(b == c, 1 - (at_most - below) / 2, at_most + below)
    return np.where(n == 0, 1.0, np.clip(p, SMALLEST_P, 1.0))


def sign_flip_mid_p(difference_sums: npt.ArrayLike) -> float:
    """Two-sided mid-p of the sign-flip test over situations, exact: 1 where no situation leans to a side.

    Where the variants are alike, swapping them in one situation changes nothing: its difference (fixed - broken rows) may have
    either sign. With T the sum of the differences under all 2^K choices of signs and t the one seen, it is ``P(|T| > |t|) + P(|T| =
    |t|) / 2``. T is a sum of independent integers, so its distribution is the Fourier transform of a product of cosines: no random
    numbers. With one row a situation this is McNemar's mid-p.

    Args:
        difference_sums: ``(K,)`` whole numbers.

    Source: Fisher's randomisation test with the situation as its unit. It is the exact form of Obuchowski's clustered McNemar test
    (1998, Statistics in Medicine 17, 1495-1507), whose chi-square is t² over the variance of T under these signs (times K/(K-1)).
    """
    differences = np.asarray(difference_sums, dtype=np.int64)
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    reach = int(sizes @ counts)
    if reach == 0:
        return 1.0
    points = 2 * reach + 1
    turn = np.arange(points) * (2 * np.pi / points)
    transform = np.ones(points)
    for size, count in zip(sizes, counts, strict=True):
        transform *= np.cos(size * turn) ** count
    # Index t holds P(T = t) for t >= 0, and T is symmetric.
    upper = np.fft.rfft(transform).real / points
    seen = abs(int(differences.sum()))
    p = 2 * upper[seen + 1 :].sum() + upper[seen] * (0.5 if seen == 0 else 1.0)
    return float(np.clip(p, SMALLEST_P, 1.0))


def ratio_variance(totals: FloatArray, sizes: FloatArray) -> FloatArray:
    """Variance of ``sum(totals) / sum(sizes)``, situations being independent: ``K/(K-1) sum((T - n m)²) / N²``.

    Args:
        totals: ``(*S, K)`` sums over each situation.
        sizes: ``(*S, K)`` or ``(K,)`` rows of each situation; K is at least 2.

    Source: Obuchowski 1998, Statistics in Medicine 17, 1495-1507 (a difference of paired shares); in general the linearised
    variance of a ratio of cluster totals, Cochran 1977, Sampling Techniques, section 9A.
    """
    situations = totals.shape[-1]
    n = sizes.sum(-1)
    mean = totals.sum(-1) / n
    residuals = totals - sizes * np.asarray(mean)[..., None]
    return cast(FloatArray, situations / (situations - 1) * (residuals**2).sum(-1) / n**2)


def effective_rows(totals: FloatArray, sizes: FloatArray, row_variance: npt.ArrayLike) -> FloatArray:
    """How many independent rows the rows are worth: their number by the design effect.

    This is the variance over situations by that of as many independent rows. The result is never more than there are rows. Where no
    row differs from another the ratio is 0/0, and a situation counts once: ``N² / sum(n²)``.

    Args:
        totals: ``(*S, K)`` sums over each situation.
        sizes: ``(*S, K)`` or ``(K,)`` rows of each situation; K is at least 2.
        row_variance: ``(*S,)`` variance of one row.

    Source: Rao and Scott 1992, Biometrics 48, 577-585; Kish 1965, Survey Sampling, for the last.
    """
    n = np.asarray(sizes.sum(-1))
    independent = np.asarray(row_variance, dtype=np.float64) / n
    known = independent * n > _NO_VARIANCE
    design_effect = np.maximum(ratio_variance(totals, sizes) / np.where(known, independent, 1.0), 1.0)
    once = n**2 / np.asarray((sizes**2).sum(-1))
    return np.maximum(np.where(known, n / design_effect, once), 1.0)
