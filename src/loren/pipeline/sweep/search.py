"""Ranges: Optuna chooses points by the validation loss of those before, and breaks off what falls behind.

The same seed and the same losses give the same points, so a search that was killed is resumed by going through it again: what was
trained is recognised in its run folder, what was broken off in sweep.json.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loren.config import RunConfig
from loren.config.sweep import Range, SweepPlan, Variant
from loren.errors import LorenError, PrerequisiteError
from loren.pipeline.sweep.record import SweepRun
from loren.pipeline.sweep.trainings import Pruned, Watch
from loren.runs.files import Json

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

FINALISTS = 3
"""Points that are trained under every seed and judged by their answers."""
_WITHOUT_PRUNING = 4
"""Trials before one may be broken off: the median of fewer says little."""
_MOST_CORNERS = 1024
"""Of the ranges, that are looked at for the longest run."""
Train = Callable[[SweepRun, Watch], None]
StepsOf = Callable[[RunConfig], int]
"""Optimiser steps of a configuration's run."""


@dataclass
class Search:
    """What was tried."""

    plan: SweepPlan
    runs: list[SweepRun] = field(default_factory=list[SweepRun])

    def finalists(self) -> list[Variant]:
        """The points of the lowest validation losses, the best first."""
        trained = sorted((run for run in self.runs if run.status == "trained"), key=lambda run: run.figures["eval_loss"])
        return [run.variant for run in trained[:FINALISTS]]

    def to_json(self) -> dict[str, Json]:
        """``search`` of sweep.json."""
        return {
            "objective": "eval_loss",
            "ranges": {key: limits.model_dump() for key, limits in self.plan.ranges.items()},
            "trials": len(self.runs),
            "pruned": sum(run.status == "pruned" for run in self.runs),
            "failed": sum(run.status == "failed" for run in self.runs),
            "finalists": [variant.name for variant in self.finalists()],
        }


def require_optuna() -> None:
    """A search needs a library that comparisons do not.

    Raises:
        PrerequisiteError: it is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise PrerequisiteError("[sweep.ranges] are searched by Optuna, which is not installed", hint="pip install 'loren[sweep]'")


def pruning_problem(plan: SweepPlan, steps_of: StepsOf) -> str:
    """Why no point of a search can be broken off early; "" where some can.

    A run is broken off at a validation loss before its last step. So the longest run of the ranges, with the fewest steps between
    two validation losses, must have one.
    """
    ends = itertools.product(*((limits.low, limits.high) for limits in plan.ranges.values()))
    found: list[tuple[int, int, int]] = []
    for number, values in enumerate(itertools.islice(ends, _MOST_CORNERS)):
        corner = Variant(f"corner{number}", dict(zip(plan.ranges, values, strict=True)))
        try:
            config = plan.run(corner, plan.seeds[0]).config
            steps, every = steps_of(config), config.train.eval_steps
        except LorenError:  # a corner that can't be trained says so when it is tried
            continue
        found.append((steps - every, every, steps))
    after, every, steps = max(found, default=(1, 0, 0))
    if after > 0:
        return ""
    return (
        f"train.eval_steps is {every} and the longest run has {steps} steps: no point has a validation loss before its end, so "
        "none can be broken off early, and all are trained to their end"
    )


def search(
    plan: SweepPlan, train: Train, steps_of: StepsOf, *, before: Mapping[str, Any], after_each: Callable[[Search], None]
) -> Search:
    """Try the plan's number of points.

    Args:
        plan: ranges, trials and seeds; the first seed trains the points.
        train: trains a run, calling back after each validation.
        steps_of: says how long a run is: one that came to its end is not broken off there.
        before: sweep.json of the search that is resumed; empty for a new one.
        after_each: called with what is known after each point.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=plan.seeds[0]),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_WITHOUT_PRUNING),
    )
    distributions = {key: _distribution(limits) for key, limits in plan.ranges.items()}
    known = {entry["name"]: entry for entry in before.get("variants", [])}
    found = Search(plan)
    for number in range(plan.trials):
        trial = study.ask(distributions)
        variant = Variant(f"t{number:03}", dict(trial.params))
        run = SweepRun(variant, plan.seeds[0], plan.run(variant, plan.seeds[0]))
        found.runs.append(run)
        if _was_pruned(run, known.get(variant.name)):
            for step, loss in run.eval_losses:
                trial.report(loss, step)
        else:
            train(run, _watcher(trial, run, steps_of))
        _tell(study, trial, run)
        after_each(found)
    return found


def _distribution(limits: Range) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(limits.low, int) and isinstance(limits.high, int):
        return IntDistribution(limits.low, limits.high, log=limits.log)
    return FloatDistribution(limits.low, limits.high, log=limits.log)


def _watcher(trial: Trial, run: SweepRun, steps_of: StepsOf) -> Watch:
    def watch(step: int, loss: float) -> None:
        """Take a validation loss.

        Raises:
            Pruned: it is behind the median of the others at this step.
        """
        run.eval_losses.append((step, loss))
        trial.report(loss, step)
        if trial.should_prune() and step < steps_of(run.config.config):
            raise Pruned

    return watch


def _tell(study: Study, trial: Trial, run: SweepRun) -> None:
    from optuna.trial import TrialState

    if run.status == "trained":
        _report_rest(trial, run)
        study.tell(trial, run.figures["eval_loss"])
    else:
        study.tell(trial, state=TrialState.PRUNED if run.status == "pruned" else TrialState.FAIL)


def _report_rest(trial: Trial, run: SweepRun) -> None:
    """The validation losses of a run, or of its first part, that an earlier process saw."""
    from loren.train.metrics import read_metrics

    lines: list[dict[str, Any]] = list(read_metrics(run.folder.metrics))
    seen = dict(run.eval_losses)
    losses = [(int(line["step"]), float(line["eval_loss"])) for line in lines if line["eval_loss"] is not None]
    for step, loss in losses:
        if step not in seen:
            trial.report(loss, step)
    run.eval_losses = losses


def _was_pruned(run: SweepRun, entry: Mapping[str, Any] | None) -> bool:
    """Whether this very point was broken off before; it is not trained on."""
    if entry is None or entry["changes"] != dict(run.variant.changes) or entry["runs"][0]["status"] != "pruned":
        return False
    first: dict[str, Any] = entry["runs"][0]
    run.status = "pruned"
    run.eval_losses = [(int(step), float(loss)) for step, loss in first["eval_losses"]]
    return True
