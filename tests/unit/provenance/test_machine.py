"""Facts about machine and command; secrets never reach a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loren.provenance.machine import (
    free_memory_bytes,
    git_commit,
    hardware,
    machine_memory_bytes,
    memory_limit,
    package_versions,
    peak_memory_bytes,
    without_secrets,
)


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


def groups(root: Path, membership: str, **files: str) -> tuple[Path, Path]:
    root.mkdir(exist_ok=True)
    for name, text in files.items():
        path = root / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "cgroup").write_text(membership)
    return root / "fs", root / "cgroup"


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "2147483648\n"}, 2147483648),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/user/job\n", {"memory.max": "max\n", "user/memory.max": "3000\n", "user/job/memory.max": "5000\n"}, 3000),
        ("0::/host/path\n", {"memory.max": "4000\n"}, 4000),
        ("4:memory:/a\n3:cpu:/\n", {"memory/memory.limit_in_bytes": "4294967296\n"}, 4294967296),
        (
            "4:memory:/a\n",
            {"memory/a/memory.limit_in_bytes": "7000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"},
            7000,
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("not a line", {"other": "1"}, None),
    ],
    ids=["v2", "v2 without a limit", "v2 nested", "v2 of another tree", "v1", "v1 nested", "v1 without a limit", "none"],
)
def test_a_containers_memory_limit_is_read(membership: str, files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    assert memory_limit(*groups(tmp_path, membership, **files)) == limit


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there are no control groups")
def test_what_a_container_leaves_counts_without_its_file_cache(tmp_path: Path) -> None:
    files = {"memory.max": "900000000", "memory.current": "500000000", "memory.stat": "anon 1\ninactive_file 300000000\n"}
    assert free_memory_bytes(*groups(tmp_path, "0::/", **files)) == 900_000_000 - 200_000_000
    first = {"memory/memory.limit_in_bytes": "900000000", "memory/memory.usage_in_bytes": "950000000"}
    assert free_memory_bytes(*groups(tmp_path / "1", "4:memory:/", **first)) == 0
    assert free_memory_bytes(tmp_path / "none", tmp_path / "none") > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the limit has no effect")
def test_a_limit_on_the_process_counts(tmp_path: Path) -> None:
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, resource.RLIM_INFINITY))\n"
        "from loren.provenance.machine import free_memory_bytes, machine_memory_bytes\n"
        "print(machine_memory_bytes(), free_memory_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True)
    total, free = map(int, done.stdout.split())
    assert total == 3_000_000_000 < machine_memory_bytes()
    assert 2_000_000_000 < free < total
