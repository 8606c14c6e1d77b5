"""[train]: optimiser, schedule, batches, and what is written when; in the Trainer's names."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from loren.config.section import Section

Tracker = Literal["mlflow", "tensorboard", "wandb"]


class TrainConfig(Section):
    """[train] - optimiser, schedule, batches, and what is written when; in the Trainer's names."""

    method: Literal["lora", "full"] = "lora"
    """Train an adapter, or all weights. QLoRA is "lora" with quantization.load_in_4bit."""
    num_train_epochs: float = Field(default=1.0, gt=0)
    """Passes over the training rows."""
    max_steps: int = Field(default=-1, ge=-1)
    """Optimiser steps; -1 leaves it to num_train_epochs."""
    learning_rate: float = Field(default=2e-4, gt=0, lt=1)
    """Peak learning rate of AdamW."""
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """Shape of the learning rate after the warm-up."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are clipped to this norm; 0 switches clipping off."""
    per_device_train_batch_size: int = Field(default=1, ge=1)
    """Rows a device sees at once; times gradient_accumulation_steps it is the effective batch."""
    gradient_accumulation_steps: int = Field(default=8, ge=1)
    """Micro-batches an optimiser step sums up. 8 x 1 and 1 x 8 give the same loss."""
    exact_shape: bool = False
    """Take the two numbers above literally; otherwise the effective batch is cut to suit this machine's memory."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute precision; "auto" takes the fastest one that the hardware has in silicon."""
    logging_steps: int = Field(default=5, ge=1)
    """Steps between two printed lines; metrics.jsonl gets every step."""
    eval_steps: int = Field(default=20, ge=1)
    """Steps between two validation losses; there is always one at the end."""
    save_steps: int = Field(default=20, ge=1)
    """Steps between two checkpoints."""
    save_total_limit: int = Field(default=2, ge=1)
    """How many checkpoints are kept."""
    report_to: Annotated[tuple[Tracker, ...], Field(strict=False)] = ()
    """Experiment trackers that get every step's figures: "mlflow", "tensorboard", "wandb"; each needs its extra (loren[mlflow])."""

    @property
    def effective_batch(self) -> int:
        """Rows of an optimiser step, in one process."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    def steps(self, rows: int) -> int:
        """Optimiser steps of a run over so many training rows, in one process."""
        return self.max_steps if self.max_steps > 0 else ceil(self.num_train_epochs * ceil(rows / self.effective_batch))

    @model_validator(mode="after")
    def _positive_steps(self) -> TrainConfig:
        if self.max_steps == 0:
            raise ValueError("max_steps: expected -1 or a positive number, got 0")
        return self

    @field_validator("report_to")
    @classmethod
    def _each_once(cls, names: tuple[Tracker, ...]) -> tuple[Tracker, ...]:
        return tuple(dict.fromkeys(names))
