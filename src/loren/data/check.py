"""A file -> its report: one pass, constant memory, every issue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loren.data.contract import Contract, Verdict
from loren.data.pointer import safe_name
from loren.data.reader import LineReader
from loren.data.report import CheckReport
from loren.data.rows import Row
from loren.data.rules import Breach, issue
from loren.errors import ConfigError

if TYPE_CHECKING:
    from loren.task.definition import Task

MIN_ROWS = 10
"""Below this number hosted services refuse a file, and neither a split nor a loss means anything."""

MIN_LABEL_ROWS = 3
"""Rows that each label value needs: one can go to validation, and what is left to learn from is more than a single example."""


def check_file(
    path: Path, task: Task | None = None, *, minimum_rows: int = MIN_ROWS, on_row: Callable[[Row], None] | None = None
) -> CheckReport:
    """Check a JSONL file against the data contract.

    Args:
        path: the file.
        task: with a task, targets and label values are judged too.
        minimum_rows: fewer are an error; 0 turns the rules for the file as a whole off, those for labels too.
        on_row: called with every row that breaks no error-level rule, in order.

    Returns:
        The report, which holds every issue.

    Raises:
        ConfigError: there is no such file, or it can't be read.
    """
    report = CheckReport(file=str(path))
    labels = _LabelCount(task)
    contract = Contract(task)
    try:
        with path.open("rb") as stream:
            reader = LineReader(stream)
            for line in reader:
                verdict = contract.check(line)
                _add(report, verdict, line.number)
                labels.add(verdict.label)
                if on_row is not None and verdict.row is not None:
                    on_row(verdict.row)
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a JSONL file, found {error.strerror or 'an unreadable one'}",
            hint="give the path of a file with one JSON object a line",
        ) from error
    report.sha256, report.blank_lines = reader.sha256, reader.blank_lines
    report.labels = labels.counts
    if minimum_rows > 0:
        for breach in (*_row_count(report.rows, minimum_rows), *labels.breaches()):
            report.issues.append(issue(breach, 0))
    return report


def _add(report: CheckReport, verdict: Verdict, line: int) -> None:
    report.rows += 1
    report.object_targets += verdict.object_target
    for breach in verdict.breaches:
        report.issues.append(issue(breach, line))


def _row_count(rows: int, minimum: int) -> Iterator[Breach]:
    if rows < minimum:
        yield Breach("too-few-rows", "", f"expected at least {minimum} rows, found {rows}; {minimum - rows} more are needed")


class _LabelCount:
    """Counts the rows of each label value of the task."""

    def __init__(self, task: Task | None) -> None:
        labels = task.labels if task else ()
        self.counts: dict[str, Counter[str]] = {pointer: Counter() for pointer in labels}
        space = task.label_space() if task else None
        self._listed = dict(zip(labels, space, strict=True)) if space else {}

    def add(self, label: tuple[str, ...]) -> None:
        """Count the label of one row; a value that could not be read is empty, and counts nowhere."""
        for counter, value in zip(self.counts.values(), label, strict=False):
            if value:
                counter[value] += 1

    def breaches(self) -> Iterator[Breach]:
        """Values with too few rows: those that the schema lists; where it lists none, those that were met."""
        for pointer, counts in self.counts.items():
            listed = self._listed.get(pointer)
            for value in listed or sorted(counts):
                rows = counts[value]
                if rows < MIN_LABEL_ROWS:
                    shown = value if listed else _shown(value)
                    need = f"expected at least {MIN_LABEL_ROWS} rows with {shown}, found {rows}"
                    yield Breach("label-too-rare", pointer, f"{need}; {MIN_LABEL_ROWS - rows} more are needed")


def _shown(value: str) -> str:
    """A label value that no schema lists: shown only where it looks like a name, for it is text from the file."""
    decoded: object = json.loads(value)
    return value if not isinstance(decoded, str) or safe_name(decoded) == decoded else "a value that is not shown"
