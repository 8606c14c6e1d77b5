"""Outcomes dealt out anew between rows: what they would look like if nothing that is known of a row mattered.

Situations of one size swap their outcomes as wholes, and within a situation its rows swap theirs. So the rows of a situation go on
failing together, as they do: a test that deals out single rows would take two bad situations for many bad rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from loren.scoring.stats.rows import FloatArray
from loren.scoring.stats.scores import RESAMPLES, SEED

_BATCH_VALUES = 1_000_000
"""Outcomes that are in memory at once."""


def exchanged(
    outcomes: Sequence[float] | FloatArray, situations: Sequence[str], *, draws: int = RESAMPLES, seed: int = SEED
) -> Iterator[FloatArray]:
    """Yield outcomes dealt out anew, many at a time.

    With a row a situation this is the usual permutation of all rows. The same rows in another order meet other numbers: a caller
    whose figures must not depend on it brings them in an order of its own.

    Args:
        outcomes: ``(N,)``.
        situations: ``(N,)`` names of the rows' situations.
        draws: R, how often.
        seed: Of the random numbers.

    Yields:
        float64 ``(B, N)`` blocks, R rows in all.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3 (exchangeable observations); Winkler and
    others 2015, NeuroImage 123, 253-268 (blocks that are exchanged as wholes, and within).
    """
    values = np.asarray(outcomes, dtype=np.float64)
    rng = np.random.default_rng(seed)
    strata = _places_by_size(situations)
    step = max(1, _BATCH_VALUES // max(len(values), 1))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        dealt = np.empty((count, len(values)))
        for places in strata:
            dealt[:, places] = _dealt(values[places], count, rng)
        yield dealt


def _places_by_size(situations: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """For each size m of situations the places of their rows, ``(K, m)``."""
    members: dict[str, list[int]] = {}
    for place, situation in enumerate(situations):
        members.setdefault(situation, []).append(place)
    by_size: dict[int, list[list[int]]] = {}
    for places in members.values():
        by_size.setdefault(len(places), []).append(places)
    return [np.array(by_size[size], dtype=np.int64) for size in sorted(by_size)]


def _dealt(values: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """``(K, m)`` outcomes of K situations -> ``(count, K, m)`` of them, dealt out anew."""
    situations, rows = values.shape
    order = np.argsort(rng.random((count, situations)), axis=1)
    dealt = values[order]
    if rows > 1:
        dealt = np.take_along_axis(dealt, np.argsort(rng.random(dealt.shape), axis=2), axis=2)
    return dealt
