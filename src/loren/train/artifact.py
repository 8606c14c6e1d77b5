"""The saved adapter: weights, tokenizer, metadata, card and manifest, published as one folder.

What lands in ``adapter/`` loads in plain PEFT without Loren. It appears with one rename, after every file was written, hashed and
compared with the weights in memory.
"""
# pyright: basic

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from loren.errors import TrainingError
from loren.provenance.manifest import write_manifest
from loren.runs.files import Json, encode_json, staged_folder, write_json, write_text
from loren.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, METADATA
from loren.train.card import model_card
from loren.train.checkpoints import storage_errors


def save_artifact(folder: Path, *, model: Any, tokenizer: PreTrainedTokenizerBase, metadata: dict[str, Json]) -> None:
    """Write the artifact folder atomically.

    Args:
        folder: the run's `adapter/`.
        model: a PeftModel, or a full model when all weights were trained.
        tokenizer: saved beside the weights, chat template included.
        metadata: everything but the sizes of the files, which are added here.

    Raises:
        TrainingError: the saved weights are not those in memory.
        StorageError: the disk refused.
    """
    is_adapter = hasattr(model, "peft_config")
    with storage_errors(folder), staged_folder(folder) as stage:
        model.save_pretrained(str(stage), safe_serialization=True)
        if is_adapter:
            write_adapter_config(stage / ADAPTER_CONFIG, json.loads((stage / ADAPTER_CONFIG).read_text(encoding="utf-8")))
            _compare_saved(stage / ADAPTER_WEIGHTS, model)
        tokenizer.save_pretrained(str(stage))
        seal_artifact(stage, metadata)


def seal_artifact(stage: Path, metadata: dict[str, Json]) -> None:
    """Describe the weights and tokenizer in ``stage``: metadata with the sizes of the files, model card, and the manifest last."""
    weights = sorted(path.name for path in stage.glob("*.safetensors"))
    sizes: dict[str, Json] = {
        "weights_bytes": sum((stage / name).stat().st_size for name in weights),
        "files_bytes": sum(path.stat().st_size for path in stage.iterdir() if path.name != "README.md"),
    }
    complete: dict[str, Json] = {**metadata, "artifact": sizes}
    write_json(stage / METADATA, complete)
    write_text(stage / "README.md", model_card(complete))
    write_manifest(stage)


def write_adapter_config(path: Path, config: dict[str, Any]) -> None:
    """PEFT writes sets in another order in each process; sorted lists make the file a function of its content."""
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    path.write_text(encode_json(config), encoding="utf-8")


def trainable_digest(model: Any) -> str:
    """SHA-256 over the bytes of all trainable parameters, in name order: equal before and after means nothing was learned."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def trainable_counts(model: Any) -> tuple[int, int]:
    """(trainable parameters, all parameters); packed 4-bit weights count as what they stand for."""
    trainable = total = 0
    for parameter in model.parameters():
        count = parameter.numel()
        if (state := getattr(parameter, "quant_state", None)) is not None:
            count = state.shape.numel()
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


def _compare_saved(path: Path, model: Any) -> None:
    saved = load_file(path)
    memory = {name: tensor.detach().cpu() for name, tensor in get_peft_model_state_dict(model).items()}
    if saved.keys() != memory.keys() or any(not torch.equal(saved[name], memory[name]) for name in saved):
        raise TrainingError("the saved adapter differs from the one in memory", hint="report this with the training_metadata.json")
