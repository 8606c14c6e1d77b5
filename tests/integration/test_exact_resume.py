"""Stopped after any step and resumed, a run ends in the same bits: weights, optimiser, schedule, losses, order of rows."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from loren.runs.folder import RunFolder
from loren.train.checkpoints import list_checkpoints
from project import loren, make_project, write_rows
from running import rewind, state_of, steps_of, train_here, weights_of

STEPS = 20
SHAPE = (
    f"train.max_steps={STEPS}",
    "train.per_device_train_batch_size=2",
    "train.gradient_accumulation_steps=2",
    "train.exact_shape=true",  # two micro-batches a step, 9 steps an epoch: stops fall into epochs and at their end
    "train.save_steps=1",
    "train.save_total_limit=30",
    "train.warmup_ratio=0.2",
    "lora.lora_dropout=0.1",
)
MODES = {
    "lora": (),
    "dora-rslora": ("lora.use_dora=true", "lora.use_rslora=true"),
    "qlora": ("quantization.load_in_4bit=true",),
    "full": ('train.method="full"',),
    "gradient-checkpointing": ("train.gradient_checkpointing=true",),
}


EVERY_STEP = range(1, STEPS + 1)
SOME_STEPS = (1, 9, 14, 20)
"""In the first accumulation, at the end of an epoch, within one, after the last step: for `make test`; the others are slow."""
CASES = [
    pytest.param("lora", EVERY_STEP, id="lora-each"),
    *(pytest.param(mode, SOME_STEPS, id=f"{mode}-some") for mode in MODES if mode != "lora"),
    *(pytest.param(mode, EVERY_STEP, id=f"{mode}-each", marks=pytest.mark.slow) for mode in MODES if mode != "lora"),
]


@pytest.mark.parametrize(("mode", "stops"), CASES)
def test_stopped_and_resumed_in_the_same_bits(tiny_base: Path, tmp_path: Path, mode: str, stops: Sequence[int]) -> None:
    make_project(tmp_path, tiny_base)
    settings = (*SHAPE, *MODES[mode])
    run, full = tmp_path / "runs" / "a", tmp_path / "runs" / "full"
    train_here(tmp_path, *settings)
    run.rename(full)
    expected, steps = state_of(full, STEPS), steps_of(full)
    assert len(steps) == STEPS
    for step in stops:
        rewind(full, run, step=step)
        torch.manual_seed(step)  # nothing may depend on what this process drew before
        said: list[str] = []
        train_here(tmp_path, *settings, resume=True, said=said)
        assert f"resume from checkpoint-{step}" in said
        assert steps_of(run) == steps
        assert state_of(run, STEPS) == expected


def test_saving_changes_nothing(tiny_base: Path, tmp_path: Path) -> None:
    runs = []
    for name, every in (("often", 1), ("never", 1000)):
        make_project(tmp_path / name, tiny_base)
        runs.append(train_here(tmp_path / name, *SHAPE, f"train.save_steps={every}").run.path)
    assert steps_of(runs[0]) == steps_of(runs[1])
    assert weights_of(runs[0]) == weights_of(runs[1])


@pytest.fixture(scope="module")
def uninterrupted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("uninterrupted"), tiny_base)
    long_project(folder)
    return train_here(folder).run.path


def long_project(folder: Path) -> None:
    """Steps that a signal can meet: some seconds of them."""
    write_rows(folder / "data" / "train.jsonl", 120)
    text = (folder / "run.toml").read_text().replace("max_steps = 9\nsave_steps = 3", "max_steps = 150\nsave_steps = 1000")
    (folder / "run.toml").write_text(text.replace("eval_steps = 4", "eval_steps = 1000"))


def start(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "loren", "train", "run.toml", "--resume"], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    metrics = folder / "runs" / "a" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline and not (metrics.is_file() and metrics.stat().st_size):
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(uninterrupted: Path, tiny_base: Path, tmp_path: Path, number: int) -> None:
    make_project(tmp_path, tiny_base)
    long_project(tmp_path)
    process = start(tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 130, said
    run = tmp_path / "runs" / "a"
    saved = list_checkpoints(run / "checkpoints").valid
    assert f"error: stopped by a signal after step {saved[-1].name[11:]} of 150, which is saved" in said
    assert said.rstrip().splitlines()[-1] == "hint: loren train run.toml --resume"
    done = loren("train", "run.toml", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert steps_of(run) == steps_of(uninterrupted)
    assert weights_of(run) == weights_of(uninterrupted)


def test_a_second_signal_ends_at_once(tiny_base: Path, tmp_path: Path) -> None:
    make_project(tmp_path, tiny_base)
    long_project(tmp_path)
    text = (tmp_path / "run.toml").read_text()
    (tmp_path / "run.toml").write_text(text.replace("[train]", "[train]\nexact_shape = true\ngradient_accumulation_steps = 400"))
    process = start(tmp_path)  # a step of 400 micro-batches lasts seconds
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 130, said
    assert "stopped by a signal" not in said
    assert not list_checkpoints(RunFolder(tmp_path / "runs" / "a").checkpoints).valid
