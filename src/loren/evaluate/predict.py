"""Prompts -> predictions file: opens a run or a model, asks it, and writes what was said with how it was decoded."""
# pyright: basic

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loren.errors import ConfigError, Problem
from loren.models.cache import Progress
from loren.models.protocol import Completion, Generator, Prompt
from loren.provenance.digests import sha256_json
from loren.provenance.manifest import MANIFEST, verify_manifest
from loren.runs.files import Json, read_json, write_json, write_text
from loren.runs.folder import METADATA, SCHEMA_VERSION, RunFolder
from loren.task.definition import Task, load_task

Say = Callable[[str], None]
Fetching = Callable[[], AbstractContextManager[Progress]]
Variant = Literal["base", "adapter"]
DEFAULT_MAX_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be asked: a generator with the system prompt it must get and the digests of what it is."""

    name: str
    generator: Generator
    system_prompt: str
    """Put before prompts that bring no system turn; "" for none."""
    max_new_tokens: int
    identity: dict[str, Json]
    """Digests of base and adapter, and the decoding parameters."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a subject answered, in the order of the prompts."""

    completions: list[Completion]
    sidecar: dict[str, Json]
    """Subject, decoding parameters, counts: beside the predictions as ``NAME.meta.json``."""

    @property
    def cut(self) -> int:
        """Answers that did not end by themselves."""
        return sum(completion.finish_reason == "length" for completion in self.completions)

    def write(self, path: Path) -> None:
        """Write predictions and sidecar atomically; the sidecar last, so that it vouches for a complete file."""
        lines = [json.dumps(completion.to_json(), ensure_ascii=False, allow_nan=False) for completion in self.completions]
        write_text(path, "".join(f"{line}\n" for line in lines))
        write_json(sidecar_path(path), self.sidecar)


def open_subject(
    subject: str, *, variant: Variant | None, task_folder: Path | None, batch_size: int, fetching: Fetching
) -> Subject:
    """Open a run folder, or any model that `loren models` knows.

    Raises:
        ConfigError: options that do not go with what SUBJECT is.
        IntegrityError: the adapter does not match its manifest, or its base is another one.
    """
    run = RunFolder(Path(subject))
    if run.config.is_file():
        if task_folder is not None:
            raise ConfigError("--task: expected none beside a run, which has its own task")
        return open_run(run, variant or "adapter", batch_size=batch_size, fetching=fetching)
    if variant == "adapter" or (Path(subject) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{subject}: expected a run folder or a base model, found neither",
            hint="an adapter is asked through its run folder; `loren adopt` makes one around it",
        )
    return open_model(subject, load_task(task_folder) if task_folder else None, batch_size=batch_size, fetching=fetching)


def open_run(run: RunFolder, variant: Variant, *, batch_size: int, fetching: Fetching) -> Subject:
    """A run's base with the task's system prompt, or its adapter with the system prompt that training had.

    Raises:
        IntegrityError: the adapter does not match its manifest, or its base is another one.
    """
    values = run_values(run.require())
    task = load_task(Path(values["task"])) if values["task"] else None
    verify_manifest(run.adapter)
    metadata: dict[str, Any] = dict(read_json(run.adapter / METADATA))
    from loren.models.loading import attach_adapter, check_base, load_tokenizer, locate_base

    recorded = metadata["base_model"]
    revision = recorded["revision"] if recorded["kind"] == "hub" else None  # what was trained on, not what the branch is now
    base = locate_base(values["base_model"], revision, trust_remote_code=values["trust_remote_code"], fetching=fetching)
    check_base(run.adapter, metadata, base)
    is_full = metadata["lora"] is None
    folder = run.adapter if is_full and variant == "adapter" else base.folder
    quantization = metadata["quantization"]
    in_4bit = quantization is not None
    double_quant = bool(quantization["double_quant"]) if quantization else False
    trust = values["trust_remote_code"]
    model = _model(folder, in_4bit=in_4bit, double_quant=double_quant, trust_remote_code=trust)
    # An adopted adapter's tokenizer may have a template of its own.
    tokenizer = load_tokenizer(run.adapter if variant == "adapter" else base.folder, trust_remote_code=trust)
    if variant == "adapter" and not is_full:
        model = attach_adapter(model, run.adapter)
    system = _system_prompt(metadata, task, variant)
    adapter_digest = read_json(run.adapter / MANIFEST)["digest"] if variant == "adapter" else None
    return Subject(
        name=variant,
        generator=_generator(model, tokenizer, values["base_model"], batch_size),
        system_prompt=system,
        max_new_tokens=task.max_new_tokens if task else DEFAULT_MAX_NEW_TOKENS,
        identity=_identity(base.weights_sha256, adapter_digest, system, in_4bit=in_4bit),
    )


def open_model(base_model: str, task: Task | None, *, batch_size: int, fetching: Fetching) -> Subject:
    """Any base model, with a task's system prompt where there is a task."""
    from loren.models.loading import load_tokenizer, locate_base

    base = locate_base(base_model, None, trust_remote_code=False, fetching=fetching)
    model, tokenizer = _model(base.folder, in_4bit=False, double_quant=False, trust_remote_code=False), load_tokenizer(base.folder)
    system = task.system_prompt if task else ""
    return Subject(
        name="base",
        generator=_generator(model, tokenizer, base_model, batch_size),
        system_prompt=system,
        max_new_tokens=task.max_new_tokens if task else DEFAULT_MAX_NEW_TOKENS,
        identity=_identity(base.weights_sha256, None, system, in_4bit=False),
    )


