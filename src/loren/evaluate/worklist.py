"""A worklist as people and programs read it: triage.md and triage.jsonl.

Both hold lines, ids and labels; questions, targets and replies only where the user asked for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loren.runs.files import Json, write_text
from loren.runs.folder import SCHEMA_VERSION
from loren.scoring.slices import shown_label
from loren.scoring.triage import Example, Failure, Group, Mend

_SHOWN = 8
"""Situations, answers and training lines that are named beside a group; triage.jsonl has all."""

ADVICE: Mapping[Mend, tuple[str, str]] = {
    Mend.FORMAT: (
        "mend the form",
        "The replies break the schema, or were cut. Compare with base and few-shot: if these keep the form, the targets of the "
        "training file teach another one. Where replies are only cut, raise `max_new_tokens`.",
    ),
    Mend.GOLDEN: (
        "look at the golden target",
        "Every training row that is like these questions says what the model says. Read the golden targets first: a wrong one is "
        "mended in the golden file (`loren evaluate RUN --repin` pins it anew). If they are right, the training rows are not.",
    ),
    Mend.CONFLICT: (
        "decide the label",
        "Training rows that are like these questions have different labels. Read them side by side, and mend the wrong ones; or "
        "say in `label_meanings` of task.toml what separates the two, and label again by that.",
    ),
    Mend.NO_LABEL: ("write rows with this label", "No training row has the label of these questions: it was never taught."),
    Mend.GAP: (
        "write rows for these situations",
        "Nothing in the training file is like these questions. Write rows about the same matters in other words; never the golden "
        "questions themselves.",
    ),
    Mend.WORDING: (
        "mend the wording",
        "The labels are right, the words are not. Read the replies of the training rows named here: a model writes as they do.",
    ),
    Mend.MORE: (
        "write more rows like these",
        "No training row that is like these questions contradicts their targets: it was taught, if at all, too little. Write more "
        "wordings of such matters, give rare labels more rows, or train longer.",
    ),
    Mend.UNKNOWN: (
        "name the training data",
        "Nobody said what this adapter was trained on: adopted with `--data FILE`, this list names its rows.",
    ),
}
"""Mend -> what to do in a phrase, and in a paragraph."""


class Texts(NamedTuple):
    """What a customer and a model wrote, and what should have been written."""

    question: str
    target: str
    reply: str


class Worklist(NamedTuple):
    """The failures of one arm, by what would mend them."""

    arm: str
    metrics: tuple[str, ...]
    asked: int
    failures: int
    training_file: str
    """Its name; "" where it is not known."""
    training_rows: int
    groups: list[Group]

    def to_json(self) -> dict[str, Json]:
        """For programs: the groups without their failures, which triage.jsonl holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "arm": self.arm,
            "metrics": list(self.metrics),
            "asked": self.asked,
            "failures": self.failures,
            "training_data": "known" if self.training_file else "unknown",
            "training_rows": self.training_rows,
            "groups": [
                {
                    "group": number,
                    "mend": str(group.mend),
                    "slice": group.slice,
                    "failures": len(group.failures),
                    "situations": dict(group.situations),
                    "answered": dict(group.answered),
                    "training_rows_with_label": group.training_rows,
                    "training_lines": [line for line, _, _ in group.lines],
                }
                for number, group in enumerate(self.groups, start=1)
            ],
        }


def write_worklist(folder: Path, worklist: Worklist, texts: Mapping[str, Texts] | None) -> tuple[Path, Path]:
    """Write triage.md and triage.jsonl.

    Args:
        folder: of the evaluation.
        worklist: what they hold.
        texts: row id -> texts, where the user asked for them.

    Returns:
        The paths of both.
    """
    markdown, lines = folder / "triage.md", folder / "triage.jsonl"
    write_text(lines, "".join(f"{json.dumps(line, ensure_ascii=False, allow_nan=False)}\n" for line in _lines(worklist, texts)))
    write_text(markdown, "\n".join(_page(worklist, texts)) + "\n")
    return markdown, lines


