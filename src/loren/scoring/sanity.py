"""The verdict on a handful of unseen prompts: every reply against every criterion, each criterion against its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loren.errors import ConfigError
from loren.runs.files import Json
from loren.scoring.criteria import CRITERIA, Outcome, Reply, applicable
from loren.task.definition import Task


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """How many replies met a criterion, and whether that is enough."""

    name: str
    met: int
    needed: int
    total: int

    @property
    def passed(self) -> bool:
        """Whether enough replies met it."""
        return self.met >= self.needed


@dataclass(frozen=True, slots=True)
class SanityVerdict:
    """The table of `loren sanity`: rows are replies, columns criteria."""

    rows: tuple[tuple[Outcome, ...], ...]
    """One outcome a criterion, for each reply in its order; columns are those of ``criteria``."""
    criteria: tuple[CriterionResult, ...]
    not_applicable: tuple[str, ...]
    """Criteria that the task has no rule for: they were not judged, so they did not pass either."""

    @property
    def passed(self) -> bool:
        """Whether every criterion was met often enough."""
        return all(result.passed for result in self.criteria)

    def as_json(self) -> dict[str, Json]:
        """The verdict for sanity.json; it holds no text of prompts or replies."""
        names = [result.name for result in self.criteria]
        return {
            "passed": self.passed,
            "criteria": [
                {"name": r.name, "met": r.met, "needed": r.needed, "total": r.total, "passed": r.passed} for r in self.criteria
            ],
            "not_applicable": list(self.not_applicable),
            "rows": [
                {name: {"passed": o.passed, "reason": o.reason} for name, o in zip(names, row, strict=True)} for row in self.rows
            ],
        }


def judge(replies: Sequence[Reply], task: Task) -> SanityVerdict:
    """Judge replies to the sanity prompts.

    Raises:
        ConfigError: there is no reply to judge: such a result could not have failed.
    """
    if not replies:
        raise ConfigError(
            "sanity: expected at least one prompt, found none", hint=f"write prompts to {task.sanity_path.name} in the task folder"
        )
    names = applicable(task)
    rows = tuple(tuple(CRITERIA[name](reply, task) for name in names) for reply in replies)
    shares = task.sanity.shares()
    results = tuple(
        CriterionResult(
            name, met=sum(row[column].passed for row in rows), needed=needed(shares[name], len(replies)), total=len(replies)
        )
        for column, name in enumerate(names)
    )
    return SanityVerdict(rows, results, tuple(name for name in CRITERIA if name not in names))


def needed(share: float, total: int) -> int:
    """The smallest number of ``total`` replies that is at least ``share`` of them; at least one."""
    # 0.8 * 5 is 4.000000000000001 on some platforms' arithmetic: a share means the decimal that its author wrote.
    return max(1, math.ceil(round(share * total, 9)))
