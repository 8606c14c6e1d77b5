"""The sections of task.toml that say how replies are evaluated."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """What all sections share: no unknown keys, no loose types, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True, allow_inf_nan=False)


class SanityThresholds(Section):
    """[sanity] - the share of the sanity prompts whose reply must meet each criterion."""

    parses: float = Field(default=1.0, gt=0, le=1)
    """The reply is one strict JSON value."""
    schema_: float = Field(default=1.0, gt=0, le=1, alias="schema")
    """It satisfies schema.json."""
    ended: float = Field(default=1.0, gt=0, le=1)
    """The model ended by itself."""
    no_invented_policy: float = Field(default=1.0, gt=0, le=1)
    """It states, claims and promises nothing that the prompt did not hold."""
    wording: float = Field(default=0.8, gt=0, le=1)
    """It is polite and speaks with one voice."""
    short: float = Field(default=0.8, gt=0, le=1)
    """It keeps to the bounds of length."""
    next_step: float = Field(default=0.8, gt=0, le=1)
    """It names a next step."""

    def shares(self) -> dict[str, float]:
        """Criterion -> the share of prompts that must meet it, in the order of the table."""
        return self.model_dump(by_alias=True)


class ContractSection(Section):
    """[contract] - how strictly the data contract judges this task's rows."""

    raise_: list[str] = Field(default=[], alias="raise")
    """Rules, by id or name, whose warnings are errors for this task. Nothing can be made a warning that is an error."""


class FewShotSection(Section):
    """[fewshot] - the prompt that a trained adapter has to beat: the system prompt, the schema, examples, and one retry."""

    examples: int = Field(default=6, ge=0, le=64)
    """Training rows that stand before the question: one of each label in turn, chosen by the run's seed."""
    instruction: str = "Answer with one JSON value that satisfies this JSON Schema, and with nothing else:"
    """Stands between the system prompt and schema.json; not used by a task of free text."""
    retry: str = "That answer was not valid: {problem}. Answer again, with the JSON value alone."
    """What is said to an answer that breaks the schema, once; ``{problem}`` is replaced by what is wrong."""


class Gate(Section):
    """[[evaluation.gates]] - what an adapter has to show before it may go out."""

    metric: str
    """A figure of `loren evaluate`: ``schema_valid``, ``all_labels``, ``exact:/pointer``, ``f1:/pointer``, ``rule:NAME``..."""
    against: Literal["base", "fewshot", "http"] = "base"
    """The variant that it is compared with."""
    goal: Literal["superiority", "non-inferiority"] = "superiority"
    """Better than it; or not worse by ``margin``, for what must not break."""
    margin: float = Field(default=0.0, ge=0, lt=1)
    """Of non-inferiority, as a share: 0.05 is five points."""

    @model_validator(mode="after")
    def _margin_fits(self) -> Gate:
        if (self.goal == "non-inferiority") != (self.margin > 0):
            raise ValueError('expected a margin above 0 with goal "non-inferiority", and none with "superiority"')
        return self


class EvaluationSection(Section):
    """[evaluation] - when an adapter is better."""

    gates: list[Gate] = []
    """Without any: better labels (or replies) than the base, and a format that is not worse by 0.05."""
    prompt_margin: float = Field(default=0.05, gt=0, lt=1)
    """A prompt is enough where few-shot is not worse than the adapter by this share in every target metric."""
