"""How small a difference the rows at hand could have shown: the minimum detectable effect.

A test that sees nothing says little where it could hardly have seen anything. The figure stands beside every verdict, and says
before a measurement how many rows it needs.
"""

from __future__ import annotations

import math

from loren.scoring.stats.formulas import critical_value
from loren.scoring.stats.rows import require_level

_HALVINGS = 60


def detectable_share(rows: float, discordance: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference of two paired shares that a two-sided McNemar test finds with this power.

    It solves ``sqrt(n) d = z(alpha/2) sqrt(psi) + z(1 - power) sqrt(psi - d²)`` for d. The variants disagree on at least as many
    rows as they differ by, so psi is ``discordance`` or d, whichever is more.

    Args:
        rows: Independent rows, or as many as the rows are worth.
        discordance: psi, the share of rows on which the variants disagree, as seen or as assumed.
        alpha: Of the test.
        power: The chance of finding it, 0.5 or more.

    Returns:
        Between 0 and 1; 1 where not even a change of every row is that sure to be found.

    Source: Miettinen 1968, Biometrics 24, 339-352; Connor 1987, Biometrics 43, 207-211.

    Raises:
        ValueError: ``rows`` is negative, ``discordance`` no share, ``alpha`` outside (0, 1) or ``power`` outside [0.5, 1).
    """
    require_level("alpha", alpha)
    require_level("power", power)
    if rows < 0 or not 0 <= discordance <= 1 or power < 0.5:
        raise ValueError(f"expected rows, a share of them and a power from 0.5, found {rows}, {discordance}, {power}")
    certainty, chance = critical_value(1 - alpha), critical_value(2 * power - 1)

    def is_found(difference: float) -> bool:
        psi = max(discordance, difference)
        needed = certainty * math.sqrt(psi) + chance * math.sqrt(max(psi - difference**2, 0.0))
        return math.sqrt(rows) * difference >= needed

    low, high = 0.0, 1.0
    if not is_found(high):
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def detectable_mean(standard_error: float, degrees: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference of two paired means that a two-sided t test finds with this power: ``(t(alpha/2) + t(1 - power)) * error``.

    Args:
        standard_error: Of the difference.
        degrees: Of freedom, 1 or more.
        alpha: Of the test.
        power: The chance of finding it, 0.5 or more.

    Source: Bloom 1995, Evaluation Review 19, 547-556.

    Raises:
        ValueError: ``standard_error`` is negative, ``degrees`` below 1, ``alpha`` outside (0, 1) or ``power`` outside [0.5, 1).
    """
    require_level("alpha", alpha)
    require_level("power", power)
    if standard_error < 0 or degrees < 1 or power < 0.5:
        raise ValueError(f"expected an error, 1 degree or more and a power from 0.5, found {standard_error}, {degrees}, {power}")
    return (critical_value(1 - alpha, degrees) + critical_value(2 * power - 1, degrees)) * standard_error
