"""doctor on this machine, without a needed package, and without an optional one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def doctor(*arguments: str, missing: str = "", cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process in which the package ``missing`` can't be imported or found."""
    code = "import sys, importlib.metadata as m\n"
    if missing:
        code += (
            f"sys.modules[{missing!r}] = None\n"
            "real = m.version\n"
            f"def version(name):\n    if name == {missing!r}: raise m.PackageNotFoundError(name)\n    return real(name)\n"
            "m.version = version\n"
        )
    code += f"from loren.cli.main import run\nsys.exit(run(['doctor', *{list(arguments)!r}]))"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_this_machine_is_described(tmp_path: Path) -> None:
    done = doctor("--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    findings = {entry["name"]: entry for entry in json.loads(done.stdout)["findings"]}
    assert {"processor", "memory", "cache", "device", "precision", "torch", "bf16 in silicon"} <= set(findings)
    assert "embedded:qwen2.5-coder-0.5b" in findings


def test_a_needed_package_that_is_missing_exits_4_with_the_mend(tmp_path: Path) -> None:
    done = doctor(missing="trl", cwd=tmp_path)
    assert done.returncode == 4
    assert "trl  the package trl" in done.stderr
    assert "pip install" in done.stderr


def test_an_optional_package_that_is_missing_is_said_and_is_no_failure(tmp_path: Path) -> None:
    done = doctor(missing="bitsandbytes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pip install 'loren[quantization]'" in done.stdout
