"""Configurations of Axolotl and LLaMA-Factory in Loren's terms, every key accounted for (foreign.toml holds the tables).

Values without a counterpart are never shown: such files hold tokens of trackers and hubs.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from pydantic import ValidationError

from loren.config.plain_yaml import read_yaml
from loren.config.run import RunConfig

Tool: TypeAlias = Literal["axolotl", "llamafactory"]
_PLAIN_KEY = re.compile(r"[\w.\[\]-]{1,80}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Entry(NamedTuple):
    """One key and what became of it."""

    key: str
    note: str


@dataclass(slots=True)
class Translation:
    """A configuration of Loren's, and an account of every key that it was made from."""

    name: str
    """The trainer's name."""
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """Loren's dotted key -> value."""
    origins: dict[str, str] = field(default_factory=dict[str, str])
    """Loren's dotted key -> their key; "" where it is their default."""
    translated: list[Entry] = field(default_factory=list[Entry])
    without: list[Entry] = field(default_factory=list[Entry])
    """Keys that have no counterpart, with the reason."""
    defaults: list[Entry] = field(default_factory=list[Entry])
    """Loren's keys where the trainers' defaults differ."""
    unset: list[Entry] = field(default_factory=list[Entry])
    """Keys that stand in the file without a value."""


class _NoCounterpartError(Exception):
    """Why a value can't be translated."""


class _Place(NamedTuple):
    """Where paths of the file start, and where run.toml will lie."""

    here: Path
    folder: Path


_Found: TypeAlias = dict[str, Any]
_Special: TypeAlias = Callable[[Any, Mapping[str, Any], _Place], _Found]


def translate(path: Path, tool: Tool, folder: Path) -> Translation:
    """Translate a configuration of another trainer.

    Args:
        path: its YAML file; relative paths in it start at the working directory, as that trainer reads them.
        tool: whose it is.
        folder: where run.toml will lie; relative paths in it start there.

    Raises:
        ConfigError: the file can't be read, or its values make no valid configuration.
    """
    table = _tables()[tool]
    theirs = read_yaml(path)
    result = Translation(table["name"])
    place = _Place(Path.cwd(), folder)
    for key, value in theirs.items():
        if value is None:
            result.unset.append(Entry(_shown(key), "has no value"))
            continue
        try:
            found = _translated(key, value, theirs, table, place)
        except _NoCounterpartError as reason:
            result.without.append(Entry(_shown(key), str(reason)))
            continue
        for ours, translated in found.items():
            result.values[ours], result.origins[ours] = translated, key
        result.translated.append(Entry(_shown(key), ", ".join(found) or "is so in Loren too"))
    _add_datasets(theirs, tool, result)
    _add_defaults(theirs, tool, table, result)
    return result


def run_toml(translation: Translation, source: str) -> str:
    """The text of run.toml: values with the keys that they are from, then what was left out and why.

    Args:
        translation: what was translated.
        source: name of the file, for the first line.
    """
    lines = [f"# Translated from {_shown(source)}, a configuration of {translation.name}."]
    for section in ("", "data", "lora", "quantization", "train"):
        keys = [key for key in translation.values if key.rpartition(".")[0] == section]
        lines += ["", f"[{section}]"] if section and keys else []
        for key in keys:
            origin = translation.origins[key]
            note = f"from {_shown(origin)}" if origin else f"{translation.name}'s default; Loren's is another"
            lines.append(f"{key.rpartition('.')[2]} = {json.dumps(translation.values[key], ensure_ascii=True)}  # {note}")
    noted = [entry for entry in translation.defaults if entry.key not in translation.values]
    for title, entries in (("Other defaults", noted), ("Without a counterpart", translation.without)):
        lines += ["", f"# {title}:", *(f"#   {entry.key}: {entry.note}" for entry in entries)] if entries else []
    return "\n".join(lines) + "\n"


