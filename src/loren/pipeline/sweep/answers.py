"""What the trained runs of a sweep answer to rows that none of them was trained on, and how each answer scores."""
# pyright: basic

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loren.data.load import refuse_golden_rows
from loren.data.rows import Row
from loren.errors import DataContractError
from loren.models.protocol import Completion
from loren.pipeline.sweep.record import SweepRun, failure_of
from loren.pipeline.sweep.trainings import Workshop, leaves_base_alone
from loren.provenance.digests import sha256_json
from loren.runs.files import Json, read_json
from loren.scoring.criteria import Reply
from loren.scoring.score import Outcomes, score_prediction
from loren.task.definition import Task

if TYPE_CHECKING:
    from pathlib import Path

    from loren.evaluate.subjects import Fetching, Subject, TrainedRun
    from loren.train.inputs import Data


@dataclass(frozen=True)
class JudgedRows:
    """The rows by which variants are compared, in the order of the file."""

    part: Literal["test", "validation"]
    rows: Sequence[Row]
    situations: Mapping[str, str]
    """Row id -> group of the split: rows that ask the same stand and fall together."""
    task: Task

    def to_json(self) -> dict[str, Json]:
        """``judged_on`` of sweep.json."""
        ids = [row.id for row in self.rows]
        return {
            "part": self.part,
            "rows": len(ids),
            "situations": len(set(self.situations.values())),
            "ids_sha256": sha256_json(ids),
        }


def judged_rows(data: Data, task: Task, file: Path) -> JudgedRows:
    """Test rows, or where there are none those of validation: no training chose anything by them either.

    Raises:
        DataContractError: one of them shares something with a golden row, which must not choose.
    """
    part: Literal["test", "validation"] = "test" if data.split.test else "validation"
    refuse_golden_rows(data.split.test, task, file, hint="take these rows out of the training file: golden rows choose no variant")
    rows = list({row.id: row for row in (data.split.test or data.split.validation)}.values())
    return JudgedRows(part, rows, {row.id: data.split.group_ids[row.line] for row in rows}, task)


def judge(run: SweepRun, judged: JudgedRows, workshop: Workshop, *, batch_size: int, fetching: Fetching) -> None:
    """Ask a trained run every row, unless that was done before, and score its answers.

    The adapter is read from its folder, as every later reader will, onto the base that is in memory.

    Raises:
        DataContractError: the target of a row does not parse.
    """
    from loren.evaluate.predict import is_current, predict_to_file, read_predictions, sidecar_path
    from loren.evaluate.subjects import identity, open_trained
    from loren.evaluate.yardstick import prompt_of

    path = run.folder.evaluation / judged.part / "adapter.jsonl"
    prompts = [prompt_of(row) for row in judged.rows]
    try:
        trained = open_trained(run.folder)
        asked = identity(trained, "adapter", trained.trained_lead)
        if is_current(path, asked, prompts, max_new_tokens=judged.task.max_new_tokens):
            workshop.say(f"{run.name}: all {len(prompts)} {judged.part} rows were answered before")
        else:
            workshop.say(f"{run.name}: answering {len(prompts)} {judged.part} rows")
            predict_to_file(_subject(run, trained, workshop, batch_size=batch_size, fetching=fetching), prompts, path, say=_quietly)
        completions, sidecar = read_predictions(path), read_json(sidecar_path(path))
        run.answers = {name: sidecar[name] for name in ("seconds", "cut", "completion_tokens")}
        run.scores = {row.id: _score(row, completions[row.id], judged.task) for row in judged.rows}
        run.status = "judged"
    except DataContractError:
        raise  # a target of the file itself: it is wrong for every run
    except Exception as error:  # whatever it is, the others go on
        run.status, run.failure = "failed", failure_of(error)
        workshop.say(f"{run.name}: failed with {run.failure.kind}: {run.failure.message}")


def _subject(run: SweepRun, trained: TrainedRun, workshop: Workshop, *, batch_size: int, fetching: Fetching) -> Subject:
    from loren.evaluate.subjects import Subject, identity, open_run
    from loren.models.generate import HuggingFaceGenerator
    from loren.models.loading import attach_adapter, choose_dtype

    config, prepared = run.config.config, workshop.prepared
    if not leaves_base_alone(config):
        workshop.shared.release()
        return open_run(trained, "adapter", batch_size=batch_size, fetching=fetching)
    base = workshop.shared.take(prepared.base, choose_dtype("auto"), trust_remote_code=config.trust_remote_code)
    model = attach_adapter(base, run.folder.adapter)
    return Subject(
        name="adapter",
        generator=HuggingFaceGenerator(model, prepared.tokenizer, prepared.renderer, batch_size=batch_size),
        lead=trained.trained_lead,
        max_new_tokens=trained.max_new_tokens,
        identity=identity(trained, "adapter", trained.trained_lead),
    )


def _quietly(text: str) -> None:
    """A line a run is enough."""


def _score(row: Row, completion: Completion, task: Task) -> Outcomes:
    from loren.evaluate.yardstick import question_of

    return score_prediction(row.messages[-1].content, Reply(question_of(row), completion.text, completion.finish_reason), task)
