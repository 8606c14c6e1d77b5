"""What a person sees while a model is downloaded or converted: a bar on a terminal, plain lines elsewhere; on stderr."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from loren.models.cache import Progress as Listener


@contextmanager
def show_fetching(stream: TextIO | None = None) -> Generator[Listener]:
    """A listener for downloads and conversions that shows them while the block runs.

    Args:
        stream: where to show them; stderr by default, since stdout is for data.
    """
    place = stream or sys.stderr
    if not place.isatty():
        yield _Lines(place)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=place)) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar a phase."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if total <= 0:
            self._bars.console.print(what, markup=False, highlight=False)
            return
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(escape(what), total=total)
        self._bars.update(self._tasks[what], completed=done)


class _Lines:
    """One line each tenth of a phase, so that a log stays readable."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if total <= 0:
            self._write(what)
            return
        tenth = 10 * done // total
        if tenth > self._shown.get(what, 0):
            self._shown[what] = tenth
            self._write(f"{what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
