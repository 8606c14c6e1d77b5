"""Weights out of wheels: real pip, wheels built here, no index. Verified parts are kept, everything else is refused."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from loren.errors import ConfigError, IntegrityError, PrerequisiteError, StorageError
from loren.models.card import TokenizerFacts
from loren.models.embedded import EmbeddedModel, HubFile, embedded_models, ensure_file, find_embedded
from loren.models.wheels import Wheel, fetch_member

CONTENT = bytes(range(256)) * 700
PARTS = (CONTENT[:70_000], CONTENT[70_000:150_000], CONTENT[150_000:])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_wheel(folder: Path, name: str, member: str, data: bytes) -> None:
    """A pure wheel that holds a data file, and code that must never run."""
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, data)
        wheel.writestr("loren_must_not_import.py", "raise SystemExit('imported')")
        wheel.writestr("../escape.bin", b"outside")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: nowhere-to-be-found\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    for number, part in enumerate(PARTS, start=1):
        build_wheel(folder, f"loren-test-part{number}", f"part{number}/data.bin", part)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("LOREN_NO_HUB", "1")
    return folder


def wheel(number: int) -> Wheel:
    part = PARTS[number - 1]
    return Wheel(f"loren-test-part{number}", "1.0", f"part{number}/data.bin", len(part), sha256(part))


@pytest.fixture
def model() -> EmbeddedModel:
    return replace(
        embedded_models()[0],
        name="test",
        sha256=sha256(CONTENT),
        size_bytes=len(CONTENT),
        hub=HubFile("nobody/nothing", "0" * 40, "test.gguf"),
        tokenizer=TokenizerFacts(),
        wheels=tuple(wheel(number) for number in (1, 2, 3)),
    )


def test_parts_are_joined_checked_and_nothing_else_is_kept(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    heard: list[tuple[str, int, int]] = []
    cache = tmp_path / "cache"
    path = ensure_file(model, cache, lambda what, done, total: heard.append((what, done, total)))
    assert path.read_bytes() == CONTENT
    assert sorted(file.name for file in cache.rglob("*") if file.is_file() and file.suffix != ".lock") == [path.name]
    assert not list(tmp_path.rglob("escape.bin"))
    sentences = [what for what, _, total in heard if total == 0]
    assert any("PyPI wheels" in sentence and "last resort" in sentence for sentence in sentences)
    assert heard[-1] == ("downloading test, part 3 of 3", len(PARTS[2]), len(PARTS[2]))
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("loren-test-part1")


def test_said_aloud_without_a_listener_too(
    index: Path, tmp_path: Path, model: EmbeddedModel, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_file(model, tmp_path / "cache")
    assert "last resort" in caplog.text


def test_a_broken_download_continues_with_what_is_missing(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    third = index / "loren_test_part3-1.0-py3-none-any.whl"
    away = third.rename(tmp_path / third.name)
    with pytest.raises(PrerequisiteError, match=r"loren-test-part3==1\.0"):
        ensure_file(model, tmp_path / "cache")
    for number in (1, 2):  # were they asked for again, pip would fail
        (index / f"loren_test_part{number}-1.0-py3-none-any.whl").unlink()
    away.rename(third)
    assert ensure_file(model, tmp_path / "cache").read_bytes() == CONTENT


def test_a_kept_part_that_changed_is_fetched_again(index: Path, tmp_path: Path) -> None:
    target = tmp_path / "part01"
    target.write_bytes(PARTS[0][:-1] + b"?")
    fetch_member(wheel(1), target)
    assert target.read_bytes() == PARTS[0]


def test_a_flipped_byte_is_refused_with_both_digests(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    altered = bytearray(PARTS[1])
    altered[1000] ^= 1
    build_wheel(index, "loren-test-part2", "part2/data.bin", bytes(altered))
    with pytest.raises(IntegrityError) as caught:
        ensure_file(model, tmp_path / "cache")
    text = str(caught.value)
    assert "part2/data.bin" in text
    assert sha256(PARTS[1]) in text
    assert sha256(bytes(altered)) in text
    assert not model.file(tmp_path / "cache").exists()


def test_right_parts_of_the_wrong_whole_are_refused(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    shuffled = replace(model, wheels=(model.wheels[1], model.wheels[0], model.wheels[2]))
    with pytest.raises(IntegrityError, match=model.sha256):
        ensure_file(shuffled, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "gguf").iterdir())


@pytest.mark.parametrize("lie", ["size", "member", "cut"])
def test_a_wheel_that_is_not_the_expected_one_is_refused(index: Path, tmp_path: Path, lie: str) -> None:
    if lie == "size":
        build_wheel(index, "loren-test-part1", "part1/data.bin", PARTS[0] + b"more")
    elif lie == "member":
        build_wheel(index, "loren-test-part1", "elsewhere.bin", PARTS[0])
    else:
        path = index / "loren_test_part1-1.0-py3-none-any.whl"
        content = bytearray(path.read_bytes())
        content[60:90] = b"\xff" * 30  # inside the compressed member; the directory at the end stays readable
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"part1/data\.bin"):
        fetch_member(wheel(1), tmp_path / "part01")
    assert [file.name for file in tmp_path.iterdir()] == ["index"]


def test_an_altered_file_in_the_cache_is_fetched_again(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    path = ensure_file(model, tmp_path / "cache")
    path.write_bytes(b"?" + CONTENT[1:])
    said: list[str] = []
    assert ensure_file(model, tmp_path / "cache", lambda what, done, total: said.append(what)).read_bytes() == CONTENT
    assert any("not the expected one" in sentence for sentence in said)


def test_the_second_call_asks_nobody(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    path = ensure_file(model, tmp_path / "cache")
    shutil.rmtree(index)
    assert ensure_file(model, tmp_path / "cache") == path


def test_a_pip_in_the_working_folder_is_not_run(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "pip.py").write_text("raise SystemExit('ran the wrong pip')", encoding="utf-8")
    monkeypatch.chdir(trap)
    fetch_member(wheel(1), tmp_path / "part01")
    assert (tmp_path / "part01").read_bytes() == PARTS[0]


def test_what_is_left_of_a_killed_attempt_is_removed(index: Path, tmp_path: Path) -> None:
    left = tmp_path / ".part01.abc.tmp"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    fetch_member(wheel(1), tmp_path / "part01")
    assert not left.exists()


def test_a_disk_that_refuses_is_a_storage_error(index: Path, tmp_path: Path) -> None:
    (tmp_path / "part01").mkdir()
    (tmp_path / "part01" / "in the way").touch()
    with pytest.raises(StorageError, match="part01"):
        fetch_member(wheel(1), tmp_path / "part01")


def test_too_small_a_disk_is_told_before_the_download(index: Path, tmp_path: Path, model: EmbeddedModel) -> None:
    huge = replace(model, size_bytes=10**15)
    with pytest.raises(PrerequisiteError, match="GB free"):
        ensure_file(huge, tmp_path / "cache")


def test_pips_reason_is_told_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:hunter2@127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(PrerequisiteError) as caught:
        fetch_member(Wheel("loren-test-none", "1.0", "x", 1, "0" * 64), tmp_path / "x")
    assert "loren-test-none==1.0" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_table_is_whole() -> None:
    names = [model.name for model in embedded_models()]
    assert names == ["qwen2.5-coder-0.5b", "smollm2-135m"]
    for model in embedded_models():
        assert sum(wheel.size_bytes for wheel in model.wheels) == model.size_bytes
        assert len(model.sha256) == 64
        assert len(model.hub.revision) == 40
        assert "Apache License" in model.license_body()
    assert find_embedded("embedded:smollm2-135m") is find_embedded("smollm2-135m")
    with pytest.raises(ConfigError, match=r"qwen2\.5-coder-0\.5b, smollm2-135m"):
        find_embedded("embedded:gpt")
