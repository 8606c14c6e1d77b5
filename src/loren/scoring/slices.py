"""Which kinds of questions fail: the slices of a row, and those where a variant is right less often than elsewhere. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from loren.data.quality.language import BARE, ENGLISH, VIETNAMESE, language_of
from loren.data.similar.forms import batches, read_forms
from loren.runs.files import Json
from loren.scoring.stats.exchange import exchanged
from loren.scoring.stats.rows import FloatArray, Interval, pair_rows
from loren.scoring.stats.scores import RESAMPLES, mean_interval
from loren.scoring.stats.shares import share_interval
from loren.scoring.stats.verdict import holm

Kind: TypeAlias = Literal["share", "mean"]
"""Whether a metric's outcomes are 0 and 1, or numbers between."""

SHORT, MEDIUM, LONG = "short", "medium", "long"
WITH_DIACRITICS, WITHOUT_DIACRITICS = "with", "without"

_LONGEST_LABEL = 64

FEWEST_ROWS = 8
"""A slice with fewer rows is not tested."""
FEWEST_SITUATIONS = 3
"""Nor one with fewer situations: their rows fail together, and two of them are no kind of question."""


class ScoreLine(TypedDict):
    """A line of eval/scores.jsonl: what all arms reached on one golden row. It holds no text."""

    id: str
    situation: str
    line: int
    slices: dict[str, str]
    """Name of the slicing -> the row's slice in it; one that does not apply to a row is left out."""
    arms: dict[str, dict[str, float]]
    """Arm -> metric -> outcome, from 0 to 1."""


class Question(NamedTuple):
    """What the slices of a row are read from."""

    text: str
    """All that the customer says."""
    labels: tuple[str, ...]
    """Its target's label values as JSON text, as `Row.label` has them."""
    situation: str
    """The id of a row without a situation."""


def slices_of(questions: Sequence[Question], *, language: str) -> list[dict[str, str]]:
    """The slices of each row of a golden set, in its order.

    ``label`` are the target's label values, in the order of the task's labels, joined by " / ". ``length`` are the thirds of this
    very set by words: fixed bounds would put all questions of one task into one slice. ``diacritics`` says whether a Vietnamese
    question has any; in a task of Vietnamese replies every question that is not English counts as Vietnamese, for a few words
    without marks look like no language.

    Args:
        questions: All rows of the golden set; a sample of them would have other thirds.
        language: The task's, a BCP 47 tag.
    """
    words = [len(question.text.split()) for question in questions]
    ordered = sorted(words)
    bounds = [ordered[math.ceil(len(ordered) * part / 3) - 1] for part in (1, 2)] if ordered else [0, 0]
    marks = _diacritics([question.text for question in questions], language)
    return [
        {
            **({"label": shown_label(question.labels)} if any(question.labels) else {}),
            "situation": question.situation,
            **({"length": _length(count, bounds)} if ordered[0] < ordered[-1] else {}),
            **({"diacritics": mark} if mark else {}),
        }
        for question, count, mark in zip(questions, words, marks, strict=True)
    ]


def shown_label(labels: Sequence[str]) -> str:
    """Label values, which are JSON text, as people read them: ``"billing"``, ``"high"`` -> ``billing / high``; "-" for none."""
    return " / ".join(_plain(label) for label in labels)


def _plain(label: str) -> str:
    value: object = json.loads(label) if label else "-"
    shown = value if isinstance(value, str) else label
    return shown if len(shown) <= _LONGEST_LABEL else f"{shown[:_LONGEST_LABEL]}…"


def _length(words: int, bounds: Sequence[int]) -> str:
    return SHORT if words <= bounds[0] else MEDIUM if words <= bounds[1] else LONG


def _diacritics(texts: Sequence[str], language: str) -> Iterator[str]:
    """For each text whether a Vietnamese one has marks; "" where it is in another language."""
    is_vietnamese = language.lower().split("-")[0] == "vi"
    for part in batches(texts):
        for text, unmarked in zip(texts[part], read_forms(texts[part]).unmarked.tolist(), strict=True):
            spoken = language_of(text)
            if spoken in {VIETNAMESE, BARE} or (is_vietnamese and spoken != ENGLISH):
                yield WITHOUT_DIACRITICS if unmarked else WITH_DIACRITICS
            else:
                yield ""


class SliceResult(NamedTuple):
    """A slice against all other rows."""

    name: str
    """Of the slicing: "label", "length", "diacritics"."""
    value: str
    metric: str
    kind: Kind
    rows: int
    situations: int
    total: float
    """Sum of the outcomes: the rows that are right, where these are 0 and 1."""
    share: float
    """Mean of the outcomes in the slice."""
    rest_share: float
    interval: Interval
    """Of ``share``: Wilson's over the effective rows; for means, the BCa bootstrap of situations."""
    p_value: float
    """One-sided, of "as good as the rest": see ``slice_results``."""
    adjusted_p: float
    """After Holm's correction over all slices that were tested."""

    def to_json(self) -> dict[str, Json]:
        """For result.json; ``right`` only where outcomes are 0 and 1."""
        return {
            "slice": self.name,
            "value": self.value,
            "metric": self.metric,
            "rows": self.rows,
            **({"right": round(self.total)} if self.kind == "share" else {}),
            "share": self.share,
            "rest_share": self.rest_share,
            "low": self.interval.low,
            "high": self.interval.high,
            "p_value": self.p_value,
            "adjusted_p": self.adjusted_p,
        }


