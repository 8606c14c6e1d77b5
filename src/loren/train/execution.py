"""What was chosen for this machine: resolved once, written to config.json, reused by resume.

The effective batch is the user's; how it is cut into micro-batches depends on memory and changes no sum.
"""
# pyright: basic

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from loren.config import RunConfig
from loren.errors import RunFolderError
from loren.models.loading import Dtype, choose_device, choose_dtype
from loren.provenance.machine import machine_memory_bytes
from loren.runs.files import Json

LOSS_PATH = "label_positions_shared_prefix"
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
    loss_path: str

    def to_json(self) -> dict[str, Json]:
        """As written to config.json."""
        return asdict(self)


def resolve_execution(config: RunConfig, *, longest_row: int, activation_bytes_per_token: int) -> Execution:
    """Choose precision and shapes from the hardware.

    Args:
        config: the run's configuration.
        longest_row: tokens of the longest row.
        activation_bytes_per_token: see :func:`activation_bytes_per_token`.
    """
    train = config.train
    effective = train.per_device_train_batch_size * train.gradient_accumulation_steps
    if train.exact_shape:
        micro = train.per_device_train_batch_size
    else:
        device_memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else machine_memory_bytes()
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
        processes=1,
        loss_path=LOSS_PATH,
    )


def activation_bytes_per_token(layers: int, hidden_size: int, intermediate_size: int, *, bytes_per_value: int) -> int:
    """Memory that one token's activations take until the backward pass.

    A decoder layer keeps about sixteen vectors of the hidden size (norms, projections, residuals, LoRA inputs with dropout masks)
    and six of the MLP's; measured on SmolLM2-135M: 2.3 MB a token, by this formula 2.2.
    """
    return layers * (16 * hidden_size + 6 * intermediate_size) * bytes_per_value


def stored_execution(stored: dict[str, Json]) -> Execution:
    """The execution of the run that is resumed.

    Raises:
        RunFolderError: this machine can't carry it out.
    """
    try:
        execution = Execution(**stored)  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise RunFolderError("config.json: expected the execution of this version of Loren, found other keys") from error
    here = choose_device()
    if execution.device != here:
        raise RunFolderError(
            f"the run was started on {execution.device}, this machine has {here}: the numbers would differ",
            hint="resume on a machine of the same kind, or start a new run with another output_dir",
        )
    return execution
