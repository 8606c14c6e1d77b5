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
from loren.data.similar.golden import golden_leaks
from loren.scoring.criteria import CRITERIA, Reply, applicable
from loren.task.definition import load_task

WHOLE = ["README.md", "data", "run.toml", "task"]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", *arguments],
        cwd=cwd, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    done = run("init", "my-task", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ("next: cd my-task && loren check data/train.jsonl --task task && loren train run.toml")
    assert (names(folder), names(folder / "my-task")) == (["my-task"], WHOLE)
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
    golden = load_rows(task.golden_path, task, minimum_rows=0).rows
    assert golden_leaks(train, golden) == []
    unseen = {json.loads(line)["messages"][0]["content"] for line in (starter / "task" / "sanity.jsonl").read_text().splitlines()}
    assert len(unseen) == 5
    assert not unseen & {row.messages[0].content for row in [*train, *golden]}
    for row in [*train, *golden]:
        reply = Reply(row.messages[0].content, row.messages[-1].content, "stop")
        assert {name: CRITERIA[name](reply, task).reason for name in CRITERIA if not CRITERIA[name](reply, task).passed} == {}


def test_every_key_of_its_configuration_is_explained(starter: Path) -> None:
    keys = [line for line in (starter / "run.toml").read_text().splitlines() if " = " in line]
    assert len(keys) >= 15
    assert [line for line in keys if "  # " not in line] == []


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plan.txt").write_text("mine")
    (tmp_path / "\x1b[31mred").touch()
    done = run("init", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: .: expected an empty or new folder, found 2 thing(s) in it",
        "  .  holds '\\x1b[31mred'",
        "  .  holds 'plan.txt'",
        "hint: give another folder",
    ]
    assert names(tmp_path) == ["\x1b[31mred", "plan.txt"]


def test_a_second_init_is_refused(starter: Path) -> None:
    before = {path: path.read_bytes() for path in starter.rglob("*") if path.is_file()}
    done = run("init", str(starter), cwd=starter)
    assert done.returncode == 2
    assert "holds 'README.md'" in done.stderr
    assert {path: path.read_bytes() for path in starter.rglob("*") if path.is_file()} == before


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    before = folder.stat().st_ino
    done = run("init", ".", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["next"] == "loren check data/train.jsonl --task task && loren train run.toml"
    assert (folder.stat().st_ino, names(folder), names(tmp_path)) == (before, WHOLE, ["here"])
    assert sorted(json.loads(done.stdout)["files"]) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_way_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = run("init", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {name}: expected a folder, found a file at ")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    done = run("init", "n" * 300, cwd=tmp_path)
    assert done.returncode == 6
    assert "expected a folder that can be written, found " in done.stderr
    assert names(tmp_path) == []
