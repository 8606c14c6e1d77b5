"""Scores of a prediction against its target: a ladder of strict comparisons, and counts of many.

A bad prediction is a recorded outcome: it stays in every denominator, and no share is ever NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loren.errors import ConfigError, DataContractError, Problem
from loren.runs.files import Json
from loren.task.definition import Task


@dataclass(frozen=True, slots=True)
class Score:
    """How one prediction compares with its target."""

    parses: bool
    """It is one strict JSON value (always true of free text)."""
    schema_valid: bool
    """It parses and satisfies the schema."""
    labels: dict[str, bool]
    """Label pointer -> whether the value there is the target's, of the same type: "007" is not 7."""
    ended: bool
    """The model ended by itself."""

    @property
    def all_labels(self) -> bool:
        """Whether every label is the target's; false for a task without labels."""
        return bool(self.labels) and all(self.labels.values())


def score_prediction(target_text: str, prediction_text: str, finish_reason: str, task: Task) -> Score:
    """Score one prediction.

    Args:
        target_text: the right answer, as the golden row has it.
        prediction_text: what the model answered.
        finish_reason: "stop" where it ended by itself.
        task: what both are judged by.

    Raises:
        DataContractError: the target itself does not parse, so nothing can be compared with it.
    """
    target = task.parse(target_text)
    if not target.ok:
        problems = [Problem(f"target {problem.pointer}".rstrip(), problem.message) for problem in target.problems]
        raise DataContractError("a golden target can't be parsed", problems=problems)
    prediction = task.parse(prediction_text)
    valid = prediction.ok and (task.target_schema is None or not task.target_schema.problems(prediction.value))
    wanted = task.label_values(target.value)
    found = task.label_values(prediction.value) if prediction.ok else ("",) * len(wanted)
    return Score(
        parses=prediction.ok,
        schema_valid=valid,
        # A missing label ("") is never right, not even where the target lacks it too and the prediction did not parse.
        labels={p: prediction.ok and w == f for p, w, f in zip(task.labels, wanted, found, strict=True)},
        ended=finish_reason == "stop",
    )


def summarize(scores: Sequence[Score]) -> dict[str, Json]:
    """Counts and shares over all predictions.

    Returns:
        ``{"rows": n, "parses": {"count", "of", "share"}, "schema_valid": ..., "ended": ..., "labels": {pointer: ...},
        "all_labels": ...}``; the last is left out for a task without labels.

    Raises:
        ConfigError: there are no scores: a share of nothing is no result.
    """
    if not scores:
        raise ConfigError("scores: expected at least one prediction, found none")
    total = len(scores)

    def share(count: int) -> dict[str, Json]:
        return {"count": count, "of": total, "share": count / total}

    pointers = list(dict.fromkeys(pointer for score in scores for pointer in score.labels))
    summary: dict[str, Json] = {
        "rows": total,
        "parses": share(sum(score.parses for score in scores)),
        "schema_valid": share(sum(score.schema_valid for score in scores)),
        "ended": share(sum(score.ended for score in scores)),
        "labels": {pointer: share(sum(score.labels.get(pointer, False) for score in scores)) for pointer in pointers},
    }
    if pointers:
        summary["all_labels"] = share(sum(score.all_labels for score in scores))
    return summary
