"""Where nothing is wrong, few evaluations name a weak slice or a shared word: the promise of slices.py and words.py.

The shipped golden questions are asked of adapters that fail without any regard to what a question says: rows of a situation fail
together, and that is all. What is named then is named by chance, and ``alpha`` of such evaluations may name anything at all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from loren.data.rows import Row
from loren.evaluate.yardstick import question_of, read_yardstick, situation
from loren.scoring import words
from loren.scoring.slices import Question, ScoreLine, slices_of, weak_slices
from loren.scoring.words import Asked, shared_words
from loren.task.definition import load_task

pytestmark = pytest.mark.slow

TASK = Path(__file__).parents[2] / "examples" / "support-vi" / "task"
SIMULATIONS = 20_000
SLICE_DRAWS = 499
"""The least p is 1 in 500, and Holm's correction over some fourteen slices leaves it below 0.05."""
WORD_DRAWS = 99
"""The p of all words together: 5 of 100 draws, the evaluation itself among them, are 0.05."""
METRIC = "all_labels"
Bools = npt.NDArray[np.bool_]


def golden_rows(*, clustered: bool) -> list[Row]:
    """120 golden rows; one of each situation where they shall not lean together."""
    rows = read_yardstick(load_task(TASK)).rows
    if not clustered:
        rows = list({situation(row): row for row in rows}.values())
    return rows[:120]


def failures(rows: list[Row], share: float, *, seed: int, simulations: int) -> Bools:
    """bool ``(S, N)``: half of the situations are easy and half hard, whatever they ask."""
    rng = np.random.default_rng(seed)
    names, place = np.unique([situation(row) for row in rows], return_inverse=True)
    lean = rng.beta(2 * share, 2 * (1 - share), (simulations, len(names)))
    return rng.random((simulations, len(rows))) < lean[:, place]


def most(simulations: int, alpha: float = 0.05) -> int:
    """As many are met once in a thousand times, where the chance is ``alpha``."""
    return int(binom.isf(1e-3, simulations, alpha))


@pytest.mark.parametrize("clustered", [False, True])
def test_slices_are_called_weak_in_no_more_than_alpha(clustered: bool) -> None:
    rows = golden_rows(clustered=clustered)
    slices = slices_of([Question(question_of(row), row.label, situation(row)) for row in rows], language="vi")
    lines: list[ScoreLine] = [
        {"id": row.id, "line": row.line, "situation": situation(row), "slices": own, "arms": {"adapter": {}}}
        for row, own in zip(rows, slices, strict=True)
    ]
    named = 0
    for failed in failures(rows, 0.25, seed=20_260_311, simulations=SIMULATIONS):
        for line, is_wrong in zip(lines, failed.tolist(), strict=True):
            line["arms"]["adapter"][METRIC] = float(not is_wrong)
        named += bool(weak_slices(lines, "adapter", METRIC, draws=SLICE_DRAWS))
    assert 0.005 * SIMULATIONS <= named <= most(SIMULATIONS)


@pytest.mark.parametrize("clustered", [False, True])
def test_words_are_told_in_no_more_than_alpha(clustered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = golden_rows(clustered=clustered)
    asked = [Asked(row.id, situation(row), question_of(row), failed=False) for row in rows]
    # The words of the questions are the same in all simulations: they are read once.
    read = words._words_of_rows(sorted(asked, key=lambda row: (row.situation, row.id)))
    monkeypatch.setattr(words, "_words_of_rows", lambda ordered: read)
    named = 0
    for failed in failures(rows, 0.25, seed=20_260_312, simulations=SIMULATIONS):
        told = [row._replace(failed=is_wrong) for row, is_wrong in zip(asked, failed.tolist(), strict=True)]
        named += bool(shared_words(told, draws=WORD_DRAWS))
    assert len(read) >= 50
    assert 0.02 * SIMULATIONS <= named <= most(SIMULATIONS)
