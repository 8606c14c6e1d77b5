"""What is published as the adapter is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from test_trainer import build

from loren.errors import TrainingError
from loren.models.loading import load_tokenizer
from loren.train.artifact import save_artifact


def test_weights_that_are_not_those_in_memory_are_not_published(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = build(tiny_base, tmp_path / "a", micro=1, accumulation=1).model
    save = model.save_pretrained

    def save_others(folder: str, **options: Any) -> None:
        save(folder, **options)
        path = Path(folder) / "adapter_model.safetensors"
        weights = load_file(path)
        next(iter(weights.values())).view(-1)[0] += 1e-6
        save_file(weights, path)

    monkeypatch.setattr(model, "save_pretrained", save_others)
    with pytest.raises(TrainingError, match="differs from the one in memory"):
        save_artifact(tmp_path / "adapter", model=model, tokenizer=load_tokenizer(tiny_base), metadata={})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
