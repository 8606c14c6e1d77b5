"""Whom to ask: a run's base, its base with examples, its adapter, its merged model, or any model; and what identifies each.

An identity is read from digests, without weights, so that answers that were given before are recognised before anything is loaded.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from loren.errors import ConfigError, IntegrityError, Problem
from loren.evaluate.training_rows import TrainingRows, training_rows
from loren.models.cache import Progress
from loren.models.protocol import DECODING, Generator, Prompt
from loren.provenance.manifest import MANIFEST, verify_manifest
from loren.runs.files import Json, read_json
from loren.runs.folder import METADATA, RunFolder
from loren.task.definition import Task, load_task

if TYPE_CHECKING:
    from loren.models.generate import HuggingFaceGenerator

Fetching = Callable[[], AbstractContextManager[Progress]]
Variant: TypeAlias = Literal["base", "fewshot", "adapter", "merged", "http"]
Lead: TypeAlias = tuple[tuple[str, str], ...]
"""(role, content) turns that stand before every question: a system prompt, examples."""
DEFAULT_MAX_NEW_TOKENS = 256


class Arm(NamedTuple):
    """One column of an evaluation: a variant, free or held to the task's schema while it decodes."""

    variant: Variant
    constrained: bool = False

    @property
    def name(self) -> str:
        """Also the stem of its predictions file."""
        return f"{self.variant}-constrained" if self.constrained else self.variant


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be asked: a generator with the turns that it must get and the digests of what it is."""

    name: str
    generator: Generator
    lead: Lead
    max_new_tokens: int
    identity: dict[str, Json]
    """All that decides its answers to a prompt: digests of base and adapter, the lead, the decoding parameters."""


@dataclass(frozen=True)
class TrainedRun:
    """A finished run as far as it can be read without weights; its adapter matches its manifest."""

    run: RunFolder
    values: dict[str, Any]
    """The resolved configuration."""
    metadata: dict[str, Any]
    """training_metadata.json."""
    adapter_digest: str
    task: Task | None

    @property
    def is_full(self) -> bool:
        """All weights were trained: the artifact is a model, not an adapter."""
        return self.metadata["lora"] is None

    @property
    def trained_lead(self) -> Lead:
        """What training put before every conversation."""
        return system_turn(self.metadata["system_prompt"] or "")

    @property
    def task_lead(self) -> Lead:
        """The task's system prompt, which whoever was not trained always gets."""
        return system_turn(self.task.system_prompt if self.task else "")

    @property
    def max_new_tokens(self) -> int:
        """Of the task."""
        return self.task.max_new_tokens if self.task else DEFAULT_MAX_NEW_TOKENS

    @cached_property
    def training_rows(self) -> TrainingRows | None:
        """What :func:`training_rows` reads of the training file, once; for a run with a task."""
        return training_rows(self.run, self.values, require_task(self))


def open_trained(run: RunFolder) -> TrainedRun:
    """Read and verify a run.

    Raises:
        IntegrityError: the adapter does not match its manifest.
    """
    values = run_values(run.require())
    verify_manifest(run.adapter)
    return TrainedRun(
        run=run,
        values=values,
        metadata=dict(read_json(run.adapter / METADATA)),
        adapter_digest=str(read_json(run.adapter / MANIFEST)["digest"]),
        task=load_task(Path(values["task"])) if values["task"] else None,
    )


def require_task(trained: TrainedRun) -> Task:
    """The run's task.

    Raises:
        ConfigError: it has none.
    """
    if trained.task is None:
        raise ConfigError(f"{trained.run.path}: expected a run with a task, found none", hint="set task in the run's configuration")
    return trained.task


def identity(
    trained: TrainedRun, variant: Variant, lead: Lead, *, constraint: str | None = None, merged_digest: str | None = None
) -> dict[str, Json]:
    """What decides the answers of one of a run's variants.

    Args:
        trained: the run.
        variant: base, fewshot, adapter or merged.
        lead: turns before every question.
        constraint: digest of the schema that holds the decoding, where one does.
        merged_digest: of the merged folder's manifest, for that variant.
    """
    adapter: dict[str, Json] = {"adapter": trained.adapter_digest, "merged": merged_digest}
    artifact = adapter.get(variant) if variant in adapter else None
    in_4bit = trained.metadata["quantization"] is not None and variant != "merged"
    return _identity(trained.metadata["base_model"]["weights_sha256"], artifact, lead, in_4bit=in_4bit, constraint=constraint)