def predict(subject: Subject, prompts: Sequence[Prompt], *, max_new_tokens: int | None, say: Say) -> Predictions:
    """Ask every prompt.

    Returns:
        The completions in order, with the sidecar.
    """
    limit = max_new_tokens or subject.max_new_tokens
    asked = [with_system_turn(prompt, subject.system_prompt) for prompt in prompts]
    started = time.perf_counter()
    completions: list[Completion] = []
    every = max(1, len(asked) // 10)
    for completion in subject.generator.generate(asked, max_new_tokens=limit):
        completions.append(completion)
        if len(completions) % every == 0 and len(asked) >= 10:
            say(f"{subject.name}: {len(completions)} of {len(asked)} answered")
    return Predictions(completions, _sidecar(subject, prompts, completions, limit, time.perf_counter() - started))


def predictions_key(
    *, weights_sha256: Json, adapter_digest: Json, system_prompt: str, prompts: Sequence[Prompt], max_new_tokens: int
) -> str:
    """Digest of everything that decides a predictions file: same key, same answers."""
    return sha256_json({
        "weights": weights_sha256,
        "adapter": adapter_digest,
        "system_prompt": system_prompt,
        "prompts": [[prompt.id, [[role, text] for role, text in prompt.turns]] for prompt in prompts],
        "max_new_tokens": max_new_tokens,
    })


def current_key(run: RunFolder, variant: Variant, prompts: Sequence[Prompt], task: Task) -> str:
    """The key that a run's predictions must have to be today's; reads digests only, no weights."""
    metadata: Any = read_json(run.adapter / METADATA)
    return predictions_key(
        weights_sha256=metadata["base_model"]["weights_sha256"],
        adapter_digest=read_json(run.adapter / MANIFEST)["digest"] if variant == "adapter" else None,
        system_prompt=_system_prompt(metadata, task, variant),
        prompts=prompts,
        max_new_tokens=task.max_new_tokens,
    )


def sidecar_path(predictions: Path) -> Path:
    """``NAME.jsonl`` -> ``NAME.meta.json``."""
    return predictions.with_name(f"{predictions.stem}.meta.json")


def single_prompt(text: str) -> Prompt:
    """A prompt from the command line.

    Raises:
        ConfigError: it is blank.
    """
    if not text.strip():
        raise ConfigError("--prompt: expected text that is not blank", problems=[Problem("--prompt", "found blank text")])
    return Prompt("1", (("user", text),))


def with_system_turn(prompt: Prompt, system_prompt: str) -> Prompt:
    """``prompt`` with the system prompt in front, unless it brings its own."""
    if not system_prompt or prompt.turns[0][0] == "system":
        return prompt
    return Prompt(prompt.id, (("system", system_prompt), *prompt.turns))


def run_values(run: RunFolder) -> dict[str, Any]:
    """The resolved configuration of a run, as plain values."""
    values: Any = read_json(run.config)["values"]
    return dict(values)


def _system_prompt(metadata: dict[str, Any], task: Task | None, variant: Variant) -> str:
    """The base always gets the task's; the adapter what training had, and nothing else."""
    if variant == "adapter":
        return metadata["system_prompt"] or ""
    return task.system_prompt if task else ""


def _model(folder: Path, *, in_4bit: bool, double_quant: bool, trust_remote_code: bool) -> Any:
    from loren.models.loading import choose_dtype, load_model

    return load_model(
        folder,
        dtype=choose_dtype("auto"),
        load_in_4bit=in_4bit,
        double_quant=double_quant,  # as in training: other constants are another base
        trust_remote_code=trust_remote_code,
    )


def _generator(model: Any, tokenizer: Any, name: str, batch_size: int) -> Generator:
    from loren.models.chat import ChatRenderer
    from loren.models.generate import HuggingFaceGenerator

    return HuggingFaceGenerator(model, tokenizer, ChatRenderer(tokenizer, name), batch_size=batch_size)


def _identity(weights_sha256: str, adapter_digest: Json, system_prompt: str, *, in_4bit: bool) -> dict[str, Json]:
    from loren.models.generate import DECODING

    return {
        "base_weights_sha256": weights_sha256,
        "adapter_digest": adapter_digest,
        "system_prompt": system_prompt,
        "load_in_4bit": in_4bit,
        "decoding": DECODING,
    }


def _sidecar(
    subject: Subject, prompts: Sequence[Prompt], completions: Sequence[Completion], limit: int, seconds: float
) -> dict[str, Json]:
    return {
        "schema_version": SCHEMA_VERSION,
        "subject": subject.name,
        **subject.identity,
        "max_new_tokens": limit,
        "key": predictions_key(
            weights_sha256=subject.identity["base_weights_sha256"],
            adapter_digest=subject.identity["adapter_digest"],
            system_prompt=subject.system_prompt,
            prompts=prompts,
            max_new_tokens=limit,
        ),
        "answers": len(completions),
        "cut": sum(completion.finish_reason == "length" for completion in completions),
        "prompt_tokens": sum(completion.prompt_tokens for completion in completions),
        "completion_tokens": sum(completion.completion_tokens for completion in completions),
        "seconds": round(seconds, 3),
    }
