"""What a judge said, read strictly, and how far it agrees with the labels. Pure: no endpoint, no file.

A judge is a model that is asked whether a reply is good. It decides nothing: its verdicts stand beside the scores, and are worth as
much as they agree with labels that people wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, cast

import numpy as np

from loren.runs.files import Json
from loren.scoring.stats.formulas import critical_value
from loren.scoring.stats.rows import FloatArray, Interval, pair_rows
from loren.scoring.stats.shares import share_interval
from loren.task.target import parse_strict

PLACEHOLDERS = ("question", "target", "reply")
VERDICT_SCHEMA: dict[str, Json] = {
    "type": "object",
    "properties": {"verdict": {"enum": ["good", "bad"]}, "reason": {"type": "string"}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}
"""What a judge has to say, for endpoints that can be held to it."""
_PLACEHOLDER = re.compile("{(" + "|".join(PLACEHOLDERS) + ")}")
_CONFIDENCE = 0.95
_NO_SPREAD = 1e-9
_Statistic: TypeAlias = Callable[[FloatArray], FloatArray]


class Verdict(NamedTuple):
    """What a judge said about one reply."""

    good: bool
    reason: str
    """In its own words, which may repeat what a customer wrote."""


class Estimate(NamedTuple):
    """A figure with its interval."""

    value: float
    interval: Interval


class Agreement(NamedTuple):
    """A judge's verdicts beside the labels of the same rows; see ``compare_with_labels``."""

    rows: int
    situations: int
    good_right: int
    good_wrong: int
    """Called good, though a label is wrong."""
    bad_right: int
    """Called bad, though every label is right."""
    bad_wrong: int
    agreement: Estimate
    """The share of rows where both say the same."""
    kappa: Estimate | None
    """Cohen's kappa; None where both always say the same one thing: then chance alone agrees as well."""
    alpha: Estimate | None
    """Krippendorff's alpha for two values; None as above."""


def rubric_problems(template: str) -> list[str]:
    """What is wrong with a rubric, which names ``{question}``, ``{target}`` and ``{reply}``; other braces stand for themselves."""
    found = set(cast("list[str]", _PLACEHOLDER.findall(template)))
    return [f"expected {{{name}}} in it, found none" for name in PLACEHOLDERS if name not in found]


def fill_rubric(template: str, *, question: str, target: str, reply: str) -> str:
    """The rubric about one row. A text that itself holds ``{reply}`` is not filled again."""
    texts = {"question": question, "target": target, "reply": reply}
    return _PLACEHOLDER.sub(lambda match: texts[match[1]], template)


def read_verdict(text: str) -> Verdict | None:
    """Read exactly ``{"verdict": "good" | "bad", "reason": "..."}``; None for anything else, a fence around it included."""
    value = parse_strict(text).value
    if not isinstance(value, dict) or set(value) != {"verdict", "reason"}:
        return None
    verdict, reason = value["verdict"], value["reason"]
    if verdict not in ("good", "bad") or not isinstance(reason, str):
        return None
    return Verdict(verdict == "good", reason)


