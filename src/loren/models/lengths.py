"""Token statistics of rendered rows, and what becomes of rows that are too long. Arithmetic on lists; nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from loren.data.rows import Message, Row
from loren.data.rules import Breach
from loren.errors import ChatTemplateError, DataContractError, Problem
from loren.models.chat import ChatRenderer, Rendered
from loren.runs.files import Json


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """A row and its tokens."""

    row: Row
    rendered: Rendered


@dataclass(frozen=True, slots=True)
class Dropped:
    """A line of the ledger: a row that is not trained on, and why."""

    line: int
    row_id: str
    tokens: int
    reason: str

    def to_json(self) -> dict[str, Json]:
        """As written to data/report.json."""
        return {"line": self.line, "row": self.row_id, "tokens": self.tokens, "reason": self.reason}


def with_system(messages: Sequence[Message], system_prompt: str) -> tuple[Message, ...]:
    """``messages`` with ``system_prompt`` in front, unless it is empty or they bring their own."""
    if not system_prompt or messages[0].role == "system":
        return tuple(messages)
    return (Message("system", system_prompt), *messages)


def render_rows(renderer: ChatRenderer, rows: Sequence[Row], *, system_prompt: str, file: str) -> list[RenderedRow]:
    """Render every row.

    Raises:
        ChatTemplateError: with the problems of all rows that can't be rendered exactly.
    """
    rendered: list[RenderedRow] = []
    problems: list[Problem] = []
    first: ChatTemplateError | None = None
    for row in rows:
        messages = with_system(row.messages, system_prompt)
        try:
            rendered.append(RenderedRow(row, renderer.render(messages, place=f"{file}:{row.line}")))
        except ChatTemplateError as error:
            first = first or error
            problems.extend(error.problems)
    if first is not None:
        raise ChatTemplateError(first.summary, problems=problems, hint=first.hint)
    return rendered


def enforce_max_length(
    rows: Sequence[RenderedRow], max_length: int, *, over_length: Literal["error", "drop"], file: str
) -> tuple[list[RenderedRow], list[Dropped]]:
    """Split rows into those that fit and the ledger of those that do not; a target is never truncated.

    Raises:
        DataContractError: a row is longer than ``max_length`` and ``over_length`` is "error", or no row is left.
    """
    kept = [item for item in rows if len(item.rendered.input_ids) <= max_length]
    long = [item for item in rows if len(item.rendered.input_ids) > max_length]
    if long and over_length == "error":
        needed = max(len(item.rendered.input_ids) for item in long)
        raise DataContractError(
            f"{len(long)} row(s) are longer than data.max_length = {max_length}",
            problems=[
                Problem(
                    f"{file}:{item.row.line}",
                    f"expected at most {max_length} tokens, found {len(item.rendered.input_ids)}",
                    "over-length",
                )
                for item in long
            ],
            hint=f'max_length = {needed} would fit all; over_length = "drop" leaves them out and writes a ledger',
        )
    if not kept:
        raise DataContractError(f"{file}: no row is left within data.max_length = {max_length}", hint="raise data.max_length")
    ledger = [
        Dropped(item.row.line, item.row.id, len(item.rendered.input_ids), f"longer than max_length = {max_length}") for item in long
    ]
    return kept, ledger


def length_breaches(
    rows: Sequence[RenderedRow], max_length: int, *, over_length: Literal["error", "drop"]
) -> Iterator[tuple[int, Breach]]:
    """Yield the line of each row that is longer than ``max_length``, and the rule that it breaks."""
    rule, end = ("over-length", "") if over_length == "error" else ("over-length-dropped", "; it will be dropped")
    for item in rows:
        tokens = len(item.rendered.input_ids)
        if tokens > max_length:
            yield item.row.line, Breach(rule, "", f"expected at most {max_length} tokens, found {tokens}{end}")


def training_amount(rows: Sequence[RenderedRow], *, effective_batch: int, epochs: float, max_steps: int) -> dict[str, Json]:
    """What a run over these training rows will see.

    Args:
        rows: those that are trained on.
        effective_batch: rows of an optimiser step.
        epochs: how often the rows are seen; a fraction is allowed.
        max_steps: steps after which the run ends; above 0 it decides in place of ``epochs``.
    """
    steps_an_epoch = ceil(len(rows) / effective_batch)
    steps = max_steps if max_steps > 0 else ceil(epochs * steps_an_epoch)
    return {
        "train_rows": len(rows),
        "tokens_per_epoch": sum(len(item.rendered.input_ids) for item in rows),
        "label_tokens_per_epoch": sum(item.rendered.label_tokens for item in rows),
        "effective_batch": effective_batch,
        "steps_per_epoch": steps_an_epoch,
        "steps": steps,
    }


def token_statistics(rows: Sequence[RenderedRow]) -> dict[str, Json]:
    """Percentiles of tokens and label tokens a row, their sums, and the share of tokens that are labels.

    Percentiles are by nearest rank: p95 of 100 rows is the 95th smallest.
    """
    lengths = sorted(len(item.rendered.input_ids) for item in rows)
    labels = sorted(item.rendered.label_tokens for item in rows)
    share = round(sum(labels) / sum(lengths), 4) if rows else 0.0
    return {"rows": len(rows), "tokens": _summary(lengths), "label_tokens": _summary(labels), "label_share": share}


def _summary(ordered: Sequence[int]) -> dict[str, Json]:
    if not ordered:
        return {"sum": 0, "p50": 0, "p95": 0, "p99": 0, "max": 0}

    def rank(percent: int) -> int:
        return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]

    return {"sum": sum(ordered), "p50": rank(50), "p95": rank(95), "p99": rank(99), "max": ordered[-1]}
