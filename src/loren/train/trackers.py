"""Experiment trackers: every line of metrics.jsonl also goes to MLflow, TensorBoard or Weights & Biases.

transformers has callbacks for all three. They are not used: they send TrainingArguments with paths of this machine, know the run to
continue only from the environment, send steps again after a resume, and a server that fails ends the training. Here a tracker is a
mirror of metrics.jsonl: when a run is opened, lines that the tracker lacks are sent, and lines that it has are left alone.

What leaves: figures, the resolved configuration (paths as their last part), a few digests. No row, no environment, no command.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, cast

from loren.config import RunConfig, flatten
from loren.errors import IntegrityError, PrerequisiteError, Problem
from loren.provenance.machine import without_secrets
from loren.runs.files import Json, read_json, write_json
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.train.metrics import read_metrics

Say = Callable[[str], None]
Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told about a run before its first step."""

    folder: Path
    """The run folder. A tracker may write its own files below it, and calls the run by its name; the path itself never leaves."""
    parameters: Mapping[str, Scalar]
    tags: Mapping[str, str]


class Tracker(Protocol):
    """One run in one tracker. Every method may fail with anything; :class:`Trackers` catches it."""

    run_id: str
    """The tracker's own name of the run, by which a later process continues it."""
    last_step: int
    """The newest step that it has; 0 for none."""

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of one optimiser step."""
        ...

    def finish(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of the whole run, and close it as finished."""
        ...

    def abort(self) -> None:
        """Close it as stopped before its end; it may be opened again."""
        ...


_PACKAGES = {"mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wandb"}
"""Tracker -> the module that it needs; an extra of the same name brings it."""
_CLIENTS = {"mlflow": "MlflowTracker", "tensorboard": "TensorBoardTracker", "wandb": "WandbTracker"}


def require_packages(report_to: Sequence[str]) -> None:
    """Find out before anything else whether the trackers' packages are here.

    Raises:
        PrerequisiteError: one is missing; the hint brings all that are.
    """
    missing = [name for name in report_to if importlib.util.find_spec(_PACKAGES[name]) is None]
    if missing:
        raise PrerequisiteError(
            f"train.report_to: {len(missing)} tracker(s) can't be used",
            problems=[Problem(name, f"expected the package {_PACKAGES[name]}, found none") for name in missing],
            hint=f"pip install 'loren[{','.join(missing)}]'",
        )


def run_parameters(config: RunConfig, execution: Mapping[str, Json]) -> dict[str, Scalar]:
    """The resolved configuration and what was chosen for this machine, flat; of a path the last part, as trackers are shared."""
    flat = dict(_scalars({**config.model_dump(mode="json"), "execution": dict(execution)}))
    for key in ("output_dir", "data.path", "task", "base_model"):
        value = flat.get(key)
        if isinstance(value, str) and Path(value).is_absolute():
            flat[key] = Path(value).name
    return {key: _masked(value) if isinstance(value, str) else value for key, value in flat.items()}


class Trackers:
    """The trackers of one run: fed by metrics.jsonl, guarded, and remembered in trackers.json.

    Entering it opens them. A tracker that fails is named once and left alone from then on; the training goes on.
    """

    def __init__(
        self,
        report_to: Sequence[str],
        run: RunFolder,
        *,
        parameters: Mapping[str, Scalar],
        tags: Mapping[str, str | None],
        say: Say,
    ) -> None:
        self._names = tuple(report_to)
        self._run = run
        self._tracked = TrackedRun(run.path, parameters, {key: value for key, value in tags.items() if value is not None})
        self._say = say
        self._open: dict[str, Tracker] = {}

    def __enter__(self) -> Trackers:
        """Open every tracker and send what it lacks of the steps before."""
        if not self._names:
            return self
        silence_telemetry()
        known = _known_ids(self._run)
        earlier = read_metrics(self._run.metrics)
        last = _step(earlier[-1]) if earlier else 0
        clients = importlib.import_module("loren.train.tracker_clients")
        for name in self._names:
            opened = self._guard(name, lambda name=name: getattr(clients, _CLIENTS[name])(self._tracked, known.get(name), last))
            if opened is not None:
                self._open[name] = cast("Tracker", opened)
        write_json(self._run.trackers, {
            "schema_version": SCHEMA_VERSION,
            "run_ids": known | {name: tracker.run_id for name, tracker in self._open.items()},
        })  # fmt: skip
        for line in earlier:
            self.step(line)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the runs as stopped where training did not come to its end; :meth:`finish` closes them otherwise."""
        if kind is not None:
            self._each(lambda tracker: tracker.abort())
            self._open.clear()

    def step(self, line: Mapping[str, Json]) -> None:
        """Send one line of metrics.jsonl to every tracker that does not have it."""
        step, figures = _step(line), {key: value for key, value in _numbers(line).items() if key != "step"}

        def send(tracker: Tracker) -> None:
            if step > tracker.last_step:
                tracker.step(step, figures)
                tracker.last_step = step

        self._each(send)

    def finish(self, figures: Mapping[str, Json]) -> None:
        """Send the figures of the whole run as ``final/...``, and close the runs."""
        flat = {f"final/{key}": value for key, value in _numbers(dict(_scalars(figures))).items()}
        steps = figures.get("steps")
        self._each(lambda tracker: tracker.finish(steps if isinstance(steps, int) else tracker.last_step, flat))
        self._open.clear()

    def _each(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            self._guard(name, lambda tracker=tracker: action(tracker))

    def _guard(self, name: str, action: Callable[[], object]) -> object:
        try:
            return action()
        except Exception as error:
            # Anything at all: a full disk, a server that is gone, a library's bug. Only the kind is named: the message of a foreign
            # exception may hold an address with a password in it.
            self._open.pop(name, None)
            self._say(f"warning: {name} failed ({type(error).__name__}): nothing more is sent to it, training goes on")
            return None


def silence_telemetry() -> None:
    """What must stand before a tracker is imported: nothing is sent to its makers, and a dead server is given up soon."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    # MLflow's own seven tries would hold the training up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


def _known_ids(run: RunFolder) -> dict[str, str]:
    """The run ids of an earlier process; none where the file is missing or damaged, since a tracker is no reason to stop."""
    try:
        found = read_json(run.trackers).get("run_ids")
    except IntegrityError:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, Mapping) else {}


def _step(line: Mapping[str, Json]) -> int:
    step = line["step"]
    return step if isinstance(step, int) else 0


def _numbers(values: Mapping[str, Json]) -> dict[str, float]:
    return {key: value for key, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def _scalars(values: Mapping[str, Json]) -> Iterator[tuple[str, Scalar]]:
    """Leaves by dotted key as a tracker takes them: a list as one text, a null not at all."""
    for key, value in flatten(values):
        if isinstance(value, str | int | float):
            yield key, value
        elif value is not None:
            yield key, ", ".join(str(item) for item in value)


def _masked(text: str) -> str:
    return without_secrets([text])[0]
