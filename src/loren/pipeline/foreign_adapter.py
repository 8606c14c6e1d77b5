"""An adapter folder that another trainer left: where the adapter lies, whether it is safe to read, and what its files say.

Everything here is data from outside: JSON is bounded and validated, pickles (`training_args.bin`, `adapter_model.bin`) are never
opened, and no pattern that the adapter brings is ever executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loren.errors import ModelLoadError, Problem
from loren.models.adapter_config import AdapterConfig, key_name
from loren.models.card import front_matter
from loren.models.identity import read_model_json
from loren.models.source import code_problems
from loren.runs.files import Json
from loren.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS

_CHECKPOINT = re.compile(r"checkpoint-(\d{1,9})")
_SWIFT_VERSION = re.compile(r"v(\d{1,6})-\d{8}-\d{6}")
_PICKLE = "adapter_model.bin"
_PRODUCERS = ("axolotl", "llama-factory", "unsloth", "ms-swift", "trl")
"""Tags by which trainers sign the card that they write."""
_MAX_SYSTEM_PROMPT = 100_000


@dataclass(frozen=True, slots=True)
class FoundAdapter:
    """Where in the given folder the adapter lies."""

    root: Path
    """The folder that was given."""
    folder: Path
    """The folder that holds the adapter's files: ``root`` or a checkpoint in it."""
    incomplete: tuple[str, ...]
    """Newer checkpoints that were passed over, because a file of the adapter is missing in them."""


@dataclass(frozen=True, slots=True)
class Clues:
    """What the trainer's own files say; None where none of them does."""

    producer: str | None
    system_prompt: str | None
    quantization: dict[str, Json] | None
    """None: not known to be quantised; else as in training_metadata.json."""
    steps: int | None
    loss: dict[str, Json] | None
    sources: dict[str, Json]
    """Key of the record -> file that says so."""


def find_adapter(root: Path) -> FoundAdapter:
    """The adapter in a trainer's output folder: in the folder itself, or in its newest whole checkpoint.

    Raises:
        ModelLoadError: there is none; says what was missing.
    """
    if not root.is_dir():
        raise ModelLoadError(f"{root}: expected an adapter folder, found {'a file' if root.exists() else 'nothing'}", hint=_HINT)
    if (root / ADAPTER_CONFIG).exists() or (root / ADAPTER_WEIGHTS).exists() or (root / _PICKLE).exists():
        return FoundAdapter(root, root, ())
    incomplete: list[str] = []
    for folder in _checkpoints(root):
        if (folder / ADAPTER_CONFIG).exists() and ((folder / ADAPTER_WEIGHTS).exists() or (folder / _PICKLE).exists()):
            return FoundAdapter(root, folder, tuple(incomplete))
        incomplete.append(folder.relative_to(root).as_posix())
    problems = [Problem(name, f"expected {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, found not both") for name in incomplete]
    found = "a whole model" if (root / "config.json").is_file() else "none"
    raise ModelLoadError(f"{root}: expected an adapter in it or in a checkpoint-N, found {found}", problems=problems, hint=_HINT)


_HINT = "give the folder that the trainer wrote adapter_config.json to"


def refuse_unsafe(folder: Path) -> None:
    """Refuse what must not be copied or loaded.

    Raises:
        ModelLoadError: a file is missing, a symbolic link, a pickle or code; all of them are named.
    """
    names = sorted(path.name for path in folder.iterdir())
    problems = [
        Problem(key_name(name), "expected a regular file, found a symbolic link", "symlink")
        for name in names
        if (folder / name).is_symlink()
    ]
    if ADAPTER_WEIGHTS not in names:
        found = f"{_PICKLE}, a pickle" if _PICKLE in names else "none"
        problems.append(Problem(ADAPTER_WEIGHTS, f"expected weights as safetensors, found {found}", "pickle" * (_PICKLE in names)))
    if ADAPTER_CONFIG not in names:
        problems.append(Problem(ADAPTER_CONFIG, "expected the adapter's configuration, found none"))
    if not problems:
        problems = [Problem(key_name(Path(item.place).name), item.message, item.rule) for item in code_problems(folder, names)]
    if problems:
        raise ModelLoadError(f"{folder}: the adapter can't be taken", problems=problems, hint=_remedy(problems))


