"""Kill a training with SIGKILL again and again, and see that nothing is ever lost.

    python tests/killing.py PROJECT KILLS SEED

The heavy libraries are imported once; each training is a fork, so that many kills fit into a test. A third of the kills strike at a
drawn call of fsync or rename, inside a save; the others at a drawn moment between the first optimiser step and the end. After each,
the next training must be able to go on from what is there, and every run that ends must equal the one that was never killed.
Prints one JSON line with what happened.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from running import steps_of, train_here, weights_of


def die_at_write(nth: int) -> None:
    """Let this process be killed at the n-th call that makes something durable."""
    left = nth

    def deadly(call: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapper

    for name in ("fsync", "replace", "rename", "chmod"):
        setattr(os, name, deadly(getattr(os, name)))


def start(project: Path, nth_write: int | None) -> int:
    child = os.fork()
    if child:
        return child
    log = os.open(project / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 70
    try:
        if nth_write is not None:
            die_at_write(nth_write)
        train_here(project, resume=True)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)  # noqa: T201 - the log of the test
    finally:
        os._exit(code)


def wait(child: int) -> int:
    """The exit code; -9 for a process that was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_later(child: int, metrics: Path, seconds: float) -> int:
    """SIGKILL some time after the next step is on the disk; the exit code."""
    size = metrics.stat().st_size if metrics.exists() else 0
    while not (metrics.exists() and metrics.stat().st_size != size):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return wait(child)


def main(project: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    run = project / "runs" / "a"
    began = time.monotonic()
    assert wait(start(project, None)) == 0, (project / "log.txt").read_text()
    lasted = time.monotonic() - began
    steps, weights = steps_of(run), weights_of(run)
    shutil.rmtree(run)
    killed, in_save, finished = 0, 0, 0
    while killed < kills or not finished:
        is_save = killed % 3 == 0 and killed < kills
        child = start(project, rng.randint(1, 120) if is_save else None)
        is_left_alone = is_save or killed >= kills
        code = wait(child) if is_left_alone else kill_later(child, run / "metrics.jsonl", rng.uniform(0, lasted / 2))
        assert code in {0, -signal.SIGKILL}, (project / "log.txt").read_text()
        killed += code != 0
        in_save += code != 0 and is_save
        if code == 0:
            assert steps_of(run) == steps, "a resumed run took other steps"
            assert weights_of(run) == weights, "a resumed run ended in other weights"
            leftovers = [path.name for path in run.rglob(".*") if path.name != ".lock"]
            assert not leftovers, leftovers
            finished += 1
            shutil.rmtree(run)
    print(json.dumps({"killed": killed, "in_save": in_save, "finished": finished, "steps": len(steps)}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
