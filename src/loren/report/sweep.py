"""sweep.json as a report: one row a variant, and which to take."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from loren import __version__
from loren.report.figures import Comparison, Judgement, Measure, Part, Said, TaskFacts
from loren.report.read import read_form
from loren.report.record import Scalar
from loren.runs.files import Json
from loren.runs.folder import utc_now

RECORD = "sweep.json"


class Spread(Part):
    """A mean over seeds; with several, the ends of its interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Figures(Part):
    """What a variant's trainings took and came to."""

    trainable_parameters: float
    peak_memory_bytes: float | None = None
    train_seconds: float | None = None
    train_cpu_seconds: float | None = None
    tokens: float | None = None
    train_loss: Spread | None = None
    eval_loss: Spread | None = None
    overfit_gap: Spread | None = None


class Failure(Part):
    """Why a run has no adapter, or no answers."""

    kind: str
    message: str = ""
    exit_code: int | None = None


class SweepRun(Part):
    """One training of a variant."""

    path: str
    seed: int
    status: str
    error: Failure | None = None


class FirstRows(Part):
    """The format of the answers to the first rows alone."""

    metric: str
    count: int
    of: int


class Variant(Part):
    """One row of the table."""

    name: str
    changes: dict[str, Scalar | list[str]] = {}
    """Dotted key -> value, where it differs from the configuration."""
    runs: list[SweepRun] = []
    figures: Figures | None = None
    metrics: dict[str, Measure] = {}
    format_20: FirstRows | None = None


class Recommendation(Part):
    """Which variant to take, and why."""

    answer: str
    """"take", "inconclusive" or "none"."""
    variant: str | None = None
    run: str | None = None
    best: str | None = None
    simplest: str | None = None
    metric: str | None = None
    margin: float | None = None
    words: str = ""
    said: Said | None = None
    evidence: list[str] = []
    evidence_said: list[Said] = []
    """The sentences of ``evidence`` by their keys, in its order."""

    @property
    def told(self) -> list[tuple[Said | None, str]]:
        """The evidence, each sentence with its words in the file."""
        keys = self.evidence_said if len(self.evidence_said) == len(self.evidence) else [None] * len(self.evidence)
        return list(zip(keys, self.evidence, strict=True))


class CurvePoint(Part):
    """One data size."""

    variant: str
    percent: float
    rows: int
    score: Measure
    eval_loss: Spread | None = None


class Curve(Part):
    """What more rows brought."""

    metric: str
    margin: float
    points: list[CurvePoint] = []
    comparison: Comparison | None = None
    answer: str
    words: str = ""
    said: Said | None = None
    """``words`` without the answer."""


class JudgedOn(Part):
    """The rows by which variants are compared."""

    part: str
    rows: int
    situations: int | None = None


class GoldenResult(Part):
    """The winner on the golden questions."""

    run: str
    verdict: Judgement | None = None


class BaseName(Part):
    """The base model."""

    id: str
    weights_sha256: str = ""


class SweepData(Part):
    """The training file."""

    file: str = ""
    sha256: str = ""
    rows: dict[str, int] = {}


class Search(Part):
    """What a search over ranges tried."""

    trials: int
    pruned: int = 0
    failed: int = 0


class _Record(Part):
    variants: list[Variant]
    status: str = "running"
    task: TaskFacts | None = None
    base_model: BaseName | None = None
    data: SweepData | None = None
    seeds: list[int] = []
    judged_on: JudgedOn | None = None
    comparisons: list[Comparison] = []
    """Every other variant against the simplest."""
    recommendation: Recommendation | None = None
    golden: GoldenResult | None = None
    search: Search | None = None
    curve: Curve | None = None


class _File(_Record):
    """sweep.json."""

    kind: str


class SweepReport(_Record):
    """report.json of a sweep."""

    schema_version: Literal[1] = 1
    kind: Literal["sweep"] = "sweep"
    loren: str
    made_at: str
    name: str
    of: str
    """What was swept: variants, search or curve."""

    def to_json(self) -> dict[str, Json]:
        """As report.json has it."""
        return self.model_dump(mode="json", exclude_none=True)


def is_sweep(folder: Path) -> bool:
    """Whether a folder is a sweep's."""
    return (folder / RECORD).is_file()


def collect_sweep(folder: Path) -> SweepReport:
    """Put together what a sweep says.

    Raises:
        IntegrityError: sweep.json is not of its form.
    """
    found = read_form(folder / RECORD, _File)
    shared = {name: getattr(found, name) for name in _Record.model_fields}
    return SweepReport(loren=__version__, made_at=utc_now(), name=folder.resolve().name, of=found.kind, **shared)
