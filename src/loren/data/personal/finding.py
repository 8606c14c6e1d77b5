"""What every detector of personal data says."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Personal data at a place; its value is not kept."""

    rule: str
    """Name of the rule that it breaks."""
    start: int
    """0-based, in code points of the text as it was given."""
    end: int
    """One after the last."""
