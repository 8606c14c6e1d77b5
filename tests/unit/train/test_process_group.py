"""What `accelerate launch` says in the environment, told by accelerate itself, and what of it counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env

from loren.errors import ConfigError
from loren.train.processes import Processes, join_processes


def launched(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Let this process have the environment of one that `accelerate launch` started; torchrun's part is not in it."""
    for name in ("OMP_NUM_THREADS", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"):
        monkeypatch.setenv(name, "1")  # put back after the test
    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"):
        monkeypatch.delenv(name)
    parser = launch_command_parser()
    given, _, _ = _validate_launch_command(parser.parse_args([*arguments, "--main_process_port", "0", "--module", "loren"]))
    is_spread = given.multi_gpu or given.use_fsdp
    environment = prepare_multi_gpu_env(given) if is_spread else prepare_simple_launcher_cmd_env(given)[1]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def config_file(path: Path, **values: object) -> str:
    """What `accelerate config` writes after its questions."""
    common = {"compute_environment": "LOCAL_MACHINE", "num_machines": 1, "num_processes": 2, "debug": False}
    ClusterConfig(**{"mixed_precision": "no", "use_cpu": False, **common, **values}).to_yaml_file(str(path))  # pyright: ignore[reportArgumentType]
    return f"--config_file={path}"


def test_precision_and_compiler_are_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, "--multi_gpu", "--num_processes", "2", "--mixed_precision", "bf16", "--dynamo_backend", "eager")
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert join_processes() == Processes()
    assert [name for name in os.environ if name.startswith("ACCELERATE_")] == []


def test_one_process_where_several_were_meant_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answered = config_file(tmp_path / "cpu.yaml", distributed_type="MULTI_CPU", use_cpu=True)
    for arguments in (("--cpu", "--num_processes", "2"), (answered,)):
        launched(monkeypatch, *arguments)
        with pytest.raises(ConfigError, match="starts one process") as caught:
            join_processes()
        assert "accelerate launch --multi_gpu --num_processes N" in caught.value.hint
    launched(monkeypatch, "--cpu", "--num_processes", "1")
    assert join_processes() == Processes()


def test_sharding_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launched(monkeypatch, config_file(tmp_path / "fsdp.yaml", distributed_type="FSDP", fsdp_config={"fsdp_version": 2}))
    with pytest.raises(ConfigError) as caught:
        join_processes()
    assert [problem.place for problem in caught.value.problems] == ["FSDP"]
