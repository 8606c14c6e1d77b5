"""The starter project: it passes its own contract and criteria at once, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loren.config import load_config
from loren.data.load import load_rows
from loren.data.split import golden_leaks
from loren.scoring.criteria import CRITERIA, Reply, applicable
from loren.task.definition import load_task


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", *arguments],
        cwd=cwd, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    done = run("init", "my-task", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("next: cd my-task && loren check data/train.jsonl --task task")
    return folder / "my-task"


def test_the_starter_keeps_its_own_contract(starter: Path) -> None:
    done = run("check", "data/train.jsonl", "--task", "task", "--format", "json", cwd=starter)
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["rows"] >= 30
    assert (report["errors"], report["warnings"]) == (0, 0)


def test_its_configuration_loads_and_its_replies_meet_the_criteria(starter: Path) -> None:
    config = load_config(starter / "run.toml", environment={}).config
    assert config.task == starter / "task"
    task = load_task(starter / "task")
    assert set(applicable(task)) == set(CRITERIA)
    train = load_rows(starter / "data" / "train.jsonl", task).rows
    golden = load_rows(starter / "task" / "golden.jsonl", task, minimum_rows=0).rows
    assert golden_leaks(train, golden) == []
    for row in [*train, *golden]:
        reply = Reply(row.messages[0].content, row.messages[-1].content, "stop")
        assert {name: CRITERIA[name](reply, task).reason for name in CRITERIA if not CRITERIA[name](reply, task).passed} == {}


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(starter: Path) -> None:
    before = sorted(path.name for path in starter.iterdir())
    done = run("init", str(starter), cwd=starter)
    assert done.returncode == 2
    assert "holds README.md" in done.stderr
    assert sorted(path.name for path in starter.iterdir()) == before
