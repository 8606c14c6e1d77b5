"""A disk that refuses any one write leaves the old state or the new one, says so, and the run can go on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loren.errors import StorageError
from loren.provenance.manifest import verify_manifest
from loren.runs.files import append_text, write_json
from loren.runs.folder import RunFolder
from loren.train.artifact import save_artifact
from loren.train.checkpoints import list_checkpoints
from project import loren, make_project
from running import digests, steps_of, train_here, weights_of
from small_disk import SmallDisk

CALLS = (("fsync", os), ("replace", os), ("chmod", os), ("mkstemp", tempfile), ("mkdtemp", tempfile))


class Refusal:
    """Lets the n-th call that writes fail, as a full or broken disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.left = 0
        for name, module in CALLS:
            monkeypatch.setattr(module, name, self._refusing(getattr(module, name), code))

    def _refusing(self, call: Callable[..., Any], code: int) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(code, os.strerror(code))
            return call(*arguments, **options)

        return wrapper


def refusal_of(work: Callable[[], Any]) -> str | None:
    """What the disk's refusal said; None where the work was done."""
    try:
        work()
    except StorageError as error:
        return str(error)
    return None


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.fixture(scope="module")
def finished(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_here(make_project(tmp_path_factory.mktemp("finished"), tiny_base)).run.path


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_any_write_of_an_artifact_may_fail(
    finished: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    from peft import PeftModel

    from loren.models.loading import load_model, load_tokenizer
    from loren.runs.files import read_json

    model = PeftModel.from_pretrained(load_model(tiny_base, dtype="float32"), str(finished / "adapter"))
    tokenizer, record = load_tokenizer(tiny_base), dict(read_json(finished / "adapter" / "training_metadata.json"))
    target = tmp_path / "adapter"
    save_artifact(target, model=model, tokenizer=tokenizer, metadata={**record, "name": "old"})
    before = digests(target)
    refusal = Refusal(monkeypatch, code)
    for nth in range(1, 200):
        refusal.left = nth
        said = refusal_of(lambda: save_artifact(target, model=model, tokenizer=tokenizer, metadata={**record, "name": "new"}))
        if said is None:
            break
        assert str(tmp_path) in said
        assert os.strerror(code) in said
        refusal.left = 0
        # A refusal after the rename is reported too: then the new state stands, whole.
        assert digests(target) == before or (not verify_manifest(target) and "new" in (target / "README.md").read_text())
        assert leftovers(tmp_path) in ([], [".adapter.old.tmp"])
    assert nth > 20
    verify_manifest(target)
    assert digests(target) != before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_any_write_of_a_training_may_fail(
    finished: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    make_project(tmp_path, tiny_base)
    run = RunFolder(tmp_path / "runs" / "a")
    refusal = Refusal(monkeypatch, code)
    refused = 0
    for nth in range(5, 400, 9):  # each start fails some writes later than the one before, until one passes
        refusal.left = nth
        said = refusal_of(lambda: train_here(tmp_path, resume=True))
        if said is None:
            break
        refused += 1
        assert "could not write" in said
        refusal.left = 0
        checkpoints = list_checkpoints(run.checkpoints)
        assert checkpoints.corrupt == []
    assert refused >= 3
    assert steps_of(run.path) == steps_of(finished)
    assert weights_of(run.path) == weights_of(finished)
    assert leftovers(run.path) == []


@pytest.mark.parametrize("writer", ["json", "log", "stage"])
def test_small_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    run = RunFolder(tmp_path)
    write = {
        "json": lambda value: write_json(tmp_path / "a.json", {"value": value}),
        "log": lambda value: append_text(tmp_path / "a.json", f"{value}\n", durable=True),
        "stage": lambda value: run.record_stage("train", inputs={"value": value}, verdict="done"),
    }[writer]
    write("old")
    before = digests(tmp_path)
    refusal = Refusal(monkeypatch, errno.ENOSPC)
    for nth in range(1, 50):
        refusal.left = nth
        said = refusal_of(lambda: write("new"))
        if said is None:
            break
        assert str(tmp_path) in said
        refusal.left = 0
        assert digests(tmp_path) == before or b"new" in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert leftovers(tmp_path) == []
    assert nth >= 2


def test_a_disk_that_is_really_full(
    finished: Path, tiny_base: Path, tmp_path: Path, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before the first step there is room; then others fill the disk.
    monkeypatch.setattr("loren.train.preflight.shutil.disk_usage", lambda place: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
    make_project(tmp_path, tiny_base)
    (tmp_path / "runs").symlink_to(small_disk.path)
    run = RunFolder(tmp_path / "runs" / "a")
    said: list[str] = []
    for kilobytes in range(64, 4096, 96):
        small_disk.resize(f"{kilobytes}k")
        refused = refusal_of(lambda: train_here(tmp_path, resume=True))
        if refused is None:
            break
        said.append(refused)
        assert list_checkpoints(run.checkpoints).corrupt == []
    assert len(said) >= 3
    assert all("could not write" in text and "hint: free disk space" in text for text in said), said
    assert weights_of(run.path) == weights_of(finished)
    assert steps_of(run.path) == steps_of(finished)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.slow
def test_the_command_line_when_others_fill_the_disk(tiny_base: Path, tmp_path: Path, small_disk: SmallDisk) -> None:
    small_disk.resize("8m")
    make_project(tmp_path, tiny_base)
    (tmp_path / "runs").symlink_to(small_disk.path)
    process = subprocess.Popen(
        [sys.executable, "-m", "loren", "train", "run.toml", "--set", "train.max_steps=400", "--set", "train.save_steps=10"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = small_disk.path / "a" / "metrics.jsonl"
    while process.poll() is None and not metrics.is_file():
        time.sleep(0.02)
    fill(small_disk.path / "filler")
    _, said = process.communicate(timeout=900)
    assert process.returncode == 6, said
    assert "error: could not write" in said
    assert "bug" not in said
    (small_disk.path / "filler").unlink()
    done = loren("train", "run.toml", "--set", "train.max_steps=400", "--set", "train.save_steps=10", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_check_whose_temporary_disk_is_full_names_the_folder(tmp_path: Path, small_disk: SmallDisk) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n" * 60_000, encoding="utf-8")  # more issues than are held in memory
    command = [sys.executable, "-m", "loren", "check", str(path)]
    environment = {**os.environ, "TMPDIR": str(small_disk.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == StorageError.exit_code
    assert f"{small_disk.path}: could not write a temporary file there: No space left on device" in done.stderr
    assert "TMPDIR" in done.stderr
    assert "Traceback" not in done.stderr
