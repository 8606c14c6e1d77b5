"""Can a search break anything off early? Only where a run has a validation loss before its last step."""

from __future__ import annotations

from pathlib import Path

import pytest

from loren.config import RunConfig
from loren.config.sweep import load_sweep
from loren.errors import ConfigError
from loren.pipeline.sweep.search import pruning_problem

ROWS = 80


def steps_of(config: RunConfig) -> int:
    return config.train.steps(ROWS)


def problem(folder: Path, ranges: str, train: str = "") -> str:
    (folder / "run.toml").write_text(
        f'task = "task"\n[data]\ntest_ratio = 0.2\n[train]\n{train}\n[sweep.ranges]\n{ranges}\n', encoding="utf-8"
    )
    return pruning_problem(load_sweep(folder / "run.toml", environment={}), steps_of)


RATE = "train.learning_rate = { low = 1e-5, high = 1e-3, log = true }"


@pytest.mark.parametrize(
    ("ranges", "train", "steps"),
    [
        (RATE, "", 10),  # 80 rows, 8 a step
        (RATE, "eval_steps = 10", 10),
        (RATE, "max_steps = 20", 20),
        ("train.num_train_epochs = { low = 0.5, high = 2.0 }", "", 20),
        ("train.gradient_accumulation_steps = { low = 4, high = 16 }", "", 20),
    ],
)
def test_no_loss_before_the_end_is_named(tmp_path: Path, ranges: str, train: str, steps: int) -> None:
    told = problem(tmp_path, ranges, train)
    assert told.startswith(f"train.eval_steps is {10 if 'eval' in train else 20} and the longest run has {steps} steps")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("ranges", "train"),
    [
        (RATE, "eval_steps = 9"),
        (RATE, "max_steps = 21"),
        ("train.num_train_epochs = { low = 0.5, high = 2.1 }", ""),
        ("train.gradient_accumulation_steps = { low = 2, high = 16 }", ""),
        (f"{RATE}\ntrain.eval_steps = {{ low = 5, high = 50 }}", ""),
    ],
)
def test_one_run_with_a_loss_before_its_end_is_enough(tmp_path: Path, ranges: str, train: str) -> None:
    assert problem(tmp_path, ranges, train) == ""


def test_what_can_not_be_trained_is_no_run(tmp_path: Path) -> None:
    def refuse(config: RunConfig) -> int:
        raise ConfigError("more general rows than there are")

    (tmp_path / "run.toml").write_text(f'task = "task"\n[data]\ntest_ratio = 0.2\n[sweep.ranges]\n{RATE}\n', encoding="utf-8")
    assert pruning_problem(load_sweep(tmp_path / "run.toml", environment={}), refuse) == ""
