"""The formulas against statsmodels, published tables, enumeration and scipy; without rows or variance, the documented result."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats

from loren.scoring.stats.formulas import critical_value, effective_rows, mcnemar_mid_p, ratio_variance, sign_flip_mid_p
from loren.scoring.stats.power import detectable_mean, detectable_share
from loren.scoring.stats.rows import Interval, pair_by_id, pair_rows
from loren.scoring.stats.scores import Draws, bca_ends, mean_interval, paired_scores, sign_flip_p
from loren.scoring.stats.shares import newcombe_interval, paired_shares, share_interval, wilson_interval
from loren.scoring.stats.verdict import holm

# PET against SPECT on 21 patients with one to four glands (Obuchowski 1998): glands right by both, PET only, SPECT only, neither.
BOTH = [0, 2, 3, 1, 2, 4, 3, 2, 1, 1, 2, 2, 3, 2, 0, 2, 2, 2, 2, 1, 2]
PET = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
SPECT = [2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0]
NEITHER = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("passed", "rows", "alpha", "low", "high"),
    [
        # statsmodels 0.15.0: proportion_confint(passed, rows, alpha=alpha, method="wilson")
        (0, 1, 0.05, 0.0, 0.7934506856227627),
        (0, 300, 0.05, 0.0, 0.01264297122454604),
        (1, 10, 0.05, 0.017876213095072924, 0.40415002679523854),
        (7, 10, 0.1, 0.44169979586983493, 0.873123416096802),
        (255, 300, 0.05, 0.805182388854671, 0.8859675312881468),
        (300, 300, 0.01, 0.9783622259743834, 1.0),
        (81, 263, 0.05, 0.2552885198782742, 0.36620957698280004),
        (3, 20, 0.2, 0.0746730197532267, 0.27844786562430834),
    ],
)
def test_wilson_is_that_of_statsmodels(passed: int, rows: int, alpha: float, low: float, high: float) -> None:
    assert wilson_interval(passed, rows, confidence=1 - alpha) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize(
    ("fixed", "broken", "exact"),
    [
        # statsmodels 0.15.0: mcnemar([[10, fixed], [broken, 10]], exact=True).pvalue
        (6, 16, 0.052478790283203125),
        (1, 7, 0.0703125),
        (0, 5, 0.0625),
        (40, 20, 0.01348929373119186),
        (3, 1, 0.625),
    ],
)
def test_mid_p_is_statsmodels_exact_p_less_half_of_what_was_seen(fixed: int, broken: int, exact: float) -> None:
    n = fixed + broken
    seen = math.comb(n, fixed) / 2**n
    assert float(mcnemar_mid_p(fixed, broken)) == pytest.approx(exact - seen, abs=1e-10)


def test_mid_p_of_the_published_tables() -> None:
    """Fagerland, Lydersen and Laake 2013: airway hyper-responsiveness (Bentur 2009) and complete response (Cavo 2012)."""
    assert float(mcnemar_mid_p(1, 7)) == pytest.approx(0.0390625, abs=1e-10)
    assert float(mcnemar_mid_p(6, 16)) == pytest.approx(0.034690, abs=5e-7)


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_mid_p_is_the_enumeration_of_all_coins(n: int) -> None:
    for fixed in range(n + 1):
        sums = [abs(2 * sum(coins) - n) for coins in itertools.product((0, 1), repeat=n)]
        seen = abs(2 * fixed - n)
        expected = (sum(value > seen for value in sums) + sum(value == seen for value in sums) / 2) / 2**n
        assert float(mcnemar_mid_p(fixed, n - fixed)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33, 2850-2875: Newcombe's square-and-add interval.
        ((59, 16, 6, 80), 0.0046, 0.1186),
        ((1, 7, 1, 12), 0.0256, 0.5069),
        # Altman, Machin, Bryant and Gardner 2000, Statistics with Confidence, table 6.2.
        ((14, 5, 0, 22), 0.011, 0.226),
    ],
)
def test_newcombe_is_that_of_the_published_tables(table: tuple[int, int, int, int], low: float, high: float) -> None:
    digits = 5e-4 if low == 0.011 else 5e-5
    assert newcombe_interval(*table) == pytest.approx((low, high), abs=digits * 1.2)


def test_newcombe_without_correlation_adds_wilson_in_squares() -> None:
    """Each variant passes all rows or none: phi is 0, and what is left can be computed by hand."""
    low, high = newcombe_interval(0, 20, 0, 0)
    none, every = wilson_interval(0, 20), wilson_interval(20, 20)
    assert (low, high) == pytest.approx((1 - math.hypot(1 - every.low, none.high), 1.0))


def test_sign_flips_are_the_enumeration_of_all_signs() -> None:
    generator = np.random.default_rng(7)
    for _ in range(25):
        sums = generator.integers(-4, 5, generator.integers(1, 11))
        signs = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
        totals, seen = np.abs(signs @ sums), abs(int(sums.sum()))
        expected = (totals > seen).mean() + (totals == seen).mean() / 2 if sums.any() else 1.0
        assert sign_flip_mid_p(sums) == pytest.approx(expected, abs=1e-12)


def test_sign_flips_of_single_rows_are_mcnemar() -> None:
    generator = np.random.default_rng(8)
    for rows in (1, 5, 40, 400):
        sums = generator.integers(-1, 2, rows)
        assert sign_flip_mid_p(sums) == pytest.approx(float(mcnemar_mid_p((sums > 0).sum(), (sums < 0).sum())), abs=1e-12)


def test_clustered_figures_are_those_of_obuchowski() -> None:
    """The chi-square that she reports for PET against SPECT (2.86, p 0.091) belongs to our variance, and to a p close to ours."""
    sums = np.array(PET, float) - np.array(SPECT)
    sizes = np.add.reduce(np.array([BOTH, PET, SPECT, NEITHER], float))
    null = ratio_variance(np.concatenate([sums, -sums]), np.concatenate([sizes, sizes]))
    situations = len(sums)
    # With its mirror the mean is 0, as under the null; the variance of one half is twice as large.
    variance = 2 * null * (2 * situations - 1) / (2 * situations) * situations / (situations - 1)
    assert (sums.sum() / sizes.sum()) ** 2 / variance == pytest.approx(2.8571, abs=5e-5)
    assert sign_flip_mid_p(sums) == pytest.approx(0.09375)


def test_effective_rows_of_rows_alone_and_of_copies() -> None:
    generator = np.random.default_rng(9)
    outcomes = (generator.random(200) < 0.7).astype(float)
    share = outcomes.mean()
    alone = effective_rows(outcomes, np.ones(200), share * (1 - share))
    copies = effective_rows(5 * outcomes, np.full(200, 5.0), share * (1 - share))
    assert float(alone) == pytest.approx(199, abs=1.01)
    assert float(copies) == pytest.approx(199, abs=1.01)
    assert float(effective_rows(np.zeros(4), np.array([1.0, 1, 1, 9]), 0.0)) == pytest.approx(144 / 84)


def test_holm_is_that_of_statsmodels() -> None:
    """statsmodels 0.15.0: multipletests(p, method="holm"); the first is the example of pingouin's documentation too."""
    assert holm([0.5, 0.003, 0.32, 0.054, 0.0003]) == pytest.approx((0.64, 0.012, 0.64, 0.162, 0.0015), abs=1e-12)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02), abs=1e-12)
    assert holm([0.2, 0.2, 0.01, 0.9]) == pytest.approx((0.6, 0.6, 0.04, 0.9), abs=1e-12)
    assert holm([]) == ()
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.2, math.nan])