def _lines(worklist: Worklist, texts: Mapping[str, Texts] | None) -> Iterator[dict[str, Json]]:
    for number, group in enumerate(worklist.groups, start=1):
        for failure in group.failures:
            yield {
                "schema_version": SCHEMA_VERSION,
                "group": number,
                "mend": str(group.mend),
                "id": failure.id,
                "line": failure.line,
                "situation": failure.situation,
                "slices": dict(failure.slices),
                "fault": failure.fault,
                "failed": list(failure.failed),
                "expected": [_value(label) for label in failure.expected],
                **({"answered": [_value(label) for label in failure.found]} if failure.found is not None else {}),
                "nearest": [
                    {
                        "line": example.line,
                        "similarity": round(example.similarity, 3),
                        "label": [_value(label) for label in example.label],
                        "agrees_with": failure.agrees(example),
                    }
                    for example in failure.nearest
                ],
                **(texts[failure.id]._asdict() if texts else {}),
            }


def _value(label: str) -> str:
    return shown_label((label,))


def _page(worklist: Worklist, texts: Mapping[str, Texts] | None) -> Iterator[str]:
    yield f"# Triage of {worklist.arm}"
    yield ""
    yield f"{worklist.failures} of {worklist.asked} golden rows fail in {', '.join(f'`{name}`' for name in worklist.metrics)}."
    yield (
        f"They are compared with the {worklist.training_rows} training rows of `{_cell(worklist.training_file)}`."
        if worklist.training_file
        else "The training data is not known."
    )
    if not worklist.groups:
        return
    yield ""
    yield "| | failures | what to do | where | answered instead |"
    yield "|---|---|---|---|---|"
    for number, group in enumerate(worklist.groups, start=1):
        answered = _most([f"{label} ({count})" for label, count in group.answered])
        yield f"| {number} | {len(group.failures)} | {ADVICE[group.mend][0]} | {_cell(group.slice or 'all')} | {answered} |"
    for number, group in enumerate(worklist.groups, start=1):
        yield from _section(number, group, texts)


def _section(number: int, group: Group, texts: Mapping[str, Texts] | None) -> Iterator[str]:
    phrase, advice = ADVICE[group.mend]
    yield ""
    yield f"## {number}. {phrase.capitalize()}{f': {_cell(group.slice)}' if group.slice else ''}"
    yield ""
    yield advice
    yield ""
    yield f"- Situations: {_most([f'{name} ({count})' for name, count in group.situations])}"
    if group.answered:
        yield f"- Answered instead: {_most([f'{label} ({count})' for label, count in group.answered])}"
    if group.mend is not Mend.UNKNOWN:
        yield f"- Training rows with their label: {group.training_rows}"
    if group.lines:
        lines = [f"{line} ({label}; like {count})" if label else f"{line} (like {count})" for line, label, count in group.lines]
        yield f"- Training lines that are like them: {_most(lines)}"
    yield ""
    yield "| golden line | situation | failed in | answered | nearest training lines |"
    yield "|---|---|---|---|---|"
    for failure in group.failures:
        answered = "does not parse" if failure.found is None else shown_label(failure.found) or "-"
        near = ", ".join(_example(example) for example in failure.nearest) or "none"
        failed = ", ".join(failure.failed)
        yield f"| {failure.line} | {_cell(failure.situation)} | {_cell(failed)} | {_cell(answered)} | {_cell(near)} |"
    for failure in group.failures if texts else ():
        yield from _quoted(failure, texts[failure.id] if texts else Texts("", "", ""))


def _example(example: Example) -> str:
    label = shown_label(example.label)
    return f"{example.line} ({label + ', ' if label else ''}{example.similarity:.2f})"


def _quoted(failure: Failure, texts: Texts) -> Iterator[str]:
    yield ""
    yield f"Golden line {failure.line}: question, target, reply."
    for text in texts:
        # A fence that is longer than any in the text: what a customer wrote is shown, and never read as Markdown.
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
        yield ""
        yield f"{fence}text"
        yield text
        yield fence


def _most(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(_cell, names[:_SHOWN])) + more


def _cell(text: str) -> str:
    """A name in a line of Markdown: nothing in it is markup, and it does not leave its line."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text[:200])
    return re.sub(r"([\\`*_\[\]<>|#~!&])", r"\\\1", shown)
