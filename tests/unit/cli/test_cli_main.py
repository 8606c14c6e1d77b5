"""The command line as a whole: help, unknown verbs, errors, exit codes, completion, no colour codes."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loren.cli.main import VERBS


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_takes_a_format(verb: str, tmp_path: Path) -> None:
    done = run(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: loren {verb}")
    if verb != "models":
        assert "--format [text|json" in done.stdout  # `check` has further ones


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
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
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
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 130


def shell(instruction: str, **environment: str) -> str:
    """What the installed `loren` answers to a shell that asks for completion."""
    done = subprocess.run(
        [Path(sys.executable).with_name("loren")],
        env={**os.environ, "_LOREN_COMPLETE": instruction, **environment},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("words", "completed"), [("loren tra", "train"), ("loren train --res", "--resume"), ("loren check --format js", "json")]
)
def test_the_shell_completes_verbs_options_and_values(words: str, completed: str) -> None:
    answer = shell("bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert answer == f"plain,{completed}\n"


def test_the_shell_gets_its_completion_script() -> None:
    if shutil.which("bash"):  # click asks bash for its version
        assert "complete -o nosort -F _loren_completion loren" in shell("bash_source")
    assert "compdef _loren_completion loren" in shell("zsh_source")
    assert "complete --no-files --command loren" in shell("fish_source")


def on_a_terminal(*command: str, cwd: Path, **environment: str) -> str:
    """All that a command writes to a terminal of its own."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    ours, theirs = pty.openpty()
    values = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    process = subprocess.Popen(
        command, cwd=cwd, env={**values, "TERM": "xterm-256color", **environment}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    process.wait(timeout=900)
    return written.decode()


def test_no_color_is_honoured_on_a_terminal(tmp_path: Path) -> None:
    loren = (sys.executable, "-m", "loren")
    row = {"messages": [{"role": "user", "content": "a"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert "\x1b[" in on_a_terminal(*loren, "check", "rows.jsonl", cwd=tmp_path)
    for arguments in (
        ["check", "rows.jsonl"],
        ["--help"],
        ["trian"],
        ["train", "none.toml"],
        ["init", "new"],
        ["init", "new"],
        ["models"],
    ):
        assert "\x1b" not in on_a_terminal(*loren, *arguments, cwd=tmp_path, NO_COLOR="1"), arguments


def test_no_color_leaves_bars_without_colours(tmp_path: Path) -> None:
    code = (
        "from loren.cli.fetching import show_fetching\n"
        "from loren.train.progress import TrainingProgress\n"
        "with show_fetching() as show: show('downloading', 5, 10)\n"
        "bar = TrainingProgress(logging_steps=1)\n"
        "bar.start(step=0, total=2); bar.step(1, loss=1.0, tokens=10, seconds=0.1); bar.evaluation(1, 1.0); bar.stop()\n"
    )
    colour = re.compile(r"\x1b\[[0-9;]*m")
    assert colour.search(on_a_terminal(sys.executable, "-c", code, cwd=tmp_path))
    plain = on_a_terminal(sys.executable, "-c", code, cwd=tmp_path, NO_COLOR="1")
    assert not colour.search(plain)
    assert "validation loss 1.0000" in plain


SHOW_EXEC = (
    "import os, sys\n"
    "os.execv = lambda program, arguments: (print(program, arguments[1:], os.environ['GLIBC_TUNABLES']), sys.exit(3))\n"
    "from loren.__main__ import main\n"
    "main()\n"
)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the switch is glibc's")
@pytest.mark.parametrize(("verb", "mine", "code"), [("train", None, 3), ("train", "glibc.malloc.check=0", 0), ("check", None, 0)])
def test_a_training_starts_once_more_with_the_allocator_unless_the_user_set_it(verb: str, mine: str | None, code: int) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    environment |= {"GLIBC_TUNABLES": mine} if mine else {}
    command = [sys.executable, "-c", SHOW_EXEC, verb, "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == code, done.stderr
    assert (f"'{verb}', '--help'] glibc.malloc.hugetlb=1" in done.stdout) == (code == 3)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the switch is glibc's")
def test_the_second_start_is_the_same_command() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "loren", "train", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, "Usage: loren train" in done.stdout) == (0, True), done.stderr
