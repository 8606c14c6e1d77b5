"""A signal ends the training after the optimiser step at hand, wherever in the step it comes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from test_trainer import build

from loren.train.checkpoints import list_checkpoints
from loren.train.stopping import stop_on_signals


@pytest.mark.parametrize("micro_batch", [1, 2, 6, 9, 18])
def test_a_signal_in_the_middle_of_an_accumulation_lets_the_step_end(tiny_base: Path, tmp_path: Path, micro_batch: int) -> None:
    trainer: Any = build(tiny_base, tmp_path / "a", micro=1, accumulation=3, train={"max_steps": 7, "save_steps": 100})
    seen = 0

    def interrupt(*_: Any) -> None:
        nonlocal seen
        seen += trainer.model.training
        if seen == micro_batch:
            signal.raise_signal(signal.SIGTERM)

    trainer.model.register_forward_pre_hook(interrupt)
    with stop_on_signals() as trainer.stop:
        trainer.train()
    whole = -(-micro_batch // 3)
    assert (trainer.state.global_step, seen) == (whole, whole * 3)
    assert [path.name for path in list_checkpoints(tmp_path / "a" / "checkpoints").valid] == [f"checkpoint-{whole}"]
