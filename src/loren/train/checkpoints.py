"""Checkpoints that are whole or absent: which are valid, which one to resume from, which to delete."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from loren.errors import IntegrityError, Problem
from loren.provenance.manifest import verify_manifest

_NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoints(NamedTuple):
    """What a checkpoints folder holds."""

    valid: list[Path]
    """Oldest first."""
    corrupt: list[Problem]
    """One problem a checkpoint that does not match its manifest."""


def list_checkpoints(folder: Path) -> Checkpoints:
    """Check every `checkpoint-N` of ``folder`` against its manifest."""
    numbered = sorted(
        (int(found.group(1)), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (found := _NAME.fullmatch(path.name)) and path.is_dir()
    )
    valid: list[Path] = []
    corrupt: list[Problem] = []
    for _, path in numbered:
        try:
            verify_manifest(path)
        except IntegrityError as error:
            corrupt.append(Problem(path.name, str(error.problems[0]) if error.problems else error.summary))
        else:
            valid.append(path)
    return Checkpoints(valid, corrupt)


def checkpoint_step(path: Path) -> int:
    """The optimiser step that a checkpoint was saved after."""
    return int(path.name.rpartition("-")[2])


def rotate_checkpoints(folder: Path, *, keep: int) -> None:
    """Delete the oldest valid checkpoints beyond ``keep`` (at least 1); corrupt ones are left for their owner to look at."""
    for path in list_checkpoints(folder).valid[: -max(1, keep)]:
        shutil.rmtree(path)
