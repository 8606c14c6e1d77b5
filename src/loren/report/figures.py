"""The figures of an evaluation as its files hold them. A report repeats them; what a file holds besides is left out."""

from __future__ import annotations

from typing import TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Part(BaseModel):
    """What all parts share: no NaN, and no key that is not named here."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Said(Part):
    """A sentence that Loren wrote, by its key, so that it can be said in another language; names of a user's stand as they are."""

    key: str
    """Of the section `advice` of the words."""
    values: dict[str, float | str] = {}


class Measure(Part):
    """One metric of one arm."""

    kind: str
    """"share" of rows, or "mean" of numbers from 0 to 1."""
    role: str
    """"format": what must not break; "target": what was trained for; "text": the rest."""
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    count: int | None = None
    """Rows that have it, of a share."""
    of: int | None = None


class Arm(Part):
    """One column of an evaluation: who was asked, and what it scored."""

    variant: str
    constrained: bool = False
    """Held to the task's schema while it decodes."""
    metrics: dict[str, Measure] = {}
    requests: float | None = None
    prompt_tokens_a_request: float | None = None
    completion_tokens_a_request: float | None = None
    seconds: float | None = None
    cut: int | None = None
    """Replies that did not end by themselves."""
    errors: int | None = None
    """Requests without a reply."""
    retried: int | None = None


class Comparison(Part):
    """One metric of two arms over the same rows."""

    before: str
    after: str
    metric: str
    kind: str
    role: str = ""
    verdict: str
    words: str = ""
    passed: bool | None = None
    """It showed what its goal asks."""
    reason: str = ""
    goal: str = ""
    margin: float = 0.0
    alpha: float = 0.05
    rows: int
    situations: int
    missing: int = 0
    effective_rows: float
    before_value: float
    after_value: float
    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p: float
    detectable: float
    """The smallest difference that these rows would find in four of five tries."""
    fixed: int = 0
    broken: int = 0
    test: str = ""
    interval_method: str = ""
    gate: bool = False


class NotAsked(Part):
    """A gate that could not be judged: nobody asked the arm that it is against."""

    metric: str
    against: str


class Judgement(Part):
    """The verdict on the candidate, before it is joined with what the report adds."""

    passed: bool
    word: str
    candidate: str = ""
    reasons: list[str] = []
    not_asked: list[NotAsked] = []
    gates: list[int] = []
    """Places in the list of comparisons."""


class PromptIsEnough(Part):
    """Whether a good prompt does as well as the adapter."""

    answer: str
    """"yes", "no", "unclear" or "not asked"."""
    words: str = ""
    margin: float | None = None
    tokens_a_request: dict[str, float] = {}


class WeakSlice(Part):
    """A kind of rows that an arm gets wrong more often than the rest."""

    slice: str
    """What divides the rows: label, situation, length, diacritics."""
    value: str
    metric: str = ""
    rows: int
    right: int | None = None
    """Of outcomes that are yes or no."""
    share: float
    rest_share: float
    low: float
    """Lower end of the 95 % interval of ``share``."""
    high: float
    p_value: float
    adjusted_p: float


class SharedWord(Part):
    """A word that stands in failing rows more often than in others. It is a customer's word."""

    word: str | None = None
    """Only with --show-text."""
    failing: int
    of_failing: int
    passing: int
    of_passing: int
    ratio: float


class Gap(Part):
    """How much better a metric is on rows that were trained on."""

    train: float
    golden: float
    gap: float
    low: float
    high: float


class Verbatim(Part):
    """Replies that repeat a training reply word for word."""

    replies: int
    reused: int
    share: float


class Overfit(Part):
    """Training rows against golden rows."""

    metrics: dict[str, Gap] = {}
    verbatim: Verbatim | None = None

    @model_validator(mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """In result.json the metrics stand beside `verbatim`."""
        if not isinstance(value, dict) or "metrics" in value:
            return cast("object", value)
        found = cast("dict[str, object]", value)
        return {"metrics": {name: gap for name, gap in found.items() if name != "verbatim"}, "verbatim": found.get("verbatim")}


class GuardShare(Part):
    """How many general questions were answered well."""

    value: float
    low: float
    high: float
    count: int
    of: int


class GuardShares(Part):
    """Of all questions, and of each language and kind."""

    all: GuardShare
    languages: dict[str, GuardShare] = {}
    kinds: dict[str, GuardShare] = {}


class Forgetting(Part):
    """General questions, before and after."""

    base: GuardShares | None = None
    adapter: GuardShares | None = None
    comparison: Comparison | None = None


class Golden(Part):
    """The yardstick."""

    sha256: str
    rows: int
    asked: int
    situations: int | None = None
    missing: int = 0


class TaskFacts(Part):
    """What replies were judged by."""

    name: str
    version: str = ""
    digest: str = ""


class Result(Part):
    """eval/result.json."""

    golden: Golden
    training_data: str = "unknown"
    task: TaskFacts
    scorer: str = ""
    arms: dict[str, Arm]
    comparisons: list[Comparison] = []
    verdict: Judgement | None = None
    prompt_is_enough: PromptIsEnough | None = None
    weak_slices: dict[str, list[WeakSlice]] = {}
    shared_words: dict[str, list[SharedWord]] = {}
    overfit: Overfit | None = None
    forgetting: Forgetting | None = None


class Scores(Part):
    """One line of eval/scores.jsonl."""

    id: str
    situation: str = ""
    line: int | None = None
    slices: dict[str, str] = {}
    arms: dict[str, dict[str, float]] = Field(default_factory=dict[str, dict[str, float]])


Texts: TypeAlias = dict[str, dict[str, str]]
"""Arm -> row -> what it replied."""
