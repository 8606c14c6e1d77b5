"""Scores: strict, complete, and never NaN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import ConfigError, DataContractError
from loren.runs.files import encode_json
from loren.scoring.score import Score, score_prediction, summarize
from loren.task.definition import Task, load_task

COURIER = Path(__file__).parent / "courier"
TARGET = {"route": {"team": "depot", "bay": 7}, "urgent": True, "message": "Please wait."}


@pytest.fixture(name="task", scope="module")
def courier_task() -> Task:
    return load_task(COURIER)


def scored(task: Task, prediction: Any, finish_reason: str = "stop") -> Score:
    text = prediction if isinstance(prediction, str) else json.dumps(prediction)
    return score_prediction(json.dumps(TARGET), text, finish_reason, task)


def test_the_ladder(task: Task) -> None:
    right = scored(task, TARGET)
    assert right == Score(parses=True, schema_valid=True, labels={"/route/team": True, "/urgent": True}, ended=True)
    assert right.all_labels
    other_words = scored(task, {**TARGET, "message": "Other words."})
    assert other_words.all_labels
    half = scored(task, {**TARGET, "urgent": False})
    assert half.labels == {"/route/team": True, "/urgent": False}
    assert not half.all_labels
    extra = scored(task, {**TARGET, "note": 1})
    assert (extra.parses, extra.schema_valid, extra.all_labels) == (True, False, True)
    assert not scored(task, TARGET, "length").ended


@pytest.mark.parametrize("urgent", [1, "true", "True", 1.0, None, [True], {"value": True}])
def test_types_are_strict(task: Task, urgent: Any) -> None:
    assert not scored(task, {**TARGET, "urgent": urgent}).labels["/urgent"]


@pytest.mark.parametrize(
    "text",
    ["", "oops", "```json\n" + json.dumps(TARGET) + "\n```", json.dumps(TARGET) + ".", json.dumps(TARGET)[:-1], "null", "[]", "{}"],
)
def test_a_broken_prediction_is_a_recorded_zero(task: Task, text: str) -> None:
    score = scored(task, text)
    assert not score.schema_valid
    assert score.labels == {"/route/team": False, "/urgent": False}


def test_seven_is_not_double_o_seven(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text('name = "n"\nlanguage = "en"\nversion = "1"\nlabels = ["/n"]\n', encoding="utf-8")
    (tmp_path / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    task = load_task(tmp_path)
    wrong = ['{"n": "007"}', '{"n": "7"}', '{"n": 7.0}', '{"n": true}', '{"n": [7]}', "{}"]
    assert [score_prediction('{"n": 7}', text, "stop", task).all_labels for text in wrong] == [False] * 6
    assert score_prediction('{"n": 7}', '{ "n" : 7 }', "stop", task).all_labels
    assert not score_prediction("{}", "oops", "stop", task).all_labels


def test_a_broken_target_is_an_error_that_shows_none_of_it(task: Task) -> None:
    with pytest.raises(DataContractError) as caught:
        score_prediction('{"bimat": 8842', "{}", "stop", task)
    assert "8842" not in str(caught.value)
    assert "bimat" not in str(caught.value)


def test_a_summary_counts_everything(task: Task) -> None:
    scores = [scored(task, TARGET), scored(task, {**TARGET, "urgent": False}), scored(task, "oops", "length"), scored(task, "{}")]
    assert summarize(scores) == {
        "rows": 4,
        "parses": {"count": 3, "of": 4, "share": 0.75},
        "schema_valid": {"count": 2, "of": 4, "share": 0.5},
        "ended": {"count": 3, "of": 4, "share": 0.75},
        "labels": {"/route/team": {"count": 2, "of": 4, "share": 0.5}, "/urgent": {"count": 1, "of": 4, "share": 0.25}},
        "all_labels": {"count": 1, "of": 4, "share": 0.25},
    }


def test_a_summary_of_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one prediction"):
        summarize([])


def test_a_task_without_labels_has_no_label_shares(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text('name = "free"\nlanguage = "en"\nversion = "1"\n', encoding="utf-8")
    score = score_prediction("Hello.", "Hi.", "stop", load_task(tmp_path))
    assert (score.parses, score.schema_valid, score.all_labels) == (True, True, False)
    summary = summarize([score])
    assert summary["labels"] == {}
    assert "all_labels" not in summary


SCORES = st.builds(
    Score,
    parses=st.booleans(),
    schema_valid=st.booleans(),
    labels=st.fixed_dictionaries({"/a": st.booleans(), "/b": st.booleans()}),
    ended=st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(SCORES, min_size=1, max_size=30))
def test_shares_are_finite_and_keep_every_row(scores: list[Score]) -> None:
    summary: Any = summarize(scores)
    encode_json(summary)  # refuses NaN
    parts = [summary[name] for name in ("parses", "schema_valid", "ended", "all_labels")] + list(summary["labels"].values())
    for part in parts:
        assert part["of"] == len(scores)
        assert part["share"] == part["count"] / len(scores)
    assert summary["all_labels"]["count"] <= min(part["count"] for part in summary["labels"].values())
