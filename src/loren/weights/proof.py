"""What a proof consists of: named checks, each with what was found and what was needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loren.runs.files import Json

_NAMED = 3
"""Tensors or parameters that a check names."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a merged model must be."""

    name: str
    passed: bool
    found: str
    """In words and figures; names tensors and files, never a text."""
    needed: str

    def to_json(self) -> dict[str, Json]:
        """As records hold it."""
        return {"name": self.name, "passed": self.passed, "found": self.found, "needed": self.needed}


@dataclass(frozen=True, slots=True)
class Proof:
    """Checks and the figures behind them."""

    checks: Sequence[Check]
    figures: dict[str, Json] = field(default_factory=dict[str, Json])

    @property
    def passed(self) -> bool:
        """Every check says yes; of none nothing is proven."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that say no."""
        return [check.name for check in self.checks if not check.passed]

    def to_json(self) -> dict[str, Json]:
        """As records hold it."""
        return {"passed": self.passed, "checks": [check.to_json() for check in self.checks], **self.figures}

    def __add__(self, other: Proof) -> Proof:
        """Both together."""
        return Proof([*self.checks, *other.checks], {**self.figures, **other.figures})


def not_these(names: Sequence[str]) -> str:
    """A few names, for a check that says no; nothing where there are none."""
    if not names:
        return ""
    more = len(names) - _NAMED
    return f"; not {', '.join(names[:_NAMED])}{f' and {more} more' if more > 0 else ''}"
