"""Training in this process, and what two runs must have in common."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from loren.config import load_config
from loren.models.cache import Progress
from loren.train.metrics import read_metrics
from loren.train.recipe import TrainResult, train

CLOCKS = {"seconds", "cpu_seconds", "peak_memory_bytes", "peak_vram_bytes"}
"""Keys of a metrics line that measure the machine, not the training."""


def train_here(folder: Path, *overrides: str, resume: bool = False, said: list[str] | None = None) -> TrainResult:
    resolved = load_config(folder / "run.toml", environment={}, overrides=overrides)
    say = (said if said is not None else []).append
    return train(resolved, resume=resume, command=["loren", "train", "run.toml"], say=say, fetching=_show_nothing)


def _show_nothing() -> AbstractContextManager[Progress]:
    return nullcontext(lambda *_: None)


def steps_of(run: Path) -> list[dict[str, Any]]:
    """Every step's figures but those of the clock: losses, rates, norms, tokens, bit for bit."""
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in read_metrics(run / "metrics.jsonl")]


def digests(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """sha256 by file name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without
    }


def state_of(run: Path, step: int) -> dict[str, str]:
    """The adapter's weights and all that a checkpoint holds: weights, optimiser, schedule, random state, the Trainer's state."""
    checkpoint = digests(run / "checkpoints" / f"checkpoint-{step}", without=("MANIFEST.json",))
    return {**checkpoint, **{f"adapter/{name}": digest for name, digest in weights_of(run).items()}}


def weights_of(run: Path) -> dict[str, str]:
    return {name: digest for name, digest in digests(run / "adapter").items() if name.endswith((".safetensors", "_config.json"))}


def rewind(full: Path, run: Path, *, step: int) -> None:
    """Make ``run`` what ``full`` was when a process died after ``step``: later lines and checkpoints do not exist yet."""
    shutil.rmtree(run, ignore_errors=True)
    ignored = [f"checkpoint-{path.name[11:]}" for path in (full / "checkpoints").iterdir() if int(path.name[11:]) != step]
    shutil.copytree(full, run, ignore=shutil.ignore_patterns("adapter", "stages.json", *ignored))
