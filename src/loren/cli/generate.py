"""`loren generate RUN|MODEL`: answer prompts, one JSON line each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say


@click.command()
@click.argument("subject")
@click.option("--prompts", type=click.Path(path_type=Path), help="JSONL of `messages` or `prompt` rows.")
@click.option("--prompt", help="One question; the answer is printed.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the answers go: one JSON line a prompt, in order.")
@click.option("--variant", type=click.Choice(["base", "adapter"]), help="Of a RUN: its base model, or its adapter (default).")
@click.option("--task", "task_folder", type=click.Path(path_type=Path), help="Of a MODEL: the task whose system prompt it gets.")
@click.option("--max-new-tokens", type=click.IntRange(1, 8192), help="Default: task.toml's, or 256.")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@format_option
def command(
    subject: str,
    prompts: Path | None,
    prompt: str | None,
    out: Path | None,
    variant: Literal["base", "adapter"] | None,
    task_folder: Path | None,
    max_new_tokens: int | None,
    batch_size: int,
    output_format: Format,
) -> None:
    """Answer prompts with a run's adapter or base, or with any model.

    SUBJECT is a run folder, a model directory, a .gguf file, a hub id or embedded:NAME. A final assistant turn in a prompt row is
    ignored. Decoding is greedy with repetition_penalty 1, whatever generation_config says. An answer that was cut at
    --max-new-tokens has finish_reason "length" and is counted aloud.

    Raises:
        click.UsageError: the options don't say what to answer or where to put it.
    """
    if (prompts is None) == (prompt is None):
        raise click.UsageError("give --prompts FILE --out FILE, or --prompt TEXT")
    if prompts is not None and out is None:
        raise click.UsageError("--prompts needs --out FILE")
    from loren.evaluate.predict import predict
    from loren.evaluate.prompts import load_prompts
    from loren.evaluate.subjects import open_subject, single_prompt

    questions = load_prompts(prompts) if prompts is not None else [single_prompt(prompt or "")]
    opened = open_subject(subject, variant=variant, task_folder=task_folder, batch_size=batch_size, fetching=show_fetching)
    result = predict(opened, questions, max_new_tokens=max_new_tokens, say=say)
    if out is not None:
        result.write(out)
    if result.cut:
        say(f'warning: {result.cut} of {len(result.completions)} answers were cut at max_new_tokens (finish_reason "length")')
    text = f"{len(result.completions)} answers in {out}" if out else result.completions[0].text
    data = {
        "answers": [completion.to_json() for completion in result.completions],
        "cut": result.cut,
        "out": str(out) if out else None,
    }
    finish(output_format, data, text=text, next_command=_next(subject))


def _next(subject: str) -> str:
    from loren.evaluate.subjects import run_values
    from loren.runs.folder import RunFolder

    run = RunFolder(Path(subject))
    if run.config.is_file():
        return f"loren evaluate {subject}" if run_values(run)["task"] else f"loren generate {subject} --variant base --prompt ..."
    return "loren init my-task"
