"""Where a base model comes from: a directory, a GGUF file, a hub id, or an embedded one. Finds or downloads; loads nothing.

Refused before anything is loaded: pickle weights (they run code when they are read), and code that a model carries, unless the user
trusts it by a flag.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from loren.errors import ConfigError, ModelLoadError, Problem
from loren.models.cache import Progress, cache_folder, is_complete, remembered_sha256
from loren.models.card import ModelFacts, folder_facts, front_matter, gguf_facts
from loren.models.embedded import PREFIX, embedded_models, ensure_file, find_embedded
from loren.models.gguf_file import read_header
from loren.models.hub import HubListing, cached_snapshot, fetch_snapshot, hub_allowed, is_commit, is_weight_file, list_repository
from loren.models.identity import read_model_json, template_digest, tokenizer_digest, weight_files, weights_digest

__all__ = ["BaseModel", "Kind", "describe", "resolve_source", "template_digest", "tokenizer_digest", "weights_digest"]

Kind: TypeAlias = Literal["directory", "gguf", "hub", "embedded"]
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5"})
_NOT_WEIGHTS = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"})
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_BYTE_TOKENIZERS = frozenset({"ByT5Tokenizer", "PerceiverTokenizer"})
"""Tokenizers that are code of transformers alone: bytes need no vocabulary file."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model that is on this disk now."""

    kind: Kind
    id: str
    """The hub id, "embedded:NAME", or the absolute path."""
    revision: str | None
    """Commit of the hub repository that the files come from; None for a path."""
    folder: Path | None
    """The Hugging Face folder; None while a GGUF file is not converted yet."""
    gguf: Path | None
    license: str
    """SPDX-like id from the card; "unknown" where it does not say."""
    origin_note: str
    """What the weights are, where they are not the publisher's own: "the dequantised Q4_K_M of …"; else empty."""
    sha256: str | None = None
    """Of the GGUF file."""
    converted: Path | None = None
    """Where the GGUF file's converted folder belongs."""


def resolve_source(
    base_model: str,
    revision: str | None = None,
    *,
    trust_remote_code: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> BaseModel:
    """Find a base model, downloading what is missing.

    Args:
        base_model: a directory, a .gguf file, a hub id, or embedded:NAME.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: accept Python code that the model carries.
        cache: Loren's cache folder; by default LOREN_CACHE or the platform's.
        progress: hears about downloads.

    Raises:
        ConfigError: no such embedded model, or a revision for something that has none.
        ModelLoadError: nothing is there, or it holds pickles or code.
        IntegrityError: a pinned file is another one.
        PrerequisiteError: the disk is too small, or no mirror answers.
    """
    is_hub = not base_model.startswith(PREFIX) and not _is_path(base_model)
    if revision is not None and not is_hub:
        raise ConfigError(f"revision: expected none beside {base_model}, found {revision}", hint="only a hub id has revisions")
    place = cache_folder(cache)
    if base_model.startswith(PREFIX):
        return _embedded(base_model, place, progress)
    if is_hub:
        return _hub(base_model, revision, trust_remote_code=trust_remote_code, progress=progress)
    path = Path(base_model).expanduser().absolute()
    if os.path.isdir(path):
        for model in embedded_models():
            if path == model.converted(place) and is_complete(path):  # as an adapter's base_model_name_or_path names it
                return _embedded(model.id, place, progress)
        check_folder(path, trust_remote_code=trust_remote_code)
        return BaseModel("directory", str(path), None, path, None, front_matter(path / "README.md").license, "")
    return _gguf(path, place)


def check_folder(folder: Path, *, trust_remote_code: bool) -> None:
    """Refuse a folder that is no Hugging Face model, or that would run code when it is loaded.

    Raises:
        ModelLoadError: every problem, not the first one.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    problems: list[Problem] = []
    if "config.json" not in names:
        found = "an adapter, which needs its base" if "adapter_config.json" in names else "none"
        problems.append(Problem(f"{folder}/config.json", f"expected a model's config, found {found}"))
    if not has_tokenizer(folder):
        problems.append(Problem(str(folder), f"expected a tokenizer ({', '.join(_TOKENIZERS)}), found none"))
    if not weight_files(folder):
        problems += _missing_weights(folder, names)
    if not trust_remote_code:
        problems += code_problems(folder, names)
    if problems:
        raise ModelLoadError(f"{folder}: the base model can't be used", problems=problems, hint=_hint(problems))


def has_tokenizer(folder: Path) -> bool:
    """Whether ``folder`` holds a tokenizer: a vocabulary, or the name of a class that needs none."""
    config = folder / "tokenizer_config.json"
    if any((folder / name).is_file() for name in _TOKENIZERS):
        return True
    return config.is_file() and read_model_json(config).get("tokenizer_class") in _BYTE_TOKENIZERS


def _missing_weights(folder: Path, names: list[str]) -> list[Problem]:
    pickles = [name for name in names if Path(name).suffix in _PICKLES and name not in _NOT_WEIGHTS]
    if not pickles:
        return [Problem(str(folder), "expected safetensors weights, found none")]
    return [
        Problem(f"{folder}/{name}", "expected safetensors weights, found a pickle or another format", "pickle") for name in pickles
    ]


def code_problems(folder: Path, names: Sequence[str]) -> list[Problem]:
    """What among the files ``names`` of a folder would run as code when the folder is loaded."""
    problems = [
        Problem(f"{folder}/{name}", "expected no code, found Python", "remote-code") for name in names if name.endswith(".py")
    ]
    for name in ("config.json", "tokenizer_config.json"):
        if name in names and "auto_map" in read_model_json(folder / name):
            problems.append(Problem(f"{folder}/{name}", "expected no code, found auto_map, which names some", "remote-code"))
    return problems


def _hint(problems: list[Problem]) -> str:
    rules = {problem.rule for problem in problems}
    if "pickle" in rules:
        return "convert the weights to safetensors where they were made: reading a pickle runs whatever it holds"
    if "remote-code" in rules:
        return "read the code; if you trust it, set trust_remote_code = true (recorded in the adapter)"
    return "give the folder that holds config.json, model.safetensors and the tokenizer"


def _is_path(base_model: str) -> bool:
    """Whether this is a path: it exists, or can't be a hub id."""
    if os.path.exists(os.path.expanduser(base_model)) or base_model.endswith(".gguf"):
        return True
    return _HUB_ID.fullmatch(base_model) is None


def _embedded(base_model: str, cache: Path, progress: Progress | None) -> BaseModel:
    model = find_embedded(base_model)
    target = model.converted(cache)
    done = is_complete(target)
    return BaseModel(
        kind="embedded",
        id=model.id,
        revision=model.hub.revision,
        folder=target if done else None,
        gguf=None if done else ensure_file(model, cache, progress),
        license=model.license,
        origin_note=model.origin_note,
        sha256=model.sha256,
        converted=target,
    )


def _gguf(path: Path, cache: Path) -> BaseModel:
    _require_file(path)
    header = read_header(path)
    digest = remembered_sha256(path, cache)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)[:80]
    target = cache / "models" / f"{stem}-{digest[:12]}"
    return BaseModel(
        kind="gguf",
        id=str(path),
        revision=None,
        folder=target if is_complete(target) else None,
        gguf=path,
        license=header.text("general.license", "unknown"),
        origin_note=f"the dequantised {header.quantization} in {path.name}",
        sha256=digest,
        converted=target,
    )


