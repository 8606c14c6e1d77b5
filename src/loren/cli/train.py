"""`loren train [CONFIG]`: check, split, train and save an adapter."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say

if TYPE_CHECKING:
    from loren.train.recipe import TrainResult


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--resume", is_flag=True, help="Continue the run in output_dir, or start it if there is none.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key: --set train.learning_rate=1e-4")
@format_option
def command(config: Path | None, resume: bool, overrides: tuple[str, ...], output_format: Format) -> None:
    """Check, split, render, train and save an adapter.

    CONFIG is a TOML file (docs/reference/config.md). Without one, the defaults and the environment names MODEL_ID, DATA_PATH,
    OUT_DIR, TASK, SEED, EPOCHS, LR, ... apply. --debug (before `train`) shows an error's traceback.
    """
    from loren.config import load_config

    resolved = load_config(config, environment=os.environ, overrides=overrides)
    from loren.train.recipe import train

    result = train(resolved, resume=resume, command=["loren", *sys.argv[1:]], say=say, fetching=show_fetching)
    if result.is_main:
        _report(result, output_format)


def _report(result: TrainResult, output_format: Format) -> None:
    from loren.runs.files import read_json
    from loren.runs.folder import METADATA

    run = result.run
    metadata: dict[str, Any] = dict(read_json(run.adapter / METADATA))
    loss, parameters = metadata["loss"], metadata["parameters"]
    text = "\n".join([
        f"{'all is done: ' if result.was_done else ''}adapter {run.adapter}",
        f"  loss {loss['first']:.4f} -> {loss['last']:.4f}, validation {loss['eval_last']:.4f}, {metadata['steps']} steps",
        f"  {parameters['trainable']:,} trained parameters ({parameters['share']:.3%}), "
        f"{metadata['artifact']['weights_bytes'] / 1e6:.1f} MB of weights",
    ])  # fmt: skip
    task: Any = read_json(run.config)["values"]
    verb = "sanity" if task["task"] else "generate"
    data = {
        "run": str(run.path),
        "adapter": str(run.adapter),
        "was_done": result.was_done,
        "loss": loss,
        "steps": metadata["steps"],
    }
    relative = os.path.relpath(run.path)
    target = shlex.quote(str(run.path) if relative.startswith("..") else relative)
    tail = "" if verb == "sanity" else ' --prompt "..."'
    finish(output_format, data, text=text, next_command=f"loren {verb} {target}{tail}")
