"""`loren triage`: each failure on the golden questions with the training rows that are like it, as a worklist. Needs no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loren.data.rows import Row
from loren.data.similar.nearest import Nearest
from loren.errors import ConfigError, IntegrityError
from loren.evaluate.measured import Figure, Measured, read_measured
from loren.evaluate.subjects import run_values
from loren.evaluate.training_rows import training_rows
from loren.evaluate.worklist import Texts, Worklist, write_worklist
from loren.evaluate.yardstick import question_of, read_yardstick, situation
from loren.provenance.digests import sha256_file
from loren.runs.folder import RunFolder
from loren.scoring.slices import Question, slices_of
from loren.scoring.triage import Example, Failure, Fault, Label, grouped
from loren.task.definition import Task, load_task

Say = Callable[[str], None]
NEAREST = 5
"""Training rows that are named beside a failure."""
_OTHER_VALUE = '"(another value)"'
"""Stands for a label that no row and no schema has: a model may put a customer's words there."""


class Wanted(NamedTuple):
    """Which failures are listed."""

    arm: str = "adapter"
    metrics: tuple[str, ...] = ()
    """Empty for what the task was trained for."""
    below: float = 0.5
    """An outcome between 0 and 1 (an F1) is a failure where it is less."""
    preview: bool = False
    """Of the last preview, instead of the last evaluation."""
    show_text: bool = False
    """Questions, targets and replies too."""


class Triage(NamedTuple):
    """The worklist, and where it was written."""

    worklist: Worklist
    files: tuple[Path, Path]
    """Markdown and JSONL."""
    task: Task
    training_file: Path | None


def triage_run(run: RunFolder, wanted: Wanted, *, say: Say) -> Triage:
    """List the failures of an evaluation, and write triage.md and triage.jsonl beside it.

    Args:
        run: an evaluated run.
        wanted: which failures.
        say: takes one line for the user.

    Raises:
        ConfigError: the run has no task, or the evaluation no such arm or metric.
        PrerequisiteError: the run was not evaluated, or its training file is gone.
        IntegrityError: the files of the evaluation do not belong together, or the training file is not what was trained on.
    """
    values = run_values(run.require())
    if not values["task"]:
        raise ConfigError(f"{run.path}: expected a run with a task, found none", hint="set task in the run's configuration")
    task = load_task(Path(values["task"]))
    folder = run.evaluation / "preview" if wanted.preview else run.evaluation
    measured = read_measured(run, wanted.arm, task, preview=wanted.preview)
    metrics = _metrics(measured.figures, wanted)
    golden = read_yardstick(task).rows
    if gone := len({line.id for line in measured.lines} - {row.id for row in golden}):
        raise IntegrityError(
            f"{folder / 'scores.jsonl'}: expected rows of {task.golden_path.name}, found {gone} that it does not hold",
            hint=f"put them back, or run `loren evaluate {run.path} --repin`",
        )
    training = training_rows(run, values, task)
    if training is None:
        say("warning: the training data is not known, so failures are listed without training rows")
    known = training.train if training else []
    failures = _with_nearest(list(_failures(measured, metrics, wanted, golden, (task, known))), golden, known, task)
    worklist = Worklist(
        arm=wanted.arm,
        metrics=metrics,
        asked=len(measured.lines),
        failures=len(failures),
        training_file=Path(values["data"]["path"]).name if training else "",
        training_rows=len(known),
        groups=grouped(failures, Counter(_label(row, task) for row in known) if training else None),
    )
    texts = {row.id: Texts(question_of(row), row.messages[-1].content, measured.replies[row.id].text)
             for row in golden if row.id in measured.replies} if wanted.show_text else None  # fmt: skip
    files = write_worklist(folder, worklist, texts)
    run.record_stage("triage", inputs={"scores": sha256_file(folder / "scores.jsonl")}, verdict="done")
    return Triage(worklist, files, task, Path(values["data"]["path"]) if training else None)


def _metrics(figures: Mapping[str, Figure], wanted: Wanted) -> tuple[str, ...]:
    """The metrics whose failures are listed.

    Raises:
        ConfigError: there is no such metric.
    """
    if unknown := [name for name in wanted.metrics if name not in figures]:
        got = ", ".join(map(repr, unknown))
        raise ConfigError(f"--metric: expected some of {', '.join(figures)}; got {got}")
    return wanted.metrics or tuple(name for name, figure in figures.items() if figure.role == "target")


def _failures(
    measured: Measured, metrics: Sequence[str], wanted: Wanted, golden: Sequence[Row], known: tuple[Task, Sequence[Row]]
) -> Iterator[Failure]:
    """The golden rows on which an arm failed, without training rows yet."""
    task, training = known
    lines = {line.id: line for line in measured.lines}
    questions = [Question(question_of(row), _label(row, task), situation(row)) for row in golden]
    values = _known_values([*(question.labels for question in questions), *(_label(row, task) for row in training)], task)
    for row, slices in zip(golden, slices_of(questions, language=task.language), strict=True):
        if row.id not in lines:
            continue
        outcomes = lines[row.id].arms[wanted.arm]
        bad = {
            name for name, figure in measured.figures.items() if outcomes[name] < (1 if figure.kind == "share" else wanted.below)
        }
        failed = tuple(name for name in metrics if name in bad)
        if failed:
            yield Failure(
                id=row.id,
                line=row.line,
                situation=situation(row),
                slices=slices,
                failed=failed,
                fault=_fault(bad, measured.figures, task),
                expected=_label(row, task),
                found=_answered(measured.replies[row.id].text, task, values),
            )


def _fault(bad: set[str], figures: Mapping[str, Figure], task: Task) -> Fault:
    """What is wrong first: without the form there are no labels, and with wrong labels the words are about something else."""
    if any(figures[name].role == "format" for name in bad):
        return "format"
    return "label" if any(f"exact:{pointer}" in bad for pointer in task.labels) else "wording"


def _with_nearest(failures: Sequence[Failure], golden: Sequence[Row], training: Sequence[Row], task: Task) -> list[Failure]:
    """The failures with the training rows that are most like them."""
    asked = {row.id: question_of(row) for row in golden}
    found = Nearest([question_of(row) for row in training]).find([asked[failure.id] for failure in failures], NEAREST)
    return [
        failure._replace(
            nearest=tuple(
                Example(training[each.place].line, each.similarity, _label(training[each.place], task)) for each in neighbours
            )
        )
        for failure, neighbours in zip(failures, found, strict=True)
    ]


def _label(row: Row, task: Task) -> Label:
    """The label values of a row's target; a row of an adopted run's file may have a target that is none."""
    parsed = task.parse(row.messages[-1].content)
    return task.label_values(parsed.value) if parsed.ok else ("",) * len(task.labels)


def _known_values(labels: Sequence[Label], task: Task) -> list[set[str]]:
    """For each label the values that the schema or a row has."""
    listed = task.label_space() or ((),) * len(task.labels)
    return [{*allowed, *(label[place] for label in labels), ""} for place, allowed in enumerate(listed)]


def _answered(text: str, task: Task, known: Sequence[set[str]]) -> Label | None:
    """The label values of a reply; None where it does not parse."""
    parsed = task.parse(text)
    if not parsed.ok:
        return None
    values = task.label_values(parsed.value)
    return tuple(value if value in allowed else _OTHER_VALUE for value, allowed in zip(values, known, strict=True))
