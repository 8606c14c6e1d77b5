"""What was chosen for a machine is used again, refused where it can't be, and warned about where digits may differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from loren.config import RunConfig
from loren.config.train import TrainConfig
from loren.errors import RunFolderError
from loren.provenance.machine import machine_memory_bytes
from loren.train.execution import resolve_execution, stored_execution
from loren.train.processes import Processes


def stored() -> dict[str, Any]:
    return resolve_execution(RunConfig(), Processes(), longest_row=100, activation_bytes_per_token=1000).to_json()


def test_the_same_machine_takes_it_as_it_stands() -> None:
    said: list[str] = []
    assert stored_execution(stored(), Processes(), say=said.append).to_json() == stored()
    assert said == []


@pytest.mark.parametrize(("name", "value"), [("device", "mps"), ("processes", 2), ("loss_path", "full_logits")])
def test_what_would_change_the_numbers_is_refused(name: str, value: object) -> None:
    with pytest.raises(RunFolderError) as caught:
        stored_execution({**stored(), name: value}, Processes(), say=print)
    assert f"execution.{name}  the run was started with {value!r}, here is " in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("torch", "2.0.0"), ("cpu", "AVX9000")])
def test_another_torch_or_cpu_is_a_warning(name: str, value: str) -> None:
    said: list[str] = []
    stored_execution({**stored(), name: value}, Processes(), say=said.append)
    here = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}[name]
    assert said == [f"warning: the run was started with {name} {value}, here is {here}: last digits may differ"]


def test_a_record_of_another_version_names_the_keys() -> None:
    record = stored()
    del record["threads"]
    with pytest.raises(RunFolderError, match=r"execution\.(magic|threads)"):
        stored_execution({**record, "magic": 1}, Processes(), say=print)


def test_processes_of_one_machine_share_its_memory() -> None:
    config = RunConfig(train=TrainConfig(gradient_accumulation_steps=64))
    per_token = machine_memory_bytes() // 2000  # 0.3 of the machine's memory hold six rows of 100 tokens
    alone, both = (
        resolve_execution(config, processes, longest_row=100, activation_bytes_per_token=per_token)
        for processes in (Processes(), Processes(rank=1, count=4, here=2))
    )
    assert (alone.processes, alone.micro_batch_size, alone.gradient_accumulation_steps) == (1, 4, 16)
    assert (both.processes, both.micro_batch_size, both.gradient_accumulation_steps) == (4, 2, 32)