def _translated(key: str, value: Any, theirs: Mapping[str, Any], table: Mapping[str, Any], place: _Place) -> _Found:
    if key in table["special"]:
        return {ours: _offered(ours, found) for ours, found in _SPECIAL[table["special"][key]](value, theirs, place).items()}
    if key in table["same"]:
        ours = table["same"][key]
        return {ours: _offered(ours, _as_path(value, place) if ours == "base_model" else _as_number(value))}
    reason = table["without"].get(key) or next((why for start, why in table["families"].items() if key.startswith(start)), None)
    raise _NoCounterpartError(reason or f"Loren's table of {table['name']}'s keys does not know it")


def _offered(key: str, value: Any) -> Any:
    """``value``, if Loren's key takes it.

    Raises:
        _NoCounterpartError: it does not.
    """
    section, _, name = key.rpartition(".")
    model = RunConfig.model_fields[section].annotation if section else RunConfig
    try:
        cast("type[RunConfig]", model).model_validate({name: value})
    except ValidationError as error:
        raise _NoCounterpartError(f"{key}: {error.errors(include_url=False)[0]['msg']}") from None
    return value


def _add_defaults(theirs: Mapping[str, Any], tool: Tool, table: Mapping[str, Any], result: Translation) -> None:
    if tool == "axolotl" and not theirs.get("adapter"):
        _add_default(result, "train.method", "full")
    if tool == "llamafactory" and "lora.lora_alpha" not in result.values:
        _add_default(result, "lora.lora_alpha", 2 * result.values.get("lora.r", table["defaults"]["lora.r"]))
    for key, value in table["defaults"].items():
        _add_default(result, key, value)
    for key, note in table["noted"].items():
        if key not in result.values:
            result.defaults.append(Entry(key, note))


def _add_default(result: Translation, key: str, value: Any) -> None:
    if key in result.values:
        return
    section, _, name = key.rpartition(".")
    ours = getattr(getattr(RunConfig(), section), name)
    if ours != value:
        result.values[key], result.origins[key] = value, ""
        result.defaults.append(Entry(key, f"{result.name}'s default {json.dumps(value)} is written; Loren's is {json.dumps(ours)}"))


def _add_datasets(theirs: Mapping[str, Any], tool: Tool, result: Translation) -> None:
    """Account for what stands inside Axolotl's `datasets`."""
    entries = theirs.get("datasets") if tool == "axolotl" else None
    for number, entry in enumerate(cast("list[Any]", entries) if isinstance(entries, list) else []):
        for key in cast("dict[Any, Any]", entry) if isinstance(entry, dict) else ():
            if key != "path":
                result.without.append(
                    Entry(f"datasets[{number}].{_shown(str(key))}", "rows are `messages` of roles and contents, one JSON line each")
                )


