"""What a report says, without words: report.json, from which the page, the Markdown and the JUnit file are written.

Nothing in it is null or NaN: what was not measured has no key, and its name stands in ``not_measured``.
"""

from __future__ import annotations

from typing import Literal

from loren.report.figures import (
    Arm,
    Comparison,
    Forgetting,
    Golden,
    NotAsked,
    Overfit,
    Part,
    PromptIsEnough,
    Said,
    SharedWord,
    TaskFacts,
    WeakSlice,
)
from loren.report.record import (
    Base,
    Dataset,
    Hardware,
    Lora,
    Loss,
    Parameters,
    ReadAs,
    Scalar,
    SplitPart,
    Stage,
    TokenStatistics,
)
from loren.runs.files import Json

SCHEMA_VERSION = 1


class Verdict(Part):
    """What stands first."""

    source: Literal["evaluation", "preview", "none"]
    """A preview asks a sample and has no verdict."""
    word: str | None = None
    """better, worse, not worse, inconclusive, abstain; missing where there is no verdict."""
    passed: bool | None = None
    candidate: str = ""
    reasons: list[str] = []
    not_asked: list[NotAsked] = []
    gates: list[Comparison] = []


def other_reasons(verdict: Verdict) -> list[tuple[Said | None, str]]:
    """The reasons that the table of gates does not tell already: a variant that was not asked; each with its words in the file."""
    told = tuple(f"{gate.metric} against {gate.before}: " for gate in verdict.gates)
    known = {
        f"{gate.metric} against {gate.against}: ": Said(key="not_asked", values={"metric": gate.metric, "against": gate.against})
        for gate in verdict.not_asked
    }
    return [
        (next((said for start, said in known.items() if reason.startswith(start)), None), reason)
        for reason in verdict.reasons
        if not reason.startswith(told)
    ]


class Evaluation(Part):
    """The golden questions, as each arm answered them."""

    golden: Golden
    task: TaskFacts
    scorer: str
    training_data: str
    """"known", or "unknown": then nobody can say whether a golden question was trained on."""
    arms: dict[str, Arm]
    comparisons: list[Comparison] = []
    prompt_is_enough: PromptIsEnough | None = None
    weak_slices: dict[str, list[WeakSlice]] = {}
    shared_words: dict[str, list[SharedWord]] = {}
    """The words themselves only with --show-text: customers wrote them."""
    overfit: Overfit | None = None
    forgetting: Forgetting | None = None


class Flip(Part):
    """A golden row that two arms answer differently."""

    id: str
    situation: str
    line: int | None = None
    """Of the golden file."""
    slices: dict[str, str] = {}
    fixed: list[str] = []
    """Target metrics in which it got better."""
    broken: list[str] = []
    arms: dict[str, dict[str, float]] = {}
    """Arm -> target metric -> what it reached."""
    commands: list[str] = []
    """What asks the row again."""
    texts: dict[str, str] = {}
    """Arm -> its reply; empty without --show-text."""


class Flips(Part):
    """The rows in which two arms differ. A row that got better in one target metric and worse in another is broken."""

    before: str
    after: str
    metrics: list[str]
    fixed: list[Flip]
    broken: list[Flip]


class SanityCriterion(Part):
    """How many replies met a criterion, and how many had to."""

    name: str
    met: int
    needed: int
    total: int
    passed: bool


class SanityCheck(Part):
    """The unseen prompts of the task, by criterion."""

    passed: bool
    prompts: int
    criteria: list[SanityCriterion]
    not_applicable: list[str] = []


class Point(Part):
    """One optimiser step."""

    step: int
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None


class TokenSummary(Part):
    """How long rows are."""

    max_length: int | None = None
    parts: dict[str, TokenStatistics]
    """train and validation."""


class BrokenRule(Part):
    """A rule of the data contract, and how many issues it found."""

    id: str
    name: str
    severity: str
    issues: int


class DataContract(Part):
    """What was trained on."""

    file: str
    rows: int
    read_as: ReadAs | None = None
    errors: int
    warnings: int
    approved: int
    dropped: int
    rules: list[BrokenRule] = []
    labels: dict[str, dict[str, int]] = {}
    """Label pointer -> value -> rows."""
    split: dict[str, SplitPart] = {}


class Provenance(Part):
    """What the adapter is, and how to make it again."""

    created_at: str | None = None
    method: str = ""
    license: str | None = None
    base: Base | None = None
    dataset: Dataset | None = None
    system_prompt_sha256: str | None = None
    adapter_digest: str | None = None
    lora: Lora | None = None
    parameters: Parameters | None = None
    settings: dict[str, Scalar | list[str]] = {}
    """[train] of the configuration."""
    seeds: dict[str, Scalar] = {}
    packages: dict[str, str] = {}
    git_commit: str | None = None
    command: list[str] = []
    hardware: Hardware | None = None
    execution: dict[str, Scalar] = {}
    stages: dict[str, Stage] = {}
    adopted_from: str | None = None
    """What made an adapter that Loren did not train; "unknown" where nobody says."""
    unknown: list[str] = []


class Cost(Part):
    """What the training took. What an arm takes stands with the arm."""

    train_seconds: float | None = None
    train_cpu_seconds: float | None = None
    steps: int | None = None
    tokens: int | None = None
    """Full row lengths of all steps, without padding."""
    label_tokens: int | None = None
    tokens_a_second: float | None = None
    peak_memory_bytes: int | None = None
    peak_vram_bytes: int | None = None
    weights_bytes: int | None = None


class Report(Part):
    """report.json of a run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["run"] = "run"
    loren: str
    made_at: str
    name: str
    """Of the run folder."""
    run: str
    """The folder as whoever asked for the report writes it."""
    shows_text: bool
    not_measured: list[str]
    verdict: Verdict
    evaluation: Evaluation | None = None
    flips: list[Flips] = []
    sanity: SanityCheck | None = None
    loss: Loss | None = None
    steps: list[Point] = []
    tokens: TokenSummary | None = None
    data: DataContract | None = None
    provenance: Provenance
    cost: Cost

    def to_json(self) -> dict[str, Json]:
        """As report.json has it."""
        return self.model_dump(mode="json", exclude_none=True)
