"""Which checkpoints are deleted, and how often one is read to know that."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_trainer import build

from loren.provenance import manifest
from loren.provenance.manifest import write_manifest
from loren.runs.files import write_json
from loren.train.checkpoints import TRAINER_STATE, Fingerprint, list_checkpoints, rotate_checkpoints


def save(folder: Path, *steps: int) -> None:
    """Checkpoints as a training leaves them, but for their weights."""
    for step in steps:
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(bytes([step]) * 100)
        write_json(checkpoint / TRAINER_STATE, {"global_step": step})
        write_manifest(checkpoint)


def damage(checkpoint: Path) -> None:
    data = bytearray((checkpoint / "weights").read_bytes())
    data[50] ^= 1
    (checkpoint / "weights").write_bytes(bytes(data))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_only_valid_checkpoint_is_never_deleted(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    for step in (2, 3):
        damage(tmp_path / f"checkpoint-{step}")
    for keep in (0, 1, 2):
        rotate_checkpoints(tmp_path, keep=keep)
        assert names(tmp_path) == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]


def test_corrupt_ones_do_not_count_and_are_left_for_their_owner(tmp_path: Path) -> None:
    save(tmp_path, 2, 9, 10, 11)
    damage(tmp_path / "checkpoint-10")
    rotate_checkpoints(tmp_path, keep=2)
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-11", "checkpoint-9"]
    rotate_checkpoints(tmp_path, keep=0)  # one always stays
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-11"]


def test_what_was_touched_since_is_read_again(tmp_path: Path) -> None:
    whole: dict[str, Fingerprint] = {}
    save(tmp_path, 1, 2)
    rotate_checkpoints(tmp_path, keep=2, whole=whole)
    damage(tmp_path / "checkpoint-2")
    save(tmp_path, 3)
    rotate_checkpoints(tmp_path, keep=2, whole=whole)
    found = list_checkpoints(tmp_path, whole=whole)
    assert [path.name for path in found.valid] == ["checkpoint-1", "checkpoint-3"]
    assert [problem.place for problem in found.corrupt] == ["checkpoint-2"]
    (tmp_path / "checkpoint-3" / "more.pkl").write_bytes(b"x")
    (tmp_path / "checkpoint-1").rename(tmp_path / "elsewhere")
    (tmp_path / "checkpoint-1").symlink_to(tmp_path / "elsewhere")
    assert list_checkpoints(tmp_path, whole=whole).valid == []


def test_a_save_reads_the_checkpoint_that_it_wrote_and_no_other(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    digest = manifest.sha256_file

    def counted(path: Path) -> str:
        read[path.name] += 1
        return digest(path)

    monkeypatch.setattr(manifest, "sha256_file", counted)
    trainer: Any = build(tiny_base, tmp_path, micro=2, accumulation=1, train={"max_steps": 6, "save_steps": 1})
    trainer._save_total_limit = 3
    trainer.train()
    assert names(tmp_path / "checkpoints") == ["checkpoint-4", "checkpoint-5", "checkpoint-6"]
    assert read["optimizer.pt"] == 6 * 2  # for its manifest, and once it is in place
