"""The pre-commit hook and the GitHub Action, run as pre-commit and GitHub run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "check" / "action.yml"
GOOD = '{"messages": [{"role": "user", "content": "Question %d?"}, {"role": "assistant", "content": "Yes."}]}\n'


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A search path on which there is a `loren`, as after `pip install`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    program = programs / "loren"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m loren "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def write_data(folder: Path, *, broken: bool) -> None:
    folder.mkdir(exist_ok=True)
    rows = [GOOD % n for n in range(12)]
    folder.joinpath("good.jsonl").write_text("".join(rows), encoding="utf-8")
    bad = rows[0].replace("Question 0?", "Call 0912 345 678.") if broken else rows[0]
    folder.joinpath("train.jsonl").write_text("".join([bad, *rows[1:]]), encoding="utf-8")
    folder.joinpath("notes.txt").write_text("no rows", encoding="utf-8")


def git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    ]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=900)
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def test_the_hook_stops_a_commit_with_a_broken_file(tmp_path: Path, path: str) -> None:
    """The hook's repository is a copy of the file that pre-commit reads in ours: nothing else of it is used."""
    hooks = repository(tmp_path / "hooks")
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    git(hooks, "add", ".")
    git(hooks, "commit", "--quiet", "-m", "hooks")
    project = repository(tmp_path / "project")
    configuration = {"repos": [{"repo": str(hooks), "rev": git(hooks, "rev-parse", "HEAD"), "hooks": [{"id": "loren-check"}]}]}
    project.joinpath(".pre-commit-config.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")

    def run() -> subprocess.CompletedProcess[str]:
        git(project, "add", ".")
        command = [sys.executable, "-m", "pre_commit", "run", "--verbose"]
        environment = {**os.environ, "PATH": path, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "PRE_COMMIT_COLOR": "never"}
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=900, check=False)

    write_data(project / "data", broken=True)
    done = run()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "exit code: 3" in done.stdout
    assert "data/good.jsonl: 12 row(s)" in done.stdout
    assert "error D302 pii-phone" in done.stdout
    assert "notes.txt" not in done.stdout
    assert "0912" not in done.stdout
    write_data(project / "data", broken=False)
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("clean") == 2


def evaluated(value: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    """An expression of a workflow, of the two kinds that the action holds."""
    known = {f"inputs.{key}": text for key, text in inputs.items()}
    known |= {f"steps.check.outputs.{key}": text for key, text in outputs.items()}
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: known[found[1]], value)


def run_action(folder: Path, path: str, given: dict[str, str]) -> tuple[int, str, list[dict[str, Any]]]:
    """Run the action's steps; returns the exit code of the last one, what they printed, and the steps that use other actions."""
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    inputs = {name: given.get(name, entry.get("default", "")) for name, entry in action["inputs"].items()}
    assert all(inputs[name] for name, entry in action["inputs"].items() if entry.get("required"))
    output, summary = folder / "github_output", folder / "github_summary"
    output.touch()
    said = ""
    used: list[dict[str, Any]] = []
    for step in action["runs"]["steps"]:
        if "uses" in step:
            used.append({**step, "with": {key: evaluated(value, inputs, {}) for key, value in step["with"].items()}})
            continue
        outputs = dict(line.split("=", 1) for line in output.read_text(encoding="utf-8").splitlines())
        variables = {key: evaluated(value, inputs, outputs) for key, value in step["env"].items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env={**os.environ, "PATH": path, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), **variables},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        said += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, said, used
    return 0, said, used


def test_the_action_fails_with_a_report_for_code_scanning(tmp_path: Path, path: str) -> None:
    write_data(tmp_path / "data", broken=True)
    code, said, used = run_action(tmp_path, path, {"file": "data/train.jsonl"})
    assert code == 3, said
    ((upload),) = used
    assert upload["uses"].startswith("github/codeql-action/upload-sarif@")
    run = json.loads((tmp_path / upload["with"]["sarif_file"]).read_text(encoding="utf-8"))["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["D302"]
    assert run["artifacts"][0]["location"]["uri"] == "data/train.jsonl"
    assert "error D302 pii-phone" in (tmp_path / "github_summary").read_text(encoding="utf-8")
    assert "0912" not in said


def test_the_action_passes_arguments_and_tells_a_wrong_call_from_a_broken_file(tmp_path: Path, path: str) -> None:
    write_data(tmp_path / "data", broken=False)
    code, said, _ = run_action(tmp_path, path, {"file": "data/train.jsonl", "arguments": "--release"})
    assert code == 3
    assert "error D801 dataset-card-missing" in said
    shutil.rmtree(tmp_path / "data")
    code, said, used = run_action(tmp_path, path, {"file": "data/train.jsonl"})
    assert (code, used) == (2, []), said
