"""training_metadata.json: everything that says how the artifact came to be. A record of facts; it decides nothing."""
# pyright: basic

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from loren.config import RunConfig
from loren.data.dataset_card import dataset_facts
from loren.models.chat import PINNED_DATE
from loren.models.loading import LocalBase
from loren.models.source import template_digest, tokenizer_digest
from loren.provenance.digests import sha256_text
from loren.provenance.machine import git_commit, hardware, package_versions, peak_memory_bytes, without_secrets
from loren.runs.files import Json
from loren.runs.folder import SCHEMA_VERSION, utc_now

NOTE_ADAPTER = "An adapter, not a merged model: load it with exactly this base."
NOTE_FULL = "A full model: all weights were trained; it needs no base to load."


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What was trained on."""

    sha256: str
    split_sha256: str
    rows: dict[str, Json]
    tokens: dict[str, Json]
    system_prompt: str
    language: str
    replay: dict[str, Json] | None
    """The general rows among those of train; None where there are none."""


def base_facts(base: LocalBase, *, trust_remote_code: bool) -> dict[str, Json]:
    """Which weights, tokenizer and template were the base.

    A hub id stands here only when the weights are the hub's; weights dequantised from a GGUF are other weights.
    """
    source = base.source
    is_hub = source.kind == "hub"
    return {
        "id": source.id,
        "kind": source.kind,
        "hub_id": source.id if is_hub else None,
        "name_or_path": source.id if is_hub else str(base.folder),
        "revision": source.revision,
        "weights_sha256": base.weights_sha256,
        "tokenizer_sha256": tokenizer_digest(base.folder),
        "template_sha256": template_digest(base.folder),
        "license": source.license,
        "description": source.origin_note or source.id,
        "trust_remote_code": trust_remote_code,
    }


def training_metadata(
    config: RunConfig,
    *,
    base: LocalBase,
    data: DataFacts,
    lora: dict[str, Any] | None,
    parameters: tuple[int, int],
    figures: dict[str, Json],
    command: Sequence[str],
) -> dict[str, Json]:
    """Assemble the record.

    Args:
        config: the run's configuration.
        base: the base model.
        data: what was trained on.
        lora: PEFT's resolved adapter configuration; None when all weights were trained.
        parameters: (trainable, all).
        figures: ``loss``, ``time`` and ``steps``.
        command: the command line, secrets and all; they are masked here.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": utc_now(),
        "name": config.output_dir.name,
        "note": NOTE_ADAPTER if lora is not None else NOTE_FULL,
        "method": _method(config),
        "license": config.adapter_license or None,
        "language": data.language or None,
        "base_model": base_facts(base, trust_remote_code=config.trust_remote_code),
        "dataset": {
            "file": config.data.path.name,
            "sha256": data.sha256,
            "split_sha256": data.split_sha256,
            **dataset_facts(config.data.path.parent),
        },
        "rows": data.rows,
        "replay": data.replay,
        "tokens": data.tokens,
        "system_prompt": data.system_prompt or None,
        "system_prompt_sha256": sha256_text(data.system_prompt) if data.system_prompt else None,
        "template_date": PINNED_DATE.isoformat(),
        "lora": None if lora is None else {key: lora[key] for key in sorted(lora)},
        "quantization": _quantization(config),
        "train": config.train.model_dump(mode="json"),
        "seeds": {
            "seed": config.seed,
            "split": config.split_seed,
            "batches": config.seed,
            "adapter": config.seed,
            "dropout": config.seed,
        },
        "parameters": _shares(*parameters),
        "packages": package_versions(),
        "git_commit": git_commit(config.data.path.parent),
        "command": without_secrets(command),
        "hardware": {**hardware(), **_gpu()},
        **_peaks(),
        **figures,
    }


def _method(config: RunConfig) -> str:
    if config.train.method == "full":
        return "full"
    return "qlora" if config.quantization.load_in_4bit else "lora"


def _quantization(config: RunConfig) -> dict[str, Json] | None:
    if not config.quantization.load_in_4bit:
        return None
    return {"type": "nf4", "double_quant": config.quantization.double_quant}


def _shares(trainable: int, total: int) -> dict[str, Json]:
    return {"trainable": trainable, "total": total, "share": trainable / total}


def _peaks() -> dict[str, Json]:
    return {
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_vram_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


def _gpu() -> dict[str, Json]:
    if not torch.cuda.is_available():
        return {"gpu": None, "vram_bytes": None}
    properties = torch.cuda.get_device_properties(0)
    return {"gpu": properties.name, "vram_bytes": properties.total_memory}
