"""A clean file -> its rows; a broken one -> an error with its problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from loren.data.check import MIN_ROWS, check_file
from loren.data.report import CheckReport
from loren.data.rows import Row
from loren.data.similar.golden import GoldenIndex, golden_leaks
from loren.errors import DataContractError, Problem

if TYPE_CHECKING:
    from loren.data.approvals import Approvals
    from loren.task.definition import Task

MAX_PROBLEMS = 100
"""Problems that the error lists; `loren check` lists every one."""


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """The rows of a file that keeps the contract."""

    rows: list[Row]
    sha256: str
    """Of the file that the rows were read from, in the same pass."""
    report: CheckReport
    """Holds warnings and approved issues only."""


def load_rows(
    path: Path,
    task: Task | None = None,
    *,
    minimum_rows: int = MIN_ROWS,
    approvals: Approvals | None = None,
    format_in: str | None = None,
) -> LoadedRows:
    """Read a file that must keep the contract.

    Args:
        path: the file.
        task: with a task, targets and label values are judged too.
        minimum_rows: 0 for a file that nothing is trained on, such as a golden set: the rules for the file as a whole are off.
        approvals: issues that someone answers for; rows that break no other rule are fit.
        format_in: the format of the rows, where it is not to be detected.

    Raises:
        DataContractError: it does not; with the problems, by line.
    """
    rows: list[Row] = []
    report = check_file(path, task, minimum_rows=minimum_rows, on_row=rows.append, approvals=approvals, format_in=format_in)
    if report.errors:
        more = f" (the first {MAX_PROBLEMS} are listed)" if report.errors > MAX_PROBLEMS else ""
        raise DataContractError(
            f"data contract failed: {report.errors} error(s) in {path}{more}",
            problems=list(islice(_problems(path, report), MAX_PROBLEMS)),
            hint=f"run `loren check {path}` and mend the file",
        )
    return LoadedRows(rows, report.sha256, report)


def refuse_golden_rows(rows: Iterable[Row], task: Task | None, file: Path, *, hint: str) -> None:
    """Nothing of the task's golden rows may be among rows that a model is trained on or chosen by.

    Args:
        rows: of the training file.
        task: without one, or without its golden file, nothing is looked for.
        file: the training file, for the places.
        hint: what to do about it.

    Raises:
        DataContractError: names every leaking row with both line numbers.
    """
    if task is None or not task.golden_path.is_file():
        return
    golden = load_rows(task.golden_path, task, minimum_rows=0)
    problems = golden_leaks(rows, golden.rows, file=file.name, golden_file=task.golden_path.name)
    if problems:
        summary = f"{file}: {len(problems)} row(s) share something with golden rows"
        raise DataContractError(summary, problems=problems, hint=hint)


def read_golden(paths: Iterable[Path]) -> GoldenIndex:
    """The index of some golden files, whose rows are named by file name and line.

    Raises:
        ConfigError: one can't be read.
        DataContractError: one breaks the contract: what it holds could not be compared.
    """
    return GoldenIndex([(path.name, load_rows(path, minimum_rows=0).rows) for path in paths])


def _problems(path: Path, report: CheckReport) -> Iterator[Problem]:
    for issue in report.issues:
        if issue.severity == "error":
            place = f"{path.name}:{issue.line}" if issue.line else path.name
            yield Problem(f"{place}  {issue.path}".rstrip(), issue.message, issue.rule)
