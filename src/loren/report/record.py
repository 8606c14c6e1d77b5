"""The files of a run folder that say how the adapter came to be, as far as a report shows them."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import Field

from loren.report.figures import Part

Scalar: TypeAlias = bool | int | float | str | None


class Stage(Part):
    """One entry of stages.json."""

    verdict: str
    finished_at: str = ""


class Stages(Part):
    """stages.json."""

    stages: dict[str, Stage] = {}


class DataSettings(Part):
    """[data] of config.json."""

    path: str | None = None
    max_length: int | None = None


class Values(Part):
    """The resolved configuration."""

    base_model: str | None = None
    task: str | None = None
    data: DataSettings = DataSettings()


class Config(Part):
    """config.json."""

    values: Values = Values()
    origins: dict[str, str] = {}
    execution: dict[str, Scalar] = {}
    adopted: bool = False


class Quantiles(Part):
    """Tokens of a row."""

    sum: int
    p50: int
    p95: int
    p99: int
    max: int


class TokenStatistics(Part):
    """Tokens of the rows of one part of the split."""

    rows: int
    tokens: Quantiles
    label_tokens: Quantiles
    label_share: float


class Tokens(Part):
    """Token statistics of a training file."""

    train: TokenStatistics | None = None
    validation: TokenStatistics | None = None


class BrokenRule(Part):
    """A rule of the data contract that rows break."""

    rule: str
    name: str
    severity: str
    issues: int


class ReadAs(Part):
    """What the training file is."""

    rows: str | None = None
    file: str | None = None
    compression: str | None = None


class DataReport(Part):
    """data/report.json."""

    file: str = ""
    sha256: str = ""
    rows: int
    read_as: ReadAs | None = None
    errors: int
    warnings: int
    approved: int = 0
    rules: list[BrokenRule] = []
    labels: dict[str, dict[str, int]] = {}
    """Label pointer -> value, as JSON text -> rows."""
    dropped: list[dict[str, Scalar]] = []
    tokens: Tokens | None = None


class SplitPart(Part):
    """Train, validation or test."""

    rows: int
    groups: int


class Split(Part):
    """data/split.json."""

    seed: int | None = None
    splits: dict[str, SplitPart] = {}


class Base(Part):
    """The base model."""

    id: str
    kind: str = ""
    revision: str | None = None
    license: str | None = None
    weights_sha256: str = ""
    tokenizer_sha256: str | None = None
    template_sha256: str | None = None


class Dataset(Part):
    """The training file, as the adapter's record has it."""

    file: str = ""
    sha256: str = ""
    split_sha256: str | None = None
    version: str | None = None


class Lora(Part):
    """The adapter's settings."""

    r: int | None = None
    lora_alpha: float | None = None
    lora_dropout: float | None = None
    target_modules: list[str] = []
    use_rslora: bool = False
    use_dora: bool = False


class Parameters(Part):
    """How many numbers were trained."""

    trainable: int
    total: int
    share: float


class Loss(Part):
    """Losses over the whole run."""

    first: float | None = None
    last: float | None = None
    best: float | None = None
    eval_last: float | None = None
    eval_best: float | None = None


class Hardware(Part):
    """The machine."""

    platform: str = ""
    cpu: str = ""
    cores: int | None = None
    memory_bytes: int | None = None
    gpu: str | None = None
    vram_bytes: int | None = None


class Adopted(Part):
    """What is known about an adapter from elsewhere."""

    at: str = ""
    producer: str | None = None


class Metadata(Part):
    """adapter/training_metadata.json."""

    name: str = ""
    created_at: str | None = None
    method: str = ""
    license: str | None = None
    base_model: Base | None = None
    dataset: Dataset | None = None
    rows: dict[str, Scalar] | None = None
    tokens: Tokens | None = None
    system_prompt_sha256: str | None = None
    lora: Lora | None = None
    quantization: dict[str, Scalar] | None = None
    train: dict[str, Scalar | list[str]] | None = None
    seeds: dict[str, Scalar] | None = None
    parameters: Parameters | None = None
    steps: int | None = None
    loss: Loss | None = None
    time: dict[str, Scalar] | None = None
    peak_memory_bytes: int | None = None
    peak_vram_bytes: int | None = None
    packages: dict[str, str | None] | None = None
    git_commit: str | None = None
    command: list[str] | None = None
    hardware: Hardware | None = None
    artifact: dict[str, Scalar] | None = None
    adopted: Adopted | None = None
    unknown: list[str] = []


class Manifest(Part):
    """adapter/MANIFEST.json."""

    digest: str


class Step(Part):
    """One line of metrics.jsonl."""

    step: int
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    tokens: int = 0
    label_tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int | None = None


class Criterion(Part):
    """One criterion of the sanity check."""

    name: str
    met: int
    needed: int
    total: int
    passed: bool


class Answer(Part):
    """A reply: to a prompt of the sanity check, or a line of a predictions file."""

    id: str
    text: str


class Sanity(Part):
    """sanity.json."""

    passed: bool
    criteria: list[Criterion] = []
    not_applicable: list[str] = []
    prompts: list[str] = []
    answers: list[Answer] = Field(default_factory=list[Answer])
