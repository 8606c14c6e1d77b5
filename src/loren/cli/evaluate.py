"""`loren evaluate RUN`: base against adapter on the golden questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(1), help="Ask a fixed stratified sample; a preview under eval/preview/, no verdict.")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@format_option
def command(run: Path, limit: int | None, batch_size: int, output_format: Format) -> None:
    """Answer the golden questions with RUN's base and adapter, and score both.

    The base gets the task's system prompt, the adapter the one that training had. Answers that were given before by the same
    weights to the same questions are taken from their file.
    """
    from loren.evaluate.golden import evaluate_run
    from loren.runs.folder import RunFolder

    evaluation = evaluate_run(RunFolder(run), limit=limit, batch_size=batch_size, say=say, fetching=show_fetching)
    variants: dict[str, Any] = evaluation.result["variants"]
    asked = evaluation.result["golden"]["asked"]
    lines = [f"{asked} of {evaluation.result['golden']['rows']} golden questions", f"{'':<24}{'base':>12}{'adapter':>12}"]
    lines += [_line(name, [_at(variants[v], path) for v in ("base", "adapter")]) for name, path in _figures(variants["base"])]
    text = "\n".join([*lines, f"written to {evaluation.path}"])
    finish(output_format, evaluation.result, text=text, next_command=f'loren generate {run} --prompt "..."')


def _figures(summary: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    names: list[tuple[str, tuple[str, ...]]] = [("parses", ("parses",)), ("schema-valid", ("schema_valid",))]
    names += [(f"right {pointer}", ("labels", pointer)) for pointer in summary["labels"]]
    names += [("all labels right", ("all_labels",))] if "all_labels" in summary else []
    return [*names, ("ended by itself", ("ended",))]


def _at(summary: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        summary = summary[name]
    return summary


def _line(name: str, shares: list[dict[str, Any]]) -> str:
    return f"{name:<24}" + "".join(f"{share['count']:>6} of {share['of']:>2}" for share in shares)
