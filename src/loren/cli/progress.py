"""A bar over the bytes of a file, for a person at a terminal who has waited for a second; nothing for anybody else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

DELAY_S = 1.0
"""What is over sooner needs no bar."""


class ByteProgress:
    """Shows how much of a file was read on ``stream`` (stderr by default: stdout is for data); a context manager."""

    def __init__(self, verb: str, *, total: int | None, stream: TextIO | None = None, delay_s: float = DELAY_S) -> None:
        self._console = Console(file=stream or sys.stderr)
        self._verb = verb
        self._total = total
        self._begins = time.monotonic() + delay_s
        self._bar: Progress | None = None

    def __enter__(self) -> ByteProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, bytes_read: int) -> None:
        """So many bytes were read so far."""
        if self._bar is None:
            if not self._console.is_terminal or time.monotonic() < self._begins:
                return
            columns = (TextColumn(self._verb), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"))
            # It goes away at the end: what stays is the report.
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._bar.add_task(self._verb, total=self._total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=bytes_read)