def portable_config(config: AdapterConfig, names: set[str], base_name: str, revision: str | None) -> dict[str, Any]:
    """The adapter's configuration as it stands in the copy.

    Patterns (Unsloth's, say) become the list of the modules that carry weights: nothing foreign is ever executed.

    Args:
        config: the adapter's own configuration.
        names: of the modules that have weights in the file.
        base_name: what the copy calls its base.
        revision: commit of a base from the hub.
    """
    values = config.model_dump(include=set(AdapterConfig.model_fields))
    values.update(base_model_name_or_path=base_name, revision=revision, task_type="CAUSAL_LM", inference_mode=True)
    values["init_lora_weights"] = True
    if values["lora_alpha"] == int(values["lora_alpha"]):
        values["lora_alpha"] = int(values["lora_alpha"])
    targets = config.target_modules
    is_pattern = isinstance(targets, str) and targets != "all-linear"
    if is_pattern or config.exclude_modules or config.layers_to_transform is not None or config.layers_pattern:
        values.update(target_modules=sorted(names), exclude_modules=None, layers_to_transform=None, layers_pattern=None)
    return values


def read_clues(found: FoundAdapter) -> Clues:
    """What the trainer's JSON files and card say about the training."""
    sources: dict[str, Json] = {}
    swift = _first_json(found, "args.json")
    tags = {tag.lower() for folder in (found.folder, found.root) for tag in front_matter(folder / "README.md").tags}
    producer = "ms-swift" if "swift_version" in swift else next((name for name in _PRODUCERS if name in tags), None)
    system = swift.get("system") if producer == "ms-swift" else None
    if isinstance(system, str) and 0 < len(system) <= _MAX_SYSTEM_PROMPT:
        sources["system_prompt"] = "args.json"
    else:
        system = None
    quantization: dict[str, Json] | None = None
    if swift.get("quant_bits") == 4 and swift.get("quant_method") == "bnb" and swift.get("bnb_4bit_quant_type", "nf4") == "nf4":
        quantization = {"type": "nf4", "double_quant": swift.get("bnb_4bit_use_double_quant") is not False}
        sources["quantization"] = "args.json"
    state = _first_json(found, "trainer_state.json")
    steps = state.get("global_step")
    loss = _losses(state.get("log_history"))
    steps = steps if isinstance(steps, int) and steps > 0 else None
    sources.update({key: "trainer_state.json" for key, value in (("steps", steps), ("loss", loss)) if value is not None})
    return Clues(producer, system, quantization, steps, loss, sources)


def _checkpoints(root: Path) -> Iterator[Path]:
    """Real `checkpoint-N` folders, newest first; ms-swift puts them into the newest `vN-DATE-TIME`."""
    yield from _numbered(root, _CHECKPOINT)
    for version in _numbered(root, _SWIFT_VERSION):
        yield from _numbered(version, _CHECKPOINT)


def _numbered(folder: Path, name: re.Pattern[str]) -> list[Path]:
    numbered = [
        (int(match.group(1)), path)
        for path in folder.iterdir()
        if (match := name.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()
    ]
    return [path for _, path in sorted(numbered, reverse=True)]


def _first_json(found: FoundAdapter, name: str) -> dict[str, Json]:
    """The trainer's file beside the adapter or in the root; empty where it is missing or can't be read: it is only a clue."""
    for folder in (found.folder, found.root):
        path = folder / name
        if path.is_file() and not path.is_symlink():
            try:
                return read_model_json(path)
            except ModelLoadError:
                return {}
    return {}


def _losses(history: Json) -> dict[str, Json] | None:
    entries = [entry for entry in history if isinstance(entry, dict)] if isinstance(history, list) else []

    def series(key: str) -> list[float]:
        return [float(v) for e in entries if isinstance(v := e.get(key), int | float) and math.isfinite(v)]

    train, evaluated = series("loss"), series("eval_loss")
    if not train:
        return None
    return {
        "first": train[0],
        "last": train[-1],
        "best": min(train),
        "eval_last": evaluated[-1] if evaluated else None,
        "eval_best": min(evaluated) if evaluated else None,
    }


def _remedy(problems: list[Problem]) -> str:
    rules = {problem.rule for problem in problems}
    if "symlink" in rules:
        return "copy the folder with its links followed (cp -rL FOLDER COPY) and adopt the copy"
    if "pickle" in rules:
        return "save the adapter as safetensors where it was made: reading a pickle runs whatever it holds"
    if "remote-code" in rules:
        return "an adapter needs no code; take the code out of a copy of the folder if you know what it is for"
    return _HINT
