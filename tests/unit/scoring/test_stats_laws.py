"""Laws of a comparison, whatever the rows: swapped, shuffled, copied, agreeing, none at all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.scoring.stats.rows import Interval, PairedRows, pair_rows
from loren.scoring.stats.verdict import (
    FEWEST_SITUATIONS,
    Comparison,
    Goal,
    Plan,
    Reason,
    Verdict,
    compare_scores,
    compare_shares,
    settle,
)

FEW = 199
SUPERIOR = Plan(resamples=FEW)
NOT_WORSE = Plan(Goal.NON_INFERIORITY, margin=0.05, resamples=FEW)
MIRROR = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
Compare = Callable[[PairedRows, Plan], Comparison]
COMPARISONS: list[Compare] = [compare_shares, compare_scores]


@st.composite
def row_lists(draw: st.DrawFn, *, numbers: bool = False) -> list[tuple[float, float, int]]:
    """Rows of (before, after, situation); both variants, and situations, lean to a side."""
    seed, situations, most = draw(st.integers(0, 10**6)), draw(st.integers(1, 30)), draw(st.integers(1, 4))
    base, lift = draw(st.sampled_from([0.0, 0.3, 0.8, 1.0])), draw(st.sampled_from([0.0, 0.0, 0.1, 0.5]))
    generator = np.random.default_rng(seed)
    rows: list[tuple[float, float, int]] = []
    for situation in range(situations):
        lean = generator.random()
        for _ in range(generator.integers(1, most + 1)):
            before = float((lean + generator.random()) / 2 < base)
            after = 1.0 if generator.random() < lift else before
            scale = round(float(generator.random()), 2) if numbers else 1.0
            rows.append((before * scale, after * scale, situation))
    return rows


def paired(rows: list[tuple[float, float, int]]) -> PairedRows:
    before, after, situations = zip(*rows, strict=True)
    return pair_rows(before, after, situations)


def numbers(comparison: Comparison) -> Iterator[float]:
    for value in dataclasses.astuple(comparison):
        if isinstance(value, float | int):
            yield value
        elif isinstance(value, Interval):
            yield from value


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("plan", [SUPERIOR, NOT_WORSE])
@settings(max_examples=20, deadline=None)
@given(rows=row_lists())
def test_everything_is_a_number_in_its_range(compare: Compare, plan: Plan, rows: list[tuple[float, float, int]]) -> None:
    seen = compare(paired(rows), plan)
    assert all(math.isfinite(value) for value in numbers(seen))
    assert -1 <= seen.interval.low <= seen.difference + 1e-12
    assert seen.difference - 1e-12 <= seen.interval.high <= 1
    assert 0 <= seen.before_interval.low <= seen.before + 1e-12
    assert seen.before - 1e-12 <= seen.before_interval.high <= 1
    assert 0 < seen.p_value <= 1
    assert 0 < seen.gate_p <= 1
    assert 0 <= seen.detectable <= 1
    assert seen.fixed + seen.broken <= seen.rows == len(rows)


@pytest.mark.parametrize("compare", COMPARISONS)
@settings(max_examples=20, deadline=None)
@given(rows=row_lists(), decimals=row_lists(numbers=True))
def test_swapping_the_variants_mirrors_interval_and_verdict(
    compare: Compare, rows: list[tuple[float, float, int]], decimals: list[tuple[float, float, int]]
) -> None:
    given_rows = rows if compare is compare_shares else decimals
    one = compare(paired(given_rows), SUPERIOR)
    other = compare(paired([(after, before, situation) for before, after, situation in given_rows]), SUPERIOR)
    assert other.difference == pytest.approx(-one.difference, abs=1e-12)
    assert other.interval == pytest.approx((-one.interval.high, -one.interval.low), abs=1e-9)
    assert other.p_value == pytest.approx(one.p_value, abs=1e-12)
    assert other.verdict is MIRROR.get(one.verdict, one.verdict)


@pytest.mark.parametrize("compare", COMPARISONS)
@settings(max_examples=15, deadline=None)
@given(rows=row_lists(numbers=True), binary=row_lists(), seed=st.integers(0, 99))
def test_the_order_of_rows_and_the_names_of_situations_are_irrelevant(
    compare: Compare, rows: list[tuple[float, float, int]], binary: list[tuple[float, float, int]], seed: int
) -> None:
    given_rows = binary if compare is compare_shares else rows
    shuffled = [given_rows[index] for index in np.random.default_rng(seed).permutation(len(given_rows))]
    assert compare(paired(shuffled), NOT_WORSE) == compare(paired(given_rows), NOT_WORSE)
    renamed = [(before, after, 1000 - situation) for before, after, situation in given_rows]
    assert list(numbers(compare(paired(renamed), NOT_WORSE))) == pytest.approx(
        list(numbers(compare(paired(given_rows), NOT_WORSE))), abs=1e-9
    )


@pytest.mark.parametrize("compare", COMPARISONS)
@settings(max_examples=20, deadline=None)
@given(rows=row_lists(), outcome=st.sampled_from([0.0, 1.0]), is_new=st.booleans())
def test_a_row_on_which_both_agree_is_no_evidence_of_a_difference(
    compare: Compare, rows: list[tuple[float, float, int]], outcome: float, is_new: bool
) -> None:
    one = compare(paired(rows), SUPERIOR)
    more = compare(paired([*rows, (outcome, outcome, 999 if is_new else rows[0][2])]), SUPERIOR)
    assert more.p_value == pytest.approx(one.p_value, abs=1e-12)
    assert abs(more.difference) <= abs(one.difference)


@pytest.mark.parametrize("compare", COMPARISONS)
@settings(max_examples=20, deadline=None)
@given(rows=row_lists(), copies=st.integers(2, 6))
def test_copies_of_a_row_in_its_situation_count_as_one(compare: Compare, rows: list[tuple[float, float, int]], copies: int) -> None:
    alone = [(before, after, index) for index, (before, after, _) in enumerate(rows)]
    one, many = compare(paired(alone), SUPERIOR), compare(paired(alone * copies), SUPERIOR)
    assert many.p_value == pytest.approx(one.p_value, abs=1e-12)
    assert many.effective_rows <= len(rows) + 1e-9
    width, wide = one.interval.high - one.interval.low, many.interval.high - many.interval.low
    # Never surer than the rows alone; a t distribution stands for the normal one, so few of them are less sure.
    assert wide >= width - 1e-9
    if len(rows) >= 40:
        assert wide <= 1.1 * width


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("plan", [SUPERIOR, NOT_WORSE])
@settings(max_examples=15, deadline=None)
@given(rows=row_lists())
def test_identical_predictions_are_never_better_nor_worse(
    compare: Compare, plan: Plan, rows: list[tuple[float, float, int]]
) -> None:
    seen = compare(paired([(before, before, situation) for before, _, situation in rows]), plan)
    assert seen.verdict in {Verdict.INCONCLUSIVE, Verdict.NOT_WORSE}
    assert (seen.p_value, seen.difference) == (1, 0)


def rows_of(fixed: int, broken: int, both: int, neither: int = 0) -> PairedRows:
    before = [0.0] * fixed + [1.0] * broken + [1.0] * both + [0.0] * neither
    after = [1.0] * fixed + [0.0] * broken + [1.0] * both + [0.0] * neither
    return pair_rows(before, after)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_each_verdict(compare: Compare) -> None:
    for rows, plan, verdict, words in [
        (rows_of(40, 8, 252), SUPERIOR, Verdict.BETTER, "better"),
        (rows_of(8, 40, 252), SUPERIOR, Verdict.WORSE, "worse"),
        (rows_of(12, 8, 280), SUPERIOR, Verdict.INCONCLUSIVE, "inconclusive"),
        (rows_of(3, 4, 293), NOT_WORSE, Verdict.NOT_WORSE, "not worse by 0.05"),
        # Worse for sure, but by less than the margin: that is what the margin is for.
        (rows_of(0, 6, 294), NOT_WORSE, Verdict.NOT_WORSE, "not worse by 0.05"),
        (rows_of(2, 40, 258), NOT_WORSE, Verdict.WORSE, "worse"),
        (rows_of(9, 14, 77), NOT_WORSE, Verdict.INCONCLUSIVE, "inconclusive"),
    ]:
        seen = compare(rows, plan)
        assert (seen.verdict, seen.words) == (verdict, words)
        assert seen.passed is (verdict in {Verdict.BETTER, Verdict.NOT_WORSE})
        assert (seen.reason is Reason.NONE) is (verdict is not Verdict.INCONCLUSIVE)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_missing_rows_abstain_and_few_situations_tell_nothing(compare: Compare) -> None:
    clear = rows_of(40, 0, 60)
    missing = dataclasses.replace(clear, missing=1)
    seen = compare(missing, SUPERIOR)
    assert (seen.verdict, seen.reason, seen.missing) == (Verdict.ABSTAIN, Reason.MISSING_ROWS, 1)
    assert (seen.difference, seen.passed) == (0.4, False)
    assert compare(pair_rows([], []), SUPERIOR).verdict is Verdict.ABSTAIN
    for situations, verdict in [(FEWEST_SITUATIONS - 1, Verdict.INCONCLUSIVE), (FEWEST_SITUATIONS, Verdict.BETTER)]:
        rows = pair_rows(np.zeros(90), np.tile([1.0, 1.0, 0.0], 30), np.arange(90) % situations)
        assert compare(rows, SUPERIOR).verdict is verdict


def test_rows_of_one_situation_make_a_difference() -> None:
    """Thirty rows fixed in three situations are three findings, not thirty."""
    situations = np.repeat(np.arange(30), 10)
    before, after = np.full(300, 0.0), np.where(situations < 3, 1.0, 0.0)
    alone, together = compare_shares(pair_rows(before, after), SUPERIOR), compare_shares(pair_rows(before, after, situations))
    assert alone.verdict is Verdict.BETTER
    assert together.verdict is Verdict.INCONCLUSIVE
    assert alone.difference == together.difference == pytest.approx(0.1)
    assert together.effective_rows == pytest.approx(29, abs=0.1)
    assert together.detectable > 2 * alone.detectable


def test_gates_that_are_judged_together_need_more() -> None:
    barely = compare_shares(rows_of(16, 6, 278), SUPERIOR)
    clear = compare_shares(rows_of(60, 6, 234), SUPERIOR)
    form = compare_shares(rows_of(1, 1, 298), NOT_WORSE)
    alone = [barely.verdict, clear.verdict, form.verdict]
    assert alone == [Verdict.BETTER, Verdict.BETTER, Verdict.NOT_WORSE]
    # The weakest of three keeps its p where the others are certain.
    assert [gate.verdict for gate in settle({"a": barely, "b": clear, "c": form}).values()] == alone
    twins = settle({"a": barely, "b": barely})
    assert twins["a"].adjusted_p == pytest.approx(2 * barely.gate_p)
    assert twins["a"].verdict is Verdict.INCONCLUSIVE
    assert twins["a"].p_value == barely.p_value
    absent = compare_shares(dataclasses.replace(rows_of(60, 6, 234), missing=2), SUPERIOR)
    with_absent = settle({"a": absent, "b": clear})
    assert with_absent["a"].verdict is Verdict.ABSTAIN
    assert with_absent["b"].adjusted_p == pytest.approx(2 * clear.gate_p)
    with pytest.raises(ValueError, match="one alpha"):
        settle({"a": clear, "b": dataclasses.replace(clear, plan=Plan(alpha=0.01))})


def test_plans_that_can_not_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="margin above 0"):
        Plan(Goal.NON_INFERIORITY)
    with pytest.raises(ValueError, match="margin above 0"):
        Plan(margin=0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Plan(alpha=5)


def test_an_assumed_discordance_plans_ahead() -> None:
    quiet = rows_of(1, 1, 298)
    assert compare_shares(quiet, Plan(discordance=0.3)).detectable > 2 * compare_shares(quiet, Plan()).detectable