def merged_folder(trained: TrainedRun) -> tuple[Path, str]:
    """Where the merged model of a run lies, and its digest: proven, of this very adapter, and as its manifest says.

    Raises:
        ConfigError: the run has none, or its proof failed.
        IntegrityError: it was made of another adapter, or is not what was proven.
    """
    pointer = trained.run.merged_pointer
    again = f"`loren merge {trained.run.path}` makes one"
    if not pointer.is_file():
        raise ConfigError(f"{pointer}: expected a merged model, found none", hint=f"{again}; or leave merged out of --variants")
    stored: Any = read_json(pointer)
    if not stored.get("proven"):
        raise ConfigError(f"{pointer}: expected a proven merge, found one whose proof failed", hint=again)
    folder = pointer.parent / str(stored["path"])
    if stored["adapter"]["digest"] != trained.adapter_digest:
        problem = Problem(str(pointer), f"expected adapter {trained.adapter_digest}, found {stored['adapter']['digest']}")
        raise IntegrityError(f"{folder}: the merged model was made of another adapter", problems=[problem], hint=again)
    verify_manifest(folder)
    digest = str(read_json(folder / MANIFEST)["digest"])
    if digest != stored["digest"]:
        problem = Problem(MANIFEST, f"expected digest {stored['digest']}, found {digest}")
        raise IntegrityError(f"{folder}: the merged model is not the one that was proven", problems=[problem], hint=again)
    return folder, digest


def open_merged(trained: TrainedRun, *, batch_size: int) -> Subject:
    """A run's merged model, with what training put before every conversation."""
    folder, digest = merged_folder(trained)
    lead = trained.trained_lead
    generator = load_merged(trained, folder, batch_size=batch_size)
    return Subject("merged", generator, lead, trained.max_new_tokens, identity(trained, "merged", lead, merged_digest=digest))


def open_run(trained: TrainedRun, variant: Literal["base", "adapter"], *, batch_size: int, fetching: Fetching) -> Subject:
    """A run's base with the task's system prompt, or its adapter with the one that training had.

    Raises:
        IntegrityError: the base is not the one that the adapter was trained on.
    """
    lead = trained.trained_lead if variant == "adapter" else trained.task_lead
    return Subject(
        name=variant,
        generator=load_generator(trained, variant, batch_size=batch_size, fetching=fetching),
        lead=lead,
        max_new_tokens=trained.max_new_tokens,
        identity=identity(trained, variant, lead),
    )


def load_generator(
    trained: TrainedRun, weights: Literal["base", "adapter"], *, batch_size: int, fetching: Fetching
) -> HuggingFaceGenerator:
    """Load a run's base or adapter into memory.

    Raises:
        IntegrityError: the base is not the one that the adapter was trained on.
    """
    from loren.models.loading import attach_adapter, check_base, load_tokenizer, locate_base

    values, metadata, artifact = trained.values, trained.metadata, trained.run.adapter
    recorded = metadata["base_model"]
    revision = recorded["revision"] if recorded["kind"] == "hub" else None  # what was trained on, not what the branch is now
    trust = values["trust_remote_code"]
    base = locate_base(values["base_model"], revision, trust_remote_code=trust, fetching=fetching)
    check_base(artifact, metadata, base)
    quantization = metadata["quantization"]
    is_adapter = weights == "adapter"
    model = _model(
        artifact if trained.is_full and is_adapter else base.folder,
        in_4bit=quantization is not None,
        double_quant=bool(quantization["double_quant"]) if quantization else False,
        trust_remote_code=trust,
    )
    # An adopted adapter's tokenizer may have a template of its own.
    tokenizer = load_tokenizer(artifact if is_adapter else base.folder, trust_remote_code=trust)
    if is_adapter and not trained.is_full:
        model = attach_adapter(model, artifact)
    return _generator(model, tokenizer, values["base_model"], batch_size)


