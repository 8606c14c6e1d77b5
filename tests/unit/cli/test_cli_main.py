"""The command line as a whole: help, unknown verbs, errors, exit codes, completion, no colour codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loren.cli.main import VERBS


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_takes_a_format(verb: str, tmp_path: Path) -> None:
    done = run(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: loren {verb}")
    if verb != "models":
        assert "--format [text|json]" in done.stdout


def test_an_unknown_verb_is_a_usage_error(tmp_path: Path) -> None:
    done = run("trian", cwd=tmp_path)
    assert (done.returncode, "trian" in done.stderr) == (2, True)


def test_an_error_names_place_expected_found_and_a_hint_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("[train]\nlearning_rat = 1\n")
    done = run("train", "run.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: configuration: 1 problem(s) in run.toml",
        "  train.learning_rat  expected a known key; did you mean 'train.learning_rate'?",
        "hint: docs/reference/config.md lists every key",
    ]
    assert "Traceback" in run("--debug", "train", "run.toml", cwd=tmp_path).stderr


def test_a_bug_exits_70_and_its_message_stays_inside(tmp_path: Path) -> None:
    code = (
        "import sys; from loren.cli import main\n"
        "class Broken:\n"
        "    def main(self, **_): raise RuntimeError('customer text')\n"
        "main.group = Broken()\n"
        "sys.exit(main.run(['check', 'x']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 70
    assert "RuntimeError" in done.stderr
    assert "customer text" not in done.stderr + done.stdout


def test_an_interruption_exits_130(tmp_path: Path) -> None:
    code = (
        "import sys; from loren.cli import main\n"
        "class Broken:\n"
        "    def main(self, **_): raise KeyboardInterrupt\n"
        "main.group = Broken()\n"
        "sys.exit(main.run([]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130


def test_the_shell_completes_verbs(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['loren']; from loren.cli.main import group; group(prog_name='loren')"
    environment = {**os.environ, "_LOREN_COMPLETE": "bash_complete", "COMP_WORDS": "loren tr", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "train" in done.stdout
    script = subprocess.run(
        [Path(sys.executable).with_name("loren")],
        env={**os.environ, "_LOREN_COMPLETE": "bash_source"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "complete -o nosort -F _loren_completion loren" in script.stdout
