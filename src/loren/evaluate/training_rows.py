"""The rows that a run was trained on, read again from its training file, which must be the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.rows import Row
from loren.errors import IntegrityError, PrerequisiteError
from loren.runs.files import read_json
from loren.runs.folder import METADATA, RunFolder
from loren.task.definition import Task


class TrainingRows(NamedTuple):
    """Rows by the part of the split that they stand in."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]
    format_in: str | None


def training_rows(run: RunFolder, values: dict[str, Any], task: Task) -> TrainingRows | None:
    """Read a run's training file.

    Args:
        run: the run.
        values: its resolved configuration.
        task: its task.

    Returns:
        Its rows, all of them as train for an adopted run, whose split is not known and whose rows may break rules; None where
        nobody said what the training file was.

    Raises:
        PrerequisiteError: the file is gone.
        IntegrityError: it is not the file that the run was trained on.
    """
    if values["data"]["path"] is None:
        return None
    path, format_in = Path(values["data"]["path"]), values["data"].get("format")
    if not path.is_file():
        raise PrerequisiteError(
            f"{path}: expected the run's training file, to compare questions with it; found none",
            hint="put it back, or train again where it lies",
        )
    parts: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    if run.split.is_file():
        loaded = load_rows(path, task, format_in=format_in)
        split: Any = read_json(run.split)
        found, expected = loaded.sha256, split["source_sha256"]
        lines = {member["line"]: part for part in parts for member in split["splits"][part]["members"]}
        for row in loaded.rows:
            if row.line in lines:
                parts[lines[row.line]].append(row)
    else:
        metadata: Any = read_json(run.adapter / METADATA)
        found = check_file(path, minimum_rows=0, on_row=parts["train"].append, format_in=format_in).sha256
        expected = metadata["dataset"]["sha256"]
    if found != expected:
        raise IntegrityError(f"{path}: expected the file that the run was trained on, found another sha256")
    return TrainingRows(**parts, format_in=format_in)
