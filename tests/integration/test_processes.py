"""Two processes train one adapter: the numbers of one process, each file written once, an end when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from accelerate.commands.config.config_args import ClusterConfig
from safetensors.torch import load_file

from loren.train.checkpoints import list_checkpoints
from project import make_project, write_rows
from running import steps_of, train_here, weights_of

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TESTS = Path(__file__).parents[1]


def two_projects(folder: Path, base: Path, *, steps: int) -> tuple[Path, Path]:
    """The same project twice: for two processes, and for one with twice the accumulation."""
    for name, accumulation in (("two", 4), ("one", 8)):
        project = make_project(folder / name, base)
        text = (project / "run.toml").read_text().replace("lora_dropout = 0.1", "lora_dropout = 0.0")
        text = text.replace("max_steps = 9", f"max_steps = {steps}\ngradient_accumulation_steps = {accumulation}")
        (project / "run.toml").write_text(text)
    return folder / "two", folder / "one"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TORCHRUN, *arguments], cwd=cwd, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def projects(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One project trained by two processes of torchrun, and by this one with twice the accumulation."""
    two, one = two_projects(tmp_path_factory.mktemp("projects"), tiny_base, steps=9)
    write_rows(two / "data" / "train.jsonl", 47)  # the last step of an epoch is not full
    write_rows(one / "data" / "train.jsonl", 47)
    done = run("-m", "loren", "train", "run.toml", cwd=two)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("keep the data contract") == done.stdout.count("next: ") == 1  # one of them speaks
    train_here(one)
    return two, one


def test_two_processes_equal_one_with_twice_the_accumulation(projects: tuple[Path, Path]) -> None:
    two, one = projects
    ours, theirs = steps_of(two / "runs" / "a"), steps_of(one / "runs" / "a")
    assert len(ours) == len(theirs) == 9
    assert len({line["tokens"] for line in ours}) > 1
    for mine, other in zip(ours, theirs, strict=True):
        assert [mine[key] for key in ("step", "tokens", "label_tokens")] == [
            other[key] for key in ("step", "tokens", "label_tokens")
        ]
        assert mine["loss"] == pytest.approx(other["loss"], rel=0, abs=1e-5)
        assert (mine["eval_loss"] or 0) == pytest.approx(other["eval_loss"] or 0, rel=0, abs=1e-5)
        assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)
    mine, other = (load_file(each / "runs" / "a" / "adapter" / "adapter_model.safetensors") for each in (two, one))
    assert all(float((mine[name] - other[name]).norm() / other[name].norm()) < 1e-2 for name in other)


@pytest.mark.slow
def test_accelerate_launch_gives_torchruns_bytes(projects: tuple[Path, Path], tiny_base: Path, tmp_path: Path) -> None:
    """By a file as `accelerate config` writes it, on a machine without a GPU too; its precision is not the run's."""
    two, _ = two_projects(tmp_path, tiny_base, steps=9)
    write_rows(two / "data" / "train.jsonl", 47)
    ClusterConfig(
        compute_environment="LOCAL_MACHINE", distributed_type="MULTI_GPU", mixed_precision="bf16", use_cpu=False, debug=False,
        num_machines=1, num_processes=2, main_process_port=0,
    ).to_yaml_file(str(tmp_path / "accelerate.yaml"))  # fmt: skip
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "accelerate.yaml")]
    done = subprocess.run(
        [*launch, "--module", "loren", "train", "run.toml"], cwd=two, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    assert steps_of(two / "runs" / "a") == steps_of(projects[0] / "runs" / "a")
    assert weights_of(two / "runs" / "a") == weights_of(projects[0] / "runs" / "a")


@pytest.mark.parametrize(
    "stops", ["1,5,8", pytest.param(",".join(map(str, range(1, 21))), marks=pytest.mark.slow)], ids=["some", "each"]
)
def test_two_processes_resume_in_the_same_bits(tiny_base: Path, tmp_path: Path, stops: str) -> None:
    project = make_project(tmp_path, tiny_base)
    done = run(str(TESTS / "two_processes.py"), str(project), "20" if stops.endswith("20") else "8", stops, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{stops.count(',') + 1} stops, ")


@pytest.mark.slow
def test_when_one_process_dies_the_others_end_and_the_run_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    two, one = two_projects(tmp_path, tiny_base, steps=120)
    for project in (two, one):
        write_rows(project / "data" / "train.jsonl", 120)
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "loren", "train", "run.toml"], cwd=two, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    started = time.monotonic()
    while len(list_checkpoints(two / "runs" / "a" / "checkpoints").valid) < 2 and time.monotonic() - started < 240:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    second = next(worker for worker in workers if worker.environ().get("RANK") == "1")
    os.kill(second.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=900)
    assert process.returncode != 0, said
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    assert "a bug in Loren" not in said
    done = run("-m", "loren", "train", "run.toml", "--resume", cwd=two)
    assert done.returncode == 0, done.stderr
    assert "resume from checkpoint-" in done.stderr
    whole, _ = two_projects(tmp_path / "whole", tiny_base, steps=120)
    write_rows(whole / "data" / "train.jsonl", 120)
    assert run("-m", "loren", "train", "run.toml", cwd=whole).returncode == 0
    assert steps_of(two / "runs" / "a") == steps_of(whole / "runs" / "a")
    assert weights_of(two / "runs" / "a") == weights_of(whole / "runs" / "a")


def test_another_number_of_processes_can_not_resume(tiny_base: Path, tmp_path: Path) -> None:
    two, _ = two_projects(tmp_path, tiny_base, steps=4)
    train_here(two)
    (two / "runs" / "a" / "stages.json").unlink()
    done = run("-m", "loren", "train", "run.toml", "--resume", cwd=two)
    assert done.returncode != 0
    assert "execution.processes  the run was started with 1, here is 2" in done.stderr
