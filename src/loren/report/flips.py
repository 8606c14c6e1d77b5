"""Golden rows that one arm gets right and another wrong."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from loren.report.figures import Result, Scores, Texts
from loren.report.page import Flip, Flips

LEAST_CHANGE = 0.1
"""A mean that changed by less is no flip: of a reply's words a few always differ."""


def find_flips(result: Result, scores: Sequence[Scores], texts: Texts, *, run: str, golden: Path | None) -> list[Flips]:
    """The rows that differ, for each pair of arms that were compared.

    Args:
        result: what was compared; a preview compares base and adapter.
        scores: each row's outcomes.
        texts: the replies, where they are to be shown.
        run: the run folder, as its user writes it.
        golden: the golden file; None where it is not known.
    """
    pairs = dict.fromkeys((comparison.before, comparison.after) for comparison in result.comparisons)
    if not pairs and {"base", "adapter"} <= set(result.arms):
        pairs[("base", "adapter")] = None
    kinds = {
        name: measure.kind for arm in result.arms.values() for name, measure in arm.metrics.items() if measure.role == "target"
    }
    found: list[Flips] = []
    for before, after in pairs:
        rows = [_flip(row, (before, after), kinds, texts, run=run, golden=golden) for row in scores]
        flips = [row for row in rows if row is not None]
        found.append(
            Flips(
                before=before,
                after=after,
                metrics=list(kinds),
                fixed=[flip for flip in flips if not flip.broken],
                broken=[flip for flip in flips if flip.broken],
            )
        )
    return found


def _flip(row: Scores, pair: tuple[str, str], kinds: dict[str, str], texts: Texts, *, run: str, golden: Path | None) -> Flip | None:
    before, after = (row.arms.get(arm, {}) for arm in pair)
    changes = {name: after[name] - before[name] for name in kinds if name in before and name in after}
    least = {name: LEAST_CHANGE if kind == "mean" else 0.5 for name, kind in kinds.items()}
    fixed = [name for name, change in changes.items() if change >= least[name]]
    broken = [name for name, change in changes.items() if change <= -least[name]]
    if not fixed and not broken:
        return None
    return Flip(
        id=row.id,
        situation=row.situation,
        line=row.line,
        slices=row.slices,
        fixed=fixed,
        broken=broken,
        arms={arm: {name: found[name] for name in kinds if name in found} for arm, found in row.arms.items()},
        commands=_commands(row.line, pair[1], run, golden),
        texts={arm: replies[row.id] for arm, replies in texts.items() if row.id in replies},
    )


def _commands(line: int | None, arm: str, run: str, golden: Path | None) -> list[str]:
    """What asks one row again: of the golden file's line, for no question stands in a report."""
    if line is None or golden is None:
        return []
    row, out = f"row-{line}.jsonl", f"reply-{line}.jsonl"
    variant = " --variant base" if arm.startswith("base") else ""
    return [
        f"sed -n {line}p {shlex.quote(str(golden))} > {row}",
        f"loren generate {shlex.quote(run)} --prompts {row} --out {out}{variant}",
    ]
