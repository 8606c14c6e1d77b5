"""What would mend a failure: judged from the training rows that are most like it, and grouped by what one mend would touch. Pure.

Nothing here is proof. A mend says where a person should look first, and every group names the lines to look at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

from loren.scoring.slices import shown_label

Fault: TypeAlias = Literal["format", "label", "wording"]
Label: TypeAlias = tuple[str, ...]
"""The values at the task's label pointers, as JSON text; "" where there is none."""

ALIKE = 0.15
"""Similarity from which a training row says something about a question. Of the golden questions of the shipped task, 30 in 100 have
such a row; the nearest has their first label in 87 of 100, and all of theirs in 62. Where the nearest is below ``FAR``
(16 in 100) it is 62 and 31."""
FAR = 0.08
"""Similarity below which nothing in training is like a question."""
FEWEST_WITNESSES = 2
"""Training rows that must agree with the model before a golden target is doubted."""


class Mend(StrEnum):
    """What to do about a failure; the first that fits, in this order."""

    FORMAT = "format"
    """The reply is not in the form: its labels and words can't be judged."""
    GOLDEN = "golden"
    """All training rows like it say what the model says: look at the golden target first."""
    CONFLICT = "conflict"
    """Training rows like it have different labels: decide which are right, or say what the label means."""
    NO_LABEL = "no-label"
    """No training row has its label."""
    GAP = "gap"
    """No training row is like it."""
    WORDING = "wording"
    """The labels are right, the words are not."""
    MORE = "more"
    """Training rows like it say what its target says, or nothing near says anything else: it was taught, and not learned."""
    UNKNOWN = "unknown"
    """The training data is not known."""


class Example(NamedTuple):
    """A training row that is like a failing question."""

    line: int
    similarity: float
    label: Label


class Failure(NamedTuple):
    """A golden row on which an arm failed."""

    id: str
    line: int
    situation: str
    slices: Mapping[str, str]
    failed: tuple[str, ...]
    """The metrics that say so."""
    fault: Fault
    expected: Label
    found: Label | None
    """None where the reply does not parse."""
    nearest: tuple[Example, ...] = ()
    """The most similar first."""

    @property
    def wrong(self) -> tuple[int, ...]:
        """Places of the labels that are not the target's."""
        if self.found is None:
            return tuple(range(len(self.expected)))
        return tuple(place for place, pair in enumerate(zip(self.expected, self.found, strict=True)) if pair[0] != pair[1])

    def agrees(self, example: Example) -> Literal["target", "prediction", "neither"]:
        """With which of the two a training row agrees, as far as they differ."""

        def same(label: Label | None) -> bool:
            return label is not None and all(example.label[place] == label[place] for place in self.wrong)

        if len(example.label) != len(self.expected):
            return "neither"
        return "target" if same(self.expected) else "prediction" if same(self.found) else "neither"


def mend_of(failure: Failure, rows_of_label: Mapping[Label, int] | None) -> Mend:
    """What to do about one failure.

    Args:
        failure: With the training rows that are most like it.
        rows_of_label: Label -> training rows that have it; None where the training data is not known.
    """
    if failure.fault == "format":
        return Mend.FORMAT
    if rows_of_label is None:
        return Mend.UNKNOWN
    if failure.fault == "label" and failure.wrong:
        alike = [failure.agrees(example) for example in failure.nearest if example.similarity >= ALIKE]
        if len(alike) >= FEWEST_WITNESSES and set(alike) == {"prediction"}:
            return Mend.GOLDEN
        if "target" in alike and len(set(alike)) > 1:
            return Mend.CONFLICT
        if not rows_of_label.get(failure.expected):
            return Mend.NO_LABEL
    if not any(example.similarity >= FAR for example in failure.nearest):
        return Mend.GAP
    return Mend.WORDING if failure.fault == "wording" else Mend.MORE


class Group(NamedTuple):
    """Failures that one mend would touch."""

    mend: Mend
    slice: str
    """The label of their targets; "" for a task without labels."""
    failures: tuple[Failure, ...]
    """By line of the golden file."""
    training_rows: int
    """Training rows with the label of their targets."""

    @property
    def situations(self) -> list[tuple[str, int]]:
        """Situation -> failures, the most first."""
        return _most(Counter(failure.situation for failure in self.failures))

    @property
    def answered(self) -> list[tuple[str, int]]:
        """The labels that were answered instead, the most frequent first."""
        return _most(Counter(shown_label(failure.found) for failure in self.failures if failure.found and failure.wrong))

    @property
    def lines(self) -> list[tuple[int, str, int]]:
        """Training rows that are like some of them: line, label and of how many failures; the most first."""
        seen = Counter(
            (example.line, shown_label(example.label))
            for failure in self.failures
            for example in failure.nearest
            if example.similarity >= ALIKE
        )
        return [(line, label, count) for (line, label), count in sorted(seen.items(), key=lambda item: (-item[1], item[0]))]


def grouped(failures: Sequence[Failure], rows_of_label: Mapping[Label, int] | None) -> list[Group]:
    """Failures by mend and slice, the group with the most failures first; it does not depend on their order."""
    members: dict[tuple[Mend, str], list[Failure]] = {}
    for failure in sorted(failures, key=lambda each: (each.line, each.id)):
        members.setdefault((mend_of(failure, rows_of_label), failure.slices.get("label", "")), []).append(failure)
    order = list(Mend)
    groups = [
        Group(mend, name, tuple(each), (rows_of_label or {}).get(each[0].expected, 0)) for (mend, name), each in members.items()
    ]
    return sorted(groups, key=lambda group: (-len(group.failures), order.index(group.mend), group.slice))


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
