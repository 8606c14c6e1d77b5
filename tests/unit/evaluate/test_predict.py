"""Predictions with a fake behind the Generator seam: system turns, order, sidecar, and scoring from the file alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loren.data.load import load_rows
from loren.errors import ConfigError, IntegrityError
from loren.evaluate.golden import golden_prompt, score_file, stratified
from loren.evaluate.predict import predict, sidecar_path
from loren.evaluate.subjects import Subject, open_subject, single_prompt, system_turn, with_lead
from loren.models.protocol import EchoGenerator, Prompt
from loren.task.definition import load_task

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk"
IDENTITY = {"base_weights_sha256": "w", "adapter_digest": None, "lead": [], "load_in_4bit": False, "decoding": {}}


def subject(reply: str | None = None, *, system_prompt: str = "") -> Subject:
    lead = system_turn(system_prompt)
    return Subject("fake", EchoGenerator(reply), lead, 50, {**IDENTITY, "lead": [list(turn) for turn in lead]})


def test_answers_keep_their_order_and_a_cut_one_is_counted(tmp_path: Path) -> None:
    prompts = [Prompt("a", (("user", "one two"),)), Prompt("b", (("user", "one two three four"),))]
    result = predict(subject(), prompts, max_new_tokens=3, say=lambda text: None)
    assert [(answer.id, answer.text, answer.finish_reason) for answer in result.completions] == [
        ("a", "one two", "stop"), ("b", "one two three", "length"),
    ]  # fmt: skip
    assert result.cut == 1
    result.write(tmp_path / "x.jsonl")
    assert [json.loads(line)["id"] for line in (tmp_path / "x.jsonl").read_text().splitlines()] == ["a", "b"]
    assert json.loads(sidecar_path(tmp_path / "x.jsonl").read_text())["cut"] == 1


def test_the_key_changes_with_whatever_decides_an_answer() -> None:
    prompts = [Prompt("a", (("user", "one"),))]
    keys = {
        predict(of, asked, max_new_tokens=limit, say=lambda text: None).sidecar["key"]
        for of, asked, limit in (
            (subject(), prompts, 5),
            (subject(system_prompt="s"), prompts, 5),
            (subject(), [Prompt("a", (("user", "two"),))], 5),
            (subject(), prompts, 6),
        )
    }
    assert len(keys) == 4
    again = predict(subject("other text"), prompts, max_new_tokens=5, say=lambda text: None)
    assert again.sidecar["key"] in keys


def test_a_system_turn_is_added_only_where_there_is_none() -> None:
    plain, own = Prompt("a", (("user", "q"),)), Prompt("b", (("system", "mine"), ("user", "q")))
    assert with_lead(plain, system_turn("s")).turns == (("system", "s"), ("user", "q"))
    assert with_lead(own, system_turn("s")) == own
    assert with_lead(plain, ()) == plain


def test_a_preview_is_the_same_rows_whatever_the_order_and_takes_each_label_in_turn() -> None:
    task = load_task(HELPDESK / "task")
    rows = load_rows(HELPDESK / "data" / "train.jsonl", task).rows
    labels = {row.label for row in rows}
    sample = stratified(rows, 18)
    assert stratified(list(reversed(rows)), 18) == sample
    assert sorted(row.label for row in sample) == sorted([*labels, *labels])


def test_right_answers_score_full_garbage_scores_nothing_and_a_missing_one_is_refused(tmp_path: Path) -> None:
    task = load_task(HELPDESK / "task")
    rows = load_rows(task.golden_path, task).rows
    path = tmp_path / "p.jsonl"

    def write(texts: list[str]) -> None:
        lines = [{"id": row.id, "text": text, "finish_reason": "stop"} for row, text in zip(rows, texts, strict=False)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    write([row.messages[-1].content for row in rows])
    full = score_file(path, rows, task)
    assert (full["schema_valid"], full["all_labels"]) == ({"count": 12, "of": 12, "share": 1.0},) * 2
    write(["garbage"] * len(rows))
    assert score_file(path, rows, task)["parses"] == {"count": 0, "of": 12, "share": 0.0}
    write(["x"] * (len(rows) - 1))
    with pytest.raises(IntegrityError, match="one prediction a golden row"):
        score_file(path, rows, task)
    assert golden_prompt(rows[0]).turns[-1][0] == "user"


def test_wrong_subjects_are_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="asked through its run folder"):
        open_subject(str(tmp_path), variant=None, task_folder=None, batch_size=1, fetching=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not blank"):
        single_prompt("  ")
