"""What a killed process leaves in a run folder is put right by the next that holds it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from loren.errors import RunFolderError
from loren.runs.files import read_json, write_json
from loren.runs.folder import RunFolder


def test_stages_go_and_a_target_that_was_moved_aside_comes_back(tmp_path: Path) -> None:
    for name in (
        ".config.json.x1.tmp",
        ".adapter.x2.tmp/.README.md.x3.tmp",  # a stage with an unfinished file in it
        ".adapter.old.tmp/adapter_config.json",
        "checkpoints/.checkpoint-4.x4.tmp/optimizer.pt",
        "checkpoints/.checkpoint-2.old.tmp/old",
        "checkpoints/checkpoint-2/new",
        "data/split.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with RunFolder(tmp_path).held() as cleared:
        assert cleared == [
            ".adapter.old.tmp",
            ".adapter.x2.tmp",
            ".config.json.x1.tmp",
            "checkpoints/.checkpoint-2.old.tmp",
            "checkpoints/.checkpoint-4.x4.tmp",
        ]
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [".lock", "adapter/adapter_config.json", "checkpoints/checkpoint-2/new", "data/split.json"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a")
    with run.held(), pytest.raises(RunFolderError, match="another process is at work on this run"), run.held():
        pass
    with run.held() as cleared:
        assert cleared == []


def test_a_drive_that_can_not_fsync_a_folder_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1}
