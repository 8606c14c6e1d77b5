"""SIGKILL at any moment leaves a run folder that can be resumed, and the end is that of a run that was never killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from project import make_project

TESTS = Path(__file__).parents[1]


def kill(tiny_base: Path, folder: Path, kills: int) -> dict[str, int]:
    make_project(folder, tiny_base)
    text = (folder / "run.toml").read_text().replace("max_steps = 9\nsave_steps = 3", "max_steps = 24\nsave_steps = 2")
    (folder / "run.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, str(TESTS / "killing.py"), str(folder), str(kills), "7"],
        capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ten_kills(tiny_base: Path, tmp_path: Path) -> None:
    seen = kill(tiny_base, tmp_path, 10)
    assert (seen["killed"], seen["in_save"] >= 3, seen["finished"] >= 1) == (10, True, True)


@pytest.mark.slow
def test_a_hundred_kills(tiny_base: Path, tmp_path: Path) -> None:
    seen = kill(tiny_base, tmp_path, 100)
    print(seen)  # noqa: T201 - how often a run was finished in between
    assert (seen["killed"], seen["in_save"] >= 30, seen["finished"] >= 1) == (100, True, True)
