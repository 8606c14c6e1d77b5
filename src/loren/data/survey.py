"""Rules that need more than one line: a survey sees the verdict on every line in order, and speaks when the file has ended.

What it holds between must be bounded, or small and stated for each row: files of millions of rows are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from loren.data.contract import Verdict
from loren.data.rules import Breach


class Survey(Protocol):
    """A rule, or several, over the file."""

    def add(self, line: int, verdict: Verdict) -> None:
        """See the verdict on one line that is not blank; lines come in the file's order."""
        ...

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Yield what was found, each with its 1-based line, or 0 for the file as a whole; called once, after the last line."""
        ...


class RowCount:
    """Is there enough to learn from?"""

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum
        self._rows = 0

    def add(self, line: int, verdict: Verdict) -> None:
        """Count one line."""
        self._rows += 1

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Too few lines."""
        if self._rows < self._minimum:
            missing = self._minimum - self._rows
            found = f"expected at least {self._minimum} rows, found {self._rows}; {missing} more are needed"
            yield 0, Breach("too-few-rows", "", found)
