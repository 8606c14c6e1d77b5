"""The processes of one training: which one this is, and how they agree.

``torchrun`` and ``accelerate launch`` start the same command several times. Rank 0 alone speaks, decides and writes; the others
train, and get what rank 0 found or the error that it met.
"""
# pyright: basic

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from loren.errors import ConfigError, LorenError, Problem
from loren.models.loading import choose_device
from loren.runs.folder import RunFolder

T = TypeVar("T")

_SETTINGS = "ACCELERATE_"
"""What `accelerate launch` puts before its own settings in the environment."""
_SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
"""Ways of accelerate's to spread one model over several processes."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    here: int = 1
    """How many of them share this machine and its memory."""

    @property
    def is_main(self) -> bool:
        """Whether this one speaks and writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in one of the processes."""
        if self.count == 1:
            return flag
        return self.sum([float(flag)])[0] > 0

    def sum(self, values: list[float]) -> list[float]:
        """Each value added up over the processes."""
        if self.count == 1:
            return values
        # float64 holds sums of tokens exactly up to 2**53.
        total = torch.tensor(values, dtype=torch.float64, device=choose_device())
        dist.all_reduce(total)
        return total.tolist()

    def on_main(self, work: Callable[[], T]) -> T:
        """Do ``work`` in rank 0 alone; every process returns its result.

        Raises:
            LorenError: what ``work`` raised, in every process.
        """
        if self.count == 1:
            return work()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = work()
            except LorenError as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    @contextmanager
    def holding(self, run: RunFolder, say: Callable[[str], None]) -> Generator[None]:
        """Rank 0 holds the run's lock while all of them work in it.

        Raises:
            RunFolderError: another training holds it.
        """
        if not self.is_main:
            self.on_main(lambda: None)
            yield
            return
        held = run.held()
        cleared = self.on_main(held.__enter__)
        try:
            for name in cleared:
                say(f"resume: put right what a killed process left: {name}")
            yield
        finally:
            held.__exit__(None, None, None)


def join_processes() -> Processes:
    """Join the group that ``torchrun`` or ``accelerate launch`` names in the environment; alone where there is none.

    Raises:
        ConfigError: `accelerate launch` was set up for what Loren can't do, or started fewer processes than were asked for.
    """
    _leave_accelerates_settings()
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes()
    if not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Processes(rank=dist.get_rank(), count=dist.get_world_size(), here=int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _leave_accelerates_settings() -> None:
    """Forget what `accelerate launch` says beside the processes: the Trainer would obey it against the run's configuration.

    Its configuration file names a precision, an accumulation and a compiler; what the run's record says must be what happened.

    Raises:
        ConfigError: it asks for sharding, or started one process where several were meant.
    """
    settings = {name.removeprefix(_SETTINGS): os.environ.pop(name) for name in list(os.environ) if name.startswith(_SETTINGS)}
    wanted = [name for name in _SHARDING if settings.get(f"USE_{name}", "").lower() in {"true", "1"}]
    if wanted:
        raise ConfigError(
            f"accelerate launch: {len(wanted)} setting(s) that can't be met",
            problems=[Problem(name, "expected whole copies of the model, one a process; found sharding") for name in wanted],
            hint="accelerate launch --multi_gpu --num_processes N, or torchrun",
        )
    # accelerate 1.15 names a master for several processes; on its way for CPUs it then starts one, or leaves the rest to mpirun.
    if settings and "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise ConfigError(
            "accelerate launch --cpu starts one process, whatever --num_processes says",
            hint="accelerate launch --multi_gpu --num_processes N (on CPUs too), or torchrun --nproc-per-node N",
        )


def is_lost_process(error: RuntimeError) -> bool:
    """Whether an error of a collective operation says that another process of the group is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
