"""One word for what a comparison showed, and the numbers behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from loren.scoring.stats.power import detectable_mean, detectable_share
from loren.scoring.stats.rows import Interval, PairedRows, require_level
from loren.scoring.stats.scores import RESAMPLES, SEED, Draws, mean_interval, paired_scores
from loren.scoring.stats.shares import paired_shares, share_interval

FEWEST_SITUATIONS = 10
"""With fewer, no verdict but "inconclusive": both intervals and tests need that many to keep what they promise."""


class Verdict(StrEnum):
    """What a comparison showed about the second variant."""

    BETTER = "better"
    WORSE = "worse"
    NOT_WORSE = "not worse"
    """By the margin or more; it may be better or a little worse."""
    INCONCLUSIVE = "inconclusive"
    """These rows don't tell. It does not say that the variants are alike."""
    ABSTAIN = "abstain"
    """Rows that should have been judged are missing: there is no verdict, not even that these rows don't tell."""


class Reason(StrEnum):
    """Why a verdict says nothing more."""

    NONE = ""
    MISSING_ROWS = "missing rows"
    FEW_SITUATIONS = "few situations"
    WITHIN_CHANCE = "within chance"
    """The interval holds 0 (or the margin), or the p value is above alpha."""


class Goal(StrEnum):
    """What the second variant has to show."""

    SUPERIORITY = "superiority"
    """It is better: for what was trained."""
    NON_INFERIORITY = "non-inferiority"
    """It is not worse by a margin: for what must not break, as the format."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a comparison; decided before its numbers are seen."""

    goal: Goal = Goal.SUPERIORITY
    margin: float = 0.0
    """Of non-inferiority, in the unit of the outcome, above 0."""
    alpha: float = 0.05
    """Two-sided; intervals have the confidence 1 - alpha."""
    power: float = 0.8
    """Of the minimum detectable effect."""
    discordance: float | None = None
    """Of shares: assumed for the minimum detectable effect, instead of the one seen."""
    resamples: int = RESAMPLES
    """Of scores."""
    seed: int = SEED

    def __post_init__(self) -> None:
        """Refuse a plan that can't be meant.

        Raises:
            ValueError: ``alpha`` is outside (0, 1), or the margin does not fit the goal.
        """
        require_level("alpha", self.alpha)
        if (self.goal is Goal.NON_INFERIORITY) != (self.margin > 0):
            raise ValueError("non-inferiority has a margin above 0, and superiority none")


@dataclass(frozen=True, slots=True)
class Methods:
    """What the numbers were made with, for people."""

    test: str
    interval: str
    variant_interval: str
    """Of one variant alone."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A verdict and the numbers behind it; all of them finite."""

    verdict: Verdict
    reason: Reason
    plan: Plan
    rows: int
    situations: int
    missing: int
    effective_rows: float
    """As many independent rows would say as much; for scores, the situations."""
    before: float
    """Share or mean of the first variant; 0 without rows."""
    after: float
    before_interval: Interval
    """Of the first variant alone."""
    after_interval: Interval
    difference: float
    """after - before."""
    interval: Interval
    """Of the difference. The widest that there can be without rows, and with one situation of several rows."""
    p_value: float
    """Two-sided, of no difference; 1 without rows, and where the variants differ nowhere."""
    gate_p: float
    """Of what the plan asks: ``p_value``, or twice the one-sided p of "worse by the margin or more"."""
    adjusted_p: float
    """``gate_p`` after Holm's correction over all gates (``settle``); before it, ``gate_p``."""
    detectable: float
    """The minimum detectable effect, at the plan's alpha and power."""
    fixed: int
    """Rows that the second variant does better."""
    broken: int
    """Rows that it does worse."""
    methods: Methods

    @property
    def passed(self) -> bool:
        """It showed what the plan asks."""
        wanted = Verdict.BETTER if self.plan.goal is Goal.SUPERIORITY else Verdict.NOT_WORSE
        return self.verdict is wanted

    @property
    def words(self) -> str:
        """The verdict as it is printed: "not worse by 0.02" names its margin."""
        return f"not worse by {self.plan.margin:g}" if self.verdict is Verdict.NOT_WORSE else str(self.verdict)


def compare_shares(paired: PairedRows, plan: Plan | None = None) -> Comparison:
    """Compare outcomes of 0 and 1: McNemar's mid-p and Newcombe's interval, or what they become where rows share situations.

    Raises:
        ValueError: An outcome is neither 0 nor 1.
    """
    plan = plan or Plan()
    confidence = 1 - plan.alpha
    shares = paired_shares(paired)
    psi = shares.discordance if plan.discordance is None else plan.discordance
    is_inferiority = plan.goal is Goal.NON_INFERIORITY
    gate = shares.non_inferiority_p(plan.margin) if is_inferiority else shares.p_value
    clustered = paired.is_clustered
    return _judged(
        Comparison(
            verdict=Verdict.ABSTAIN,
            reason=Reason.NONE,
            plan=plan,
            rows=shares.rows,
            situations=shares.situations,
            missing=paired.missing,
            effective_rows=shares.effective_rows,
            before=shares.before,
            after=shares.after,
            before_interval=share_interval(paired.before, paired, confidence=confidence),
            after_interval=share_interval(paired.after, paired, confidence=confidence),
            difference=shares.difference,
            interval=shares.interval(confidence),
            p_value=shares.p_value,
            gate_p=gate,
            adjusted_p=gate,
            detectable=detectable_share(shares.effective_rows, psi, alpha=plan.alpha, power=plan.power),
            fixed=shares.fixed,
            broken=shares.broken,
            methods=_CLUSTERED_SHARES if clustered else _SHARES,
        )
    )


