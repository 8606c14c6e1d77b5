"""A file -> its report: one pass, constant memory, every issue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loren.data.contract import Contract, Verdict
from loren.data.label_count import LabelCount
from loren.data.reader import LineReader
from loren.data.report import CheckReport
from loren.data.rows import Row
from loren.data.rules import issue
from loren.data.survey import RowCount, Survey
from loren.data.text_checks import TextCheck
from loren.errors import ConfigError

if TYPE_CHECKING:
    from loren.task.definition import Task

MIN_ROWS = 10
"""Below this number hosted services refuse a file, and neither a split nor a loss means anything."""


def check_file(
    path: Path,
    task: Task | None = None,
    *,
    minimum_rows: int = MIN_ROWS,
    on_row: Callable[[Row], None] | None = None,
    more_checks: Sequence[TextCheck] = (),
) -> CheckReport:
    """Check a JSONL file against the data contract.

    Args:
        path: the file.
        task: with a task, targets and label values are judged too.
        minimum_rows: fewer are an error; 0 turns the rules for the file as a whole off, those for labels too.
        on_row: called with every row that breaks no error-level rule, in order.
        more_checks: looks at texts besides the rules' own.

    Returns:
        The report, which holds every issue.

    Raises:
        ConfigError: there is no such file, or it can't be read.
    """
    # A file name may hold bytes that are no UTF-8; the report must not.
    report = CheckReport(file=str(path).encode("utf-8", "backslashreplace").decode())
    labels = LabelCount(task)
    surveys: tuple[Survey, ...] = (RowCount(minimum_rows), labels)
    contract = Contract(task, more_checks)
    try:
        with path.open("rb") as stream:
            reader = LineReader(stream)
            for line in reader:
                verdict = contract.check(line, with_row=on_row is not None)
                _add(report, verdict, line.number)
                for survey in surveys:
                    survey.add(line.number, verdict)
                if on_row is not None and verdict.row is not None:
                    on_row(verdict.row)
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a JSONL file, found {error.strerror or 'an unreadable one'}",
            hint="give the path of a file with one JSON object a line",
        ) from error
    report.sha256, report.blank_lines = reader.sha256, reader.blank_lines
    report.labels = labels.to_json()
    if minimum_rows > 0:
        for survey in surveys:
            for line_number, breach in survey.breaches():
                report.issues.append(issue(breach, line_number))
    return report


def _add(report: CheckReport, verdict: Verdict, line: int) -> None:
    report.rows += 1
    report.object_targets += verdict.object_target
    for breach in verdict.breaches:
        report.issues.append(issue(breach, line))
