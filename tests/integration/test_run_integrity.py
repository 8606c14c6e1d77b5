"""Nothing that was changed in a finished run is used: flips, cuts, links, pickles and names that lead outside."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loren.errors import IntegrityError
from loren.provenance.digests import sha256_json
from loren.provenance.manifest import MANIFEST, UNLISTED, verify_manifest
from loren.runs.folder import RunFolder
from loren.train.checkpoints import list_checkpoints
from project import make_project
from running import train_here

FLIPS = 3000


@pytest.fixture(scope="module")
def finished(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_here(make_project(tmp_path_factory.mktemp("finished"), tiny_base)).run.path


def covered(run: Path) -> list[Path]:
    """Every file that a manifest of the run vouches for, and the manifests themselves."""
    folders = [run / "adapter", *(run / "checkpoints").iterdir()]
    return [path for folder in folders for path in folder.iterdir() if path.name == MANIFEST or path.name not in UNLISTED]


def refused(path: Path) -> bool:
    try:
        verify_manifest(path.parent)
    except IntegrityError as error:
        return path.name in str(error)
    return False


def test_three_thousand_flipped_bits_are_found_and_named(finished: Path) -> None:
    rng = random.Random(3)
    files = covered(finished)
    assert len(files) >= 20
    missed = []
    for _ in range(FLIPS):
        path = rng.choice(files)
        data = path.read_bytes()
        place, bit = rng.randrange(len(data)), rng.randrange(8)
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        if not refused(path):
            missed.append((path.name, place, bit))
        path.write_bytes(data)
    assert missed == []
    assert all(verify_manifest(folder) == [] for folder in {path.parent for path in files})


def test_every_cut_file_is_found(finished: Path) -> None:
    rng = random.Random(4)
    for path in covered(finished):
        data = path.read_bytes()
        for length in {0, len(data) - 2, rng.randrange(len(data) - 1)}:  # a JSON file may lose its last newline
            path.write_bytes(data[:length])
            assert refused(path), (path.name, length)
        path.write_bytes(data)


def link(folder: Path) -> str:
    target = folder.parent / "elsewhere.safetensors"
    (folder / "adapter_model.safetensors").rename(target)
    (folder / "adapter_model.safetensors").symlink_to(target)
    return "adapter_model.safetensors"


def link_folder(folder: Path) -> str:
    elsewhere = folder.parent.parent / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    return folder.name


def pickle(folder: Path) -> str:
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")
    return "training_args.bin"


def code(folder: Path) -> str:
    (folder / "modeling_custom.py").write_text("raise SystemExit")
    return "modeling_custom.py"


def leave(folder: Path) -> str:
    """A manifest with a right digest that lists a file outside."""
    (folder.parent / "outside.txt").write_text("x")
    manifest = json.loads((folder / MANIFEST).read_text())
    body = {
        "schema_version": manifest["schema_version"],
        "files": {**manifest["files"], "../outside.txt": {"sha256": "0", "size": 1}},
    }
    (folder / MANIFEST).write_text(json.dumps({**body, "digest": sha256_json(body)}))
    return "../outside.txt"


def rename(folder: Path) -> str:
    """A whole checkpoint under the number of another step."""
    folder.rename(folder.with_name("checkpoint-7"))
    return "trainer_state.json"


@pytest.mark.parametrize("change", [link, link_folder, pickle, code, leave, rename])
def test_a_changed_checkpoint_is_skipped_by_name(finished: Path, tmp_path: Path, change: Callable[[Path], str]) -> None:
    shutil.copytree(finished, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert [path.name for path in list_checkpoints(run.checkpoints).valid] == ["checkpoint-6", "checkpoint-9"]
    name = change(run.checkpoints / "checkpoint-6")
    found = list_checkpoints(run.checkpoints)
    assert [path.name for path in found.valid] == ["checkpoint-9"]
    assert len(found.corrupt) == 1
    assert name in str(found.corrupt[0])


@pytest.mark.parametrize("change", [link, link_folder, pickle, code, leave])
def test_a_changed_adapter_is_refused_by_name(finished: Path, tmp_path: Path, change: Callable[[Path], str]) -> None:
    shutil.copytree(finished, tmp_path / "run")
    name = change(tmp_path / "run" / "adapter")
    with pytest.raises(IntegrityError) as caught:
        verify_manifest(tmp_path / "run" / "adapter")
    assert name in str(caught.value)


def test_a_finished_run_that_was_damaged_is_not_called_done(finished: Path) -> None:
    project = finished.parents[1]
    assert train_here(project, resume=True).was_done
    weights = finished / "adapter" / "adapter_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    try:
        with pytest.raises(IntegrityError, match=weights.name):
            train_here(project, resume=True)
    finally:
        weights.write_bytes(data)
