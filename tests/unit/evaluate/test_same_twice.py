"""A/A: one adapter against itself, by simulation over stored predictions. A verdict of "better" would be an error of the gates.

The predictions lie in files as an evaluation leaves them, are read and scored as it does it, and are judged by its own gates. What
one adapter would have answered on another day is drawn anew, a situation's rows leaning together as they do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from loren.data.rows import Row
from loren.evaluate.golden import score_answers
from loren.evaluate.predict import Predictions, read_predictions
from loren.evaluate.yardstick import Yardstick, read_yardstick
from loren.models.protocol import Completion, FinishReason
from loren.runs.files import encode_json
from loren.scoring.gate import compare_arms, gates_of
from loren.scoring.score import Metric, Outcomes, metrics
from loren.task.definition import Task, load_task

TASK = Path(__file__).parents[3] / "examples" / "support-vi" / "task"
RUNS = 200
SITUATIONS = 140
ERRORS = ("right", "reworded", "category", "priority", "fields", "cut")
"""What a stored answer is: the target, in the words of another row, with a wrong label, without a field, broken off."""
Judged = dict[str, Any]


class Stored(NamedTuple):
    """Answers of each kind to every golden question, scored from their files."""

    golden: Yardstick
    task: Task
    outcomes: list[dict[str, Outcomes]]
    """By kind of answer."""


def answered(row: Row, others: Mapping[str, Row], error: str, task: Task) -> Completion:
    """What an adapter would have said, with an error that adapters make."""
    target: dict[str, Any] = json.loads(row.messages[-1].content)
    space = dict(zip(task.labels, task.label_space() or (), strict=True))
    if error == "reworded":
        target["answer"] = json.loads(others[row.id].messages[-1].content)["answer"]
    elif error in {"category", "priority"}:
        values = [json.loads(value) for value in sorted(space[f"/{error}"] or ())]
        target[error] = next(value for value in values if value != target[error])
    elif error == "fields":
        del target["answer"]
    text = json.dumps(target, ensure_ascii=False)
    reason: FinishReason = "length" if error == "cut" else "stop"
    return Completion(row.id, text[:-20] if error == "cut" else text, reason, 90, 50, 0.5)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    folder, task = tmp_path_factory.mktemp("eval"), load_task(TASK)
    golden = read_yardstick(task)
    others = dict(zip([row.id for row in golden.rows], [*golden.rows[7:], *golden.rows[:7]], strict=True))
    outcomes: list[dict[str, Outcomes]] = []
    for error in ERRORS:
        path = folder / f"{error}.jsonl"
        Predictions([answered(row, others, error, task) for row in golden.rows], {"key": error}).write(path)
        outcomes.append(score_answers(read_predictions(path), golden, task))
    return Stored(golden, task, outcomes)


def redrawn(stored: Stored, rng: np.random.Generator, skill: np.ndarray) -> dict[str, Outcomes]:
    """One evaluation of the adapter: each row's answer is drawn by its situation's skill, in which this day's lean is shared."""
    situations = list(stored.golden.situations.values())
    names, place = np.unique(situations, return_inverse=True)
    lean = np.clip(skill + rng.normal(0, 0.35, len(names)), 0, 1)[place]
    is_right = rng.random(len(place)) < lean
    errors = rng.choice([2, 3, 4, 5], size=len(place), p=[0.45, 0.4, 0.05, 0.1])
    kinds = np.where(is_right, rng.integers(0, 2, len(place)), errors)
    return {row.id: stored.outcomes[kind][row.id] for row, kind in zip(stored.golden.rows, kinds.tolist(), strict=True)}


def judged(stored: Stored, base: dict[str, Outcomes], adapter: dict[str, Outcomes], names: list[Metric]) -> Judged:
    result: Judged = compare_arms({"base": base, "adapter": adapter}, stored.golden.situations, names, stored.task)
    encode_json(result)  # refuses NaN
    return result


def gate_figures(task: Task) -> list[Metric]:
    wanted = {gate.metric for gate in gates_of(task, metrics(task))}
    return [metric for metric in metrics(task) if metric.name in wanted or metric.role == "target"]


