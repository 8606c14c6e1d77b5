"""Run by torchrun: a training in this group of processes, stopped after each of some steps and resumed, ends in the same bits.

At the last it is stopped by a signal that one process alone gets, and resumed.

torchrun --nproc-per-node 2 tests/two_processes.py PROJECT STEPS STOP,STOP,...
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from loren.errors import TrainingInterrupted
from loren.train.trainer import LorenTrainer
from running import rewind, state_of, steps_of, train_here


def main(project: Path, steps: int, stops: list[int]) -> None:
    settings = (f"train.max_steps={steps}", "train.save_steps=1", "train.save_total_limit=30")
    run, full = project / "runs" / "a", project / "runs" / "full"
    train_here(project, *settings)
    is_main = dist.get_rank() == 0
    dist.barrier()
    if is_main:
        run.rename(full)
    for step in stops:
        if is_main:
            rewind(full, run, step=step)
        dist.barrier()
        torch.manual_seed(step + dist.get_rank())
        train_here(project, *settings, resume=True)
        dist.barrier()
        if is_main:
            assert steps_of(run) == steps_of(full), step
            assert state_of(run, steps) == state_of(full, steps), step
    run_to_a_signal(project, settings, run)
    train_here(project, *settings, resume=True)
    dist.barrier()
    if is_main:
        assert steps_of(run) == steps_of(full)
        assert state_of(run, steps) == state_of(full, steps)
        print(f"{len(stops)} stops, {len(state_of(full, steps))} files")  # noqa: T201 - what the test reads


def run_to_a_signal(project: Path, settings: tuple[str, ...], run: Path) -> None:
    """Rank 1 gets a signal in the middle of step 3; all of them save that step and say so."""
    if dist.get_rank() == 0:
        shutil.rmtree(run)
    dist.barrier()
    compute_loss = LorenTrainer.compute_loss
    left = [signal.SIGTERM] if dist.get_rank() == 1 else []

    def interrupted(self: LorenTrainer, *arguments: Any, **options: Any) -> Any:
        if left and self.state.global_step == 2:
            signal.raise_signal(left.pop())
        return compute_loss(self, *arguments, **options)

    LorenTrainer.compute_loss = interrupted
    with pytest.raises(TrainingInterrupted, match="after step 3 of"):
        train_here(project, *settings)
    LorenTrainer.compute_loss = compute_loss


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [int(stop) for stop in sys.argv[3].split(",")])
    dist.destroy_process_group()
