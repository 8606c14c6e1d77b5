"""training_metadata.json of an adapter that Loren did not train: what is known, from whom, and by name what is not.

The keys are those of a trained adapter, so that every reader after training finds them; what nobody states is null and listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from loren.data.dataset_card import dataset_facts
from loren.data.report import CheckReport
from loren.errors import IntegrityError
from loren.models.adapter_config import AdapterConfig
from loren.pipeline.foreign_adapter import Clues
from loren.provenance.digests import sha256_text
from loren.provenance.machine import hardware, package_versions, without_secrets
from loren.runs.files import Json, read_json
from loren.runs.folder import METADATA, SCHEMA_VERSION, utc_now
from loren.task.definition import Task

NOTE = "An adapter, not a merged model, trained elsewhere: load it with exactly this base."
_MAY_BE_UNKNOWN = (
    "created_at", "dataset", "git_commit", "command", "hardware", "language", "license", "loss", "packages", "peak_memory_bytes",
    "peak_vram_bytes", "quantization", "rows", "seeds", "steps", "system_prompt", "template_date", "time", "tokens", "train",
)  # fmt: skip
"""Keys that training would have filled. `lora`, `base_model` and `parameters` are always known: they were checked."""


@dataclass(frozen=True, slots=True)
class CheckedAdapter:
    """What the adapter's files say, and what was found when its copy was checked against the base."""

    config: AdapterConfig
    clues: Clues
    base: dict[str, Json]
    """As base_facts gives it."""
    tokenizer: dict[str, Json]
    parameters: tuple[int, int]
    """(adapter, base and adapter)."""
    targets: list[str]
    """Last parts of the names of the modules that have weights."""
    files: dict[str, Json]
    """Name -> SHA-256 of the adapter's files as they were found."""
    checkpoint: str | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user says about the adapter."""

    name: str
    """The run folder's name."""
    task: Task | None
    data: CheckReport | None
    data_path: Path | None
    command: Sequence[str]


def adopted_metadata(adapter: CheckedAdapter, stated: Stated, trained: dict[str, Json] | None) -> dict[str, Json]:
    """The record.

    Args:
        adapter: what was found and checked.
        stated: what the user says.
        trained: Loren's own record, where Loren trained the adapter; then only the base's place is new.
    """
    adopted: dict[str, Json] = {
        "at": utc_now(),
        "producer": "loren" if trained else adapter.clues.producer,
        "checkpoint": adapter.checkpoint,
        "base_model_name_or_path": adapter.config.base_model_name_or_path,
        "target_modules": adapter.config.target_modules if isinstance(adapter.config.target_modules, str) else None,
        "files": adapter.files,
        "sources": _sources(adapter, stated),
        "warnings": adapter.warnings,
        "command": without_secrets(stated.command),
        "packages": package_versions(),
        "hardware": hardware(),
    }
    if trained is not None:
        base = {**cast("dict[str, Json]", trained["base_model"]), "name_or_path": adapter.base["name_or_path"]}
        return {**trained, "base_model": base, "tokenizer": adapter.tokenizer, "adopted": adopted, "unknown": []}
    known = _known(adapter, stated)
    record: dict[str, Json] = {**dict.fromkeys(_MAY_BE_UNKNOWN), **known, "adopted": adopted}
    return {**record, "unknown": [key for key in _MAY_BE_UNKNOWN if record[key] is None]}


def loren_record(folder: Path) -> dict[str, Json]:
    """Loren's own record in an adapter folder whose manifest was verified.

    Raises:
        IntegrityError: it is not one that this version understands.
    """
    record: dict[str, Any] = dict(read_json(folder / METADATA))
    record.pop("artifact", None)
    objects = ("base_model", "dataset", "rows", "lora", "parameters", "packages", "hardware", "loss", "time", "seeds")
    fits = all(isinstance(record.get(key), dict) for key in objects) and "steps" in record
    fits = fits and isinstance(record.get("system_prompt"), str | None) and isinstance(record.get("quantization"), dict | None)
    if not fits or record.get("schema_version") != SCHEMA_VERSION or record.get("adopted"):
        raise IntegrityError(
            f"{folder / METADATA}: expected the record of an adapter that this version of Loren trained, found another",
            hint="adopt the folder that its trainer wrote",
        )
    return record


def system_prompt(adapter: CheckedAdapter, stated: Stated) -> str | None:
    """What training put before the questions: the trainer's own file says it, or the task that the user names."""
    if adapter.clues.system_prompt is not None:
        return adapter.clues.system_prompt
    return stated.task.system_prompt if stated.task and stated.task.system_in_training else None


def _known(adapter: CheckedAdapter, stated: Stated) -> dict[str, Json]:
    config, clues, data = adapter.config, adapter.clues, stated.data
    prompt = system_prompt(adapter, stated)
    own, total = adapter.parameters
    dataset: dict[str, Json] | None = None
    if data is not None and stated.data_path is not None:
        dataset = {
            "file": stated.data_path.name,
            "sha256": data.sha256,
            "split_sha256": None,
            **dataset_facts(stated.data_path.parent),
            "rows": data.rows,
            "contract": {"verdict": "broken" if data.errors else "clean", "errors": data.errors, "warnings": data.warnings},
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "name": stated.name,
        "note": NOTE,
        "method": "qlora" if clues.quantization else "lora",
        "language": stated.task.language if stated.task else None,
        "base_model": adapter.base,
        "tokenizer": adapter.tokenizer,
        "dataset": dataset,
        "system_prompt": prompt,
        "system_prompt_sha256": sha256_text(prompt) if prompt else None,
        "lora": {
            "r": config.r,
            "lora_alpha": config.lora_alpha,
            "lora_dropout": config.lora_dropout,
            "target_modules": adapter.targets,
            "bias": config.bias,
            "use_rslora": config.use_rslora,
            "use_dora": config.use_dora,
            "modules_to_save": config.modules_to_save,
            "rank_pattern": config.rank_pattern,
            "alpha_pattern": config.alpha_pattern,
        },
        "quantization": clues.quantization,
        "parameters": {"trainable": own, "total": total, "share": own / total},
        "packages": {"peft": config.peft_version} if config.peft_version else None,
        "steps": clues.steps,
        "loss": clues.loss,
    }


def _sources(adapter: CheckedAdapter, stated: Stated) -> dict[str, Json]:
    """Key of the record -> who says so, for what was not measured here."""
    sources: dict[str, Json] = {"lora": "adapter_config.json", **adapter.clues.sources}
    if adapter.config.peft_version:
        sources["packages"] = "adapter_config.json"
    if stated.data is not None:
        sources["dataset"] = "--data"
    if stated.task is not None:
        sources["language"] = "--task"
        if adapter.clues.system_prompt is None and stated.task.system_in_training:
            sources["system_prompt"] = "--task"
    return sources
