"""The files of a run folder, read: those that are there, each against its form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from loren.errors import IntegrityError, Problem
from loren.provenance.manifest import MANIFEST
from loren.report.figures import Part, Result, Scores, Texts
from loren.report.record import Answer, Config, DataReport, Manifest, Metadata, Sanity, Split, Stages, Step
from loren.runs.files import MAX_JSON_BYTES, read_json
from loren.runs.folder import METADATA, RunFolder

_P = TypeVar("_P", bound=Part)
RESULT = "result.json"
SCORES = "scores.jsonl"
_AGAIN = "run the command again that wrote it, with this version of Loren"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What a run folder holds; None or nothing for a file that is not there."""

    run: RunFolder
    config: Config
    stages: Stages | None = None
    data: DataReport | None = None
    split: Split | None = None
    steps: list[Step] = field(default_factory=list[Step])
    metadata: Metadata | None = None
    manifest: Manifest | None = None
    sanity: Sanity | None = None
    result: Result | None = None
    is_preview: bool = False
    """There is no full evaluation; the result is a sample's."""
    scores: list[Scores] = field(default_factory=list[Scores])
    texts: Texts = field(default_factory=dict[str, dict[str, str]])
    """Replies by arm and row; empty unless texts are to be shown."""


def read_run(run: RunFolder, *, show_text: bool) -> RunFiles:
    """Read a run folder.

    Args:
        run: the folder; nothing outside it is read.
        show_text: also read the replies.

    Raises:
        RunFolderError: there is no run here.
        IntegrityError: a file is not of its form, is too large, or holds NaN.
    """
    config = read_form(run.require().config, Config)
    evaluation, is_preview = run.evaluation, False
    if not (evaluation / RESULT).is_file() and (evaluation / "preview" / RESULT).is_file():
        evaluation, is_preview = evaluation / "preview", True
    result = _read(evaluation / RESULT, Result)
    return RunFiles(
        run=run,
        config=config,
        stages=_read(run.stages, Stages),
        data=_read(run.data_report, DataReport),
        split=_read(run.split, Split),
        steps=list(_lines(run.metrics, Step)),
        metadata=_read(run.adapter / METADATA, Metadata),
        manifest=_read(run.adapter / MANIFEST, Manifest),
        sanity=_read(run.sanity, Sanity),
        result=result,
        is_preview=is_preview,
        scores=list(_lines(evaluation / SCORES, Scores)) if result else [],
        texts=_texts(evaluation, result) if result and show_text else {},
    )


def _texts(evaluation: Path, result: Result) -> Texts:
    # An arm's name comes from a file: only the stem of a file that lies here is one.
    there = {path.stem: path for path in evaluation.glob("*.jsonl")}
    return {arm: {line.id: line.text for line in _lines(there[arm], Answer)} for arm in result.arms if arm in there}


def read_form(path: Path, form: type[_P]) -> _P:
    """One JSON file against its form.

    Raises:
        IntegrityError: it is not there, is not of its form, is too large, or holds NaN.
    """
    return _formed(read_json(path), form, str(path))


def _read(path: Path, form: type[_P]) -> _P | None:
    return read_form(path, form) if path.is_file() else None


def _lines(path: Path, form: type[_P]) -> Iterator[_P]:
    """The lines of a JSONL file; a torn last line is left out.

    Raises:
        IntegrityError: a line is not of its form.
    """
    if not path.is_file():
        return
    if (size := path.stat().st_size) > MAX_JSON_BYTES:
        raise IntegrityError(f"{path}: expected at most {MAX_JSON_BYTES} bytes, found {size}")
    lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                return
            raise IntegrityError(f"{path}:{number}: expected a JSON object, found another line") from error
        yield _formed(value, form, f"{path}:{number}")


def _formed(value: Any, form: type[_P], place: str) -> _P:
    try:
        json.dumps(value, ensure_ascii=False).encode()
        return form.model_validate(value)
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can escape and no page can hold
        raise IntegrityError(f"{place}: expected Unicode text, found half a character", hint=_AGAIN) from error
    except ValidationError as error:
        # Only the place and the kind of fault: the value may be a customer's text.
        problems = [
            Problem(f"{place} {'.'.join(str(part) for part in fault['loc'])}".strip(), str(fault["type"]))
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise IntegrityError(
            f"{place}: expected a file as this version of Loren writes it, found another form",
            problems=problems,
            hint=_AGAIN,
        ) from error
