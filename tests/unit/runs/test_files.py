"""Atomic writes: old state or new state."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import IntegrityError, StorageError
from loren.runs import files
from loren.runs.files import MAX_JSON_BYTES, append_text, encode_json, read_json, staged_folder, write_bytes, write_json, write_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(value=st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_json_round_trips(tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("json") / "deep" / "value.json"
    try:
        text = encode_json(value).encode()  # type: ignore[arg-type]
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    write_bytes(path, text)
    assert read_json(path) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_figures_are_never_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": value})
    assert read_json(path) == {"loss": 1.0}


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_text(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_text(path, "new")
    assert caught.value.exit_code == 6
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | str]]:
    """What was made durable (its inode, which a rename does not change) and what was renamed (to which name), in order."""
    seen: list[tuple[str, int | str]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        seen.append(("durable", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def noted_replace(source: Path | str, target: Path | str) -> None:
        seen.append(("renamed", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", noted_fsync)
    monkeypatch.setattr(files.os, "replace", noted_replace)
    return seen


def durable(*paths: Path) -> list[tuple[str, int | str]]:
    return [("durable", path.stat().st_ino) for path in paths]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, events: list[tuple[str, int | str]]) -> None:
    path = tmp_path / "x.json"
    for text in ("old", "new"):
        events.clear()
        write_text(path, text)
        assert events == [*durable(path), ("renamed", "x.json"), *durable(tmp_path)]


def test_a_durable_line_is_on_the_disk(tmp_path: Path, events: list[tuple[str, int | str]]) -> None:
    append_text(tmp_path / "log", "1\n")
    assert events == []
    append_text(tmp_path / "log", "2\n", durable=True)
    assert events == durable(tmp_path / "log")


def test_all_of_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, events: list[tuple[str, int | str]]) -> None:
    target = tmp_path / "adapter"
    for before in ([], [("renamed", ".adapter.old.tmp")]):
        events.clear()
        with staged_folder(target) as stage:
            (stage / "deep").mkdir()
            (stage / "deep" / "a").write_text("1")
            (stage / "b").write_text("2")
        last = events.index((before or [("renamed", "adapter")])[0])
        assert sorted(events[:last]) == sorted(durable(target, target / "deep", target / "deep" / "a", target / "b"))
        assert events[last:] == [*before, ("renamed", "adapter"), *durable(tmp_path)]


def test_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "no file"), (b"[1]", "list"), (b"{", "line 1, column 2"), (b"\xff", "UTF-8")]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match=expected) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)  # a hole: it takes no room
    with pytest.raises(IntegrityError, match=f"expected at most {MAX_JSON_BYTES} bytes"):
        read_json(tmp_path / "x.json")


def crash_while_staging(target: Path) -> None:
    with staged_folder(target) as stage:
        (stage / "a").write_text("2")
        raise RuntimeError("crash")


def test_staged_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    with staged_folder(target) as stage:
        (stage / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    with pytest.raises(RuntimeError, match="crash"):
        crash_while_staging(target)
    assert (target / "a").read_text() == "1"
    with staged_folder(target) as stage:
        (stage / "b").write_text("3")
    assert sorted(json.dumps(entry.name) for entry in target.iterdir()) == ['"b"']
    assert [entry.name for entry in tmp_path.iterdir()] == ["adapter"]
