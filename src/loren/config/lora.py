"""[lora]: the adapter, in PEFT's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from loren.config.section import Section

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
PRESETS: dict[str, dict[str, object]] = {
    "a": {"r": 8, "lora_alpha": 16, "target_modules": ("q_proj", "v_proj")},
    "b": {"r": 16, "lora_alpha": 32, "target_modules": ATTENTION},
    "c": {"r": 32, "lora_alpha": 64, "target_modules": (*ATTENTION, "gate_proj", "up_proj", "down_proj")},
}
"""Three sizes to start from: cheap, balanced, strong. A field given beside the preset wins over it."""


class LoraConfig(Section):
    """[lora] - the adapter, in PEFT's names."""

    preset: Literal["a", "b", "c"] | None = None
    """a = r 8 on q,v; b = r 16 on q,k,v,o; c = r 32 on attention and MLP. Alpha is twice r. Single fields override it."""
    r: int = Field(default=16, ge=1, le=1024)
    """Rank of the two factors B (out x r) and A (r x in)."""
    lora_alpha: int = Field(default=32, ge=1)
    """The adapter's output is scaled by lora_alpha / r (rsLoRA: lora_alpha / sqrt(r))."""
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout before A, while training only."""
    target_modules: Annotated[tuple[str, ...], Field(strict=False)] | Literal["all-linear"] = ATTENTION
    """Names of the linear layers that get an adapter, or "all-linear" (all but the output head)."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which bias terms are trained beside the adapter."""
    use_rslora: bool = False
    """Rank-stabilised scaling, lora_alpha / sqrt(r)."""
    use_dora: bool = False
    """Weight-decomposed adapters: a trained magnitude beside the direction; slower."""

    @field_validator("target_modules")
    @classmethod
    def _some_modules(cls, modules: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if not modules:
            raise ValueError("expected at least one module name or 'all-linear'")
        return modules
