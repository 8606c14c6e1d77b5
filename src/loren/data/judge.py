"""Lines -> verdicts in the file's order, in this process or in several; what is found is the same.

With several, this process reads blocks of whole lines, hands them out, and puts the verdicts together again. Most lines are clean,
so what comes back is a column for each field of a verdict, and the breaches of the few lines that have some.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from loren.data.contract import Contract, Verdict
from loren.data.reader import MAX_BLOCK_LINES, MAX_LINE_BYTES, Block, Line, LineReader, lines_in
from loren.data.rules import Breaches
from loren.errors import PrerequisiteError

BIG_FILE_BYTES = 32 * 1024 * 1024
"""A smaller file is judged before other processes have started: that takes some 0.3 CPU seconds each."""
MAX_PROCESSES = 8
"""So many are chosen at most; the process that reads and merges can't keep more of them busy."""
_PORTION_BYTES = 1024 * 1024
_TOGETHER = 64
_TOGETHER_BYTES = 128 * 1024
"""Lines that pass through the stages together, and the size at which there are enough of them."""
_BLOCKS_AHEAD = 2
"""Blocks for each process that are read ahead of the verdicts."""
_DIED = "expected all processes of the check to live until its end, found that one died; memory may be short"
_WAY_OUT = "run the command again with --processes 1"


def usual_processes(path: Path) -> int:
    """How many processes a file is worth: 1 for a small one, the cores that this process may use for a big one."""
    try:
        size = path.stat().st_size
    except OSError:  # there is none, which the check will say
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_PROCESSES) if size >= BIG_FILE_BYTES else 1


def judge(lines: Iterable[Line], contract: Contract, *, with_rows: bool, processes: int = 1) -> Iterator[tuple[int, Verdict]]:
    """Yield the number of every line that is not blank with its verdict, in order.

    Args:
        lines: a reader of lines, which may hand over whole blocks, or what else gives lines.
        contract: the rules.
        with_rows: whether verdicts hold the rows.
        processes: how many judge; 1 is this one.

    Raises:
        PrerequisiteError: one of several processes died.
    """
    if processes > 1:
        return _judge_in_processes(lines, contract, with_rows=with_rows, processes=processes)
    return _judge_here(lines, contract, with_rows=with_rows)


def _judge_here(lines: Iterable[Line], contract: Contract, *, with_rows: bool) -> Iterator[tuple[int, Verdict]]:
    for together in _portions(lines, _TOGETHER, _TOGETHER_BYTES):
        numbers = [line.number for line in together]
        yield from zip(numbers, contract.check_all(together, with_rows=with_rows), strict=True)


def _portions(lines: Iterable[Line], most_lines: int, enough_bytes: int) -> Iterator[list[Line]]:
    """Lines that follow each other: so many, or fewer that are so large together, so that long lines don't fill the memory."""
    portion: list[Line] = []
    size = 0
    for line in lines:
        portion.append(line)
        size += len(line.data or b"")
        if len(portion) >= most_lines or size >= enough_bytes:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


class _Setup(NamedTuple):
    contract: Contract
    with_rows: bool
    max_line_bytes: int


class _Judged(NamedTuple):
    """What is known about the lines of a block that are not blank."""

    numbers: list[int]
    columns: list[tuple[Any, ...]]
    """Field by field of a verdict (but the breaches), the values of all lines."""
    breaches: dict[int, Breaches]
    """Place of a line in the block -> its breaches."""
    blank_lines: int


_COLUMNS = tuple(field.name for field in fields(Verdict) if field.name != "breaches")
_columns_of = attrgetter(*_COLUMNS)


def _work(lines: Iterable[Line]) -> Iterator[Block | list[Line]]:
    """The lines in the portions that are handed out."""
    if isinstance(lines, LineReader):
        yield from lines.blocks()
    else:
        yield from _portions(lines, MAX_BLOCK_LINES, _PORTION_BYTES)


