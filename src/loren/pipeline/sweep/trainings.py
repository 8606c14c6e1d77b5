"""Training the runs of a sweep one after the other, from one base in memory. What ends one of them ends no other."""
# pyright: basic

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from loren.config import RunConfig
from loren.errors import LorenError, Problem, RunFolderError, TrainingInterrupted
from loren.pipeline.sweep.record import SweepRun, failure_of
from loren.provenance.machine import forget_peak_memory
from loren.runs.files import read_json
from loren.runs.folder import METADATA

if TYPE_CHECKING:
    from loren.models.shared import SharedBase
    from loren.train.inputs import Prepared

Say = Callable[[str], None]
Watch = Callable[[int, float], None]


class Pruned(Exception):
    """A search saw enough of a run."""


@dataclass(frozen=True)
class Workshop:
    """What all trainings and evaluations of a sweep share."""

    prepared: Prepared
    shared: SharedBase
    command: Sequence[str]
    say: Say

    def steps_of(self, config: RunConfig) -> int:
        """Optimiser steps of a configuration's run.

        Raises:
            LorenError: it can't be trained on these rows.
        """
        return config.train.steps(len(self.prepared.rows_of(config).train))

    def train(self, run: SweepRun, *, watch: Watch | None = None) -> None:
        """Train one run, or recognise that it was trained; ``run`` gets status, figures, or why it failed.

        Args:
            run: what to train.
            watch: gets step and loss of every validation; ends the run with ``Pruned``.

        Raises:
            TrainingInterrupted: a signal ended it; it ends the sweep too.
        """
        from loren.train.inputs import is_finished, refuse_existing

        try:
            refuse_existing(run.folder, resume=True)
            if is_finished(run.folder, run.config.config, self.prepared.data.loaded.sha256):
                self.say(f"{run.name}: was trained before")
            else:
                self.say(f"{run.name}: training")
                self._train(run, watch)
            run.figures = training_figures(run)
            run.status = "trained"
        except TrainingInterrupted:
            raise
        except Pruned:
            run.status = "pruned"
            self.say(f"{run.name}: broken off, for its validation loss is behind that of the others")
        except Exception as error:  # whatever it is, the others go on
            run.status, run.failure = "failed", failure_of(error)
            self.say(f"{run.name}: failed with {run.failure.kind}: {run.failure.message}")

    def _train(self, run: SweepRun, watch: Watch | None) -> None:
        from loren.train.processes import Processes
        from loren.train.recipe import Surroundings, load_base, train_prepared

        def base_for(config: RunConfig, base: Any, dtype: Any) -> Any:
            if leaves_base_alone(config):
                return self.shared.take(base, dtype, trust_remote_code=config.trust_remote_code)
            self.shared.release()
            return load_base(config, base, dtype)

        gc.collect()
        forget_peak_memory()
        around = Surroundings(Processes(), self.command, self.say, base_for, watch)
        train_prepared(self.prepared, run.config, around, resume=run.folder.config.is_file())


def leaves_base_alone(config: RunConfig) -> bool:
    """Whether a training only reads the base's weights, as they are loaded.

    All weights, or the bias terms of some layers, would be changed by training them; 4-bit weights are made at loading.
    """
    return config.train.method == "lora" and not config.quantization.load_in_4bit and config.lora.bias == "none"


def in_order(runs: Sequence[SweepRun]) -> list[SweepRun]:
    """Those that share the base in memory first, so that it is loaded once."""
    return sorted(runs, key=lambda run: not leaves_base_alone(run.config.config))


def refuse_changed_runs(runs: Sequence[SweepRun], data_sha256: str) -> None:
    """A sweep that is resumed may have more variants and seeds than before; those that it has are the same.

    Raises:
        RunFolderError: names every key of every run that differs.
    """
    from loren.train.inputs import refuse_changes

    problems: list[Problem] = []
    for run in runs:
        if run.folder.config.is_file():
            try:
                refuse_changes(run.folder, run.config.config, data_sha256)
            except RunFolderError as error:
                problems += [Problem(f"{run.name}: {problem.place}", problem.message) for problem in error.problems]
    if problems:
        raise RunFolderError(
            "the sweep can't be resumed with other inputs", problems=problems, hint="choose another sweep.output_dir for a new one"
        )


def training_figures(run: SweepRun) -> dict[str, float]:
    """What a finished training took and came to, from its own files.

    Raises:
        IntegrityError: one of them can't be read.
        LorenError: metrics.jsonl holds no step.
    """
    from loren.train.metrics import read_metrics

    metadata: dict[str, Any] = dict(read_json(run.folder.adapter / METADATA))
    lines: list[dict[str, Any]] = list(read_metrics(run.folder.metrics))
    if not lines:
        raise LorenError(f"{run.folder.metrics}: expected the steps of the training, found none")
    last = lines[-max(1, len(lines) // 10) :]
    train_loss = fmean(line["loss"] for line in last)
    return {
        "trainable_parameters": metadata["parameters"]["trainable"],
        "total_parameters": metadata["parameters"]["total"],
        "peak_memory_bytes": metadata["peak_memory_bytes"],
        "steps": metadata["steps"],
        "tokens": sum(line["tokens"] for line in lines),
        "train_seconds": metadata["time"]["train_seconds"],
        "train_cpu_seconds": metadata["time"]["train_cpu_seconds"],
        "train_loss": train_loss,
        "eval_loss": metadata["loss"]["eval_last"],
        "overfit_gap": metadata["loss"]["eval_last"] - train_loss,
    }
