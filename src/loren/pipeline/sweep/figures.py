"""What is said of all runs of one variant together: means over seeds, and metrics over rows times seeds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from loren.pipeline.sweep.record import SweepRun, by_variant
from loren.runs.files import Json
from loren.scoring.score import Metric, summarize
from loren.scoring.stats.formulas import critical_value
from loren.scoring.stats.rows import PairedRows, pair_rows

FIRST_ROWS = 20
"""As many answers are also counted alone: a glance that needs no statistics."""
_SEEDED = ("train_loss", "eval_loss", "overfit_gap")
_MEANS = ("train_seconds", "train_cpu_seconds", "tokens")


@dataclass(frozen=True)
class Contestant:
    """One variant whose runs were all judged."""

    name: str
    runs: Sequence[SweepRun]
    """One a seed, in the order of the seeds."""

    @property
    def cost(self) -> tuple[float, float]:
        """What makes a variant dearer: trained parameters, then tokens trained; not the clock, which is another one each time."""
        return self.runs[0].figures["trainable_parameters"], self.runs[0].figures["tokens"]

    def outcomes(self, metric: str) -> dict[tuple[str, int], float]:
        """(row id, seed) -> outcome."""
        return {(row, run.seed): scores[metric] for run in self.runs for row, scores in run.scores.items()}

    def mean(self, metric: str) -> float:
        """Over rows times seeds."""
        return fmean(self.outcomes(metric).values())


def contestants(runs: Sequence[SweepRun]) -> list[Contestant]:
    """The variants of which every run was judged, the cheapest first; those that cost the same stand as they were listed."""
    whole = [Contestant(name, group) for name, group in by_variant(runs).items() if all(run.status == "judged" for run in group)]
    return sorted(whole, key=lambda variant: variant.cost)


def figures_entry(runs: Sequence[SweepRun]) -> dict[str, Json]:
    """``figures`` of one variant, from those of its runs that were trained."""
    trained = [run.figures for run in runs if run.figures]
    if not trained:
        return {}
    figures: dict[str, Json] = {
        "trainable_parameters": trained[0]["trainable_parameters"],
        "peak_memory_bytes": max(each["peak_memory_bytes"] for each in trained),
    }
    figures |= {name: fmean(each[name] for each in trained) for name in _MEANS}
    return {"figures": {**figures, **{name: over_seeds([each[name] for each in trained]) for name in _SEEDED}}}


def metrics_entry(runs: Sequence[SweepRun], situations: Mapping[str, str], names: Sequence[Metric]) -> dict[str, Json]:
    """``metrics`` and ``format_20`` of one variant, from those of its runs that were judged."""
    judged = [run for run in runs if run.status == "judged"]
    if not judged:
        return {}
    return {"metrics": metric_entries(judged, situations, names), "format_20": _first_rows(judged, names)}


def metric_entries(runs: Sequence[SweepRun], situations: Mapping[str, str], names: Sequence[Metric]) -> dict[str, Json]:
    """Every metric over rows times seeds: the seeds of a row stand in its situation."""
    scored = [(row, outcomes) for run in runs for row, outcomes in run.scores.items()]
    return summarize([outcomes for _, outcomes in scored], names, [situations[row] for row, _ in scored])


def over_seeds(values: Sequence[float]) -> dict[str, Json]:
    """``value``, their mean, and with two or more seeds the ends of its t interval."""
    mean = fmean(values)
    if len(values) < 2:
        return {"value": mean}
    reach = critical_value(0.95, len(values) - 1) * stdev(values) / sqrt(len(values))
    return {"value": mean, "low": mean - reach, "high": mean + reach}


def paired(
    before: Mapping[tuple[str, int], float], after: Mapping[tuple[str, int], float], situations: Mapping[str, str]
) -> PairedRows:
    """Outcomes of two variants for the same rows under the same seeds."""
    keys = [key for key in before if key in after]
    return pair_rows(
        [before[key] for key in keys],
        [after[key] for key in keys],
        [situations[row] for row, _ in keys],
        missing=len(before.keys() | after.keys()) - len(keys),
    )


def target_metric(names: Sequence[Metric]) -> Metric:
    """The one figure by which variants are chosen: all labels right, or the reply's words where there are no labels."""
    return next((name for name in names if name.name == "all_labels"), next(name for name in names if name.role == "target"))


def format_metric(names: Sequence[Metric]) -> Metric:
    """What stands for the format as a whole."""
    return next((name for name in names if name.name == "schema_valid"), next(name for name in names if name.role == "format"))


def _first_rows(judged: Sequence[SweepRun], names: Sequence[Metric]) -> dict[str, Json]:
    metric = format_metric(names).name
    first = [outcomes[metric] for run in judged for outcomes in list(run.scores.values())[:FIRST_ROWS]]
    return {"metric": metric, "count": round(sum(first)), "of": len(first)}
