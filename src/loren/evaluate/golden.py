"""`loren evaluate`: base against adapter on the golden questions. Predictions are a file; scoring needs no model."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from loren.data.load import load_rows
from loren.data.rows import Row
from loren.errors import ConfigError, IntegrityError
from loren.evaluate.predict import is_current, predict_to_file
from loren.evaluate.subjects import Fetching, identity, open_run, open_trained, require_task
from loren.models.protocol import Prompt
from loren.runs.files import Json, write_json
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.scoring.score import score_prediction, summarize
from loren.task.definition import Task

Say = Callable[[str], None]
VARIANTS: tuple[Literal["base", "adapter"], ...] = ("base", "adapter")


class Evaluation(NamedTuple):
    """Where the result lies and what it says."""

    path: Path
    result: dict[str, Any]


def evaluate_run(run: RunFolder, *, limit: int | None, batch_size: int, say: Say, fetching: Fetching) -> Evaluation:
    """Answer the golden questions with base and adapter, and score both.

    Args:
        run: a finished run with a task that has golden questions.
        limit: a fixed stratified sample of so many questions, written under eval/preview/; None for all of them.
        batch_size: prompts answered together.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Raises:
        ConfigError: there is no task or no golden set.
        IntegrityError: the adapter does not match its manifest.
    """
    trained = open_trained(run)
    task, values = require_task(trained), trained.values
    if not task.golden_path.is_file():
        raise ConfigError(f"{task.golden_path}: expected golden questions, found no file")
    golden = load_rows(task.golden_path, task, minimum_rows=0)
    rows = golden.rows if limit is None else stratified(golden.rows, limit)
    if not values["data"]["path"]:
        say("warning: the training data is not known, so nobody can say whether a golden question was trained on")
    folder = run.evaluation / "preview" if limit is not None else run.evaluation
    prompts = [golden_prompt(row) for row in rows]
    for variant in VARIANTS:
        path = folder / f"{variant}.jsonl"
        lead = trained.trained_lead if variant == "adapter" else trained.task_lead
        if is_current(path, identity(trained, variant, lead), prompts, max_new_tokens=task.max_new_tokens):
            say(f"{variant}: all {len(prompts)} questions were answered before")
            continue
        subject = open_run(trained, variant, batch_size=batch_size, fetching=fetching)
        predict_to_file(subject, prompts, path, say=say)
        del subject  # its weights leave memory before the next variant's come
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "golden": {"sha256": golden.sha256, "rows": len(golden.rows), "asked": len(rows)},
        "training_data": "known" if values["data"]["path"] else "unknown",
        "task": {"name": task.name, "version": task.version, "digest": task.digest},
        "variants": {variant: score_file(folder / f"{variant}.jsonl", rows, task) for variant in VARIANTS},
    }
    write_json(folder / "result.json", result)
    run.record_stage("evaluate" if limit is None else "preview", inputs={"golden": golden.sha256}, verdict="done")
    return Evaluation(folder / "result.json", result)


def stratified(rows: Sequence[Row], limit: int) -> list[Row]:
    """A fixed sample: the same rows whatever the order of the file, taken from each label in turn.

    Within a label rows are ordered by a hash of their id, so no author chose them.
    """
    strata: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: hashlib.blake2b(row.id.encode(), key=b"preview").hexdigest()):
        strata[row.label].append(row)
    queues = [strata[label] for label in sorted(strata)]
    turns = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    return sorted(turns[:limit], key=lambda row: row.line)


def golden_prompt(row: Row) -> Prompt:
    """The question of a golden row; its target stays out."""
    return Prompt(row.id, tuple((message.role, message.content) for message in row.messages[:-1]))


def score_file(predictions: Path, rows: Sequence[Row], task: Task) -> dict[str, Json]:
    """Score a predictions file against its rows, paired by id. Needs no model, so it can be repeated.

    Raises:
        IntegrityError: the file does not hold one prediction for each row.
    """
    by_id: dict[str, dict[str, Any]] = {}
    for line in predictions.read_text(encoding="utf-8").splitlines():
        entry = cast("dict[str, Any]", json.loads(line))
        by_id[entry["id"]] = entry
    if set(by_id) != {row.id for row in rows}:
        raise IntegrityError(
            f"{predictions}: expected one prediction a golden row, found others", hint="delete the file and evaluate again"
        )
    return summarize([
        score_prediction(row.messages[-1].content, by_id[row.id]["text"], by_id[row.id]["finish_reason"], task) for row in rows
    ])  # fmt: skip
