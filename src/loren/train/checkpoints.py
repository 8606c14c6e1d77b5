"""Checkpoints that are whole or absent: which are valid, which one to resume from, which to delete."""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from safetensors import SafetensorError

from loren.errors import IntegrityError, Problem, StorageError
from loren.provenance.manifest import verify_manifest
from loren.runs.files import read_json

TRAINER_STATE = "trainer_state.json"
"""The Trainer's record in a checkpoint; its global_step is the step that the folder is named after."""
_NATIVE_WRITE_FAILURES = (
    "PytorchStreamWriter",
    "iostream error",
    "file write failed",
    "inline_container",
    "unexpected pos",
    "(os error ",
)
"""How torch's writer, which is C++ and knows no OSError, says that the disk refused."""

_NAME = re.compile(r"checkpoint-(\d+)")


Fingerprint: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change of a folder and of all that is in it: equal as long as nobody touched them."""


class Checkpoints(NamedTuple):
    """What a checkpoints folder holds."""

    valid: list[Path]
    """Oldest first."""
    corrupt: list[Problem]
    """One problem a checkpoint that does not match its manifest."""


def list_checkpoints(folder: Path, *, whole: dict[str, Fingerprint] | None = None) -> Checkpoints:
    """Check every `checkpoint-N` of ``folder`` against its manifest.

    Args:
        folder: the run's checkpoints.
        whole: those that this process found whole before, by name. They are hashed again only where a file was touched since; what
            is found whole now is added.
    """
    whole = {} if whole is None else whole
    numbered = sorted(
        (int(found.group(1)), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (found := _NAME.fullmatch(path.name)) and path.is_dir()
    )
    valid: list[Path] = []
    corrupt: list[Problem] = []
    for _, path in numbered:
        seen = _fingerprint(path)
        if whole.get(path.name) == seen:
            valid.append(path)
            continue
        try:
            verify_manifest(path)
            _require_step(path)
        except IntegrityError as error:
            corrupt.append(Problem(path.name, str(error.problems[0]) if error.problems else error.summary))
        else:
            valid.append(path)
            whole[path.name] = seen
    return Checkpoints(valid, corrupt)


def _fingerprint(path: Path) -> Fingerprint:
    found = [(entry, entry.lstat()) for entry in (path, *sorted(path.rglob("*")))]
    return tuple((str(entry), status.st_ino, status.st_size, status.st_mtime_ns) for entry, status in found)


def _require_step(path: Path) -> None:
    found = read_json(path / TRAINER_STATE).get("global_step")
    if found != checkpoint_step(path):
        problem = Problem(TRAINER_STATE, f"expected global_step {checkpoint_step(path)}, as the folder is named; found another")
        raise IntegrityError(f"{path}: not the checkpoint of its name", problems=[problem])


def checkpoint_step(path: Path) -> int:
    """The optimiser step that a checkpoint was saved after."""
    return int(path.name.rpartition("-")[2])


def rotate_checkpoints(folder: Path, *, keep: int, whole: dict[str, Fingerprint] | None = None) -> None:
    """Delete the oldest valid checkpoints beyond ``keep`` (at least 1); corrupt ones are left for their owner to look at.

    Args:
        folder: the run's checkpoints.
        keep: how many valid ones stay.
        whole: see :func:`list_checkpoints`; with it a save hashes the checkpoint that it wrote, and no other.
    """
    for path in list_checkpoints(folder, whole=whole).valid[: -max(1, keep)]:
        shutil.rmtree(path)


@contextmanager
def storage_errors(target: Path) -> Generator[None]:
    """Give the failed writes of native code (safetensors in Rust, torch in C++) the form that our own have.

    Raises:
        StorageError: the disk refused a write inside the block.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not isinstance(error, SafetensorError) and not any(sign in str(error) for sign in _NATIVE_WRITE_FAILURES):
            raise
        raise StorageError(f"could not write {target}: the disk refused", hint="free disk space and --resume") from error
