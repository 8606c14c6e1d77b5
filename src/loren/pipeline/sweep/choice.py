"""Which variant to take: comparisons against the simplest one, and a recommendation in words with its evidence. Pure.

The cheapest variant that is not worse than the best by a margin is taken. A dearer one must have shown more than the simplest;
where these rows tell neither, the answer is "inconclusive", and the cheapest stands until more rows say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loren.pipeline.sweep.figures import Contestant, format_metric, paired, target_metric
from loren.runs.files import Json
from loren.scoring.gate import FORMAT_MARGIN, comparison_json
from loren.scoring.score import Metric
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


@dataclass(frozen=True)
class Field:
    """The variants that can be compared, and by what."""

    variants: Sequence[Contestant]
    """The cheapest first; at least one."""
    situations: Mapping[str, str]
    names: Sequence[Metric]
    margin: float
    """By which a cheaper variant may be worse in what was trained for."""

    @property
    def target(self) -> Metric:
        """The metric by which is chosen."""
        return target_metric(self.names)

    def compare(self, before: Contestant, after: Contestant, metric: Metric, margin: float = 0.0) -> Comparison:
        """Is ``after`` better; or, with a margin, is it not worse by that much?"""
        pair = paired(before.outcomes(metric.name), after.outcomes(metric.name), self.situations)
        plan = Plan(Goal.NON_INFERIORITY if margin else Goal.SUPERIORITY, margin)
        return compare_shares(pair, plan) if metric.kind == "share" else compare_scores(pair, plan)

    def gains(self) -> dict[str, Comparison]:
        """The target of every other variant against the simplest; the more variants there are, the more each has to show (Holm)."""
        simplest, *others = self.variants
        return settle({other.name: self.compare(simplest, other, self.target) for other in others})


def comparisons(field: Field) -> list[Json]:
    """Every other variant against the simplest, metric by metric; the target's p values are corrected over the variants."""
    simplest, others = field.variants[0], {other.name: other for other in field.variants[1:]}
    entries: list[Json] = []
    for metric in field.names:
        margin = FORMAT_MARGIN if metric.role == "format" else 0.0
        is_gate = metric == field.target
        plain = {} if is_gate else {name: field.compare(simplest, other, metric, margin) for name, other in others.items()}
        found = field.gains() if is_gate else plain
        entries += [comparison_entry(simplest, others[name], metric, seen, gate=is_gate) for name, seen in found.items()]
    return entries


def comparison_entry(before: Contestant, after: Contestant, metric: Metric, found: Comparison, *, gate: bool) -> dict[str, Json]:
    """A comparison in the form of eval/result.json."""
    names: dict[str, Json] = {"before": before.name, "after": after.name, "metric": metric.name}
    return {**names, "kind": metric.kind, "role": metric.role, "gate": gate, **comparison_json(found)}


def recommend(field: Field, *, left_out: Sequence[str] = ()) -> dict[str, Json]:
    """The variant to take, and why.

    Args:
        field: the variants that can be compared.
        left_out: names of those that can't, for a run of theirs failed.
    """
    metric, simplest = field.target, field.variants[0]
    best = max(field.variants, key=lambda variant: variant.mean(metric.name))  # the first of equals, which is the cheaper
    chosen = next(variant for variant in field.variants if variant is best or _stands_in(field, best, variant))
    gains = field.gains()
    is_few = len(set(field.situations.values())) < FEWEST_SITUATIONS
    is_told = not is_few and (chosen is simplest or gains[chosen.name].verdict is Verdict.BETTER)
    taken = chosen if is_told else simplest
    evidence = [_value(variant, metric.name) for variant in field.variants]
    evidence += [_difference(simplest.name, name, metric.name, seen) for name, seen in gains.items()]
    if len(simplest.runs) == 1:
        evidence.append("one seed a variant: another seed may turn a small difference around; --seeds 3 would tell")
    evidence += [f"{name} is left out: not all of its runs could be judged" for name in left_out]
    return {
        "answer": "take" if is_told else "inconclusive",
        "variant": taken.name,
        "run": f"runs/{taken.runs[0].name}",
        "best": best.name,
        "simplest": simplest.name,
        "metric": metric.name,
        "margin": field.margin,
        "words": _words(field, best, taken, gains if not is_told else {}, is_few=is_few),
        "evidence": evidence,
    }


def nobody(failed: int) -> dict[str, Json]:
    """No variant can be recommended."""
    return {
        "answer": "none",
        "words": f"No variant can be recommended: {failed} run(s) failed, and none of them is whole.",
        "evidence": [],
    }


def _stands_in(field: Field, best: Contestant, cheaper: Contestant) -> bool:
    """The cheaper one is shown not to be worse than the best by the margin, and its format is not shown to be worse."""
    target = field.compare(best, cheaper, field.target, field.margin)
    shape = field.compare(best, cheaper, format_metric(field.names), FORMAT_MARGIN)
    return target.verdict is Verdict.NOT_WORSE and shape.verdict is not Verdict.WORSE


def _words(field: Field, best: Contestant, taken: Contestant, untold: Mapping[str, Comparison], *, is_few: bool) -> str:
    """The recommendation in a sentence or two; ``untold`` are comparisons that did not tell."""
    metric, margin, simplest = field.target.name, field.margin, field.variants[0]
    if is_few or untold:
        detectable = max((seen.detectable for seen in untold.values()), default=1.0)
        few = f"{len(set(field.situations.values()))} situations are too few for a verdict"
        why = few if is_few else f"a difference below {detectable:.2f} can't be seen here"
        return f"Inconclusive: {why}. Until more test rows tell, take {taken.name}: it is the cheapest."
    if taken is best and taken is simplest:
        return f"Take {taken.name}: it is the simplest variant, and no other has a higher {metric}."
    if taken is best:
        return (
            f"Take {taken.name}: its {metric} is higher than the simplest variant's, and no cheaper one is as near as {margin:g}."
        )
    rest = "" if taken is simplest else ", and better than the simplest"
    return (
        f"Take {taken.name}: its {metric} is not worse than that of {best.name}, the best, by {margin:g}{rest}; and it costs less."
    )


def _value(variant: Contestant, metric: str) -> str:
    figures = variant.runs[0].figures
    return f"{variant.name}: {metric} {variant.mean(metric):.3f}, {figures['trainable_parameters']:,.0f} trained parameters"


def _difference(before: str, after: str, metric: str, found: Comparison) -> str:
    words = str(found.verdict) if found.reason is Reason.NONE else f"{found.verdict} ({found.reason})"
    return (
        f"{after} against {before}: {metric} {found.difference:+.3f} "
        f"[{found.interval.low:+.3f}, {found.interval.high:+.3f}], {words}"
    )
