"""The whole configuration of one run."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from loren.config.data import DataConfig
from loren.config.lora import LoraConfig
from loren.config.quantization import QuantizationConfig
from loren.config.section import Section
from loren.config.train import TrainConfig


class RunConfig(Section):
    """Top level - what is trained, on which task, and where the run folder goes."""

    base_model: str = Field(default="Qwen/Qwen2.5-0.5B-Instruct", min_length=1)
    """A directory, a .gguf file, a hub id, or embedded:NAME (see `loren models list`)."""
    revision: str | None = None
    """Commit of a hub id. Recorded in any case; pin it to train the same model again."""
    trust_remote_code: bool = False
    """Run Python code that a model repository carries. Off; recorded when on."""
    task: Path | None = Field(default=None, strict=False)
    """Task folder; without one there are no target rules and no scores."""
    output_dir: Path = Field(default=Path("runs/first"), strict=False)
    """The run folder; refused when it exists, unless --resume."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seeds the split (unless data.split_seed does), the batch order, the adapter's initial weights and dropout."""
    adapter_license: str = Field(default="", max_length=100)
    """Licence of the adapter itself, as an SPDX id, for its metadata and card. Empty: not stated."""
    data: DataConfig = DataConfig()
    lora: LoraConfig = LoraConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    train: TrainConfig = TrainConfig()

    @property
    def split_seed(self) -> int:
        """The seed of the split."""
        return self.seed if self.data.split_seed is None else self.data.split_seed