def load_merged(trained: TrainedRun, folder: Path, *, batch_size: int) -> HuggingFaceGenerator:
    """Load a run's merged model, with the tokenizer that it was saved with."""
    from loren.models.loading import load_tokenizer

    trust = trained.values["trust_remote_code"]
    model = _model(folder, in_4bit=False, double_quant=False, trust_remote_code=trust)
    return _generator(model, load_tokenizer(folder, trust_remote_code=trust), str(folder), batch_size)


def open_subject(
    subject: str, *, variant: Literal["base", "adapter"] | None, task_folder: Path | None, batch_size: int, fetching: Fetching
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
        return open_run(open_trained(run), variant or "adapter", batch_size=batch_size, fetching=fetching)
    if variant == "adapter" or (Path(subject) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{subject}: expected a run folder or a base model, found neither",
            hint="an adapter is asked through its run folder; `loren adopt` makes one around it",
        )
    return open_model(subject, load_task(task_folder) if task_folder else None, batch_size=batch_size, fetching=fetching)


def open_model(base_model: str, task: Task | None, *, batch_size: int, fetching: Fetching) -> Subject:
    """Any base model, with a task's system prompt where there is a task."""
    from loren.models.loading import load_tokenizer, locate_base

    base = locate_base(base_model, None, trust_remote_code=False, fetching=fetching)
    model, tokenizer = _model(base.folder, in_4bit=False, double_quant=False, trust_remote_code=False), load_tokenizer(base.folder)
    lead = system_turn(task.system_prompt if task else "")
    return Subject(
        name="base",
        generator=_generator(model, tokenizer, base_model, batch_size),
        lead=lead,
        max_new_tokens=task.max_new_tokens if task else DEFAULT_MAX_NEW_TOKENS,
        identity=_identity(base.weights_sha256, None, lead, in_4bit=False, constraint=None),
    )


def single_prompt(text: str) -> Prompt:
    """A prompt from the command line.

    Raises:
        ConfigError: it is blank.
    """
    if not text.strip():
        raise ConfigError("--prompt: expected text that is not blank", problems=[Problem("--prompt", "found blank text")])
    return Prompt("1", (("user", text),))


def with_lead(prompt: Prompt, lead: Lead) -> Prompt:
    """``prompt`` behind the lead; one that brings its own system turn keeps that one."""
    if prompt.turns[0][0] == "system":
        rest = tuple(turn for turn in lead if turn[0] != "system")
        return Prompt(prompt.id, (prompt.turns[0], *rest, *prompt.turns[1:])) if rest else prompt
    return Prompt(prompt.id, (*lead, *prompt.turns)) if lead else prompt


def system_turn(text: str) -> Lead:
    """A system prompt as a lead; "" is none."""
    return (("system", text),) if text else ()


def run_values(run: RunFolder) -> dict[str, Any]:
    """The resolved configuration of a run, as plain values."""
    values: Any = read_json(run.config)["values"]
    return dict(values)


def _model(folder: Path, *, in_4bit: bool, double_quant: bool, trust_remote_code: bool) -> Any:
    from loren.models.loading import choose_dtype, load_model

    return load_model(
        folder,
        dtype=choose_dtype("auto"),
        load_in_4bit=in_4bit,
        double_quant=double_quant,  # as in training: other constants are another base
        trust_remote_code=trust_remote_code,
    )


def _generator(model: Any, tokenizer: Any, name: str, batch_size: int) -> HuggingFaceGenerator:
    from loren.models.chat import ChatRenderer
    from loren.models.generate import HuggingFaceGenerator

    return HuggingFaceGenerator(model, tokenizer, ChatRenderer(tokenizer, name), batch_size=batch_size)


def _identity(weights_sha256: str, artifact_digest: Json, lead: Lead, *, in_4bit: bool, constraint: str | None) -> dict[str, Json]:
    return {
        "base_weights_sha256": weights_sha256,
        "adapter_digest": artifact_digest,
        "lead": [[role, text] for role, text in lead],
        "load_in_4bit": in_4bit,
        "constraint": constraint,
        "decoding": DECODING,
    }
