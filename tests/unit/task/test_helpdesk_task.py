"""The second task: another language, nested JSON, a number as a label, a system prompt in training."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.similar.golden import golden_leaks
from loren.data.split import split_rows
from loren.scoring.criteria import CRITERIA, Reply, applicable
from loren.task.definition import load_task

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk"
EXAMPLE = Path(__file__).parents[3] / "examples" / "helpdesk-en"
both = pytest.mark.parametrize("folder", [HELPDESK, EXAMPLE], ids=["tests", "example"])


@both
def test_its_file_is_clean_and_holds_each_label_pair_often_enough(folder: Path) -> None:
    task = load_task(folder / "task")
    report = check_file(folder / "data" / "train.jsonl", task)
    assert report.rows >= 45
    assert list(report.issues) == []
    pairs = Counter(row.label for row in load_rows(folder / "data" / "train.jsonl", task).rows)
    assert len(pairs) == 9
    assert min(pairs.values()) >= 4
    assert {row.label for row in load_rows(task.golden_path, task).rows} == set(pairs)


@both
def test_its_rows_keep_the_contract_and_the_criteria(folder: Path) -> None:
    task = load_task(folder / "task")
    assert task.label_space() == (('"network"', '"hardware"', '"access"'), ("1", "2", "3"))
    assert task.system_in_training
    assert set(applicable(task)) == set(CRITERIA)
    train = load_rows(folder / "data" / "train.jsonl", task).rows
    golden = load_rows(task.golden_path, task).rows
    assert golden_leaks(train, golden) == []
    unseen = {json.loads(line)["messages"][0]["content"] for line in (folder / "task" / "sanity.jsonl").read_text().splitlines()}
    assert len(unseen) == 5
    assert not unseen & {row.messages[0].content for row in [*train, *golden]}
    for row in [*train, *golden]:
        reply = Reply(row.messages[0].content, row.messages[-1].content, "stop")
        assert {name for name in CRITERIA if not CRITERIA[name](reply, task).passed} == set()


@both
def test_each_label_pair_is_in_validation(folder: Path) -> None:
    task = load_task(folder / "task")
    rows = load_rows(folder / "data" / "train.jsonl", task).rows
    split = split_rows(rows, eval_ratio=0.1, test_ratio=0.0, seed=42)
    assert {row.label for row in split.validation} == {row.label for row in rows}
    assert len({row.label for row in rows}) == 9


def test_the_example_is_the_same_task_with_rows_enough_for_a_comparison() -> None:
    files = sorted(path.name for path in (HELPDESK / "task").iterdir())
    assert len(files) >= 6
    assert all((EXAMPLE / "task" / name).read_bytes() == (HELPDESK / "task" / name).read_bytes() for name in files)
    rows = load_rows(EXAMPLE / "data" / "train.jsonl", load_task(EXAMPLE / "task")).rows
    split = split_rows(rows, eval_ratio=0.1, test_ratio=0.3, seed=42)
    assert len(rows) <= 120
    assert len({split.group_ids[row.line] for row in split.test}) >= 30
    assert {row.label for row in split.test} == {row.label for row in rows}
