"""`loren sweep CONFIG`: variants of a configuration, compared; with --curve, data sizes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from loren.cli.fetching import show_fetching
from loren.cli.output import Format, finish, format_option, say


def _shares(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...]:
    """`25,50,100` -> numbers.

    Raises:
        BadParameter: it is no such list.
    """
    if value is None:
        return ()
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter("expected per cents like 25,50,100") from error


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--seeds", type=click.IntRange(1, 20), help="Trainings of each variant, with seed, seed + 1, ... [sweep] seeds says it too."
)
@click.option(
    "--curve", callback=_shares, metavar="PERCENTS", help="Learning curve: train on these shares of the rows, as in 25,50,100."
)
@click.option("--golden/--no-golden", default=True, show_default=True, help="Ask the golden questions once, of the winner alone.")
@click.option("--resume", is_flag=True, help="Continue the sweep; further variants and seeds may have come.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key for all variants.")
@click.option("--batch-size", type=click.IntRange(1, 256), default=64, show_default=True, help="Prompts answered together.")
@format_option
def command(
    config: Path,
    seeds: int | None,
    curve: tuple[int, ...],
    golden: bool,
    resume: bool,
    overrides: tuple[str, ...],
    batch_size: int,
    output_format: Format,
) -> int:
    """Train the variants of CONFIG's [sweep], or the presets a, b and c, and say which to take.

    Check, split, rendering and base are shared; every variant and seed is a run folder that each command takes. Variants are
    compared on the test rows. A run that fails does not stop the others: the exit code is then that of its error.
    """
    from loren.config.sweep import load_sweep

    plan = load_sweep(config, environment=os.environ, overrides=overrides, seeds=seeds, curve=curve)
    from loren.pipeline.sweep.story import Errand, sweep

    errand = Errand(
        resume=resume,
        ask_golden=golden,
        batch_size=batch_size,
        command=["loren", *sys.argv[1:]],
        say=say,
        fetching=show_fetching,
    )
    result = sweep(plan, errand)
    record = result.record
    text = "\n".join([*_table(record), *_points(record), *_advice(record), f"written to {result.path}"])
    finish(output_format, record, text=text, next_command=_next(config, record, plan.folder))
    return result.exit_code


def _next(config: Path, record: dict[str, Any], folder: Path) -> str:
    """Try the recommended run; where nothing is recommended, go on with what failed, or compare configurations."""
    run: str | None = record.get("recommendation", {}).get("run")
    if run is not None:
        relative = os.path.relpath(folder / run)
        return f"loren sanity {shlex.quote(str(folder / run) if relative.startswith('..') else relative)}"
    return f"loren sweep {shlex.quote(str(config))}" + (" --resume" if record["kind"] != "curve" else "")


def _table(record: dict[str, Any]) -> Iterator[str]:
    """What each variant took and came to, its metrics, and the differences from the simplest one."""
    judged, seeds = record["judged_on"], len(record["seeds"])
    each = "one seed" if seeds == 1 else f"{seeds} seeds"
    yield f"{judged['rows']} {judged['part']} rows in {judged['situations']} situations, {each} a variant"
    shown: list[dict[str, Any]] = [variant for variant in record["variants"] if "figures" in variant]
    head = ["variant", "trained", "memory", "time", "train loss", "valid. loss", "gap", "format of 20"]
    yield from _columns([head, *([variant["name"], *_figures(variant)] for variant in shown)])
    scored: list[dict[str, Any]] = [variant for variant in shown if "metrics" in variant]
    if scored:
        # The ladder's order stands in the comparisons; the keys of a table are sorted.
        ladder: list[str] = [found["metric"] for found in record.get("comparisons", [])]
        names = list(dict.fromkeys(ladder)) or list(scored[0]["metrics"])
        values = [[variant["name"], *(f"{variant['metrics'][name]['value']:.3f}" for name in names)] for variant in scored]
        yield ""
        yield from _columns([["variant", *names], *values])
    yield from _differences(record.get("comparisons", []))
    for variant in record["variants"]:
        for run in variant["runs"]:
            if run["status"] == "failed":
                yield f"{run['path']} failed: {run['error']['kind']}: {run['error']['message']}"


def _differences(comparisons: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Paired differences with their intervals, but of metrics in which no variant differs from the simplest."""
    metrics = [found["metric"] for found in comparisons if found["fixed"] or found["broken"]]
    names = list(dict.fromkeys(metrics))
    if not names:
        return
    by_variant: dict[str, dict[str, str]] = {}
    for found in comparisons:
        interval = f"{found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
        by_variant.setdefault(found["after"], {})[found["metric"]] = interval
    yield ""
    head = [f"against {comparisons[0]['before']}", *names]
    yield from _columns([head, *([name, *(cells[metric] for metric in names)] for name, cells in by_variant.items())])
    yield ""


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def _figures(variant: dict[str, Any]) -> Sequence[str]:
    figures = variant["figures"]
    twenty = variant.get("format_20")
    return (
        f"{figures['trainable_parameters']:,.0f}",
        f"{figures['peak_memory_bytes'] / 1e9:.2f} GB",
        f"{figures['train_seconds']:.0f} s",
        f"{figures['train_loss']['value']:.3f}",
        f"{figures['eval_loss']['value']:.3f}",
        f"{figures['overfit_gap']['value']:+.3f}",
        f"{twenty['count']}/{twenty['of']}" if twenty else "-",
    )


def _points(record: dict[str, Any]) -> Iterator[str]:
    curve = record.get("curve")
    if curve:
        yield f"{'rows':>6}  {curve['metric']:<24}  validation loss"
        for point in curve["points"]:
            score = f"{point['score']['value']:.3f} [{point['score']['low']:.3f}, {point['score']['high']:.3f}]"
            yield f"{point['rows']:>6}  {score:<24}  {_seeded(point['eval_loss'])}"
        yield curve["words"]


def _seeded(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f}" + (f" [{figure['low']:.3f}, {figure['high']:.3f}]" if "low" in figure else "")


def _advice(record: dict[str, Any]) -> Iterator[str]:
    advice = record.get("recommendation")
    if advice:
        yield advice["words"]
        yield from (f"  {sentence}" for sentence in advice["evidence"])
