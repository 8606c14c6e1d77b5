"""Rows of each label value of the task: a survey, and the table that reports show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from loren.data.contract import Verdict
from loren.data.pointer import safe_name
from loren.data.rules import Breach

if TYPE_CHECKING:
    from loren.task.definition import Task

MAX_LABEL_VALUES = 1000
"""So many values of a label are counted where the schema lists none; a label with more is free text."""

MIN_LABEL_ROWS = 3
"""Rows that each label value needs: one can go to validation, and what is left to learn from is more than a single example."""


class LabelCount:
    """Counts the rows of each label value of the task, in bounded memory."""

    def __init__(self, task: Task | None) -> None:
        labels = task.labels if task else ()
        space = task.label_space() if task else None
        self._listed = dict(zip(labels, space, strict=True)) if space else {}
        self._counts: dict[str, Counter[str]] = {pointer: Counter() for pointer in labels}

    def add(self, line: int, verdict: Verdict) -> None:
        """Count the label of one row; a value that could not be read is empty, and counts nowhere."""
        for (pointer, counts), value in zip(self._counts.items(), verdict.label, strict=False):
            listed = self._listed.get(pointer)
            if listed and value not in listed:
                value = _OTHER
            if value and (value in counts or len(counts) <= MAX_LABEL_VALUES):
                counts[value] += 1

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Values with too few rows: those that the schema lists; where it lists none, those that were met."""
        for pointer, counts in self._counts.items():
            listed = self._listed.get(pointer)
            if len(counts) > MAX_LABEL_VALUES:
                message = f"expected at most {MAX_LABEL_VALUES} values of a label, found more; list them in the schema's enum"
                yield 0, Breach("label-too-rare", pointer, message)
                continue
            for value in listed or sorted(counts):
                rows = counts[value]
                if rows < MIN_LABEL_ROWS:
                    shown = value if listed else shown_label(value)
                    need = f"expected at least {MIN_LABEL_ROWS} rows with {shown}, found {rows}"
                    yield 0, Breach("label-too-rare", pointer, f"{need}; {MIN_LABEL_ROWS - rows} more are needed")

    def to_json(self) -> dict[str, dict[str, int]]:
        """Label pointer -> value -> rows; a value that may not be shown is counted as other."""
        table: dict[str, dict[str, int]] = {}
        for pointer, counts in self._counts.items():
            listed = self._listed.get(pointer) or ()
            shown = table[pointer] = dict.fromkeys(listed, 0)
            for value, rows in sorted(counts.items()):
                name = value if value in listed else shown_label(value)
                shown[name] = shown.get(name, 0) + rows
        return table


_OTHER = "other"
"""Stands for values that no schema lists, or that may be a customer's words; as JSON text no label value is equal to it."""


def shown_label(value: str) -> str:
    """A label value that no schema lists, as JSON text: shown only where it looks like a name, for it is text from the file."""
    if value == _OTHER:
        return _OTHER
    text: object = json.loads(value)
    return value if isinstance(text, str) and safe_name(text) == text else _OTHER