def compare_scores(paired: PairedRows, plan: Plan | None = None, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Comparison:
    """Compare mean scores: sign-flip permutation test and BCa bootstrap, both over situations.

    Args:
        paired: The scores.
        plan: What is asked.
        bounds: The lowest and the highest score that there can be.

    Raises:
        ValueError: A score is outside ``bounds``, or these are no range.
    """
    plan = plan or Plan()
    draws = Draws(1 - plan.alpha, plan.resamples, plan.seed)
    scores = paired_scores(paired, bounds=bounds, draws=draws)
    gate = scores.non_inferiority_p(plan.margin) if plan.goal is Goal.NON_INFERIORITY else scores.p_value
    # Without a standard error the interval's reach is what could have stayed unseen.
    detectable = (
        detectable_mean(scores.standard_error, scores.situations - 1, alpha=plan.alpha, power=plan.power)
        if scores.standard_error > 0
        else max(scores.interval.high - scores.difference, scores.difference - scores.interval.low)
    )
    return _judged(
        Comparison(
            verdict=Verdict.ABSTAIN,
            reason=Reason.NONE,
            plan=plan,
            rows=scores.rows,
            situations=scores.situations,
            missing=paired.missing,
            effective_rows=float(scores.situations),
            before=scores.before,
            after=scores.after,
            before_interval=mean_interval(paired.before, paired, bounds=bounds, draws=draws),
            after_interval=mean_interval(paired.after, paired, bounds=bounds, draws=draws),
            difference=scores.difference,
            interval=scores.interval,
            p_value=scores.p_value,
            gate_p=gate,
            adjusted_p=gate,
            detectable=min(detectable, scores.span),
            fixed=int((paired.after > paired.before).sum()),
            broken=int((paired.after < paired.before).sum()),
            methods=_SCORES,
        )
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p values, in the order given: the k-th smallest of m becomes max ``(m - j + 1) p(j)`` over j up to k, at most 1.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    Raises:
        ValueError: A p value is outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return tuple(adjusted.tolist())


def settle(gates: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The verdicts of all gates together: with Holm's correction, the chance that any passes wrongly stays below alpha.

    A gate without a verdict counts among them as one that showed nothing.

    Args:
        gates: Name -> comparison, all of the same alpha.

    Raises:
        ValueError: Their alphas differ.
    """
    if len({gate.plan.alpha for gate in gates.values()}) > 1:
        raise ValueError("gates that are judged together have one alpha")
    adjusted = holm([1.0 if gate.verdict is Verdict.ABSTAIN else gate.gate_p for gate in gates.values()])
    return {name: _judged(dataclasses.replace(gate, adjusted_p=p)) for (name, gate), p in zip(gates.items(), adjusted, strict=True)}


_SHARES = Methods("McNemar, mid-p", "Newcombe, method 10", "Wilson")
_CLUSTERED_SHARES = Methods(
    "sign flips of situations, exact, mid-p", "Newcombe, method 10, over effective rows", "Wilson, over effective rows"
)
_SCORES = Methods("sign flips of situations", "BCa bootstrap of situations", "BCa bootstrap of situations")


def _judged(comparison: Comparison) -> Comparison:
    verdict, reason = _verdict(comparison)
    return dataclasses.replace(comparison, verdict=verdict, reason=reason)


def _verdict(seen: Comparison) -> tuple[Verdict, Reason]:
    """Test and interval must agree before anything is said."""
    plan = seen.plan
    if seen.missing or seen.rows == 0:
        return Verdict.ABSTAIN, Reason.MISSING_ROWS
    if seen.situations < FEWEST_SITUATIONS:
        return Verdict.INCONCLUSIVE, Reason.FEW_SITUATIONS
    if plan.goal is Goal.SUPERIORITY:
        if seen.adjusted_p <= plan.alpha and seen.interval.low > 0:
            return Verdict.BETTER, Reason.NONE
        if seen.adjusted_p <= plan.alpha and seen.interval.high < 0:
            return Verdict.WORSE, Reason.NONE
        return Verdict.INCONCLUSIVE, Reason.WITHIN_CHANCE
    if seen.adjusted_p <= plan.alpha and seen.interval.low > -plan.margin:
        return Verdict.NOT_WORSE, Reason.NONE
    # An alarm is no gate: the correction over gates does not silence it.
    if seen.p_value <= plan.alpha and seen.interval.high < 0:
        return Verdict.WORSE, Reason.NONE
    return Verdict.INCONCLUSIVE, Reason.WITHIN_CHANCE
