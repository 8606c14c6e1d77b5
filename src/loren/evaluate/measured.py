"""What an evaluation left in its folder, read again and held against itself: nothing of it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from loren.errors import ConfigError, IntegrityError, PrerequisiteError
from loren.evaluate.predict import read_predictions
from loren.models.protocol import Completion
from loren.runs.files import MAX_JSON_BYTES, read_json
from loren.runs.folder import RunFolder
from loren.task.definition import Task


class Scored(msgspec.Struct, frozen=True):
    """A line of scores.jsonl, as far as it is needed here."""

    id: str
    situation: str
    line: int
    arms: dict[str, dict[str, float]]


class Figure(msgspec.Struct, frozen=True):
    """What a metric is."""

    kind: Literal["share", "mean"]
    role: Literal["format", "target", "text"]


class _Arm(msgspec.Struct, frozen=True):
    metrics: dict[str, Figure]


class _Task(msgspec.Struct, frozen=True):
    digest: str


class _Result(msgspec.Struct, frozen=True):
    arms: dict[str, _Arm]
    task: _Task


class Measured(NamedTuple):
    """An evaluation as one arm has it."""

    lines: list[Scored]
    figures: Mapping[str, Figure]
    replies: Mapping[str, Completion]
    """Row id -> what was answered; one for each line."""


def read_measured(run: RunFolder, arm: str, task: Task, *, preview: bool) -> Measured:
    """The scores and replies of an arm.

    Args:
        run: an evaluated run.
        arm: whose.
        task: as it is now; figures of another one are refused.
        preview: of the last preview, instead of the last evaluation.

    Raises:
        PrerequisiteError: the run has no such evaluation.
        ConfigError: it has no such arm.
        IntegrityError: its files are damaged, or do not belong together.
    """
    folder = run.evaluation / "preview" if preview else run.evaluation
    hint = f"run `loren evaluate {run.path}{' --limit 40' if preview else ''}`"
    if not (folder / "result.json").is_file():
        raise PrerequisiteError(f"{folder}: expected {'a preview' if preview else 'an evaluation'}, found none", hint=hint)
    again = f"{hint}: nothing is asked twice"
    try:
        result = msgspec.convert(read_json(folder / "result.json"), _Result)
    except msgspec.ValidationError as error:
        # The words of the error may quote a value.
        raise IntegrityError(
            f"{folder / 'result.json'}: expected the result of an evaluation, found another file", hint=again
        ) from error
    if arm not in result.arms:
        raise ConfigError(f"--arm: expected one of {', '.join(result.arms)}; got {arm!r}")
    if result.task.digest != task.digest:
        raise IntegrityError(f"{folder / 'result.json'}: expected figures of the task as it is now, found another's", hint=again)
    figures = result.arms[arm].metrics
    lines = read_scores(folder / "scores.jsonl", hint=again)
    if not (folder / f"{arm}.jsonl").is_file():
        raise IntegrityError(f"{folder}: expected {arm}.jsonl, found no such file", hint=again)
    replies = read_predictions(folder / f"{arm}.jsonl")
    if any(line.id not in replies or figures.keys() - line.arms.get(arm, {}).keys() for line in lines):
        raise IntegrityError(f"{folder}: expected a reply and all figures of each scored row, found some without", hint=again)
    return Measured(lines, figures, replies)


def read_scores(path: Path, *, hint: str = "evaluate again") -> list[Scored]:
    """The lines of a scores.jsonl.

    Args:
        path: the file.
        hint: what to do where it is damaged.

    Raises:
        IntegrityError: it is missing, too large or empty, a line is no score, or a row stands in it twice.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_JSON_BYTES else b""
    except OSError as error:
        raise IntegrityError(f"{path}: expected the scores of an evaluation, found no file", hint=hint) from error
    decoder = msgspec.json.Decoder(Scored)
    lines: dict[str, Scored] = {}
    for number, text in enumerate(data.splitlines(), start=1):
        try:
            line = decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise IntegrityError(f"{path}:{number}: expected the scores of a row, found another line", hint=hint) from error
        if line.id in lines:
            raise IntegrityError(f"{path}:{number}: expected each row once, found one again", hint=hint)
        lines[line.id] = line
    if not lines:
        raise IntegrityError(f"{path}: expected scores in at most {MAX_JSON_BYTES} bytes, found none", hint=hint)
    return list(lines.values())
