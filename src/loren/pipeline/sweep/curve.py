"""The learning curve: what more rows brought, and whether still more would. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from loren.pipeline.sweep.choice import Field, comparison_entry, in_english
from loren.pipeline.sweep.figures import metric_entries, over_seeds
from loren.report.figures import Said
from loren.runs.files import Json
from loren.scoring.stats.verdict import FEWEST_SITUATIONS

MORE, STOP, UNCLEAR = "more rows would help", "stop labelling", "can't tell"


def learning_curve(field: Field, percents: Mapping[str, int], rows: Mapping[str, int]) -> dict[str, Json]:
    """Score and validation loss by data size, and the verdict on the last doubling.

    Args:
        field: the shares of the training groups that were trained on.
        percents: name of a variant -> its share in per cent.
        rows: name of a variant -> training rows.
    """
    metric, margin = field.target, field.margin
    ordered = sorted(field.variants, key=lambda variant: percents[variant.name])
    points: list[Json] = [
        {
            "variant": variant.name,
            "percent": percents[variant.name],
            "rows": rows[variant.name],
            "score": metric_entries(variant.runs, field.situations, [metric])[metric.name],
            "eval_loss": over_seeds([run.figures["eval_loss"] for run in variant.runs]),
        }
        for variant in ordered
    ]
    curve: dict[str, Json] = {"metric": metric.name, "margin": margin, "points": points}
    if len(ordered) < 2:
        return {**curve, **_told(UNCLEAR, Said(key="one_size"))}
    last = ordered[-1]
    half = min(ordered[:-1], key=lambda variant: abs(rows[variant.name] - rows[last.name] / 2))
    found = field.compare(half, last, metric)
    answer = verdict(found.difference, found.interval.low, found.interval.high, margin)
    if found.situations < FEWEST_SITUATIONS:
        answer = UNCLEAR
    seen = Said(
        key="doubling",
        values={
            "half_rows": rows[half.name],
            "all_rows": rows[last.name],
            "metric": metric.name,
            "before": found.before,
            "after": found.after,
            "difference": found.difference,
            "low": found.interval.low,
            "high": found.interval.high,
            "margin": margin,
            "situations": found.situations,
        },
    )
    return {**curve, "comparison": comparison_entry(half, last, metric, found, gate=False), **_told(answer, seen)}


def _told(answer: str, seen: Said) -> dict[str, Json]:
    words = f"{answer[0].upper()}{answer[1:]}: {in_english(seen)}."
    return {"answer": answer, "words": words, "said": seen.model_dump()}


def verdict(difference: float, low: float, high: float, margin: float) -> str:
    """What the last doubling says of the next one.

    More rows would help where it gained more than the margin, and surely something; labelling can stop where it surely gained less.
    """
    if difference > margin and low > 0:
        return MORE
    return STOP if high < margin else UNCLEAR
