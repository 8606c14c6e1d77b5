"""Which weights, tokenizer and template a folder holds: digests that tie an adapter to its base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from loren.errors import ModelLoadError, Problem
from loren.models.cache import cache_folder, remembered_sha256
from loren.provenance.digests import sha256_files, sha256_json, sha256_text
from loren.runs.files import MAX_JSON_BYTES, Json

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
TEMPLATE = "chat_template.jinja"
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "vocab.txt", "tokenizer.model", "spiece.model",
)  # fmt: skip


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files that transformers would load from ``folder``; empty where there are none.

    Raises:
        ModelLoadError: the index is unreadable, or names a shard that is missing or outside the folder.
    """
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if not (folder / WEIGHTS_INDEX).is_file():
        return []
    weight_map = read_model_json(folder / WEIGHTS_INDEX).get("weight_map")
    names = sorted({str(name) for name in weight_map.values()}) if isinstance(weight_map, dict) else []
    problems = [
        Problem(f"{folder}/{name}", "expected the shard that the index names, found none")
        for name in names
        if "/" in name or "\\" in name or not (folder / name).is_file()
    ]
    if problems or not names:
        raise ModelLoadError(
            f"{folder}: the weights are incomplete", problems=problems, hint="download the model again; it was cut short"
        )
    return names


def decoder_config(folder: Path) -> dict[str, Json]:
    """config.json of ``folder``, with what a model of several kinds of input nests under ``text_config`` at the top."""
    values = read_model_json(folder / "config.json")
    inner = values.get("text_config")
    return {**values, **inner} if isinstance(inner, dict) else values


def weights_digest(folder: Path, cache: Path | None = None) -> str:
    """One SHA-256 over the safetensors files of ``folder``.

    A file is read once and its digest remembered in Loren's cache by path, size and modification time, so that a command does not
    read gigabytes to find that nothing changed. ``loren models fetch`` reads them again.

    Raises:
        ModelLoadError: the folder holds no safetensors weights.
    """
    names = weight_files(folder)
    if not names:
        raise ModelLoadError(f"{folder}: expected safetensors weights, found none")
    place = cache_folder(cache)
    return sha256_json({name: remembered_sha256(folder / name, place) for name in names})


def tokenizer_digest(folder: Path) -> str:
    """One SHA-256 over the tokenizer's files of ``folder``."""
    return sha256_files(folder, [name for name in TOKENIZER_FILES if (folder / name).is_file()])


def template_digest(folder: Path) -> str:
    """SHA-256 of the chat template's text; of the empty text where there is none."""
    return sha256_text(chat_template(folder))


def chat_template(folder: Path) -> str:
    """The chat template of ``folder``, from its own file or from tokenizer_config.json; empty where there is none."""
    own = folder / TEMPLATE
    if own.is_file() and own.stat().st_size <= MAX_JSON_BYTES:
        return own.read_text(encoding="utf-8", errors="replace")
    config = folder / "tokenizer_config.json"
    found = read_model_json(config).get("chat_template") if config.is_file() else None
    if isinstance(found, str):
        return found
    if isinstance(found, list):  # several named templates; transformers takes "default"
        named = [entry for entry in found if isinstance(entry, dict) and entry.get("name") == "default"]
        return str(named[0].get("template", "")) if named else ""
    return ""


def read_model_json(path: Path) -> dict[str, Json]:
    """A JSON object of a model folder.

    Raises:
        ModelLoadError: it is missing, too large, not JSON or not an object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelLoadError(f"{path}: expected at most {MAX_JSON_BYTES} bytes, found {path.stat().st_size}")
        value: object = json.loads(path.read_bytes())
    except ModelLoadError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        reason = "no file" if isinstance(error, FileNotFoundError) else "an unreadable one"
        raise ModelLoadError(f"{path}: expected a JSON object, found {reason}") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return cast("dict[str, Json]", value)
