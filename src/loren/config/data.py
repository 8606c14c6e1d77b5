"""[data]: the training file, its split and its lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from loren.config.section import Section


class DataConfig(Section):
    """[data] - the training file, its split and its lengths."""

    path: Path = Field(default=Path("data/train.jsonl"), strict=False)
    """The file of conversations, relative to the configuration file; any format that `loren check` reads."""
    format: str | None = None
    """The format of its rows, where it is not to be detected: as `loren check --format-in` takes it."""
    approvals: Path | None = Field(default=None, strict=False)
    """TOML file of approved issues of the training file (D811 in docs/reference/rules.md), relative to the configuration file."""
    eval_ratio: float = Field(default=0.1, gt=0, lt=1)
    """Share of each label stratum's groups that goes to validation (at least one group a stratum)."""
    test_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of each label stratum's groups that goes to test."""
    train_share: float = Field(default=1.0, gt=0, le=1)
    """Share of each label stratum's training groups that is trained on (one at least); a smaller share lies in a larger one."""
    split_seed: int | None = Field(default=None, ge=0, lt=2**32)
    """Seeds the split alone, so that trainings of several seeds have the same rows; without it, `seed` does."""
    max_length: int = Field(default=1024, ge=8)
    """Longest row in tokens. Longer than the model's context is an error; a target is never truncated."""
    over_length: Literal["error", "drop"] = "error"
    """What to do with a longer row: stop with a list, or drop it and write it to the ledger in data/report.json."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """General rows that Loren ships (English and Vietnamese, no task) mixed into training against forgetting: as many as this share
    of the training rows. They get no system prompt of the task, and are never in validation or test."""
    packing: bool = False
    """Not offered: rows of one sequence would see each other. `true` is refused."""

    @field_validator("packing")
    @classmethod
    def _no_packing(cls, packing: bool) -> bool:
        if packing:
            raise ValueError(
                "expected false: packed rows attend to each other unless a kernel masks them, which the CPU path lacks; "
                "Loren gains the speed by scoring label positions only"
            )
        return packing
