"""The prompt that an adapter has to beat, and the yardstick that both are held against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from loren.data.load import load_rows
from loren.data.rows import Row
from loren.errors import ConfigError
from loren.evaluate.fewshot import RetryGenerator, fewshot_lead, in_turn
from loren.evaluate.yardstick import pinned, prompt_of, read_yardstick, sampled
from loren.models.protocol import Completion, Prompt
from loren.task.definition import Task, load_task

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk"


@pytest.fixture(name="task", scope="module")
def helpdesk_task() -> Task:
    return load_task(HELPDESK / "task")


@pytest.fixture(name="rows", scope="module")
def training_rows(task: Task) -> list[Row]:
    return load_rows(HELPDESK / "data" / "train.jsonl", task).rows


def test_a_choice_is_the_same_rows_whatever_the_order_and_takes_each_label_in_turn(rows: list[Row]) -> None:
    labels = {row.label for row in rows}
    sample = in_turn(rows, 2 * len(labels), key="preview")
    assert in_turn(list(reversed(rows)), 2 * len(labels), key="preview") == sample
    assert sorted(row.label for row in sample) == sorted([*labels, *labels])
    assert in_turn(rows, 2 * len(labels), key="another") != sample


def test_the_lead_holds_the_system_prompt_the_schema_and_examples_of_training(task: Task, rows: list[Row]) -> None:
    lead = fewshot_lead(task, rows, seed=42)
    role, system = lead[0]
    assert role == "system"
    assert system.startswith(task.system_prompt)
    assert json.loads(system.splitlines()[-1]) == task.schema
    assert [role for role, _ in lead[1:]] == ["user", "assistant"] * task.fewshot.examples
    pairs = {(row.messages[0].content, row.messages[-1].content) for row in rows}
    assert all((lead[place][1], lead[place + 1][1]) in pairs for place in range(1, len(lead), 2))
    assert fewshot_lead(task, rows, seed=43) != lead


class Scripted:
    """Answers each prompt with the next text of its list."""

    def __init__(self, texts: dict[str, list[str]]) -> None:
        self.texts = texts
        self.asked: list[Prompt] = []

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return [list(range(len(prompts)))]

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        self.asked += prompts
        return [Completion(p.id, self.texts[p.id].pop(0), "stop", 10, 5, 1.0) for p in prompts]


def test_an_invalid_answer_is_asked_again_once_and_told_what_was_wrong(task: Task, rows: list[Row]) -> None:
    good = rows[0].messages[-1].content
    inner = Scripted({"good": [good], "mended": ["oops", good], "hopeless": ["", "[]"]})
    prompts = [Prompt(name, (("user", "q"),)) for name in inner.texts]
    answers = RetryGenerator(inner, task).answer(prompts, max_new_tokens=50)
    assert [(a.text, a.requests, a.prompt_tokens, a.completion_tokens, a.latency_s) for a in answers] == [
        (good, 1, 10, 5, 1.0), (good, 2, 20, 10, 2.0), ("[]", 2, 20, 10, 2.0),
    ]  # fmt: skip
    again = inner.asked[3:]
    assert [prompt.id for prompt in again] == ["mended", "hopeless"]
    assert again[0].turns[:2] == (("user", "q"), ("assistant", "oops"))
    assert again[1].turns[1][1]  # some templates refuse an empty turn
    assert "expected JSON" in again[0].turns[2][1]
    assert "{problem}" not in again[0].turns[2][1]


def test_nobody_is_asked_again_where_there_is_no_schema_or_no_answer(tmp_path: Path, task: Task) -> None:
    (tmp_path / "task.toml").write_text('name = "n"\nlanguage = "en"\nversion = "1"\n', encoding="utf-8")
    inner = Scripted({"a": ["anything"]})
    assert RetryGenerator(inner, load_task(tmp_path)).answer([Prompt("a", (("user", "q"),))], max_new_tokens=5)[0].requests == 1

    class Down(Scripted):
        def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
            return [Completion(p.id, "", "error", 0, 0, 0.0) for p in prompts]

    assert RetryGenerator(Down({}), task).answer([Prompt("a", (("user", "q"),))], max_new_tokens=5)[0].requests == 1


def write_golden(folder: Path, lines: list[str]) -> Task:
    folder.mkdir(exist_ok=True)
    for path in (HELPDESK / "task").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "golden.jsonl").write_text("".join(lines), encoding="utf-8")
    return load_task(folder)


def test_the_yardstick_is_pinned_and_what_is_gone_is_missing(tmp_path: Path) -> None:
    lines = (HELPDESK / "task" / "golden.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    pin = tmp_path / "golden.json"
    whole = pinned(read_yardstick(write_golden(tmp_path / "t", lines[:-1])), pin, repin=False)
    assert (whole.missing, len(whole.rows)) == (0, len(lines) - 1)
    changed = pinned(read_yardstick(write_golden(tmp_path / "t", lines[1:])), pin, repin=False)
    assert (changed.missing, len(changed.rows)) == (1, len(lines) - 2)  # one is gone; the new one is not asked
    assert changed.situations == whole.situations
    assert changed.to_json()["ids_sha256"] == whole.to_json()["ids_sha256"]
    anew = pinned(read_yardstick(write_golden(tmp_path / "t", lines[1:])), pin, repin=True)
    assert (anew.missing, len(anew.rows)) == (0, len(lines) - 1)


def test_a_preview_needs_no_more_than_its_sample(tmp_path: Path) -> None:
    lines = (HELPDESK / "task" / "golden.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    sample = sampled(read_yardstick(write_golden(tmp_path / "t", lines)), 5)
    assert (len(sample.rows), sample.missing, sample.rows_in_file) == (5, 0, len(lines))
    assert [row.line for row in sample.rows] == sorted(row.line for row in sample.rows)
    assert prompt_of(sample.rows[0]).turns[-1][0] == "user"


def test_a_golden_file_without_rows_or_with_one_twice_is_refused(tmp_path: Path) -> None:
    lines = (HELPDESK / "task" / "golden.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    with pytest.raises(ConfigError, match="1 copies"):
        read_yardstick(write_golden(tmp_path / "a", [*lines, lines[0]]))
    with pytest.raises(ConfigError, match="found no row"):
        read_yardstick(write_golden(tmp_path / "b", []))
    task = write_golden(tmp_path / "c", [])
    task.golden_path.unlink()
    with pytest.raises(ConfigError, match="found no file"):
        read_yardstick(task)
