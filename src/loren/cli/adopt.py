"""`loren adopt ADAPTER --base B`: a run folder around an adapter that was trained elsewhere."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say


@click.command()
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option(
    "--base",
    "base_model",
    required=True,
    help="The base that it was trained on: a folder, a .gguf file, a hub id or embedded:NAME.",
)
@click.option("--task", type=click.Path(path_type=Path), help="Task folder: what a good reply is.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="The JSONL file that it was trained on: its digest and verdict are recorded."
)
@click.option("--out", type=click.Path(path_type=Path), help="The run folder. Default: runs/NAME, the name of ADAPTER.")
@format_option
def command(adapter: Path, base_model: str, task: Path | None, data: Path | None, out: Path | None, output_format: Format) -> None:
    """Make a run folder around a LoRA adapter that was trained elsewhere.

    ADAPTER is the output folder of TRL, Axolotl, Unsloth, LLaMA-Factory, ms-swift or plain PEFT; the adapter lies in it or in its
    newest checkpoint-N. It is copied, never changed. Ranks, targets, every shape, tokenizer and chat template are checked against
    the base. What nobody states about the training is recorded as unknown.

    With --task whose system_in_training is true, the adapter is asked with the task's system prompt.
    """
    from loren.pipeline.adopt import Wishes, adopt

    wishes = Wishes(adapter, base_model, task, data, out)
    adopted = adopt(wishes, command=["loren", *sys.argv[1:]], say=say, fetching=show_fetching)
    metadata, path = adopted.metadata, adopted.run.path
    unknown = ", ".join(metadata["unknown"]) or "nothing"
    parameters, base = metadata["parameters"]["trainable"], metadata["base_model"]["id"]
    text = f"run {path}\n  {parameters:,} parameters on {base}\n  not known: {unknown}"
    relative = os.path.relpath(path)
    target = shlex.quote(str(path) if relative.startswith("..") else relative)
    result = {
        "run": str(path),
        "adapter": str(adopted.run.adapter),
        "base_model": base,
        "producer": metadata["adopted"]["producer"],
        "unknown": metadata["unknown"],
        "warnings": metadata["adopted"]["warnings"],
    }
    following = f"loren sanity {target}" if task else f'loren generate {target} --prompt "..."'
    finish(output_format, result, text=text, next_command=following)