def _judge_in_processes(
    lines: Iterable[Line], contract: Contract, *, with_rows: bool, processes: int
) -> Iterator[tuple[int, Verdict]]:
    reader = lines if isinstance(lines, LineReader) else None
    setup = _Setup(contract, with_rows, reader.max_line_bytes if reader else MAX_LINE_BYTES)
    judges: list[_Judge] = []
    pending: deque[_Judge] = deque()
    """Who answers next: in the order in which the portions were handed out."""
    try:
        for place, portion in enumerate(_work(lines)):
            if place < processes:
                with _interrupts_held():
                    judges.append(_Judge(setup))
            chosen = judges[place % processes]
            chosen.send(portion)
            pending.append(chosen)
            if len(pending) > processes * _BLOCKS_AHEAD:
                yield from _verdicts(pending.popleft().receive(), reader)
        while pending:
            yield from _verdicts(pending.popleft().receive(), reader)
    finally:
        for each in judges:
            each.end()


class _Judge:
    """A process that judges portions in the order in which it gets them.

    Each has a pipe of its own. In one that they share, as `concurrent.futures` has it, a process that dies in the middle of an
    answer leaves half of it, and who reads waits for the other half for ever.
    """

    def __init__(self, setup: _Setup) -> None:
        # Spawned, not forked: a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, setup), daemon=True)
        self._process.start()
        theirs.close()  # else this end would never hear that the process died

    def send(self, portion: Block | list[Line]) -> None:
        """Hand out a portion; it is taken at once, for the process reads while it judges.

        Raises:
            PrerequisiteError: the process died.
        """
        try:
            self._pipe.send(portion)
        except ConnectionError as error:
            raise PrerequisiteError(_DIED, hint=_WAY_OUT) from error

    def receive(self) -> _Judged:
        """The next answer.

        Raises:
            PrerequisiteError: the process died.
            Exception: what a rule raised there.
        """
        try:
            answer: _Judged | Exception = self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise PrerequisiteError(_DIED, hint=_WAY_OUT) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


@contextmanager
def _interrupts_held() -> Generator[None]:
    """Ctrl-C reaches this process later, and those that start here never: they would print a traceback until they ignore it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # before the next line, for it lets Ctrl-C through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _verdicts(judged: _Judged, reader: LineReader | None) -> Iterator[tuple[int, Verdict]]:
    if reader is not None:
        reader.blank_lines += judged.blank_lines
    breaches = judged.breaches
    for place, (number, values) in enumerate(zip(judged.numbers, zip(*judged.columns, strict=True), strict=True)):
        yield number, Verdict(breaches.get(place) or Breaches(), *values)


# In the other processes.


def _serve(pipe: Connection, setup: _Setup) -> None:
    """Judge until the pipe is closed or its other end died."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that merges ends the others
    portions: SimpleQueue[Block | list[Line]] = SimpleQueue()
    threading.Thread(target=_read, args=(pipe, portions), daemon=True).start()
    while True:
        portion = portions.get()
        answer: _Judged | Exception
        try:
            answer = _judge_portion(setup, portion)
        except Exception as error:
            error.add_note(traceback.format_exc())  # the other process has another stack
            answer = error
        try:
            pipe.send(answer)
        except ConnectionError:  # nobody listens any more
            return


def _read(pipe: Connection, portions: SimpleQueue[Block | list[Line]]) -> None:
    """Take portions while others are judged: two processes that both wait until the other reads would wait for ever."""
    with suppress(EOFError, OSError):
        while True:
            portions.put(pipe.recv())
    os._exit(1)  # also when the parent was killed


def _judge_portion(setup: _Setup, portion: Block | list[Line]) -> _Judged:
    contract, with_rows, max_line_bytes = setup
    numbers: list[int] = []
    verdicts: list[Verdict] = []
    lines, blank_lines = lines_in(portion, max_line_bytes=max_line_bytes) if isinstance(portion, Block) else (portion, 0)
    for together in _portions(lines, _TOGETHER, _TOGETHER_BYTES):
        numbers += [line.number for line in together]
        verdicts += contract.check_all(together, with_rows=with_rows)
    breaches = {place: verdict.breaches for place, verdict in enumerate(verdicts) if verdict.breaches}
    columns = list(zip(*map(_columns_of, verdicts), strict=True)) or [()] * len(_COLUMNS)
    return _Judged(numbers, columns, breaches, blank_lines)
