"""The second task: another language, nested JSON, a number as a label, a system prompt in training."""

from __future__ import annotations

from pathlib import Path

from loren.data.load import load_rows
from loren.data.split import golden_leaks, split_rows
from loren.scoring.criteria import CRITERIA, Reply, applicable
from loren.task.definition import load_task

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk"


def test_its_rows_keep_the_contract_and_the_criteria() -> None:
    task = load_task(HELPDESK / "task")
    assert task.label_space() == (('"network"', '"hardware"', '"access"'), ("1", "2", "3"))
    assert task.system_in_training
    assert set(applicable(task)) == set(CRITERIA)
    train = load_rows(HELPDESK / "data" / "train.jsonl", task).rows
    golden = load_rows(task.golden_path, task).rows
    assert golden_leaks(train, golden) == []
    for row in [*train, *golden]:
        reply = Reply(row.messages[0].content, row.messages[-1].content, "stop")
        assert {name for name in CRITERIA if not CRITERIA[name](reply, task).passed} == set()


def test_each_label_pair_is_in_validation() -> None:
    task = load_task(HELPDESK / "task")
    rows = load_rows(HELPDESK / "data" / "train.jsonl", task).rows
    split = split_rows(rows, eval_ratio=0.1, test_ratio=0.0, seed=42)
    assert {row.label for row in split.validation} == {row.label for row in rows}
    assert len({row.label for row in rows}) == 9
