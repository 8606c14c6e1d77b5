"""A sweep's folder: its runs, and sweep.json, which says what is known so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loren.config import ResolvedConfig
from loren.config.sweep import SweepPlan, Variant
from loren.errors import LorenError, RunFolderError
from loren.runs.files import Json, read_json, write_json
from loren.runs.folder import SCHEMA_VERSION, RunFolder

Status = Literal["waiting", "trained", "judged", "pruned", "failed"]


class Failure(NamedTuple):
    """Why a run has no adapter, or no answers."""

    kind: str
    """Name of the error."""
    message: str
    """What Loren has to say of it; never a foreign error's own words, which may quote a customer."""
    exit_code: int
    """That the run alone would have ended with."""


@dataclass
class SweepRun:
    """One training of one variant, and what is known of it."""

    variant: Variant
    seed: int
    config: ResolvedConfig
    status: Status = "waiting"
    failure: Failure | None = None
    figures: dict[str, float] = field(default_factory=dict[str, float])
    """What its training took and came to."""
    eval_losses: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    """(step, validation loss), where a search looked on."""
    answers: dict[str, Json] = field(default_factory=dict[str, Json])
    scores: dict[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """Row id -> metric -> outcome; kept in memory, for the answers lie in the run folder and can be scored again."""

    @property
    def folder(self) -> RunFolder:
        """A full run folder."""
        return RunFolder(self.config.config.output_dir)

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.path.name

    def to_json(self) -> dict[str, Json]:
        """An entry of a variant's ``runs``."""
        error: dict[str, Json] = {"error": self.failure._asdict()} if self.failure else {}
        losses: dict[str, Json] = {"eval_losses": [list(pair) for pair in self.eval_losses]} if self.eval_losses else {}
        answers: dict[str, Json] = {"answers": self.answers, "metrics": means(self.scores)} if self.scores else {}
        return {"path": f"runs/{self.name}", "seed": self.seed, "status": self.status, **self.figures, **losses, **answers, **error}


def means(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Metric -> its mean over rows."""
    if not scores:
        return {}
    return {name: sum(row[name] for row in scores.values()) / len(scores) for name in next(iter(scores.values()))}


def all_runs(plan: SweepPlan) -> list[SweepRun]:
    """Every run of a plan's variants, seed by seed, so that a sweep that is broken off has all variants of a seed."""
    return [SweepRun(variant, seed, plan.run(variant, seed)) for seed in plan.seeds for variant in plan.variants]


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Where a sweep is written. Making one touches nothing on disk."""

    path: Path

    @property
    def record(self) -> Path:
        """sweep.json."""
        return self.path / "sweep.json"

    def read(self) -> dict[str, Any]:
        """What is known so far; empty before the first."""
        return dict(read_json(self.record)) if self.record.is_file() else {}

    def write(self, values: Mapping[str, Json]) -> None:
        """Replace sweep.json atomically."""
        write_json(self.record, {"schema_version": SCHEMA_VERSION, **values})

    def refuse_existing(self, *, resume: bool) -> None:
        """A sweep is never overwritten.

        Raises:
            RunFolderError: it exists and ``resume`` was not asked for, or the folder holds something else.
        """
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set[str]()
        if not names or names <= {".lock"}:
            return
        if not self.record.is_file():
            raise RunFolderError(
                f"{self.path}: expected an empty folder or a sweep, found other files", hint="choose another sweep.output_dir"
            )
        if not resume:
            raise RunFolderError(f"{self.path}: the sweep exists", hint="--resume continues it; or choose another sweep.output_dir")


def failure_of(error: Exception) -> Failure:
    """What is written about an error that ended a run."""
    if isinstance(error, LorenError):
        return Failure(type(error).__name__, error.summary, error.exit_code)
    return Failure(type(error).__name__, "an error that is not Loren's: `loren --debug train` with this run's keys shows it", 70)


def by_variant(runs: Sequence[SweepRun]) -> dict[str, list[SweepRun]]:
    """Runs under the name of their variant, in the order in which variants come first."""
    grouped: dict[str, list[SweepRun]] = {}
    for run in runs:
        grouped.setdefault(run.variant.name, []).append(run)
    return grouped


def variant_entries(runs: Sequence[SweepRun], summaries: Mapping[str, Mapping[str, Json]]) -> list[Json]:
    """The ``variants`` of sweep.json: runs grouped by variant, with what is said of all of a variant's runs."""
    return [
        {
            "name": name,
            "changes": {key: _plain(value) for key, value in members[0].variant.changes.items()},
            "runs": [run.to_json() for run in members],
            **summaries.get(name, {}),
        }
        for name, members in by_variant(runs).items()
    ]


def _plain(value: object) -> Json:
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportReturnType, reportUnknownVariableType, reportUnknownArgumentType]
