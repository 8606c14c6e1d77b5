"""A prediction against its target: a ladder of strict comparisons, each a number; and shares of many, with intervals.

A bad prediction is a recorded outcome: it stays in every denominator, and no figure is ever NaN.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from rapidfuzz.distance import Levenshtein

from loren.errors import ConfigError, DataContractError, Problem
from loren.provenance.digests import sha256_files
from loren.runs.files import Json
from loren.scoring.criteria import Reply, applicable, no_invented_policy, wording
from loren.scoring.stats.rows import pair_rows
from loren.scoring.stats.scores import mean_interval
from loren.scoring.stats.shares import share_interval
from loren.task.definition import Task

_LISTED = frozenset({"enum", "const"})
"""Keywords of a schema that list the values of a field."""

Outcomes: TypeAlias = dict[str, float]
"""Metric -> what one prediction reached: 0 or 1 of a share, 0 to 1 of a mean."""


class Metric(NamedTuple):
    """A figure of an evaluation."""

    name: str
    kind: Literal["share", "mean"]
    role: Literal["format", "target", "text"]
    """What must not break, what was trained for, and how a reply is worded."""


def metrics(task: Task) -> tuple[Metric, ...]:
    """The figures that a task's predictions can fail, in the order of the ladder."""
    found: list[Metric] = []
    if task.target_schema is not None:
        found += [Metric("parses", "share", "format"), Metric("schema_valid", "share", "format")]
        words = task.target_schema.keywords
        found += [Metric("required", "share", "format")] if "required" in words else []
        found += [Metric("enum", "share", "format")] if words & _LISTED else []
    found += [Metric(f"exact:{pointer}", "share", "target") for pointer in task.labels]
    found += [Metric("all_labels", "share", "target")] if task.labels else []
    if task.has_text:
        pointer = task.reply or ""
        found += [Metric(f"exact:{pointer}", "share", "text")]
        # Where there are no labels, the words of the reply are what was trained.
        found += [Metric(f"f1:{pointer}", "mean", "text" if task.labels else "target"), Metric(f"edit:{pointer}", "mean", "text")]
    found += [Metric(f"rule:{rule.name}", "share", "format") for rule in task.rules]
    judged = applicable(task)
    found += [Metric("wording", "share", "text")] if "wording" in judged else []
    found += [Metric("no_invented_facts", "share", "text")] if "no_invented_policy" in judged else []
    return (*found, Metric("ended", "share", "format"))


def score_prediction(target_text: str, reply: Reply, task: Task) -> Outcomes:
    """Score one prediction.

    Args:
        target_text: the right answer, as the golden row has it.
        reply: what was asked, what was answered, and how it ended.
        task: what both are judged by.

    Returns:
        One number for each of ``metrics(task)``.

    Raises:
        DataContractError: the target itself does not parse, so nothing can be compared with it.
    """
    target = task.parse(target_text)
    if not target.ok:
        problems = [Problem(f"target {problem.pointer}".rstrip(), problem.message) for problem in target.problems]
        raise DataContractError("a golden target can't be parsed", problems=problems)
    prediction = task.parse(reply.text)
    judged: dict[str, bool] = {"parses": prediction.ok, "ended": reply.finish_reason == "stop"}
    if task.target_schema is not None:
        broken = task.target_schema.broken_keywords(prediction.value) if prediction.ok else frozenset({"required", *_LISTED})
        judged["schema_valid"] = not broken
        judged["required"] = "required" not in broken
        judged["enum"] = not broken & _LISTED and _labels_are_listed(task, prediction.value)
    wanted = task.label_values(target.value)
    found = task.label_values(prediction.value) if prediction.ok else ("",) * len(wanted)
    # A missing label ("") is never right, not even where the target lacks it too and the prediction did not parse.
    right = [prediction.ok and w == f for w, f in zip(wanted, found, strict=True)]
    judged |= {f"exact:{pointer}": is_right for pointer, is_right in zip(task.labels, right, strict=True)}
    judged["all_labels"] = bool(right) and all(right)
    judged |= {f"rule:{rule.name}": prediction.ok and not rule.schema.problems(prediction.value) for rule in task.rules}
    judged["wording"] = wording(reply, task).passed
    judged["no_invented_facts"] = no_invented_policy(reply, task).passed
    outcomes: Outcomes = {name: float(passed) for name, passed in judged.items()}
    text = task.reply_text(prediction.value) if prediction.ok else None
    outcomes |= _likeness(task.reply or "", task.reply_text(target.value) or "", text)
    return {metric.name: outcomes[metric.name] for metric in metrics(task)}


def _labels_are_listed(task: Task, value: Json) -> bool:
    """Whether each label that is there has a value that the schema lists, also where it lists them as alternatives."""
    found = task.label_values(value)
    return all(not allowed or not text or text in allowed for text, allowed in zip(found, task.label_space() or (), strict=False))


def scorer_digest() -> str:
    """Digest of the code that judges replies: figures of another scorer are other figures."""
    rooms = Path(__file__).parents[1]
    return sha256_files(rooms, (str(p.relative_to(rooms)) for room in ("scoring", "task") for p in (rooms / room).rglob("*.py")))


def _likeness(pointer: str, target: str, found: str | None) -> Outcomes:
    """How much of the target's text a prediction has; a text that is not there has nothing of it."""
    names = (f"exact:{pointer}", f"f1:{pointer}", f"edit:{pointer}")
    if found is None:
        return dict.fromkeys(names, 0.0)
    target, found = unicodedata.normalize("NFC", target).strip(), unicodedata.normalize("NFC", found).strip()
    edit = Levenshtein.normalized_similarity(target, found)
    return dict(zip(names, (float(target == found), token_f1(target, found), float(edit)), strict=True))


def token_f1(target: str, found: str) -> float:
    """Harmonic mean of precision and recall over words, whatever their order and case; 1 where both have none.

    Source: the F1 of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), here without removing articles: they are English.
    """
    wanted, said = Counter(_words(target)), Counter(_words(found))
    if not wanted or not said:
        return float(wanted == said)
    common = (wanted & said).total()
    return 2 * common / (wanted.total() + said.total())


def _words(text: str) -> list[str]:
    return "".join(sign if sign.isalnum() or unicodedata.combining(sign) else " " for sign in text.casefold()).split()


def summarize(
    rows: Sequence[Mapping[str, float]], names: Sequence[Metric], situations: Sequence[str] | None = None
) -> dict[str, Json]:
    """Figures over all predictions.

    Args:
        rows: what each prediction reached.
        names: the figures.
        situations: of the rows, which fall together; without them every row stands for itself.

    Returns:
        Metric -> ``{"kind", "role", "value", "low", "high", "of"}``, and ``"count"`` of a share; 95 % intervals.

    Raises:
        ConfigError: there are no predictions: a share of nothing is no result.
    """
    if not rows:
        raise ConfigError("scores: expected at least one prediction, found none")
    summary: dict[str, Json] = {}
    for metric in names:
        outcomes = np.asarray([row[metric.name] for row in rows], dtype=np.float64)
        paired = pair_rows(outcomes, outcomes, situations)
        is_share = metric.kind == "share"
        interval = share_interval(paired.before, paired) if is_share else mean_interval(paired.before, paired)
        summary[metric.name] = {
            "kind": metric.kind,
            "role": metric.role,
            "value": float(outcomes.mean()),
            "low": interval.low,
            "high": interval.high,
            "of": len(rows),
            **({"count": int(outcomes.sum())} if is_share else {}),
        }
    return summary
