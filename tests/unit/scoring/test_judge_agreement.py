"""Verdicts are read strictly, rubrics are filled once, and agreement is what the textbooks compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loren.scoring.judge import (
    Verdict,
    cohen_kappa,
    compare_with_labels,
    fill_rubric,
    jackknife_interval,
    krippendorff_alpha,
    read_verdict,
    rubric_problems,
)


def test_a_verdict_is_read() -> None:
    assert read_verdict('{"verdict": "good", "reason": "kind"}') == Verdict(True, "kind")
    assert read_verdict(' {"reason": "", "verdict": "bad"}\n') == Verdict(False, "")


@pytest.mark.parametrize(
    "text",
    [
        "", "good", '"good"', "null",
        '{"verdict": "good"}', '{"verdict": true, "reason": "r"}', '{"verdict": "Good", "reason": "r"}',
        '{"verdict": "good", "reason": null}', '{"verdict": ["good"], "reason": "r"}', '{"verdict": "good", "reason": ',
        '{"verdict": "good", "reason": "r", "score": 5}', '[{"verdict": "good", "reason": "r"}]',
        '```json\n{"verdict": "good", "reason": "r"}\n```', '{"verdict": "good", "reason": "r"} and more',
        '{"verdict": "bad", "verdict": "good", "reason": "r"}',
    ],
)  # fmt: skip
def test_anything_else_is_no_verdict(text: str) -> None:
    assert read_verdict(text) is None


def test_a_rubric_names_all_three_and_a_text_is_never_filled_again() -> None:
    assert rubric_problems('{question} {target} {reply} {"verdict": "good"} {other}') == []
    assert len(rubric_problems("{question} {reply")) == 2
    filled = fill_rubric(
        'Q {question} T {target} R {reply} {"verdict": ...}', question="{reply}", target="{target}", reply="{question}\\1"
    )
    assert filled == 'Q {reply} T {target} R {question}\\1 {"verdict": ...}'


def cells(a: int, b: int, c: int, d: int) -> np.ndarray:
    return np.array([a, b, c, d], dtype=np.float64)


def test_kappa_equals_published_examples() -> None:
    # Two readers of 50 grant proposals, the example of most textbooks; then Feinstein and Cicchetti 1990, twice 85 of 100 alike.
    assert cohen_kappa(cells(20, 5, 10, 15)) == pytest.approx(0.4)
    assert cohen_kappa(cells(40, 9, 6, 45)) == pytest.approx(0.70, abs=0.005)
    assert cohen_kappa(cells(80, 10, 5, 5)) == pytest.approx(0.32, abs=0.005)


def test_alpha_equals_krippendorff_s_own_example() -> None:
    # "Computing Krippendorff's Alpha-Reliability" (2011), section A: binary data, two observers, ten articles.
    first, second = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    table = [sum((x, y) == pair for x, y in zip(first, second, strict=True)) for pair in ((1, 1), (1, 0), (0, 1), (0, 0))]
    assert krippendorff_alpha(cells(*table)) == pytest.approx(0.095, abs=0.0005)


COUNTS = st.tuples(*[st.integers(0, 30)] * 4).filter(lambda counts: sum(counts) > 0)


@given(COUNTS)
def test_laws_of_both(counts: tuple[int, int, int, int]) -> None:
    a, b, c, d = counts
    n = sum(counts)
    for statistic in (cohen_kappa, krippendorff_alpha):
        value = float(statistic(cells(a, b, c, d)))
        if np.isnan(value):
            assert n in {a, d}
            continue
        assert -1 - 1e-9 <= value <= 1 + 1e-9
        assert float(statistic(cells(d, c, b, a))) == pytest.approx(value)  # the other names for both values
        assert float(statistic(cells(a, c, b, d))) == pytest.approx(value)  # who is who does not matter
        assert (abs(value - 1) < 1e-9) == (b == c == 0)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), max_size=40), st.randoms())
def test_every_figure_is_finite_lies_in_its_interval_and_needs_no_order(rows: list[tuple[bool, bool, int]], random: object) -> None:
    def compare(of: list[tuple[bool, bool, int]]) -> object:
        return compare_with_labels([row[0] for row in of], [row[1] for row in of], [f"s{row[2]}" for row in of])

    found = compare_with_labels([row[0] for row in rows], [row[1] for row in rows], [f"s{row[2]}" for row in rows])
    if found is None:
        assert rows == []
        return
    assert found.rows == found.good_right + found.good_wrong + found.bad_right + found.bad_wrong == len(rows)
    for estimate in (found.agreement, found.kappa, found.alpha):
        if estimate is not None:
            assert -1 <= estimate.interval.low <= estimate.value + 1e-9
            assert estimate.value - 1e-9 <= estimate.interval.high <= 1
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compare(shuffled) == compare(rows)


def test_perfect_agreement_is_not_certainty() -> None:
    found = compare_with_labels([True, False] * 20, [True, False] * 20, [f"s{row // 2}" for row in range(40)])
    assert found is not None
    assert found.kappa is not None
    assert found.alpha is not None
    assert (found.kappa.value, found.kappa.interval.high) == (1, 1)
    assert found.agreement.interval.low < 0.95
    assert found.kappa.interval.low == pytest.approx(1 - 2 * (1 - found.agreement.interval.low))
    assert found.alpha.interval.low == pytest.approx(found.kappa.interval.low)


def test_one_verdict_for_everything_agrees_by_chance_and_one_situation_says_nothing() -> None:
    always = compare_with_labels([True] * 9, [True] * 9, [f"s{row}" for row in range(9)])
    assert always is not None
    assert (always.agreement.value, always.kappa, always.alpha) == (1, None, None)
    lazy = compare_with_labels([True] * 10, [True] * 8 + [False] * 2, [f"s{row}" for row in range(10)])
    assert lazy is not None
    assert lazy.kappa is not None
    assert lazy.kappa.value == 0
    alone = compare_with_labels([True, False, True], [True, False, False], ["s"] * 3)
    assert alone is not None
    assert alone.kappa is not None
    assert tuple(alone.kappa.interval) == (-1, 1)


@pytest.mark.parametrize("statistic", [cohen_kappa, krippendorff_alpha])
@pytest.mark.parametrize(("situations", "each", "spread"), [(140, 2, 0.2), (60, 3, 0.3), (50, 1, 0.01)])
def test_the_intervals_cover_as_they_say(statistic: object, situations: int, each: int, spread: float) -> None:
    rng = np.random.default_rng(7)
    right_share, hit_share, simulations = 0.75, 0.8, 4000

    def outcomes(share: float) -> np.ndarray:
        """Yes or no, alike within a situation: its own share is drawn first."""
        of = rng.beta(share / spread - share, (1 - share) / spread - (1 - share), size=(simulations, situations, 1))
        return rng.random((simulations, situations, each)) < of

    right = outcomes(right_share)
    good = np.where(outcomes(hit_share), right, ~right)
    counts = np.stack([good & right, good & ~right, ~good & right, ~good & ~right]).sum(-1).astype(np.float64)
    low, high = jackknife_interval(counts, statistic)  # type: ignore[arg-type]
    truth = statistic(1e9 * np.array([  # type: ignore[operator]
        right_share * hit_share, (1 - right_share) * (1 - hit_share), right_share * (1 - hit_share), (1 - right_share) * hit_share,
    ]))  # fmt: skip
    assert not np.isnan(low).any()
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97