def most(share: float, runs: int) -> int:
    """As many are met once in a thousand times, where the chance is ``share``."""
    return int(binom.isf(1e-3, runs, share))


class Verdicts(NamedTuple):
    """Of all runs."""

    words: list[str]
    wrong: dict[str, int]
    """Figure -> comparisons that called one of the two better."""


def same_twice(stored: Stored, names: list[Metric], *, runs: int, seed: int) -> Verdicts:
    """Evaluate one adapter twice, again and again; each time another adapter."""
    rng = np.random.default_rng(seed)
    words: list[str] = []
    wrong = dict.fromkeys((metric.name for metric in names), 0)
    for _ in range(runs):
        skill = rng.beta(4, 1.5, SITUATIONS)
        result = judged(stored, redrawn(stored, rng, skill), redrawn(stored, rng, skill), names)
        words.append(result["verdict"]["word"])
        for seen in result["comparisons"]:
            wrong[seen["metric"]] += seen["verdict"] in {"better", "worse"}
    return Verdicts(words, wrong)


def test_stored_answers_are_what_they_are_named_for(stored: Stored) -> None:
    figures = ("all_labels", "schema_valid", "ended")
    reached = [tuple(np.mean([row[name] for row in kind.values()]) for name in figures) for kind in stored.outcomes]
    assert reached == [(1, 1, 1), (1, 1, 1), (0, 1, 1), (0, 1, 1), (1, 0, 1), (0, 0, 0)]
    assert len(set(stored.golden.situations.values())) == SITUATIONS < len(stored.golden.rows)


def test_an_adapter_that_answers_anew_is_better_than_itself_no_more_often_than_alpha(stored: Stored) -> None:
    names = gate_figures(stored.task)
    seen = same_twice(stored, names, runs=RUNS, seed=20_260_301)
    assert seen.words.count("better") <= most(0.025, RUNS)
    # Each of the three gates may raise a false alarm in the half of alpha that lies on its side.
    assert seen.words.count("worse") <= most(3 * 0.025, RUNS)
    assert seen.words.count("abstain") == 0
    assert max(seen.wrong.values()) <= most(0.05, RUNS)
    assert sum(seen.wrong.values()) >= 1, "answers that never differ would prove nothing"


def test_the_same_answers_are_never_better_nor_worse(stored: Stored) -> None:
    rng = np.random.default_rng(20_260_302)
    names = [metric for metric in gate_figures(stored.task) if not metric.name.startswith("exact")]
    for _ in range(RUNS):
        same = redrawn(stored, rng, rng.beta(4, 1.5, SITUATIONS))
        result = judged(stored, same, same, names)
        assert (result["verdict"]["word"], result["verdict"]["passed"]) == ("inconclusive", False)
        assert {seen["verdict"] for seen in result["comparisons"]} <= {"inconclusive", "not worse"}
    result = judged(stored, same, same, list(metrics(stored.task)))
    assert {seen["verdict"] for seen in result["comparisons"]} <= {"inconclusive", "not worse"}
    assert {(seen["difference"], seen["fixed"], seen["broken"]) for seen in result["comparisons"]} == {(0, 0, 0)}


def test_another_adapter_is_found_better(stored: Stored) -> None:
    """The same draws, of two adapters: a test that never says better would pass all that stands above."""
    rng = np.random.default_rng(20_260_303)
    poor = rng.beta(4, 3, SITUATIONS)
    good = np.clip(poor + 0.25, 0, 1)
    result = judged(stored, redrawn(stored, rng, poor), redrawn(stored, rng, good), gate_figures(stored.task))
    assert (result["verdict"]["word"], result["verdict"]["passed"]) == ("better", True)


@pytest.mark.slow
def test_no_figure_errs_more_often_than_alpha(stored: Stored) -> None:
    """All figures, the means among them, in many more runs."""
    runs = 400
    seen = same_twice(stored, list(metrics(stored.task)), runs=runs, seed=20_260_304)
    assert seen.words.count("better") <= most(0.025, runs)
    assert {name: count for name, count in seen.wrong.items() if count > most(0.05, runs)} == {}
    assert sum(count > 0.02 * runs for count in seen.wrong.values()) >= 4