def _path(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return {"output_dir": _relative(str(value), place)}


def _axolotl_adapter(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value == "qlora":
        return {"train.method": "lora", "quantization.load_in_4bit": True}
    if value == "lora":
        return {"train.method": "lora"}
    raise _NoCounterpartError("only lora and qlora are offered, or all weights")


def _axolotl_datasets(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    if len(entries) != 1 or not isinstance(entries[0], dict):
        raise _NoCounterpartError("one training file a run: join them, and set data.path")
    return {"data.path": _data_file(cast("dict[str, Any]", entries[0]).get("path"), place)}


def _llamafactory_dataset(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    raise _NoCounterpartError("a name in dataset_info.json: set data.path to its file, as JSONL of `messages`")


def _data_file(value: Any, place: _Place) -> str:
    if isinstance(value, str) and (value.endswith((".jsonl", ".json")) or (place.here / value).is_file()):
        return _relative(value, place)
    raise _NoCounterpartError("a data set of the hub: save it as JSONL of `messages`, and set data.path")


def _llamafactory_method(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value in {"lora", "full"}:
        return {"train.method": value}
    raise _NoCounterpartError("only lora and full are offered")


def _llamafactory_stage(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return _same_as("sft", value, "supervised fine-tuning only")


def _llamafactory_bits(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value == 4:
        return {"quantization.load_in_4bit": True}
    raise _NoCounterpartError("only 4 bits (NF4) are offered")


def _llamafactory_quantizer(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value in {"bnb", "bitsandbytes", "nf4"}:
        return {}
    raise _NoCounterpartError("only bitsandbytes' NF4 is offered")


def _validation_share(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    number = _as_number(value)
    if isinstance(number, int | float) and 0 < number < 1:
        return {"data.eval_ratio": float(number)}
    if number == 0:
        raise _NoCounterpartError("some validation rows are always kept: Loren's default share applies")
    raise _NoCounterpartError("a number of rows: give data.eval_ratio, a share")


def _targets(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value in ("all", "all-linear"):
        return {"lora.target_modules": "all-linear"}
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[\w.]+", name) for name in cast("list[Any]", names)
    ):
        raise _NoCounterpartError("a pattern: list the module names in lora.target_modules")
    return {"lora.target_modules": names}


def _all_linear(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return {"lora.target_modules": "all-linear"} if value is True else {}


def _over_length(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value in {"drop", "raise"}:
        return {"data.over_length": "drop" if value == "drop" else "error"}
    raise _NoCounterpartError("a target is never cut: longer rows are an error, or dropped with a ledger")


def _bf16(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value is True:
        return {"train.dtype": "bfloat16"}
    if value == "auto":
        return {"train.dtype": "auto"}
    return {} if theirs.get("fp16") else {"train.dtype": "float32"}


def _fp16(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return {"train.dtype": "float16"} if value is True else {}


def _optimizer(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    if value in {"adamw_torch", "adamw_torch_fused", "adamw_hf"}:
        return {}
    raise _NoCounterpartError("the optimiser is torch's AdamW with its state in 32 bits")


def _off_only(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return _same_as(
        False, value, "not offered: rows stay apart, the base is whole or NF4, and the assistant's turns are what is learned"
    )


def _own_template(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return _same_as("tokenizer_default", value, "the base's own chat template is used, in training and after it")


def _no_checkpointing(value: Any, theirs: Mapping[str, Any], place: _Place) -> _Found:
    return {"train.gradient_checkpointing": value is not True}


def _same_as(wanted: Any, value: Any, reason: str) -> _Found:
    if value == wanted:
        return {}
    raise _NoCounterpartError(reason)


_SPECIAL: dict[str, _Special] = {
    function.__name__.removeprefix("_"): function
    for function in (
        _path, _axolotl_adapter, _axolotl_datasets, _llamafactory_dataset, _llamafactory_method, _llamafactory_stage,
        _llamafactory_bits, _llamafactory_quantizer, _validation_share, _targets, _all_linear, _over_length, _bf16, _fp16,
        _optimizer, _off_only, _own_template, _no_checkpointing,
    )
}  # fmt: skip


def _as_number(value: Any) -> Any:
    """YAML 1.1 reads 2e-4, which has no dot, as text."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _as_path(value: Any, place: _Place) -> Any:
    if isinstance(value, str) and (value.startswith((".", "/", "~")) or (place.here / value).is_dir()):
        return _relative(value, place)
    return value


def _relative(value: str, place: _Place) -> str:
    """A path of their file as run.toml, which lies elsewhere, must name it."""
    if value.startswith(("~", "/")):
        return value
    path = os.path.relpath(place.here / value, place.folder)
    return path if path.startswith(".") else f"./{path}"


def _shown(text: str) -> str:
    """A key or name from outside, short and on one line."""
    return text if _PLAIN_KEY.fullmatch(text) else json.dumps(text[:80])


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(resources.files("loren.config").joinpath("foreign.toml").read_text(encoding="utf-8"))