def compare_with_labels(good: Sequence[bool], right: Sequence[bool], situations: Sequence[str]) -> Agreement | None:
    """Compare verdicts with labels over the rows that have both.

    The interval of the agreement is Wilson's over the effective rows. Those of kappa and alpha are t intervals of the jackknife,
    which leaves out one situation at a time; where the figure is the same without any of them, it is that of the agreement, with
    what chance would give held fixed. With one situation nothing is known.

    Args:
        good: ``(N,)`` whether the judge called the reply good.
        right: ``(N,)`` whether every label of the reply is right.
        situations: ``(N,)`` names of the rows' situations.

    Returns:
        None without rows.

    Source: Cohen 1960, Educational and Psychological Measurement 20, 37-46; Krippendorff 2019, Content Analysis, 4th edition,
    chapter 12; Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 11 (the jackknife).
    """
    if not good:
        return None
    judged, labelled = np.asarray(good, dtype=bool), np.asarray(right, dtype=bool)
    pairs = np.stack([judged & labelled, judged & ~labelled, ~judged & labelled, ~judged & ~labelled]).astype(np.float64)
    codes = np.unique(np.asarray(situations), return_inverse=True)[1]
    cells = np.stack([np.bincount(codes, weights=outcomes) for outcomes in pairs]).astype(np.float64)
    same = (judged == labelled).astype(np.float64)
    paired = pair_rows(same, same, codes.astype(np.int64))
    share = Estimate(float(same.mean()), share_interval(paired.before, paired, confidence=_CONFIDENCE))
    a, b, c, d = (int(count) for count in cells.sum(-1))
    kappa, alpha = (_beyond(cells, statistic, share) for statistic in (cohen_kappa, krippendorff_alpha))
    return Agreement(len(same), cells.shape[-1], a, b, c, d, share, kappa, alpha)


def cohen_kappa(cells: FloatArray) -> FloatArray:
    """``(po - pe) / (1 - pe)``, with chance ``pe`` from each one's own shares; NaN where both always say the same one thing.

    Args:
        cells: ``(4, ...)`` counts of good and right, good and wrong, bad and right, bad and wrong.
    """
    a, b, c, d = cells
    n = a + b + c + d
    chance = (a + b) * (a + c) + (c + d) * (b + d)
    return _over((a + d) * n - chance, n * n - chance)


def krippendorff_alpha(cells: FloatArray) -> FloatArray:
    """``1 - Do / De`` for nominal data of two coders without gaps, with ``De`` from the values of both together; NaN as above."""
    a, b, c, d = cells
    good, bad = 2 * a + b + c, 2 * d + b + c
    # Do = (b + c) / n and De = 2 good bad / (2n (2n - 1)).
    return 1 - _over((b + c) * (good + bad - 1), good * bad)


def jackknife_interval(cells: FloatArray, statistic: _Statistic) -> tuple[FloatArray, FloatArray]:
    """The t interval of a statistic of summed counts, from leaving out one situation at a time.

    Args:
        cells: ``(4, *S, K)`` counts of each situation; K is at least 2.
        statistic: of counts ``(4, ...)``.

    Returns:
        Its two ends ``(*S,)``; NaN where it is undefined without some situation.
    """
    situations = cells.shape[-1]
    totals = cells.sum(-1, keepdims=True)
    without_one = statistic(totals - cells)
    variance = (situations - 1) * np.asarray(without_one.var(-1))
    half = critical_value(_CONFIDENCE, situations - 1) * np.sqrt(variance)
    value = statistic(totals[..., 0])
    return np.clip(value - half, -1, 1), np.clip(value + half, -1, 1)


def _beyond(cells: FloatArray, statistic: _Statistic, share: Estimate) -> Estimate | None:
    value = float(statistic(cells.sum(-1)))
    if np.isnan(value):
        return None
    if cells.shape[-1] < 2:
        return Estimate(value, Interval(-1.0, 1.0))
    low, high = (float(end) for end in jackknife_interval(cells, statistic))
    if np.isnan(low):
        return Estimate(value, Interval(-1.0, 1.0))
    if high - low > _NO_SPREAD:
        return Estimate(value, Interval(low, high))
    # value = 1 - (1 - share) * factor: chance is in the factor, which is unknown where nothing was ever disagreed on.
    factor = (1 - value) / (1 - share.value) if share.value < 1 else _chance_factor(cells.sum(-1))
    return Estimate(value, Interval(*(float(np.clip(1 - (1 - end) * factor, -1, 1)) for end in share.interval)))


def _chance_factor(cells: FloatArray) -> float:
    """``1 / (1 - pe)`` where both always said the same: what a lost point of agreement costs in kappa and alpha."""
    share = float((cells[0] + cells[1]) / cells.sum())
    return 1 / (2 * share * (1 - share))


def _over(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=np.asarray(denominator) > 0)
