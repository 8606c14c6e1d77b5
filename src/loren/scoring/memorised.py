"""Did a model learn, or learn by heart? Training replies said again, and how much better it does on rows that it was trained on.

Pure: replies are texts, outcomes are lines of scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loren.data.similar.forms import normalised
from loren.data.similar.shingles import mixed
from loren.runs.files import Json
from loren.scoring.slices import Kind, ScoreLine, scored_lines
from loren.scoring.stats.rows import Interval, pair_rows
from loren.scoring.stats.scores import Draws, mean_interval
from loren.scoring.stats.shares import share_interval

MIN_CHARACTERS = 50
"""From so many characters in a row a reply says a training reply again; shorter ones are how people write."""

_Codes = npt.NDArray[np.uint32]


class Reuse(NamedTuple):
    """How many replies say a training reply again."""

    replies: int
    equal: int
    """Replies that are a training reply, capitals and white space evened out."""
    reused: int
    """Replies that share ``MIN_CHARACTERS`` characters in a row with one."""

    def to_json(self) -> dict[str, Json]:
        """For result.json; shares of no replies are 0."""
        of = max(self.replies, 1)
        return {
            "replies": self.replies,
            "equal": self.equal,
            "equal_share": self.equal / of,
            "reused": self.reused,
            "share": self.reused / of,
        }


def verbatim_reuse(replies: Sequence[str], training: Sequence[str], *, characters: int = MIN_CHARACTERS) -> Reuse:
    """Count the replies that say a reply of the training file again, whole or for many characters on end; exact.

    The same figure of the golden targets, which no model wrote, is what to compare it with: a team's own phrases recur.

    Args:
        replies: What a model answered to golden questions: the texts that a person reads.
        training: The same of the rows that it was trained on.
        characters: In a row, from which a reply counts as said again.

    Raises:
        ValueError: ``characters`` is below 1.
    """
    if characters < 1:
        raise ValueError(f"expected 1 character or more, found {characters}")
    whole = {normalised(reply) for reply in training}
    said = [normalised(reply) for reply in replies]
    equal = sum(reply in whole for reply in said)
    index = _Windows(sorted(whole), characters)
    return Reuse(len(said), equal, sum(map(index.shares_one_with, said)))


class _Windows:
    """All runs of so many characters of some texts; a hash finds them, a comparison makes sure."""

    def __init__(self, texts: Sequence[str], characters: int) -> None:
        self._length = characters
        self._codes = np.concatenate([np.empty(0, np.uint32), *map(_codes, texts)])
        rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        hashes = _hashes(self._codes, characters)
        inside = np.flatnonzero(rows[: len(hashes)] == rows[characters - 1 :][: len(hashes)])
        order = np.argsort(hashes[inside], kind="stable")
        self._starts, self._hashes = inside[order], hashes[inside][order]

    def shares_one_with(self, text: str) -> bool:
        """Whether a text has such a run too."""
        codes = _codes(text)
        hashes = _hashes(codes, self._length)
        first = np.searchsorted(self._hashes, hashes, "left")
        last = np.searchsorted(self._hashes, hashes, "right")
        return any(
            np.array_equal(codes[start : start + self._length], self._codes[other : other + self._length])
            for start in np.flatnonzero(first < last).tolist()
            for other in self._starts[first[start] : last[start]].tolist()
        )


def _codes(text: str) -> _Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _hashes(codes: _Codes, length: int) -> npt.NDArray[np.uint64]:
    """A hash of each run of ``length`` characters; none where there are fewer."""
    count = max(0, len(codes) - length + 1)
    hashes = np.zeros(count, np.uint64)
    for place in range(length if count else 0):
        hashes = hashes * np.uint64(0x100000001B3) + codes[place : place + count]
    return mixed(hashes)


class Gap(NamedTuple):
    """How much better a variant does on rows that it was trained on."""

    train: float
    golden: float
    interval: Interval
    """Of ``train - golden``."""

    @property
    def difference(self) -> float:
        """``train - golden``."""
        return self.train - self.golden

    def to_json(self) -> dict[str, Json]:
        """For result.json."""
        return {
            "train": self.train,
            "golden": self.golden,
            "gap": self.difference,
            "low": self.interval.low,
            "high": self.interval.high,
        }


def overfit_gaps(train: Sequence[ScoreLine], golden: Sequence[ScoreLine], arm: str, kinds: Mapping[str, Kind]) -> dict[str, Gap]:
    """The gap between training rows and golden ones, for each metric that both were judged by.

    Args:
        train: Scores of a sample of training rows.
        golden: Scores of the golden rows.
        arm: Whose.
        kinds: Metric -> its kind.
    """
    gaps: dict[str, Gap] = {}
    for metric, kind in kinds.items():
        sides = [
            [(line["situation"], line["arms"][arm][metric]) for line in scored_lines(lines, arm, metric)]
            for lines in (train, golden)
        ]
        if all(sides):
            gaps[metric] = outcome_gap(*sides, kind=kind)
    return gaps


def outcome_gap(
    train: Sequence[tuple[str, float]], golden: Sequence[tuple[str, float]], *, kind: Kind = "share", confidence: float = 0.95
) -> Gap:
    """The difference of one figure over two sets of rows, none of which is in both.

    Each side has its own interval over situations, and the two are added in squares: with d the difference, m a figure and (l, u)
    its interval, the ends are ``d - sqrt((m1 - l1)² + (u2 - m2)²)`` and ``d + sqrt((u1 - m1)² + (m2 - l2)²)``.

    Args:
        train: (situation, outcome) of each training row.
        golden: The same of each golden row; situations are not shared.
        kind: Of the outcomes.
        confidence: Of the interval.

    Source: Newcombe 1998, Statistics in Medicine 17, 873-890, method 10 (shares, with Wilson's intervals, here over effective
    rows); Zou and Donner 2008, Statistics in Medicine 27, 1693-1702 (any two figures with intervals).

    Raises:
        ValueError: A side has no row, or an outcome is no such number.
    """
    if not train or not golden:
        raise ValueError(f"expected rows on both sides, found {len(train)} and {len(golden)}")
    means: list[float] = []
    ends: list[Interval] = []
    for side in (train, golden):
        rows = pair_rows([value for _, value in side], [value for _, value in side], [situation for situation, _ in side])
        means.append(math.fsum(rows.before) / rows.rows)
        if kind == "share":
            ends.append(share_interval(rows.before, rows, confidence=confidence))
        else:
            ends.append(mean_interval(rows.before, rows, draws=Draws(confidence)))
    down = math.hypot(means[0] - ends[0].low, ends[1].high - means[1])
    up = math.hypot(ends[0].high - means[0], means[1] - ends[1].low)
    difference = means[0] - means[1]
    return Gap(means[0], means[1], Interval(max(-1.0, difference - down), min(1.0, difference + up)))
