"""A report as Markdown for a pull request: the verdict, its numbers, and what broke. No word of a file can be markup in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loren.data.rules import Language
from loren.report.figures import Comparison
from loren.report.order import arms_in_order, metrics_by_role, metrics_in_order
from loren.report.page import Evaluation, Flips, Report, other_reasons
from loren.report.sweep import SweepReport, Variant
from loren.report.words import Words

SLICES = frozenset({"label", "situation", "length", "diacritics"})
ANSWERS = frozenset({"take", "inconclusive", "none"})
VERDICTS = frozenset({"better", "worse", "not worse", "inconclusive", "abstain"})
BAR = "\u2223"
"""Stands for a bar, which would end a cell of a table, even within code."""
MOST_ROWS = 10
"""Of the rows that broke; report.html shows more."""


def run_markdown(report: Report, language: Language) -> str:
    """The report of a run."""
    w = Words(language)
    verdict = report.verdict
    parts = [f"# {w('page.title', name=code(report.name))}", _headline(report, w)]
    if reasons := other_reasons(verdict):
        parts.append("\n".join(f"- {w.said(*reason, quote=code)}" for reason in reasons))
    if verdict.gates:
        parts += [f"## {w('verdict.gates')}", comparison_table(verdict.gates, w)]
    if report.evaluation:
        parts += [*_prompt(report.evaluation, w), f"## {w('section.figures')}", _figures(report.evaluation, w)]
    for flips in report.flips:
        parts += _flips(flips, w)
    parts += _weak(report, w)
    if report.not_measured:
        names = w.listed(w.name("missing", name) for name in report.not_measured)
        parts += [f"## {w('section.missing')}", names]
    parts.append(w("page.made", version=report.loren, at=report.made_at))
    return "\n\n".join(parts) + "\n"


def sweep_markdown(report: SweepReport, language: Language) -> str:
    """The report of a sweep."""
    w = Words(language)
    parts = [f"# {w('page.title', name=code(report.name))}"]
    advice = report.recommendation
    if advice:
        headline = w(f"sweep_answer.{advice.answer}", variant=code(advice.variant or "?")) if advice.answer in ANSWERS else ""
        words = w.said(advice.said, advice.words, quote=code)
        parts.append(f"**{headline}** {words}" if headline else words)
        parts += ["\n".join(f"- {w.said(*sentence, quote=code)}" for sentence in advice.told)] if advice.evidence else []
    if curve := report.curve:
        answer = w.name("curve_answer", curve.answer)
        headline = f"**{answer if answer != curve.answer else code(answer)}** " if curve.said else ""
        parts.append(f"{headline}{w.said(curve.said, curve.words, quote=code)}")
    parts.append(_variants(report.variants, w))
    if report.comparisons:
        parts += [f"## {w('figures.all_comparisons')}", comparison_table(report.comparisons, w)]
    parts.append(w("page.made", version=report.loren, at=report.made_at))
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """A text of a file as code, on one line and fit for a cell of a table: nothing in it is a mark, a tag, a link or a mention."""
    line = " ".join(text.split()) or "-"
    fence = "`"
    while fence in line:
        fence += "`"
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line.replace('|', BAR)}{room}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is of words, the others of numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def comparison_table(rows: Sequence[Comparison], w: Words) -> str:
    """Comparisons with their numbers."""
    head = [w(f"gate.{key}") for key in ("metric", "pair", "before", "after", "difference", "p", "detectable", "verdict")]
    return table(head, (_comparison(row, w) for row in rows))


def _comparison(row: Comparison, w: Words) -> list[str]:
    interval = w.span(row.kind, row.low, row.high, sign=True)
    return [
        code(row.metric),
        f"{code(row.before)} → {code(row.after)}",
        w.figure(row.kind, row.before_value),
        w.figure(row.kind, row.after_value),
        f"{w.change(row.kind, row.difference)} [{interval}]",
        w.p(row.adjusted_p).replace("<", "&lt;"),
        w.change(row.kind, row.detectable, sign=False),
        w.verdict(row) if row.verdict in VERDICTS else code(row.words),
    ]


def _headline(report: Report, w: Words) -> str:
    verdict = report.verdict
    if verdict.word is None or verdict.passed is None:
        word = w(f"verdict.{'preview' if verdict.source == 'preview' else 'none'}")
        said = {"none": "said_none", "preview": "said_preview", "evaluation": "said_no_verdict"}[verdict.source]
        return f"**{word}.** {w(f'verdict.{said}')}"
    word = w.name("verdict", verdict.word)
    shown = word if word != verdict.word else code(word)
    return f"**{'✅' if verdict.passed else '❌'} {shown}.** {w('verdict.passed' if verdict.passed else 'verdict.failed')}"


def _prompt(evaluation: Evaluation, w: Words) -> list[str]:
    found = evaluation.prompt_is_enough
    if found is None:
        return []
    margin = w.change("share", found.margin or 0.0, sign=False)
    answer = found.answer.replace(" ", "_")
    words = w(f"prompt.{answer}", margin=margin) if answer in {"yes", "no", "unclear", "not_asked"} else code(found.answer)
    tokens = w.listed(f"{code(arm)} {w.number(found.tokens_a_request[arm], 1)}" for arm in arms_in_order(found.tokens_a_request))
    return [f"## {w('prompt.title')}", f"{words} {w('prompt.tokens', parts=tokens) if tokens else ''}".strip()]


def _figures(evaluation: Evaluation, w: Words) -> str:
    arms = arms_in_order(evaluation.arms)
    rows: list[list[str]] = []
    for metrics in metrics_by_role(evaluation.arms).values():
        for metric in metrics:
            found = [evaluation.arms[arm].metrics.get(metric) for arm in arms]
            cells = [f"{w.figure(m.kind, m.value)} [{w.span(m.kind, m.low, m.high)}]" if m else "–" for m in found]
            rows.append([code(metric), *cells])
    return table([w("gate.metric"), *(code(arm) for arm in arms)], rows)


def _flips(flips: Flips, w: Words) -> list[str]:
    counts = w("flips.counts", fixed=w.number(len(flips.fixed)), broken=w.number(len(flips.broken)))
    parts = [f"## {w('section.flips')}: {code(flips.before)} → {code(flips.after)}", counts]
    shown = flips.broken[:MOST_ROWS]
    if shown:
        rows = [[code(row.id), code(row.situation), w.listed(code(name) for name in metrics_in_order(row.broken))] for row in shown]
        parts.append(table([w("flips.row"), w("slice.situation"), w("flips.wrong")], rows))
    return parts


def _weak(report: Report, w: Words) -> list[str]:
    slices = report.evaluation.weak_slices if report.evaluation else {}
    parts: list[str] = []
    for arm in arms_in_order(slices):
        rows = [
            [
                f"{w.name('slice', s.slice) if s.slice in SLICES else code(s.slice)} {code(s.value)}",
                w("weak.of", count=w.number(s.right), of=w.number(s.rows)) if s.right is not None else w.number(s.rows),
                w.figure("share" if s.right is not None else "mean", s.share),
                w.figure("share" if s.right is not None else "mean", s.rest_share),
                w.p(s.adjusted_p).replace("<", "&lt;"),
            ]
            for s in slices[arm]
        ]
        if rows:
            head = [w(f"weak.{key}") for key in ("slice", "right", "share", "rest", "p")]
            parts += [f"## {w('weak.slices', arm=code(arm))}", table(head, rows)]
    return parts


def _variants(variants: Sequence[Variant], w: Words) -> str:
    targets = metrics_in_order({name for v in variants for name, m in v.metrics.items() if m.role == "target"})
    head = [w(f"sweep.{key}") for key in ("variant", "parameters", "memory", "time", "eval_loss", "format")]
    rows: list[list[str]] = []
    for variant in variants:
        figures, first = variant.figures, variant.format_20
        rows.append([
            code(variant.name),
            w.number(figures.trainable_parameters) if figures else "–",
            w.size(figures.peak_memory_bytes) if figures and figures.peak_memory_bytes is not None else "–",
            w.duration(figures.train_seconds) if figures and figures.train_seconds is not None else "–",
            w.number(figures.eval_loss.value, 3) if figures and figures.eval_loss else "–",
            w("weak.of", count=w.number(first.count), of=w.number(first.of)) if first else "–",
            *(w.figure(m.kind, m.value) if (m := variant.metrics.get(name)) else "–" for name in targets),
        ])
    return table([*head, *(code(name) for name in targets)], rows)
