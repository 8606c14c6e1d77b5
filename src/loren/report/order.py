"""The order in which arms and metrics are told: files hold them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loren.report.figures import Arm

_VARIANTS = ("base", "fewshot", "http", "adapter", "merged")
_LADDER = (
    "all_labels", "parses", "schema_valid", "required", "enum", "exact", "f1", "edit", "rule", "wording",
    "no_invented_facts", "ended",
)  # fmt: skip
ROLES = ("target", "format", "text")
"""What was trained for stands first."""


def arms_in_order(names: Iterable[str]) -> list[str]:
    """From the base to the candidate, each before its constrained twin."""
    return sorted(names, key=lambda name: (_place(_VARIANTS, name.removesuffix("-constrained")), name))


def metrics_in_order(names: Iterable[str]) -> list[str]:
    """All labels first, then the ladder: form, fields, text."""
    return sorted(names, key=lambda name: (_place(_LADDER, name.partition(":")[0]), name))


def metrics_by_role(arms: Mapping[str, Arm]) -> dict[str, list[str]]:
    """Role -> its metrics; a role that this version does not know comes last."""
    found: dict[str, set[str]] = {}
    for arm in arms.values():
        for name, measure in arm.metrics.items():
            found.setdefault(measure.role, set()).add(name)
    roles = sorted(found, key=lambda role: (_place(ROLES, role), role))
    return {role: metrics_in_order(found[role]) for role in roles}


def _place(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)
