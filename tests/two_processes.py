"""Run by torchrun: a training in this group of processes, stopped after each of some steps and resumed, ends in the same bits.

torchrun --nproc-per-node 2 tests/two_processes.py PROJECT STEPS STOP,STOP,...
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

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
    if is_main:
        print(f"{len(stops)} stops, {len(state_of(full, steps))} files")  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [int(stop) for stop in sys.argv[3].split(",")])
    dist.destroy_process_group()