def test_sign_flips_of_scores_are_the_enumeration() -> None:
    sums = np.array([0.5, 0.25, -0.125, 0.75, 0.0, 1.0, -0.25, 0.5])
    signs = np.array(list(itertools.product((-1, 1), repeat=7)))
    greater = (signs @ sums[sums != 0] >= sums.sum() - 1e-12).mean()
    assert sign_flip_p(sums, Draws()) == pytest.approx(2 * greater)
    assert sign_flip_p(np.array([0.0, 0.3, 0.0]), Draws()) == 1.0


def test_many_situations_tend_to_the_t_interval() -> None:
    """Differences without skew: the BCa interval of a mean is the t interval, but for what 9,999 resamples wobble."""
    generator = np.random.default_rng(10)
    sums = generator.normal(0.02, 0.2, 30)
    low, high = bca_ends(sums, np.ones(30), Draws())
    expected = stats.ttest_1samp(sums, 0.0).confidence_interval()
    error = sums.std(ddof=1) / math.sqrt(30)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=0.12 * error)


def test_the_interval_is_scipys_at_the_raised_confidence() -> None:
    """Eight situations of one row: BCa of the mean from the same draws, for the tails of a t distribution and a true spread."""
    sums = np.random.default_rng(14).gamma(2.0, size=8)
    raised = 1 - 2 * stats.norm.sf(stats.t.ppf(0.95, 7) * math.sqrt(8 / 7))
    expected = stats.bootstrap(
        (sums,), np.mean, confidence_level=raised, n_resamples=999, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    low, high = bca_ends(sums, np.ones(8), Draws(confidence=0.9, resamples=999, seed=5))
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_effect_that_is_detectable_is_the_one_that_the_rows_were_planned_for() -> None:
    # 8 % fixed and 3 % broken of 300 rows: a power of 0.75 (measured), so that 0.8 needs a little more than 5 points.
    assert detectable_share(300, 0.11) == pytest.approx(0.0530, abs=0.0005)
    # Connor's formula the other way: the rows for that effect.
    effect = detectable_share(300, 0.11)
    rows = (1.959964 * math.sqrt(0.11) + 0.841621 * math.sqrt(0.11 - effect**2)) ** 2 / effect**2
    assert rows == pytest.approx(300, rel=1e-5)
    assert detectable_share(0, 0.1) == detectable_share(3, 0.5) == 1.0
    # Nothing differed: all that differs would have to go one way.
    assert detectable_share(300, 0.0) == pytest.approx((1.959964 + 0.841621 * math.sqrt(1 - 0.0257)) ** 2 / 300, rel=0.01)
    assert detectable_mean(0.01, math.inf) == pytest.approx(0.01 * (1.959964 + 0.841621), abs=1e-7)
    assert detectable_mean(0.01, 9) > detectable_mean(0.01, 99) > detectable_mean(0.01, math.inf)


def test_without_rows_everything_is_possible() -> None:
    nothing = pair_rows([], [])
    assert wilson_interval(0, 0) == share_interval(nothing.before, nothing) == Interval(0, 1)
    assert newcombe_interval(0, 0, 0, 0) == Interval(-1, 1)
    shares, scores = paired_shares(nothing), paired_scores(nothing, bounds=(0, 5))
    assert (shares.before, shares.difference, shares.p_value, shares.effective_rows) == (0, 0, 1, 0)
    assert shares.interval() == Interval(-1, 1)
    assert (scores.after, scores.difference, scores.p_value, scores.interval) == (0, 0, 1, Interval(-5, 5))
    assert mean_interval(nothing.before, nothing, bounds=(0, 5)) == Interval(0, 5)
    assert shares.non_inferiority_p(0.1) == scores.non_inferiority_p(0.1) == 1


def test_one_situation_says_nothing_about_others() -> None:
    paired = pair_rows([0, 0, 1, 0], [1, 1, 1, 1], ["a"] * 4)
    shares, scores = paired_shares(paired), paired_scores(paired)
    assert (shares.difference, shares.effective_rows, shares.interval()) == (0.75, 1, Interval(-1, 1))
    assert (scores.difference, scores.interval, scores.p_value) == (0.75, Interval(-1, 1), 1)
    assert share_interval(paired.after, paired) == mean_interval(paired.after, paired) == Interval(0, 1)
    assert shares.non_inferiority_p(0.9) == scores.non_inferiority_p(0.9) == 1


def test_no_difference_at_all_is_no_certainty() -> None:
    """Twenty situations that agree may hide one in six that does not: the interval says so."""
    paired = pair_rows([1.0, 0.0] * 20, [1.0, 0.0] * 20, np.repeat(np.arange(20), 2))
    shares, scores = paired_shares(paired), paired_scores(paired)
    assert shares.p_value == scores.p_value == 1
    assert shares.interval().low < -0.04
    assert shares.interval().high > 0.04
    hidden = 1 - 0.025 ** (1 / 20)
    assert scores.interval == pytest.approx((-hidden, hidden))
    # p and interval of "not worse by a margin" are one statement.
    assert scores.non_inferiority_p(hidden) == pytest.approx(0.05)
    assert shares.non_inferiority_p(-shares.interval().low) == pytest.approx(0.05, abs=1e-9)


def test_rows_are_paired_by_id() -> None:
    situations = {"a1": "a", "a2": "a", "b1": "b"}
    paired = pair_by_id({"b1": 1, "a1": 0, "a2": 1}, {"a1": 1, "b1": 1}, situations)
    assert (paired.rows, paired.missing) == (2, 1)
    assert paired.before.tolist() == [0, 1]
    assert paired.after.tolist() == [1, 1]
    with pytest.raises(ValueError, match="1 outcomes belong to no known row"):
        pair_by_id({"c1": 1}, {}, situations)


def test_what_can_not_be_meant_is_refused() -> None:
    three = pair_rows([0, 1, 0.5], [1, 1, 1])
    for call, said in [
        (lambda: pair_rows([1], [1, 0]), "one outcome a row"),
        (lambda: pair_rows([1, 0], [1, 0], ["a"]), "one outcome a row"),
        (lambda: pair_rows([math.nan], [1]), "finite"),
        (lambda: pair_rows([1], [1], missing=-1), "counted from 0"),
        (lambda: paired_shares(three), "0 or 1"),
        (lambda: share_interval(three.before, three), "0 or 1"),
        (lambda: paired_scores(three, bounds=(0, 0.7)), "outside"),
        (lambda: paired_scores(three, bounds=(1, 1)), "bounds in order"),
        (lambda: paired_scores(three, draws=Draws(resamples=5)), "100 resamples"),
        (lambda: wilson_interval(3, 2), "passed <= rows"),
        (lambda: wilson_interval(1, 2, confidence=95), "between 0 and 1"),
        (lambda: newcombe_interval(1, -1, 0, 0), "not negative"),
        (lambda: detectable_share(10, 1.5), "a share"),
        (lambda: detectable_mean(-1, 3), "an error"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()


def test_critical_values() -> None:
    assert critical_value(0.95) == pytest.approx(1.959963984540054)
    assert critical_value(0.95, 9) == pytest.approx(stats.t.ppf(0.975, 9))


def test_ten_thousand_resamples_of_300_rows_cost_a_few_times_drawing_them() -> None:
    """60 ms on the machine of the figures; by a loop over the resamples it is a hundred times that."""
    generator = np.random.default_rng(11)
    before, after = generator.random(300), generator.random(300)
    paired = pair_rows(before, after)
    sums, sizes = paired.difference_sums(), paired.situation_sizes
    ratios: list[float] = []
    while len(ratios) < 4 and not (ratios and min(ratios) < 8):
        start = time.process_time()
        bca_ends(sums, sizes, Draws(resamples=10_000))
        middle = time.process_time()
        sums[generator.integers(0, 300, (10_000, 300))].sum(axis=1)
        ratios.append((middle - start) / (time.process_time() - middle))
    assert min(ratios) < 8


def test_the_heavy_half_of_scipy_is_imported_when_scores_are_compared() -> None:
    code = "import sys, loren.scoring.stats.verdict; print('scipy.stats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.strip() == "False"