def _hub(repository: str, revision: str | None, *, trust_remote_code: bool, progress: Progress | None) -> BaseModel:
    folder = _hub_folder(repository, revision, trust_remote_code=trust_remote_code, progress=progress)
    check_folder(folder, trust_remote_code=trust_remote_code)
    return BaseModel("hub", repository, folder.name, folder, None, front_matter(folder / "README.md").license, "")


def _hub_folder(repository: str, revision: str | None, *, trust_remote_code: bool, progress: Progress | None) -> Path:
    """The snapshot folder, named by its commit: from the cache where that can't be stale or the hub does not answer.

    Raises:
        ModelLoadError: the hub can't be reached, or the model carries code that is not trusted.
    """
    if is_commit(revision):
        cached = cached_snapshot(repository, revision, weights=True, code=trust_remote_code)
        if cached is not None:
            return cached
    try:
        listing = list_repository(repository, revision)
    except ConnectionError as error:
        cached = cached_snapshot(repository, revision, weights=True, code=trust_remote_code)
        if cached is not None:
            return cached
        _refuse_unreachable(repository, error)
    _refuse_listing(repository, listing)
    light = fetch_snapshot(repository, listing, weights=False, code=trust_remote_code)
    if not trust_remote_code:  # before gigabytes are downloaded for nothing
        problems = code_problems(light, [name for name in ("config.json", "tokenizer_config.json") if (light / name).is_file()])
        if problems:
            raise ModelLoadError(f"{repository}: the base model can't be used", problems=problems, hint=_hint(problems))
    return fetch_snapshot(repository, listing, weights=True, code=trust_remote_code, progress=progress)


def _refuse_listing(repository: str, listing: HubListing) -> None:
    if not any(is_weight_file(name) for name in listing.sizes):
        names = sorted(name for name in listing.sizes if "/" not in name)
        problems = _missing_weights(Path(repository), names)
        raise ModelLoadError(f"{repository}: the repository has no safetensors weights", problems=problems, hint=_hint(problems))


def _refuse_unreachable(repository: str, reason: ConnectionError) -> NoReturn:
    raise ModelLoadError(
        f"{repository}: the hub can't be reached ({reason}), and the model is not in its cache", hint=_ways()
    ) from reason


def _require_file(path: Path) -> None:
    if not os.path.isfile(path):
        raise ModelLoadError(f"{path}: expected a model folder or a .gguf file, found nothing", hint=_ways())


def _ways() -> str:
    names = " or ".join(model.id for model in embedded_models())
    return f'take an embedded model ({names}), which needs no hub, or a folder on this disk (base_model = "./folder")'


def describe(base_model: str, revision: str | None = None) -> ModelFacts:
    """What a model says about itself; downloads no weights (of a hub id: the card, the config and the tokenizer).

    Args:
        base_model: a directory, a .gguf file, a hub id, or embedded:NAME.
        revision: branch, tag or commit of a hub id.

    Raises:
        ConfigError: no such embedded model.
        ModelLoadError: nothing is there, or the hub can't be reached.
    """
    if base_model.startswith(PREFIX):
        return find_embedded(base_model).facts()
    if _is_path(base_model):
        path = Path(base_model).expanduser().absolute()
        if os.path.isdir(path):
            return folder_facts(path, id=str(path), kind="directory")
        _require_file(path)
        return gguf_facts(read_header(path), id=str(path))
    folder = cached_snapshot(base_model, revision, weights=False, code=False) if is_commit(revision) or not hub_allowed() else None
    if folder is None:
        try:
            folder = fetch_snapshot(base_model, list_repository(base_model, revision), weights=False, code=False)
        except ConnectionError as error:
            folder = cached_snapshot(base_model, revision, weights=False, code=False)
            if folder is None:
                _refuse_unreachable(base_model, error)
    return folder_facts(folder, id=base_model, kind="hub")
