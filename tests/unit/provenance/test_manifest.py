"""The manifest finds every flip, loss and foreign file, and names it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loren.errors import IntegrityError
from loren.provenance.manifest import verify_manifest, write_manifest


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    (folder / "deep").mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(random.Random(0).randbytes(4000))
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "deep" / "note.txt").write_text("x")
    (folder / "README.md").write_text("# card")
    write_manifest(folder)
    return folder


def test_an_untouched_artifact_and_an_edited_card_pass(artifact: Path) -> None:
    (artifact / "README.md").write_text("# my own words")
    assert verify_manifest(artifact) == []


def test_every_flipped_bit_is_found_and_the_file_named(artifact: Path) -> None:
    rng = random.Random(1)
    names = ["adapter_model.safetensors", "adapter_config.json", "deep/note.txt", "MANIFEST.json"]
    for _ in range(300):
        path = artifact / rng.choice(names)
        original = path.read_bytes()
        position = rng.randrange(len(original))
        flipped = bytearray(original)
        flipped[position] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(flipped))
        with pytest.raises(IntegrityError) as caught:
            verify_manifest(artifact)
        assert path.name in str(caught.value)
        path.write_bytes(original)
    assert verify_manifest(artifact) == []


def test_a_missing_file_is_named(artifact: Path) -> None:
    (artifact / "adapter_config.json").unlink()
    with pytest.raises(IntegrityError, match=r"adapter_config\.json"):
        verify_manifest(artifact)


@pytest.mark.parametrize("name", ["modeling.py", "training_args.bin", "x.pkl", "more.safetensors", "m.gguf", "deep/x.PT"])
def test_a_foreign_code_pickle_or_weights_file_is_refused(artifact: Path, name: str) -> None:
    (artifact / name).write_bytes(b"x")
    with pytest.raises(IntegrityError, match=name.rpartition("/")[2]):
        verify_manifest(artifact)


def test_other_extras_warn(artifact: Path) -> None:
    (artifact / "notes.txt").write_text("x")
    assert [problem.place for problem in verify_manifest(artifact)] == ["notes.txt"]


def test_links_and_names_outside_are_refused(artifact: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    content = (artifact / "adapter_config.json").read_bytes()
    outside.write_bytes(content)
    (artifact / "adapter_config.json").unlink()
    (artifact / "adapter_config.json").symlink_to(outside)
    with pytest.raises(IntegrityError, match="symbolic link"):
        verify_manifest(artifact)


def test_a_missing_manifest_is_an_error(artifact: Path) -> None:
    (artifact / "MANIFEST.json").unlink()
    with pytest.raises(IntegrityError, match=r"MANIFEST\.json"):
        verify_manifest(artifact)
