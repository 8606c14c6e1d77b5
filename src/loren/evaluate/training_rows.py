"""The rows that a run was trained on, read again from its training file, which must be the same file; what may not be asked."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loren.data.approvals import load_approvals
from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.replay import REPLAY_FILE, choose_replay, load_replay
from loren.data.rows import Row
from loren.data.similar.golden import golden_leaks
from loren.errors import DataContractError, IntegrityError, PrerequisiteError
from loren.runs.files import read_json
from loren.runs.folder import METADATA, RunFolder
from loren.task.definition import Task

if TYPE_CHECKING:
    from loren.evaluate.subjects import TrainedRun


class TrainingRows(NamedTuple):
    """Rows by the part of the split that they stand in."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]
    format_in: str | None
    general: Sequence[Row] = ()
    """General rows that were mixed into training (``data.replay``); they are no rows of the file."""


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
    settings = values["data"]
    path, format_in = Path(settings["path"]), settings.get("format")
    general: Sequence[Row] = ()
    if not path.is_file():
        raise PrerequisiteError(
            f"{path}: expected the run's training file, to compare questions with it; found none",
            hint="put it back, or train again where it lies",
        )
    parts: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    if run.split.is_file():
        # An approval that has ended since held when the run was trained.
        approvals = load_approvals(Path(settings["approvals"]), today=datetime.date.min) if settings.get("approvals") else None
        loaded = load_rows(path, task, approvals=approvals, format_in=format_in)
        split: Any = read_json(run.split)
        general = _general_rows(split, values)
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
    return TrainingRows(**parts, format_in=format_in, general=general)


def _general_rows(split: Any, values: dict[str, Any]) -> list[Row]:
    """The general rows of a run: those that were chosen, or all that there are where another version of Loren chose."""
    if "replay" not in split:
        return []
    chosen = choose_replay(split["splits"]["train"]["rows"], share=values["data"]["replay"], seed=values["seed"])
    if chosen is not None and chosen.to_json() == split["replay"]:
        return chosen.rows
    return [each.row for each in load_replay()]


def refuse_seen(trained: TrainedRun, asked: Sequence[Row], *, file: str, what: str, hint: str) -> int | None:
    """What a run is judged by must be unseen: nothing of it may stand in a row that the run was trained on or chosen by.

    Args:
        trained: the run, which has a task.
        asked: the rows that it is to be asked.
        file: their file's name, for the places.
        what: they are, for people.
        hint: what to do about those that were seen.

    Returns:
        With how many rows they were compared; None for an adopted run whose training data nobody named.

    Raises:
        PrerequisiteError: the training file is gone, so nothing can be compared.
        IntegrityError: it is not the file that the run was trained on.
        DataContractError: names each pair of lines.
    """
    rows = trained.training_rows
    if rows is None:
        return None
    seen = [*rows.train, *rows.validation]
    problems = golden_leaks(seen, asked, file=Path(trained.values["data"]["path"]).name, golden_file=file)
    problems += golden_leaks(rows.general, asked, file=REPLAY_FILE, golden_file=file)
    if problems:
        raise DataContractError(f"{file}: {len(problems)} {what} were trained on or chosen by", problems=problems, hint=hint)
    return len(seen) + len(rows.general)
