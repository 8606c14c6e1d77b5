"""What is said of all runs of one variant together: means over seeds, and metrics over rows times seeds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from loren.pipeline.sweep.record import SweepRun, means
from loren.runs.files import Json
from loren.scoring.stats.formulas import critical_value
from loren.scoring.stats.rows import PairedRows, pair_rows
from loren.scoring.stats.scores import mean_interval
from loren.scoring.stats.shares import share_interval
from loren.task.definition import Task

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
    grouped: dict[str, list[SweepRun]] = {}
    for run in runs:
        grouped.setdefault(run.variant.name, []).append(run)
    whole = [Contestant(name, group) for name, group in grouped.items() if all(run.status == "judged" for run in group)]
    return sorted(whole, key=lambda variant: variant.cost)


def summary(runs: Sequence[SweepRun], situations: Mapping[str, str], task: Task) -> dict[str, Json]:
    """``figures``, ``metrics`` and ``format_20`` of one variant, from those of its runs that have them."""
    trained = [run.figures for run in runs if run.figures]
    judged = Contestant("", [run for run in runs if run.status == "judged"])
    if not trained:
        return {}
    figures: dict[str, Json] = {
        "trainable_parameters": trained[0]["trainable_parameters"],
        "peak_memory_bytes": max(each["peak_memory_bytes"] for each in trained),
    }
    figures |= {name: fmean(each[name] for each in trained) for name in _MEANS}
    figures |= {name: over_seeds([each[name] for each in trained]) for name in _SEEDED}
    if not judged.runs:
        return {"figures": figures}
    names = list(next(iter(judged.runs[0].scores.values())))
    return {
        "figures": figures,
        "metrics": {name: metric_entry(name, judged, situations, task) for name in names},
        "format_20": _first_rows(judged, task),
    }


def over_seeds(values: Sequence[float]) -> dict[str, Json]:
    """``value``, their mean, and with two or more seeds the ends of its t interval."""
    mean = fmean(values)
    if len(values) < 2:
        return {"value": mean}
    reach = critical_value(0.95, len(values) - 1) * stdev(values) / sqrt(len(values))
    return {"value": mean, "low": mean - reach, "high": mean + reach}


def metric_entry(metric: str, variant: Contestant, situations: Mapping[str, str], task: Task) -> dict[str, Json]:
    """One metric of one variant over rows times seeds: the seeds of a row stand in its situation."""
    outcomes = variant.outcomes(metric)
    alone = paired(outcomes, outcomes, situations)
    kind = metric_kind(metric)
    low, high = share_interval(alone.before, alone) if kind == "share" else mean_interval(alone.before, alone)
    entry: dict[str, Json] = {"kind": kind, "role": metric_role(metric, task), "value": fmean(outcomes.values())}
    counts: dict[str, Json] = {"count": round(sum(outcomes.values()))} if kind == "share" else {}
    return {**entry, "low": low, "high": high, **counts, "of": len(outcomes)}


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


def metric_kind(metric: str) -> str:
    """A share of rows, or a mean of numbers between 0 and 1."""
    return "mean" if metric.startswith(("f1:", "edit:")) else "share"


def metric_role(metric: str, task: Task) -> str:
    """Whether a metric judges the format, what was trained, or the text."""
    if metric in {"parses", "schema_valid", "required", "enum", "ended"}:
        return "format"
    if metric == "all_labels" or any(metric == f"exact:{pointer}" for pointer in task.labels):
        return "target"
    return "target" if not task.labels and metric.startswith("f1:") else "text"


def target_metric(names: Sequence[str]) -> str:
    """The one figure by which variants are chosen: all labels right, else the reply's words, else the format."""
    words = [name for name in names if name.startswith("f1:")]
    return next(name for name in ("all_labels", *words, "schema_valid", "ended") if name in names)


def format_metric(names: Sequence[str]) -> str:
    """What the lesson calls format accuracy."""
    return "schema_valid" if "schema_valid" in names else "ended"


def _first_rows(judged: Contestant, task: Task) -> dict[str, Json]:
    from loren.pipeline.sweep.answers import FIRST_ROWS

    metric = format_metric(list(means(judged.runs[0].scores)))
    first = [scores[metric] for run in judged.runs for scores in list(run.scores.values())[:FIRST_ROWS]]
    return {"metric": metric, "count": round(sum(first)), "of": len(first)}
