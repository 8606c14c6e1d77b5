"""Stopping on a signal without losing the step: the handler only takes a note, the trainer acts on it when the step is over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from loren.errors import EXIT_INTERRUPTED


class StopRequest:
    """Whether someone asked the training to end after the optimiser step at hand."""

    requested = False


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request; a second signal ends the process at once (exit code 130).

    Outside the main thread no handler can be set; the request then never comes.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.requested:
            os._exit(EXIT_INTERRUPTED)  # a library may be in the middle of anything: no clean-up, the files are whole at any moment
        request.requested = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
