"""defaults < file < environment < --set, each value with its origin; all mistakes at once.

A configuration is data from outside: the file is bounded, parsed by tomllib, and validated by the sections.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from loren.config.environment import ENVIRONMENT_KEYS
from loren.config.lora import PRESETS
from loren.config.run import RunConfig
from loren.errors import ConfigError, Problem

MAX_CONFIG_BYTES = 1024 * 1024
SWEEP = "sweep"
"""The table of a configuration file that says what `loren sweep` compares."""
_PATH_KEYS = ("task", "output_dir", "data.path", "data.approvals")


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A validated configuration and where each value came from."""

    config: RunConfig
    origins: Mapping[str, str]
    """Dotted key -> "default", "file", "environment NAME", "--set", "preset b" or "sweep"."""
    source: Path | None
    """The configuration file, if there was one."""


def load_config(
    path: Path | None,
    *,
    environment: Mapping[str, str],
    overrides: Sequence[str] = (),
    changes: Mapping[str, object] | None = None,
) -> ResolvedConfig:
    """Read and validate a configuration. Its [sweep] is for `loren sweep` alone, and is left unread here.

    Args:
        path: a TOML file, or None for defaults; relative paths are then relative to the working directory.
        environment: usually ``os.environ``.
        overrides: ``section.key=value`` strings, the value in TOML syntax (a bare word is taken as a string).
        changes: dotted key -> value of a variant of a sweep; they win over all others.

    Returns:
        The configuration with absolute paths and the origin of every value.

    Raises:
        ConfigError: every wrong key and value, each with what was expected, what was given, and the nearest key.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        for key, value in flatten({name: part for name, part in read_toml(path).items() if name != SWEEP}):
            values[key], origins[key] = value, "file"
    problems: list[Problem] = []
    for name, key in ENVIRONMENT_KEYS.items():
        if text := environment.get(name, ""):
            values[key], origins[key] = _parse_value(key, text), f"environment {name}"
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            problems.append(Problem(f"--set {override}", "expected section.key=value, found no '='"))
            continue
        values[key.strip()], origins[key.strip()] = _parse_value(key.strip(), text.strip()), "--set"
    for key, value in (changes or {}).items():
        values[key], origins[key] = value, "sweep"
    _apply_preset(values, origins)
    config, found = _validate(values, origins)
    problems.extend(found)
    if problems or config is None:
        where = f" in {path}" if path else ""
        raise ConfigError(
            f"configuration: {len(problems)} problem(s){where}",
            problems=problems,
            hint="docs/reference/config.md lists every key",
        )
    for key in known_keys():
        origins.setdefault(key, "default")
    base = path.parent if path else Path()
    return ResolvedConfig(_absolute_paths(config, base), dict(sorted(origins.items())), path)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a configuration file, as they are written.

    Raises:
        ConfigError: it can't be read, is too large, or is no TOML.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_CONFIG_BYTES} bytes, found {path.stat().st_size}")
        return tomllib.loads(path.read_bytes().decode())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: expected TOML, found: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8, found another byte at offset {error.start}") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a configuration file, found {error.strerror or error}",
            hint="`loren init DIR` makes a starter project with a run.toml",
        ) from error


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested tables by dotted key; a list is a leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _parse_value(key: str, text: str) -> object:
    """The TOML value of ``text``, or the bare text: `--set task=task` needs no quotes."""
    if key == "quantization.load_in_4bit" and text in {"0", "1"}:
        return text == "1"
    if key in {"base_model", "revision", *_PATH_KEYS}:
        return text.strip('"')
    try:
        return cast("object", tomllib.loads(f"value = {text}")["value"])
    except tomllib.TOMLDecodeError:
        return text


def _apply_preset(values: dict[str, Any], origins: dict[str, str]) -> None:
    """Fill the fields that a preset stands for, where the user gave none."""
    preset = values.get("lora.preset")
    for field, value in PRESETS.get(preset, {}).items() if isinstance(preset, str) else ():
        key = f"lora.{field}"
        if key not in values:
            values[key], origins[key] = value, f"preset {preset}"


def _validate(values: Mapping[str, Any], origins: Mapping[str, str]) -> tuple[RunConfig | None, list[Problem]]:
    tree: dict[str, Any] = {}
    problems: list[Problem] = []
    known = known_keys()
    for key, value in values.items():
        if key not in known:
            problems.append(Problem(key, unknown_key(key, known)))
            continue
        section, _, field = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[field] = value
    try:
        return RunConfig.model_validate(tree), problems
    except ValidationError as error:
        problems.extend(_explain(error, origins))
        return None, problems


def _explain(error: ValidationError, origins: Mapping[str, str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for item in error.errors(include_url=False):
        parts = [str(part) for part in item["loc"] if isinstance(part, str)]
        key = ".".join(parts[:2]) if parts and parts[0] in _sections() else ".".join(parts[:1])
        if key in seen:
            continue  # the branches of a union each say their part; the first is enough
        seen.add(key)
        message = item["msg"].removeprefix("Value error, ")
        given = item["input"]
        shown = json.dumps(given, default=str, ensure_ascii=False)[:80]
        origin = origins.get(key)
        tail = "" if isinstance(given, BaseModel) else f"; got {shown}{f' (from {origin})' if origin else ''}"
        yield Problem(key or "configuration", message + tail)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What is said about a key that is none, with the nearest of those that are known."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5) or [
        candidate for candidate in known if candidate.rpartition(".")[2] == key.rpartition(".")[2]
    ]
    return f"expected a known key; did you mean {near[0]!r}?" if near else "expected a known key"


def _sections() -> dict[str, type[BaseModel]]:
    return {
        name: field.annotation
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def known_keys() -> list[str]:
    """Every dotted key of a run's configuration."""
    sections = _sections()
    top = [name for name in RunConfig.model_fields if name not in sections]
    return top + [f"{name}.{field}" for name, section in sections.items() for field in section.model_fields]


def _absolute_paths(config: RunConfig, base: Path) -> RunConfig:
    """Paths of a file are relative to it; a base model counts as a path when it starts like one or is one."""
    root = base.resolve()
    updates: dict[str, object] = {"output_dir": root / config.output_dir}
    if config.task is not None:
        updates["task"] = root / config.task
    local = root / config.base_model
    if config.base_model.startswith((".", "/", "~")) or config.base_model.endswith(".gguf") or local.is_dir():
        updates["base_model"] = str(local if not config.base_model.startswith("~") else Path(config.base_model).expanduser())
    data: dict[str, object] = {"path": root / config.data.path}
    if config.data.approvals is not None:
        data["approvals"] = root / config.data.approvals
    updates["data"] = config.data.model_copy(update=data)
    return config.model_copy(update=updates)
