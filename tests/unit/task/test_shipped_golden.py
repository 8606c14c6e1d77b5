"""The shipped golden set is a yardstick: how large, how balanced, how varied it is, and that nothing of it is trained on."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from loren.scoring.criteria import CRITERIA, Reply, applicable
from loren.task.definition import load_task

EXAMPLE = Path(__file__).parents[3] / "examples" / "support-vi"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def question(row: dict[str, Any]) -> str:
    return row["messages"][0]["content"]


def target(row: dict[str, Any]) -> dict[str, str]:
    return json.loads(row["messages"][-1]["content"])


@pytest.fixture(scope="module")
def golden() -> list[dict[str, Any]]:
    return rows_of(EXAMPLE / "task" / "golden.jsonl")


def test_the_golden_set_is_large_enough_to_see_a_difference(golden: list[dict[str, Any]]) -> None:
    assert len(golden) >= 300
    assert len({row["id"] for row in golden}) == len(golden)
    wordings = Counter(row["situation"] for row in golden)
    assert len(wordings) >= 100
    assert set(wordings.values()) <= {2, 3, 4}
    assert all(row["id"].rpartition("-")[0] == row["situation"] for row in golden)


def test_each_pair_of_labels_is_asked_for_about_equally_often(golden: list[dict[str, Any]]) -> None:
    cells = Counter((target(row)["category"], target(row)["priority"]) for row in golden)
    assert len(cells) == 9
    assert min(cells.values()) >= 30
    assert max(cells.values()) <= 1.2 * min(cells.values())


def test_a_situation_has_one_label_and_no_question_twice(golden: list[dict[str, Any]]) -> None:
    labels: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in golden:
        labels[row["situation"]].add((target(row)["category"], target(row)["priority"]))
        assert row["situation"].startswith(f"{target(row)['category']}-")
    assert all(len(pairs) == 1 for pairs in labels.values())
    assert len({question(row) for row in golden}) == len(golden)


def test_no_golden_situation_is_trained_on(golden: list[dict[str, Any]]) -> None:
    train = rows_of(EXAMPLE / "data" / "train.jsonl")
    assert len(train) >= 300
    assert not {row["situation"] for row in golden} & {row["situation"] for row in train}


def test_about_a_fifth_is_typed_without_diacritics_and_lengths_differ(golden: list[dict[str, Any]]) -> None:
    plain = sum(question(row).isascii() for row in golden) / len(golden)
    assert 0.15 <= plain <= 0.3
    words = [len(question(row).split()) for row in golden]
    assert min(words) <= 5
    assert 45 <= max(words) <= 60


def test_golden_replies_meet_the_criteria_that_they_are_the_yardstick_of(golden: list[dict[str, Any]]) -> None:
    task = load_task(EXAMPLE / "task")
    names = applicable(task)
    assert "no_invented_policy" in names
    broken = [
        (row["id"], name)
        for row in golden
        for name in names
        if not CRITERIA[name](Reply(question(row), row["messages"][-1]["content"], "stop"), task).passed
    ]
    assert broken == []
    text = (EXAMPLE / "task" / "golden.jsonl").read_text(encoding="utf-8")
    assert unicodedata.is_normalized("NFC", text)
