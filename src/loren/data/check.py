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

MAX_LABEL_VALUES = 1000
"""So many values of a label are counted where the schema lists none; a label with more is free text."""

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
    # A file name may hold bytes that are no UTF-8; the report must not.
    report = CheckReport(file=str(path).encode("utf-8", "backslashreplace").decode())
    labels = _LabelCount(task)
    contract = Contract(task)
    try:
        with path.open("rb") as stream:
            reader = LineReader(stream)
            for line in reader:
                verdict = contract.check(line, with_row=on_row is not None)
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
    report.labels = labels.to_json()
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
    """Counts the rows of each label value of the task, in bounded memory."""

    def __init__(self, task: Task | None) -> None:
        labels = task.labels if task else ()
        space = task.label_space() if task else None
        self._listed = dict(zip(labels, space, strict=True)) if space else {}
        self._counts: dict[str, Counter[str]] = {pointer: Counter() for pointer in labels}

    def add(self, label: tuple[str, ...]) -> None:
        """Count the label of one row; a value that could not be read is empty, and counts nowhere."""
        for (pointer, counts), value in zip(self._counts.items(), label, strict=False):
            listed = self._listed.get(pointer)
            if listed and value not in listed:
                value = _OTHER
            if value and (value in counts or len(counts) <= MAX_LABEL_VALUES):
                counts[value] += 1

    def breaches(self) -> Iterator[Breach]:
        """Values with too few rows: those that the schema lists; where it lists none, those that were met."""
        for pointer, counts in self._counts.items():
            listed = self._listed.get(pointer)
            if len(counts) > MAX_LABEL_VALUES:
                message = f"expected at most {MAX_LABEL_VALUES} values of a label, found more; list them in the schema's enum"
                yield Breach("label-too-rare", pointer, message)
                continue
            for value in listed or sorted(counts):
                rows = counts[value]
                if rows < MIN_LABEL_ROWS:
                    shown = value if listed else _shown(value)
                    need = f"expected at least {MIN_LABEL_ROWS} rows with {shown}, found {rows}"
                    yield Breach("label-too-rare", pointer, f"{need}; {MIN_LABEL_ROWS - rows} more are needed")

    def to_json(self) -> dict[str, dict[str, int]]:
        """Label pointer -> value -> rows; a value that may not be shown is counted as other."""
        table: dict[str, dict[str, int]] = {}
        for pointer, counts in self._counts.items():
            listed = self._listed.get(pointer) or ()
            shown = table[pointer] = dict.fromkeys(listed, 0)
            for value, rows in sorted(counts.items()):
                name = value if value in listed else _shown(value)
                shown[name] = shown.get(name, 0) + rows
        return table


_OTHER = "other"
"""Stands for values that no schema lists, or that may be a customer's words; as JSON text no label value is equal to it."""


def _shown(value: str) -> str:
    """A label value that no schema lists: shown only where it looks like a name, for it is text from the file."""
    if value == _OTHER:
        return _OTHER
    text: object = json.loads(value)
    return value if isinstance(text, str) and safe_name(text) == text else _OTHER
