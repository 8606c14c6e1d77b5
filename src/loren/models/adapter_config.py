"""adapter_config.json: the kinds of LoRA adapter that Loren takes, validated as data from outside.

Names are PEFT's. What is not known here is refused by name: a setting that is passed over would make another model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loren.errors import ModelLoadError, Problem
from loren.models.identity import read_model_json
from loren.runs.folder import ADAPTER_CONFIG

_PATTERN = re.compile(r"\^?[\w.*\\-]{1,200}\$?")
"""Keys of rank_pattern are regular expressions for PEFT: names and simple wildcards only, nothing that can run for ever."""
_MAX_WILDCARDS = 3

_Pattern = Annotated[str, Field(max_length=200)]


class AdapterConfig(BaseModel):
    """The keys of adapter_config.json that an adapter may use; PEFT's names and meaning."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    peft_type: Literal["LORA"]
    r: int = Field(ge=1, le=65536)
    lora_alpha: float = Field(gt=0)
    target_modules: list[str] | str = Field(min_length=1)
    task_type: Literal["CAUSAL_LM"] | None = None
    base_model_name_or_path: str | None = Field(default=None, max_length=4096)
    revision: str | None = None
    peft_version: str | None = Field(default=None, max_length=100)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    bias: Literal["none", "all", "lora_only"] = "none"
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    ensure_weight_tying: bool = False
    modules_to_save: list[str] | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[_Pattern, Annotated[int, Field(ge=1, le=65536)]] = {}
    alpha_pattern: dict[_Pattern, Annotated[float, Field(gt=0)]] = {}
    trainable_token_indices: list[int] | dict[str, list[int]] | None = None
    init_lora_weights: Literal["gaussian", "eva", "orthogonal"] | bool = True

    @property
    def base_class(self) -> str | None:
        """The class of the model that it was trained on, where the trainer wrote it down (Unsloth does)."""
        mapping = (self.model_extra or {}).get("auto_mapping")
        found = cast("dict[str, object]", mapping).get("base_model_class") if isinstance(mapping, dict) else None
        return found if isinstance(found, str) else None


_INERT = frozenset({
    "auto_mapping", "inference_mode", "megatron_core", "qalora_group_size", "eva_config", "corda_config", "runtime_config",
})  # fmt: skip
"""Keys that change nothing in a finished adapter; they are left out of the copy."""
_EXPECTED = {
    "peft_type": "a LORA adapter, the only kind that Loren takes",
    "task_type": "CAUSAL_LM",
    "r": "a rank of at least 1",
    "init_lora_weights": "an adapter for the base's own weights (an initialisation like PiSSA or LoftQ trains it for others)",
}


def read_config(folder: Path) -> AdapterConfig:
    """Read and validate adapter_config.json.

    Raises:
        ModelLoadError: it is no plain LoRA adapter; names every key with what was expected and found.
    """
    values = read_model_json(folder / ADAPTER_CONFIG)
    problems: list[Problem] = []
    config: AdapterConfig | None = None
    try:
        config = AdapterConfig.model_validate(values)
    except ValidationError as error:
        problems += _explain(error)
    known = AdapterConfig.model_fields.keys() | _INERT
    for key in sorted(values.keys() - known):
        if values[key]:  # a key of another PEFT version at its "off" value changes nothing
            problems.append(Problem(key_name(key), f"expected a plain LoRA adapter, found {shown(values[key])}"))
    for table in ("rank_pattern", "alpha_pattern"):
        names = values.get(table)
        for name in names if isinstance(names, dict) else ():
            if not _PATTERN.fullmatch(name) or name.count("*") > _MAX_WILDCARDS:
                problems.append(Problem(table, f"expected module names with at most {_MAX_WILDCARDS} '*', found {shown(name)}"))
    if problems or config is None:
        raise ModelLoadError(
            f"{folder / ADAPTER_CONFIG}: {len(problems)} problem(s)",
            problems=problems,
            hint="Loren takes LoRA, rsLoRA and DoRA adapters of causal language models, as PEFT saves them",
        )
    return config


def _explain(error: ValidationError) -> Iterator[Problem]:
    seen: set[str] = set()
    for item in error.errors(include_url=False):
        key = str(item["loc"][0]) if item["loc"] else ADAPTER_CONFIG
        if key in seen:
            continue  # the branches of a union each say their part; the first is enough
        seen.add(key)
        found = "no such key" if item["type"] == "missing" else shown(item["input"])
        yield Problem(key, f"expected {_EXPECTED.get(key, item['msg'][0].lower() + item['msg'][1:])}; found {found}")


def key_name(text: str) -> str:
    """A file's or key's name, as it is where it is an ordinary one."""
    return text if re.fullmatch(r"[\w.-]{1,80}", text) else shown(text)


def shown(value: object) -> str:
    """A value from outside, short and without control characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
