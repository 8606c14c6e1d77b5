"""Scores: strict, complete, and never NaN."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import ConfigError, DataContractError
from loren.runs.files import encode_json
from loren.scoring.criteria import Reply, applicable
from loren.scoring.score import Metric, Outcomes, metrics, score_prediction, summarize, token_f1
from loren.task.definition import Task, load_task

COURIER = Path(__file__).parent / "courier"
TARGET = {"route": {"team": "depot", "bay": 7}, "urgent": True, "message": "Please wait."}


@pytest.fixture(name="task", scope="module")
def courier_task() -> Task:
    return load_task(COURIER)


def scored(task: Task, prediction: Any, finish_reason: str = "stop") -> Outcomes:
    text = prediction if isinstance(prediction, str) else json.dumps(prediction)
    return score_prediction(json.dumps(TARGET), Reply("Where is it?", text, finish_reason), task)


def folder_with(tmp_path: Path, *, labels: str = "", schema: str | None = None, rules: str | None = None) -> Path:
    (tmp_path / "task.toml").write_text(f'name = "n"\nlanguage = "en"\nversion = "1"\n{labels}\n', encoding="utf-8")
    for name, text in (("schema.json", schema), ("rules.json", rules)):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_ladder_has_a_rung_for_whatever_the_task_can_fail(task: Task) -> None:
    assert [metric.name for metric in metrics(task)] == [
        "parses", "schema_valid", "required", "enum", "exact:/route/team", "exact:/urgent", "all_labels",
        "exact:/message", "f1:/message", "edit:/message", "wording", "no_invented_facts", "ended",
    ]  # fmt: skip
    assert {metric.name for metric in metrics(task) if metric.kind == "mean"} == {"f1:/message", "edit:/message"}
    assert {metric.name for metric in metrics(task) if metric.role == "target"} == {
        "exact:/route/team",
        "exact:/urgent",
        "all_labels",
    }


def test_the_ladder(task: Task) -> None:
    right = scored(task, TARGET)
    assert set(right.values()) == {1.0}
    other_words = scored(task, {**TARGET, "message": "Please do wait here."})
    assert (other_words["all_labels"], other_words["exact:/message"]) == (1, 0)
    assert other_words["f1:/message"] == pytest.approx(2 * 2 / (2 + 4))
    assert 0 < other_words["edit:/message"] < 1
    half = scored(task, {**TARGET, "urgent": False})
    assert (half["exact:/route/team"], half["exact:/urgent"], half["all_labels"]) == (1, 0, 0)
    extra = scored(task, {**TARGET, "note": 1})
    assert (extra["parses"], extra["schema_valid"], extra["required"], extra["enum"], extra["all_labels"]) == (1, 0, 1, 1, 1)
    lacking = scored(task, {key: value for key, value in TARGET.items() if key != "urgent"})
    assert (lacking["schema_valid"], lacking["required"], lacking["enum"], lacking["exact:/urgent"]) == (0, 0, 1, 0)
    unlisted = scored(task, {**TARGET, "route": {"team": "moon", "bay": 7}})
    assert (unlisted["schema_valid"], unlisted["required"], unlisted["enum"]) == (0, 1, 0)
    assert scored(task, TARGET, "length")["ended"] == 0


@pytest.mark.parametrize("urgent", [1, "true", "True", 1.0, None, [True], {"value": True}])
def test_types_are_strict(task: Task, urgent: Any) -> None:
    assert scored(task, {**TARGET, "urgent": urgent})["exact:/urgent"] == 0


@pytest.mark.parametrize(
    "text", ["", "oops", "```json\n" + json.dumps(TARGET) + "\n```", json.dumps(TARGET) + ".", json.dumps(TARGET)[:-1]]
)
def test_what_does_not_parse_reaches_nothing_but_its_end(task: Task, text: str) -> None:
    assert {name: value for name, value in scored(task, text).items() if value} == {"ended": 1}


@pytest.mark.parametrize("text", ["null", "[]", "{}"])
def test_another_value_parses_and_reaches_no_label(task: Task, text: str) -> None:
    found = scored(task, text)
    assert found["parses"] == 1
    assert not any(found[name] for name in ("schema_valid", "exact:/route/team", "all_labels", "f1:/message", "wording"))


def test_seven_is_not_double_o_seven(tmp_path: Path) -> None:
    task = load_task(folder_with(tmp_path, labels='labels = ["/n"]', schema='{"type": "object"}'))

    def reached(target: str, text: str) -> float:
        return score_prediction(target, Reply("", text, "stop"), task)["all_labels"]

    wrong = ['{"n": "007"}', '{"n": "7"}', '{"n": 7.0}', '{"n": true}', '{"n": [7]}', "{}"]
    assert [reached('{"n": 7}', text) for text in wrong] == [0] * 6
    assert reached('{"n": 7}', '{ "n" : 7 }') == 1
    assert reached("{}", "oops") == 0


def test_rules_between_fields(tmp_path: Path) -> None:
    rule = {"if": {"properties": {"a": {"const": 1}}}, "then": {"properties": {"b": {"minimum": 5}}}}
    task = load_task(folder_with(tmp_path, schema='{"type": "object"}', rules=json.dumps({"b-follows-a": rule})))

    def kept(text: str) -> float:
        return score_prediction("{}", Reply("", text, "stop"), task)["rule:b-follows-a"]

    assert [kept(text) for text in ('{"a": 1, "b": 5}', '{"a": 2, "b": 1}', '{"a": 1, "b": 4}', "oops")] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("[]", "rules by name"),
        ('{"a b": {}}', "found another"),
        ('{"a": {"type": 3}}', "rules.json a"),
        ('{"a": 1}', "an object"),
        ("{", "rules.json"),
    ],
)
def test_rules_that_can_not_be_meant_are_refused(tmp_path: Path, rules: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_task(folder_with(tmp_path, schema='{"type": "object"}', rules=rules))
    assert message in str(caught.value)


def test_free_text_has_no_rules(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rules\.json"):
        load_task(folder_with(tmp_path, rules='{"a": {}}'))


def test_a_broken_target_is_an_error_that_shows_none_of_it(task: Task) -> None:
    with pytest.raises(DataContractError) as caught:
        score_prediction('{"bimat": 8842', Reply("", "{}", "stop"), task)
    assert "8842" not in str(caught.value)
    assert "bimat" not in str(caught.value)


def test_f1_counts_words_in_any_order_and_case() -> None:
    assert token_f1("Mình đã ghi nhận", "ghi nhận, MÌNH đã!") == 1
    assert token_f1("a a b", "a b b") == pytest.approx(2 / 3)
    assert (token_f1("", ""), token_f1("a", ""), token_f1("a", "b")) == (1, 0, 0)


def test_composed_and_decomposed_letters_are_the_same_text(tmp_path: Path) -> None:
    task = load_task(folder_with(tmp_path))
    found = score_prediction("Được ạ", Reply("", unicodedata.normalize("NFD", "Được ạ"), "stop"), task)
    assert (found["exact:"], found["f1:"], found["edit:"]) == (1, 1, 1)


def test_a_task_of_free_text_is_judged_by_its_words(tmp_path: Path) -> None:
    task = load_task(folder_with(tmp_path))
    assert [(metric.name, metric.role) for metric in metrics(task)] == [
        ("exact:", "text"), ("f1:", "target"), ("edit:", "text"), ("no_invented_facts", "text"), ("ended", "format"),
    ]  # fmt: skip
    assert score_prediction("Hello.", Reply("", "Hi.", "stop"), task)["f1:"] == 0


def test_a_summary_counts_everything(task: Task) -> None:
    rows = [scored(task, TARGET), scored(task, {**TARGET, "urgent": False}), scored(task, "oops", "length"), scored(task, "{}")]
    summary: Any = summarize(rows, metrics(task))
    assert {name: figure["count"] for name, figure in summary.items() if figure["kind"] == "share"} == {
        "parses": 3, "schema_valid": 2, "required": 2, "enum": 3, "exact:/route/team": 2, "exact:/urgent": 1, "all_labels": 1,
        "exact:/message": 2, "wording": 2, "no_invented_facts": 2, "ended": 3,
    }  # fmt: skip
    assert summary["f1:/message"]["value"] == 0.5
    assert all(figure["of"] == 4 and figure["low"] <= figure["value"] <= figure["high"] for figure in summary.values())


def test_rows_of_one_situation_make_the_interval_wider(task: Task) -> None:
    rows = [scored(task, TARGET)] * 15 + [scored(task, "oops")] * 15
    alone: Any = summarize(rows, metrics(task))
    together: Any = summarize(rows, metrics(task), [f"s{place // 3}" for place in range(30)])
    for name in ("parses", "f1:/message"):
        assert together[name]["value"] == alone[name]["value"] == 0.5
        assert together[name]["high"] - together[name]["low"] > 1.3 * (alone[name]["high"] - alone[name]["low"])


def test_a_summary_of_nothing_is_an_error(task: Task) -> None:
    with pytest.raises(ConfigError, match="at least one prediction"):
        summarize([], metrics(task))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=20))
def test_figures_are_finite_and_keep_every_row(rows: list[tuple[bool, float]]) -> None:
    names = (Metric("yes", "share", "format"), Metric("much", "mean", "text"))
    summary: Any = summarize([{"yes": float(yes), "much": much} for yes, much in rows], names)
    encode_json(summary)  # refuses NaN
    assert all(figure["of"] == len(rows) for figure in summary.values())
    assert summary["yes"]["value"] == summary["yes"]["count"] / len(rows)


def test_a_task_of_labels_alone_has_no_figure_of_a_text_that_is_not_there(tmp_path: Path) -> None:
    schema = '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}'
    task = load_task(folder_with(tmp_path, labels='labels = ["/n"]', schema=schema))
    assert [metric.name for metric in metrics(task) if metric.role == "text"] == []
    assert set(score_prediction('{"n": 1}', Reply("", '{"n": 1}', "stop"), task).values()) == {1.0}
    assert applicable(task) == ("parses", "schema", "ended")
