"""`loren judge RUN`: another model's verdicts on stored predictions, and how far they agree with the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from loren.cli.endpoint import endpoint_options, make_endpoint
from loren.cli.output import Format, finish, format_option, say


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@endpoint_options(required=True)
@click.option(
    "--arm", "arms", multiple=True, metavar="ARM", help="Predictions to judge, such as adapter; all stored ones by default."
)
@click.option("--constrained", is_flag=True, help="Ask the endpoint to hold the judge to the form of a verdict.")
@click.option("--show-text", is_flag=True, help="Keep and print the judge's reasons; they may repeat what a customer wrote.")
@format_option
def command(
    run: Path, arms: tuple[str, ...], constrained: bool, show_text: bool, output_format: Format, sent: bool, **endpoint: Any
) -> None:
    """Ask a model behind an OpenAI-compatible endpoint whether RUN's stored predictions are good, by the task's judge.txt.

    Questions, targets and replies are sent, and nothing without --send. A key is read from LOREN_HTTP_API_KEY alone. Verdicts that
    the same judge gave before are not asked for again. A judge decides no gate: its verdicts are compared with the labels.
    """
    from loren.evaluate.judge import judge_run, verdicts_path
    from loren.runs.folder import RunFolder

    folder = RunFolder(run)
    judged = judge_run(
        folder, make_endpoint(endpoint), arms=arms, sent=sent, constrained=constrained, keep_reasons=show_text, say=say
    )
    found: dict[str, Any] = dict(judged.result)
    lines = [f"{'':<24}{'good':>8}{'bad':>8}{'neither':>9}   agreement with the labels"]
    lines += [_line(arm, figures) for arm, figures in found["arms"].items()]
    if show_text:
        lines += [line for arm in found["arms"] for line in _reasons(arm, verdicts_path(folder, arm))]
    text = "\n".join([*lines, found["notice"], f"written to {judged.path}"])
    finish(output_format, found, text=text, next_command=f"loren evaluate {run}")


def _line(arm: str, figures: dict[str, Any]) -> str:
    neither = figures["no_verdict"] + figures["failed"] + figures["unasked"]
    start = f"{arm:<24}{figures['good']:>8}{figures['bad']:>8}{neither:>9}   "
    if "labels" not in figures:
        return start + "nothing to compare"
    names = {"agreement": "same", "kappa": "kappa", "alpha": "alpha"}
    labels = figures["labels"]
    said = [f"{word} {_interval(labels[name])}" for name, word in names.items() if name in labels]
    return f"{start}{', '.join(said)} over {labels['compared']} row(s)"


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def _reasons(arm: str, path: Path) -> list[str]:
    verdicts: list[dict[str, str]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [f"  {arm}  {line['id'][:12]}  {line['verdict']}: {_printable(line['reason'])}" for line in verdicts if "reason" in line]


def _printable(text: str) -> str:
    """Without the control characters by which a model could write on a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
