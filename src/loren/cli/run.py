"""`loren run CONFIG`: every stage in order, each verdict shown, stopping at the first gate that says no."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from loren.cli.evaluate import VariantNames
from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say
from loren.errors import EXIT_GATE


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--variants", type=VariantNames(), default="base,fewshot,adapter", show_default=True, help="As `loren evaluate` takes it."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key: --set train.learning_rate=1e-4")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@format_option
def command(
    config: Path | None, variants: tuple[str, ...], overrides: tuple[str, ...], batch_size: int, output_format: Format
) -> int:
    """Check, split, train, sanity, evaluate, merge, report: all of it in order.

    A run that was stopped is gone on with by the same command; what is done is not done again. After a gate that says no nothing
    but the report follows, and the exit code is 1.
    """
    from loren.config import load_config
    from loren.pipeline.run import StageDone, Wishes, run_stages

    resolved = load_config(config, environment=os.environ, overrides=overrides)
    wishes = Wishes(variants, batch_size)
    stages: list[StageDone] = []
    for stage in run_stages(resolved, wishes, command=["loren", *sys.argv[1:]], say=say, fetching=show_fetching):
        say(f"{stage.name:<9} {stage.verdict} ({stage.seconds:.0f} s)")
        stages.append(stage)
    passed = all(stage.passed for stage in stages)
    run = os.path.relpath(resolved.config.output_dir)
    target = shlex.quote(str(resolved.config.output_dir) if run.startswith("..") else run)
    lines = [f"{'ok ' if stage.passed else 'NO '} {stage.name:<9} {stage.verdict}" for stage in stages]
    data = {"run": str(resolved.config.output_dir), "passed": passed, "stages": [dict(stage._asdict()) for stage in stages]}
    failed = next((stage.name for stage in stages if not stage.passed), "")
    after = {"sanity": f"loren sanity {target} --show-text", "evaluate": f"loren triage {target}", "merge": f"loren merge {target}"}
    finish(output_format, data, text="\n".join(lines), next_command=after.get(failed, f'loren generate {target} --prompt "..."'))
    return 0 if passed else EXIT_GATE
