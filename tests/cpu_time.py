"""What a command costs in CPU time: of its own process alone, and as a share of another command in the same minute.

The machine may be slow and busy, so no test asserts on seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

IMPORT_TORCH = (sys.executable, "-c", "import torch")
"""Two to three CPU seconds of importing, as a yardstick."""


def cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of one process; ``RUSAGE_CHILDREN`` would add every other child that ends meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
    return usage.ru_utime + usage.ru_stime


def share_of(command: Sequence[str], yardstick: Sequence[str], *, below: float) -> float:
    """The smallest of up to three ratios of CPU time; the first one under ``below`` ends the measurement."""
    ratio = float("inf")
    for _ in range(3):
        ratio = min(ratio, cpu_seconds(command) / cpu_seconds(yardstick))
        if ratio < below:
            break
    return ratio
