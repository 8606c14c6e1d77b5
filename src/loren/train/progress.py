"""What a person sees while training: a bar with ETA, loss and tokens a second, or plain lines when nobody is at a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """Shows optimiser steps on ``stream`` (stderr by default: stdout is for data), or nowhere if it is not to be shown."""

    def __init__(self, *, logging_steps: int, stream: TextIO | None = None, is_shown: bool = True) -> None:
        self._is_shown = is_shown
        self._stream = stream or sys.stderr
        self._logging_steps = logging_steps
        self._total = 0
        self._started = time.perf_counter()
        self._first_step = 0
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} tokens/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=False,
        )
        self._task = self._bar.add_task("training", total=None, loss="-", rate="-")

    @property
    def _is_terminal(self) -> bool:
        return self._is_shown and self._bar.console.is_terminal

    def start(self, *, step: int, total: int) -> None:
        """Begin at ``step`` of ``total``."""
        self._total, self._first_step, self._started = total, step, time.perf_counter()
        self._bar.update(self._task, completed=step, total=total)
        if self._is_terminal:
            self._bar.start()

    def step(self, step: int, *, loss: float, tokens: int, seconds: float) -> None:
        """One optimiser step is over."""
        rate = tokens / seconds if seconds > 0 else 0.0
        self._bar.update(self._task, completed=step, loss=f"{loss:.4f}", rate=f"{rate:.0f}")
        if not self._is_terminal and (step % self._logging_steps == 0 or step == self._total):
            spent = time.perf_counter() - self._started
            left = spent / (step - self._first_step) * (self._total - step) if step > self._first_step else 0.0
            self.say(f"step {step}/{self._total}  loss {loss:.4f}  {rate:.0f} tokens/s  {_clock(left)} left")

    def evaluation(self, step: int, loss: float) -> None:
        """A validation loss was computed."""
        self.say(f"step {step}/{self._total}  validation loss {loss:.4f}")

    def stop(self) -> None:
        """Leave the bar as it stands."""
        if self._is_terminal:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One plain line, above the bar where there is one."""
        if self._is_terminal:
            self._bar.console.print(text, highlight=False)
        elif self._is_shown:
            print(text, file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
