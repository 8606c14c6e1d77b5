"""`loren triage RUN`: what to mend in the data, from the questions that failed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loren.cli.output import Format, finish, format_option, say

if TYPE_CHECKING:
    from loren.evaluate.triage import Triage

_SHOWN = 12


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--arm", default="adapter", show_default=True, help="Whose failures: base, fewshot, adapter, adapter-constrained, ..."
)
@click.option(
    "--metric", "metrics", multiple=True, help="Failures in this figure; repeatable. [default: what the task was trained for]"
)
@click.option(
    "--below",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="An F1 or an edit similarity below it is a failure.",
)
@click.option("--preview", is_flag=True, help="Of the last `loren evaluate --limit`.")
@click.option("--show-text", is_flag=True, help="Write questions, targets and replies into the files too.")
@format_option
def command(
    run: Path,
    arm: str,
    metrics: tuple[str, ...],
    below: float,
    preview: bool,
    show_text: bool,
    output_format: Format,
) -> None:
    """Sort the golden questions that RUN gets wrong by what would mend them.

    Each failure is shown with the training rows that are most like it: rows with conflicting labels, labels and situations without
    rows, golden targets that every like row contradicts. The worklist goes to eval/triage.md and eval/triage.jsonl; it holds lines,
    ids and labels, and texts only with --show-text. No model is loaded.
    """
    from loren.evaluate.triage import Wanted, triage_run
    from loren.runs.folder import RunFolder

    wanted = Wanted(arm, metrics, below, preview, show_text)
    triage = triage_run(RunFolder(run), wanted, say=say)
    data = {**triage.worklist.to_json(), "files": [str(path) for path in triage.files]}
    finish(output_format, data, text=_text(triage), next_command=_next(run, triage))


def _text(triage: Triage) -> str:
    """The groups, one line each."""
    from loren.evaluate.worklist import ADVICE

    worklist = triage.worklist
    lines = [f"{worklist.failures} of {worklist.asked} golden questions fail in {', '.join(worklist.metrics)} ({worklist.arm})"]
    for number, group in enumerate(worklist.groups[:_SHOWN], start=1):
        where = f": {group.slice}" if group.slice else ""
        lines.append(f"  {number:>2}  {len(group.failures):>4}  {ADVICE[group.mend][0]}{where}")
    if len(worklist.groups) > _SHOWN:
        lines.append(f"  and {len(worklist.groups) - _SHOWN} more groups")
    return "\n".join([*lines, f"written to {triage.files[0]} and {triage.files[1].name}"])


def _next(run: Path, triage: Triage) -> str:
    """To check the file when it is mended; without failures, or without a file, to ask."""
    if triage.training_file is None or not triage.worklist.failures:
        return f'loren generate {shlex.quote(str(run))} --prompt "..."'
    task = triage.task
    places = (triage.training_file, "--task", task.folder, "--against", task.golden_path)
    return f"loren check {shlex.join(map(str, places))}"
