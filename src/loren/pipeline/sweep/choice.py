"""Which variant to take: comparisons against the simplest one, and a recommendation in words with its evidence. Pure.

The cheapest variant that is not worse than the best by a margin is taken. A dearer one must have shown more than the simplest;
where these rows tell neither, the answer is "inconclusive", and the cheapest stands until more rows say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loren.pipeline.sweep.figures import Contestant, format_metric, paired, target_metric
from loren.report.figures import Said
from loren.report.words import Words
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
    evidence += [Said(key="one_seed")] if len(simplest.runs) == 1 else []
    evidence += [Said(key="left_out", values={"variant": name}) for name in left_out]
    return {
        "answer": "take" if is_told else "inconclusive",
        "variant": taken.name,
        "run": f"runs/{taken.runs[0].name}",
        "best": best.name,
        "simplest": simplest.name,
        "metric": metric.name,
        "margin": field.margin,
        **_told(_advice(field, best, taken, gains if not is_told else {}, is_few=is_few), evidence),
    }


def in_english(sentence: Said) -> str:
    """A sentence as records and the command line have it, with the plain names of metrics."""
    return Words("en").said(sentence, "", quote=str)


def _told(sentence: Said, evidence: Sequence[Said]) -> dict[str, Json]:
    """Sentences as sweep.json holds them: in English, and by their keys for other languages."""
    return {
        "words": in_english(sentence),
        "said": sentence.model_dump(),
        "evidence": [in_english(each) for each in evidence],
        "evidence_said": [each.model_dump() for each in evidence],
    }


def nobody(failed: int) -> dict[str, Json]:
    """No variant can be recommended."""
    return {"answer": "none", **_told(Said(key="nobody", values={"failed": failed}), [])}


def _stands_in(field: Field, best: Contestant, cheaper: Contestant) -> bool:
    """The cheaper one is shown not to be worse than the best by the margin, and its format is not shown to be worse."""
    target = field.compare(best, cheaper, field.target, field.margin)
    shape = field.compare(best, cheaper, format_metric(field.names), FORMAT_MARGIN)
    return target.verdict is Verdict.NOT_WORSE and shape.verdict is not Verdict.WORSE


def _advice(field: Field, best: Contestant, taken: Contestant, untold: Mapping[str, Comparison], *, is_few: bool) -> Said:
    """The recommendation; ``untold`` are comparisons that did not tell."""
    simplest = field.variants[0]
    values: dict[str, float | str] = {"variant": taken.name, "metric": field.target.name, "margin": field.margin, "best": best.name}
    if is_few:
        return Said(key="few_situations", values={**values, "situations": len(set(field.situations.values()))})
    if untold:
        return Said(key="not_seen", values={**values, "detectable": max(seen.detectable for seen in untold.values())})
    if taken is best:
        return Said(key="take_simplest" if taken is simplest else "take_best", values=values)
    return Said(key="take_near" if taken is simplest else "take_near_better", values=values)


def _value(variant: Contestant, metric: str) -> Said:
    parameters = variant.runs[0].figures["trainable_parameters"]
    score = variant.mean(metric)
    return Said(key="value", values={"variant": variant.name, "metric": metric, "score": score, "parameters": parameters})


def _difference(before: str, after: str, metric: str, found: Comparison) -> Said:
    is_sure = found.reason is Reason.NONE
    return Said(
        key="difference" if is_sure else "difference_unsure",
        values={
            "variant": after,
            "simplest": before,
            "metric": metric,
            "difference": found.difference,
            "low": found.interval.low,
            "high": found.interval.high,
            "word": str(found.verdict),
            **({} if is_sure else {"reason": str(found.reason)}),
        },
    )
