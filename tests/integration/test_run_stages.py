"""`loren run`: every stage in order, stopping at the first no; the same command does nothing twice."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from loren.config import load_config
from loren.pipeline import run
from project import loren

HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"


def project(folder: Path, base: Path) -> Path:
    shutil.copytree(HELPDESK, folder, dirs_exist_ok=True)
    config = folder / "run.toml"
    config.write_text(
        f'base_model = "{base}"\ntask = "task"\noutput_dir = "runs/a"\n[train]\nmax_steps = 2\nlearning_rate = 1e-2\n'
    )
    return config


def test_it_stops_at_the_first_gate_that_says_no_and_goes_on_without_training_again(tmp_path: Path, tiny_base: Path) -> None:
    project(tmp_path, tiny_base)
    done = loren("run", "run.toml", "--format", "json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert [(stage["name"], stage["passed"]) for stage in said["stages"]] == [("train", True), ("sanity", False), ("report", True)]
    assert said["next"] == "loren sanity runs/a --show-text"
    assert (tmp_path / "runs" / "a" / "report.html").stat().st_size > 10_000
    again = loren("run", "run.toml", cwd=tmp_path)
    assert (again.returncode, "train     done before" in again.stderr) == (1, True)


def test_after_a_passed_sanity_check_the_evaluation_speaks(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights pass no sanity check, so that one stage is replaced here; every other is real."""
    resolved = load_config(project(tmp_path, tiny_base), environment={})
    monkeypatch.setattr(run, "_sanity", lambda *arguments: ("sanity", "passed", True))
    wishes = run.Wishes(("base", "adapter"), 8)
    stages = list(run.run_stages(resolved, wishes, command=["loren"], say=print, fetching=lambda: nullcontext(lambda *_: None)))
    assert [stage.name for stage in stages] == ["train", "sanity", "evaluate", "report"]
    verdict = json.loads((tmp_path / "runs" / "a" / "eval" / "result.json").read_text())["verdict"]
    assert (stages[2].verdict, stages[2].passed) == (verdict["word"], False)


def test_the_last_gate_is_the_merged_model_itself(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights pass no gate, so those before are replaced; the merged model then fails the sanity check in earnest."""
    resolved = load_config(project(tmp_path, tiny_base), environment={})
    for name in ("sanity", "evaluate"):
        monkeypatch.setattr(run, f"_{name}", lambda *arguments, name=name: (name, "passed", True))
    wishes = run.Wishes(("base", "adapter"), 64)
    stages = list(run.run_stages(resolved, wishes, command=["loren"], say=print, fetching=lambda: nullcontext(lambda *_: None)))
    assert [(stage.name, stage.passed) for stage in stages[2:]] == [("evaluate", True), ("merge", False), ("report", True)]
    assert stages[3].verdict.startswith("proven, sanity failed, not ")
    record = json.loads((tmp_path / "runs" / "a" / "merged.json").read_text())
    assert record["proven"]
    assert len(record["quality"]["comparisons"]) >= 5
