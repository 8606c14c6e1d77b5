"""The arms of an evaluation: each with the identity of its answers, and opened only where it has to be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from loren.errors import ConfigError
from loren.evaluate.fewshot import RetryGenerator, fewshot_lead
from loren.evaluate.subjects import (
    Arm,
    Fetching,
    Lead,
    Subject,
    TrainedRun,
    identity,
    load_generator,
    load_merged,
    merged_folder,
    require_task,
)
from loren.models.endpoint import Endpoint, require_consent
from loren.models.http import open_endpoint
from loren.models.protocol import Generator
from loren.runs.files import Json
from loren.task.definition import Task

if TYPE_CHECKING:
    from loren.models.generate import HuggingFaceGenerator

Weights = Literal["base", "adapter", "merged"]
_WEIGHTS_OF: dict[str, Weights] = {"base": "base", "fewshot": "base", "adapter": "adapter", "merged": "merged"}


@dataclass(frozen=True, slots=True)
class Asking:
    """How questions are asked."""

    batch_size: int = 64
    """Prompts answered together."""
    endpoint: Endpoint | None = None
    """Whom the variant http asks."""
    sent: bool = False
    """The user agreed to sending the questions there."""


class OpenedArm(NamedTuple):
    """An arm, what decides its answers, and how to get it."""

    arm: Arm
    identity: dict[str, Json]
    open: Callable[[], Subject]


class LoadedWeights:
    """The weights of a run, one set in memory at a time."""

    def __init__(self, trained: TrainedRun, asking: Asking, fetching: Fetching) -> None:
        self._trained = trained
        self._asking = asking
        self._fetching = fetching
        self._name: Weights | None = None
        self._generator: HuggingFaceGenerator | None = None

    @cached_property
    def merged(self) -> tuple[Path, str]:
        """The folder of the merged model and its digest; it is hashed once."""
        return merged_folder(self._trained)

    def get(self, name: Weights) -> HuggingFaceGenerator:
        """Load ``name``, unless it is what was loaded last."""
        if self._generator is None or self._name != name:
            self._generator = None  # the old weights leave memory before the new ones come
            size = self._asking.batch_size
            if name == "merged":
                self._generator = load_merged(self._trained, self.merged[0], batch_size=size)
            else:
                self._generator = load_generator(self._trained, name, batch_size=size, fetching=self._fetching)
            self._name = name
        return self._generator


def open_arms(trained: TrainedRun, arms: Sequence[Arm], asking: Asking, weights: LoadedWeights) -> list[OpenedArm]:
    """Every arm, with nothing loaded and nothing sent.

    Args:
        trained: the run.
        arms: its arms.
        asking: how they are asked.
        weights: what will be in memory.

    Raises:
        ConfigError: an arm that this run can't have.
    """
    task = require_task(trained)
    constraint = _constraint(task) if any(arm.constrained and arm.variant != "http" for arm in arms) else None
    leads: dict[str, Lead] = {"base": trained.task_lead, "adapter": trained.trained_lead, "merged": trained.trained_lead}
    if any(arm.variant == "fewshot" for arm in arms):
        leads["fewshot"] = _examples(trained, task)
    return [
        _remote(trained, arm, asking)
        if arm.variant == "http"
        else _local(trained, arm, leads[arm.variant], weights, constraint if arm.constrained else None)
        for arm in arms
    ]


def require_consents(waiting: Sequence[OpenedArm], asking: Asking, *, rows: int) -> None:
    """Refuse to send questions that nobody agreed to send, before minutes are spent on the other arms.

    Args:
        waiting: the arms that still have to be asked.
        asking: whether the user agreed.
        rows: how many questions an arm is asked.

    Raises:
        ConfigError: one of them is an endpoint, and the user did not agree.
    """
    if asking.endpoint is not None and any(opened.arm.variant == "http" for opened in waiting):
        require_consent(asking.endpoint, rows, sent=asking.sent)


def _constraint(task: Task) -> str:
    """Digest of what constrained decoding is held to, found out before anything is loaded.

    Raises:
        ConfigError: the task has no schema, or one that decoding can't be held to.
        PrerequisiteError: llguidance is not installed.
    """
    from loren.models.constrain import constraint_digest, require_llguidance

    if task.schema is None:
        raise ConfigError(
            f"--constrained: expected a task with a schema.json to hold decoding to, found {task.name}, which is free text",
            hint="leave --constrained out",
        )
    require_llguidance()
    return constraint_digest(task.schema)


def _local(trained: TrainedRun, arm: Arm, lead: Lead, weights: LoadedWeights, constraint: str | None) -> OpenedArm:
    task = require_task(trained)
    merged = weights.merged[1] if arm.variant == "merged" else None
    identified = identity(trained, arm.variant, lead, constraint=constraint, merged_digest=merged)

    def opened() -> Subject:
        loaded = weights.get(_WEIGHTS_OF[arm.variant])
        if arm.constrained and task.schema is not None:
            loaded = loaded.held_to(task.schema)
        generator: Generator = RetryGenerator(loaded, task) if arm.variant == "fewshot" else loaded
        return Subject(arm.name, generator, lead, task.max_new_tokens, identified)

    return OpenedArm(arm, identified, opened)


def _remote(trained: TrainedRun, arm: Arm, asking: Asking) -> OpenedArm:
    """An endpoint with the task's system prompt; nothing is sent before it has to be asked.

    Raises:
        ConfigError: no endpoint was named.
    """
    task = require_task(trained)
    if asking.endpoint is None:
        raise ConfigError("http: expected an endpoint to ask, found none", hint="give --http-url, --http-model and --send")
    generator = open_endpoint(asking.endpoint, response_schema=task.schema if arm.constrained else None)
    lead = trained.task_lead
    identified = generator.identity(lead)

    return OpenedArm(arm, identified, lambda: Subject(arm.name, generator, lead, task.max_new_tokens, identified))


def _examples(trained: TrainedRun, task: Task) -> Lead:
    rows = trained.training_rows
    if rows is None:
        raise ConfigError(
            "fewshot: expected training rows to take examples from, found that nobody said what this run was trained on",
            hint="adopt it with --data, or leave fewshot out of --variants",
        )
    return fewshot_lead(task, rows.train, trained.values.get("seed", 0))  # an adopted run has none