def weak_slices(
    lines: Sequence[ScoreLine], arm: str, metric: str, *, kind: Kind = "share", alpha: float = 0.05, draws: int = RESAMPLES
) -> list[SliceResult]:
    """The slices where an arm is right less often than on the other rows, by more than chance; the surest first.

    The chance that any is named where all are alike is ``alpha`` at most. See ``slice_results`` for arguments and method.
    """
    tested = slice_results(lines, arm, metric, kind=kind, draws=draws)
    return [each for each in tested if each.adjusted_p <= alpha and each.share < each.rest_share]


def slice_results(
    lines: Sequence[ScoreLine], arm: str, metric: str, *, kind: Kind = "share", draws: int = RESAMPLES
) -> list[SliceResult]:
    """Every slice that can be tested against all other rows, the surest weakness first.

    The p value is that of a permutation test (``stats.exchange``), which keeps the rows of a situation together whether a slice
    holds them all (a label) or some (a length). It is one-sided, and counts the data among the draws.

    A single situation is no slice to test: it is one draw, however many wordings it has. ``failed_situations`` lists those.

    Args:
        lines: Of scores.jsonl, in any order. Rows that lack the arm or the metric are left out.
        arm: Whose outcomes.
        metric: Which.
        kind: Of the metric.
        draws: Of the permutation test.
    """
    scored = scored_lines(lines, arm, metric)
    situations = [line["situation"] for line in scored]
    names = sorted({item for line in scored for item in line["slices"].items() if item[0] != "situation"})
    members = np.array([[line["slices"].get(name) == value for line in scored] for name, value in names], dtype=np.float64)
    members = members.reshape(len(names), len(scored))
    kept = [row for row in range(len(names)) if _is_testable(members[row], situations)]
    names, members = [names[row] for row in kept], members[kept]
    if not names:
        return []
    outcomes = np.array([line["arms"][arm][metric] for line in scored])
    p_values = _lower_p(outcomes, situations, members, draws)
    results = [
        _result((name, value), (metric, kind), members[row] == 1, outcomes, situations)._replace(p_value=p, adjusted_p=adjusted)
        for row, ((name, value), p, adjusted) in enumerate(zip(names, p_values, holm(p_values), strict=True))
    ]
    return sorted(results, key=lambda each: (each.adjusted_p, each.share - each.rest_share, each.name, each.value))


def scored_lines(lines: Sequence[ScoreLine], arm: str, metric: str) -> list[ScoreLine]:
    """The lines that have this outcome, in an order that does not depend on the file's."""
    return sorted((line for line in lines if metric in line["arms"].get(arm, {})), key=lambda line: (line["situation"], line["id"]))


class SituationResult(NamedTuple):
    """How an arm did in the wordings of one situation."""

    situation: str
    rows: int
    total: float
    """Sum of the outcomes."""


def failed_situations(lines: Sequence[ScoreLine], arm: str, metric: str) -> list[SituationResult]:
    """Situations of two or more rows that an arm gets less than half right; the worst first, of these the larger ones.

    It is a list to look at, not a finding: of many situations some are always the worst.
    """
    outcomes: dict[str, list[float]] = {}
    for line in scored_lines(lines, arm, metric):
        outcomes.setdefault(line["situation"], []).append(line["arms"][arm][metric])
    results = [SituationResult(name, len(values), math.fsum(values)) for name, values in outcomes.items() if len(values) > 1]
    failed = [each for each in results if 2 * each.total < each.rows]
    return sorted(failed, key=lambda each: (each.total / each.rows, -each.rows, each.situation))


def _is_testable(member: FloatArray, situations: Sequence[str]) -> bool:
    inside, outside = (
        {situation for situation, is_in in zip(situations, member, strict=True) if is_in == wanted} for wanted in (1.0, 0.0)
    )
    enough_rows = FEWEST_ROWS <= member.sum() <= len(member) - FEWEST_ROWS
    return bool(enough_rows) and min(len(inside), len(outside)) >= FEWEST_SITUATIONS


def _lower_p(outcomes: FloatArray, situations: Sequence[str], members: FloatArray, draws: int) -> list[float]:
    """For each slice the chance that so little of what all rows reached falls into it."""
    seen = members @ outcomes
    lower = np.zeros(len(members), dtype=np.int64)
    for dealt in exchanged(outcomes, situations, draws=draws):
        # Sums of floats in another order differ by rounding.
        lower += (dealt @ members.T <= seen + 1e-9).sum(axis=0)
    return ((lower + 1) / (draws + 1)).tolist()


def _result(
    item: tuple[str, str],
    measure: tuple[str, Kind],
    inside: npt.NDArray[np.bool_],
    outcomes: FloatArray,
    situations: Sequence[str],
) -> SliceResult:
    values, rest = outcomes[inside], outcomes[~inside]
    names = [situation for situation, is_in in zip(situations, inside.tolist(), strict=True) if is_in]
    alone = pair_rows(values, values, names)
    interval = share_interval(alone.before, alone) if measure[1] == "share" else mean_interval(alone.before, alone)
    return SliceResult(
        *item,
        *measure,
        len(values),
        len(set(names)),
        math.fsum(values),
        float(values.mean()),
        float(rest.mean()),
        interval,
        1.0,
        1.0,
    )
