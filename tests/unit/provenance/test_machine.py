"""Facts about machine and command; secrets never reach a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from loren.provenance.machine import git_commit, hardware, package_versions, peak_memory_bytes, without_secrets


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["loren", "train", "run.toml", "--set", "train.learning_rate=1e-4"], None),
        (["loren", "--hub-token", "abc123", "train"], ["loren", "--hub-token", "***", "train"]),
        (["HF_TOKEN=abc123", "loren"], ["HF_TOKEN=***", "loren"]),
        (["--api-key=abc123"], ["--api-key=***"]),
        (["--base", "https://u:p@h/hf_abcdefghijkl"], ["--base", "https://u:p@h/***"]),
    ],
)
def test_secrets_are_masked(arguments: list[str], kept: list[str] | None) -> None:
    assert without_secrets(arguments) == (kept or arguments)


def test_facts_are_plausible() -> None:
    facts = hardware()
    assert int(facts["memory_bytes"]) > peak_memory_bytes() > 10 * 1024 * 1024  # type: ignore[arg-type]
    assert int(facts["cores"]) >= 1  # type: ignore[arg-type]
    versions = package_versions()
    assert versions["loren"]
    assert versions["torch"]


def test_git_commit_says_when_files_differ(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "f").write_text("1")
    for arguments in (["init", "-q"], ["add", "f"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    head = git_commit(tmp_path)
    assert head is not None
    assert len(head) == 40
    (tmp_path / "f").write_text("2")
    assert git_commit(tmp_path) == f"{head}-dirty"
