"""`loren merge RUN`: the adapter and its base as one model, proven."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say
from loren.errors import EXIT_GATE


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the merged model is put. Default: RUN/merged.")
@click.option("--evaluate", is_flag=True, help="Ask the golden questions too: is it not worse than the adapter?")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@format_option
def command(run: Path, out: Path | None, evaluate: bool, batch_size: int, output_format: Format) -> int:
    """Merge RUN's adapter into its base, and prove it.

    Every tensor is computed in fp32, written in the base's precision, read again from the disk and compared element by element with
    a second computation and with PEFT's own merge; then base, adapter and merged model answer 64 questions, and that model the
    task's unseen prompts. A kind of adapter that can't be merged exactly is refused by name. The adapter is left as it is, and
    nothing is overwritten.

    Leaves with 1 when the proof or the sanity check fails, and nothing is put at --out without a proof. With --evaluate also when
    the merged model may be worse than the adapter.
    """
    from loren.pipeline.merge import Wishes, merge_run
    from loren.runs.folder import RunFolder

    merged = merge_run(
        RunFolder(run), Wishes(out, evaluate, batch_size), command=["loren", *sys.argv[1:]], say=say, fetching=show_fetching
    )
    target = shlex.quote(str(run))
    following = f"loren merge {target} --evaluate" if merged.passed and not evaluate else f"loren report {target}"
    finish(output_format, merged.record, text="\n".join(_lines(run, merged.record)), next_command=following)
    return 0 if merged.passed else EXIT_GATE


def _lines(run: Path, record: dict[str, Any]) -> list[str]:
    proof, sanity, quality = record["proof"], record["sanity"], record["quality"]
    lines = [f"{'ok ' if check['passed'] else 'NO '} {check['name']:<30}{check['found']}" for check in proof["checks"]]
    if (taken := record["base_weights"]["taken"]) and (figures := record["base_weights"].get("adapter_to_merged")):
        kl = ", ".join(f"{name} {seen['kl']:.1e}" for name, seen in figures.items())
        lines.append(f"base weights: {taken} (KL divergence from the adapter on its 4-bit base: {kl})")
    lines.append(f"proven: {run / record['path']}" if record["proven"] else "NOT proven: no model was left")
    if record["proven"]:
        words = "not judged: no task, or no prompts" if sanity is None else _passed(sanity["passed"], sanity["failed"])
        lines.append(f"sanity: {words}")
        if isinstance(quality, str):
            lines.append(f"quality: {quality}")
        else:
            lines += [f"  {entry['metric']:<20} against adapter  {entry['words']}" for entry in quality["comparisons"]]
            lines.append(
                f"quality: {'not worse than the adapter' if quality['passed'] else 'NOT shown to be as good as the adapter'}"
            )
    return lines


def _passed(passed: bool, failed: list[str]) -> str:
    return "passed" if passed else f"FAILED: {', '.join(failed)}"
