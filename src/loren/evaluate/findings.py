"""What an evaluation finds beside its verdict: where an arm fails, what was learned by heart, what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loren.data.rows import Row
from loren.evaluate.arms import LoadedWeights
from loren.evaluate.fewshot import in_turn
from loren.evaluate.predict import Say, is_current, predict_to_file, read_predictions
from loren.evaluate.subjects import Subject, TrainedRun, identity, require_task
from loren.evaluate.yardstick import Yardstick, prompt_of, question_of, situation
from loren.models.protocol import Completion
from loren.runs.files import Json
from loren.scoring.criteria import Reply
from loren.scoring.memorised import overfit_gaps, verbatim_reuse
from loren.scoring.score import Metric, Outcomes, score_prediction
from loren.scoring.slices import Question, ScoreLine, slices_of, weak_slices
from loren.scoring.words import Asked, shared_words
from loren.task.definition import Task

TRAIN_SAMPLE = 60
"""Training rows that the adapter is asked, one of each label in turn: enough to see a gap that matters."""


class Scored(NamedTuple):
    """What was measured, as findings need it."""

    golden: Yardstick
    lines: list[ScoreLine]
    names: Sequence[Metric]

    @property
    def target(self) -> Metric:
        """The figure that sums up what was trained: all labels, or the words of a reply."""
        targets = [metric for metric in self.names if metric.role == "target"]
        return next((metric for metric in targets if metric.name == "all_labels"), targets[0])


def score_lines(golden: Yardstick, outcomes: Mapping[str, Mapping[str, Outcomes]], task: Task) -> list[ScoreLine]:
    """What scores.jsonl holds: no text, a line a question, in the order of the golden file."""
    questions = [Question(question_of(row), row.label, golden.situations[row.id]) for row in golden.rows]
    return [
        {
            "id": row.id,
            "line": row.line,
            "situation": golden.situations[row.id],
            "slices": slices,
            "arms": {arm: found[row.id] for arm, found in outcomes.items()},
        }
        for row, slices in zip(golden.rows, slices_of(questions, language=task.language), strict=True)
    ]


def weaknesses(scored: Scored) -> dict[str, Json]:
    """Where each arm fails: slices that are worse than the rest, and words that failing questions share."""
    target = scored.target
    questions = {row.id: question_of(row) for row in scored.golden.rows}
    slices: dict[str, Json] = {}
    words: dict[str, Json] = {}
    for arm in scored.lines[0]["arms"]:
        slices[arm] = [found.to_json() for found in weak_slices(scored.lines, arm, target.name, kind=target.kind)]
        asked = [
            Asked(line["id"], line["situation"], questions[line["id"]], line["arms"][arm][target.name] < _FAILS_BELOW[target.kind])
            for line in scored.lines
        ]
        words[arm] = [found.to_json() for found in shared_words(asked)]
    return {"weak_slices": slices, "shared_words": words}


_FAILS_BELOW = {"share": 1.0, "mean": 0.5}


def overfit(
    trained: TrainedRun, scored: Scored, weights: LoadedWeights, *, replies: Mapping[str, Completion], folder: Path, say: Say
) -> dict[str, Json]:
    """How much better the adapter does on rows that it was trained on, and how many of its golden replies are theirs.

    Args:
        trained: the run.
        scored: its golden rows.
        weights: gives the adapter, where the sample was not asked before.
        replies: the adapter's answers to the golden rows.
        folder: takes ``train-adapter.jsonl``.
        say: takes one line for the user.

    Returns:
        What ``result.json`` says under ``overfit``; empty where nobody knows the training rows.
    """
    task = require_task(trained)
    rows = trained.training_rows
    if rows is None or not rows.train:
        return {}
    sample = in_turn(rows.train, TRAIN_SAMPLE, key="overfit")
    answers = _ask_sample(trained, task, sample, weights, folder / "train-adapter.jsonl", say)
    lines: list[ScoreLine] = [
        {
            "id": row.id,
            "line": row.line,
            "situation": situation(row),
            "slices": {},
            "arms": {"adapter": score_prediction(row.messages[-1].content, _reply(row, answers[row.id]), task)},
        }
        for row in sample
    ]
    gaps = overfit_gaps(lines, scored.lines, "adapter", {metric.name: metric.kind for metric in scored.names})
    said = [text for reply in replies.values() if (text := _text(reply.text, task))]
    taught = [text for row in rows.train if (text := _text(row.messages[-1].content, task))]
    return {**{name: gap.to_json() for name, gap in gaps.items()}, "verbatim": verbatim_reuse(said, taught).to_json()}


def _ask_sample(
    trained: TrainedRun, task: Task, sample: Sequence[Row], weights: LoadedWeights, path: Path, say: Say
) -> dict[str, Completion]:
    prompts = [prompt_of(row) for row in sample]
    lead = trained.trained_lead
    what = identity(trained, "adapter", lead)
    if is_current(path, what, prompts, max_new_tokens=task.max_new_tokens):
        say(f"{path.stem}: all {len(prompts)} training rows were answered before")
    else:
        subject = Subject(path.stem, weights.get("adapter"), lead, task.max_new_tokens, what)
        predict_to_file(subject, prompts, path, say=say)
    return read_predictions(path)


def _reply(row: Row, answer: Completion) -> Reply:
    return Reply(question_of(row), answer.text, answer.finish_reason)


def _text(reply: str, task: Task) -> str:
    """The part of a reply that a person reads; "" where it can't be read."""
    parsed = task.parse(reply)
    return (task.reply_text(parsed.value) or "") if parsed.ok else ""
