"""What was chosen for this machine: resolved once, written to config.json, reused by resume.

The effective batch is the user's; how it is cut into micro-batches depends on memory and changes no sum.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import torch

from loren.config import RunConfig
from loren.errors import Problem, RunFolderError
from loren.models.loading import Dtype, choose_device, choose_dtype
from loren.provenance.machine import machine_memory_bytes
from loren.runs.files import Json
from loren.train.processes import Processes

LOSS_PATH = "packed_label_positions"
"""Rows without padding, the output head at label positions only; rows are padded where the model can't be run so."""
_MEMORY_SHARE = 0.3
"""Share of the machine's memory that activations may take; other work and the weights need the rest."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How the run is carried out here."""

    device: str
    dtype: Dtype
    threads: int
    micro_batch_size: int
    """Rows a forward pass."""
    gradient_accumulation_steps: int
    """Micro-batches an optimiser step, a process."""
    processes: int
    """Processes that train together; each takes its share of every optimiser step."""
    loss_path: str
    torch: str
    """Version of torch."""
    cpu: str
    """What the CPU's kernels were chosen for: torch's name of its vector instructions."""

    def to_json(self) -> dict[str, Json]:
        """As written to config.json."""
        return asdict(self)


def resolve_execution(config: RunConfig, processes: Processes, *, longest_row: int, activation_bytes_per_token: int) -> Execution:
    """Choose precision and shapes from the hardware.

    Args:
        config: the run's configuration.
        processes: those that train together.
        longest_row: tokens of the longest row.
        activation_bytes_per_token: see :func:`activation_bytes_per_token`.
    """
    train = config.train
    effective = train.per_device_train_batch_size * train.gradient_accumulation_steps
    if train.exact_shape:
        micro = train.per_device_train_batch_size
    else:
        device_memory = (
            torch.cuda.get_device_properties(0).total_memory
            if torch.cuda.is_available()
            else machine_memory_bytes() // processes.here
        )
        fitting = int(device_memory * _MEMORY_SHARE // max(1, longest_row * activation_bytes_per_token))
        micro = 1
        while effective % (micro * 2) == 0 and micro * 2 <= fitting:
            micro *= 2
    return Execution(
        device=choose_device(),
        dtype=choose_dtype(train.dtype),
        threads=torch.get_num_threads(),
        micro_batch_size=micro,
        gradient_accumulation_steps=effective // micro,
        processes=processes.count,
        loss_path=LOSS_PATH,
        torch=torch.__version__,
        cpu=torch.backends.cpu.get_cpu_capability(),
    )


def activation_bytes_per_token(layers: int, hidden_size: int, intermediate_size: int, *, bytes_per_value: int) -> int:
    """Memory that one token's activations take until the backward pass.

    A decoder layer keeps about sixteen vectors of the hidden size (norms, projections, residuals, LoRA inputs with dropout masks)
    and six of the MLP's; measured on SmolLM2-135M: 2.3 MB a token, by this formula 2.2.
    """
    return layers * (16 * hidden_size + 6 * intermediate_size) * bytes_per_value


def stored_execution(stored: dict[str, Json], processes: Processes, *, say: Callable[[str], None]) -> Execution:
    """The execution of the run that is resumed.

    Args:
        stored: from config.json.
        processes: those that train together now.
        say: takes a warning where the numbers may differ in their last digits.

    Raises:
        RunFolderError: this machine, or this start, can't carry it out.
    """
    names = {field.name for field in fields(Execution)}
    if stored.keys() != names:
        problems = [Problem(f"execution.{key}", "expected in both, found in one") for key in sorted(names ^ stored.keys())]
        raise RunFolderError("config.json: expected the execution of this version of Loren, found other keys", problems=problems)
    execution = Execution(**stored)  # pyright: ignore[reportArgumentType]
    here = {"device": choose_device(), "processes": processes.count, "loss_path": LOSS_PATH}
    problems = [
        Problem(f"execution.{name}", f"the run was started with {stored[name]!r}, here is {value!r}")
        for name, value in here.items()
        if stored[name] != value
    ]
    if execution.device == "cuda" and execution.dtype == "bfloat16" and choose_dtype("auto") != "bfloat16":
        problems.append(Problem("execution.dtype", "the run was started in bfloat16, which this GPU does not have"))
    if problems:
        raise RunFolderError(
            "can't resume: the numbers would differ from those of the uninterrupted run",
            problems=problems,
            hint="resume where and as the run was started, or start a new run with another output_dir",
        )
    for name, value in {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}.items():
        if stored[name] != value:
            say(f"warning: the run was started with {name} {stored[name]}, here is {value}: last digits may differ")
    return execution
