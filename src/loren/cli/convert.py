"""`loren convert FILE`: a file of another format as JSONL of `messages`, with a ledger."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loren.cli.check import EXIT_BROKEN
from loren.cli.output import Format, finish, format_option, say

if TYPE_CHECKING:
    from loren.data.formats.convert import Conversion

_OTHER_ENDINGS = (".gz", ".zst", ".parquet", ".csv", ".tsv", ".json")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--to", type=click.Choice(["messages"]), default="messages", show_default=True, help="What the rows become.")
@click.option("--out", type=click.Path(path_type=Path), help="Where they go; without it they go to stdout.")
@click.option("--format-in", metavar="NAME", help="The rows' format, where it is not to be detected; see `loren check`.")
@format_option
def command(file: Path, to: str, out: Path | None, format_in: str | None, output_format: Format) -> None:
    """Turn a file of another format into JSONL of `messages`.

    FILE holds rows of messages, ShareGPT, Alpaca, OpenAI fine-tuning or prompt/completion, as JSONL, a JSON list, CSV or Parquet,
    plain or in gzip or zstd; - is the standard input. Every field that a format does not know is kept under its name. A row that
    can't be converted is named with its place, exit code 3, and OUT is then not written.

    Raises:
        click.UsageError: the options don't fit together.
        click.exceptions.Exit: rows could not be converted; their places have been printed.
    """
    if out is None and output_format == "json":
        raise click.UsageError("--format json needs --out FILE: without it the rows themselves go to stdout")
    if out is not None and out.suffix.lower() in _OTHER_ENDINGS:
        raise click.UsageError(f"--out: expected a name for JSONL, such as train.jsonl; found one that ends with {out.suffix}")
    from loren.data.formats.convert import convert, convert_to_file

    result = convert(file, sys.stdout.buffer.write, format_in) if out is None else convert_to_file(file, out, format_in)
    lines = _ledger(result)
    if result.issues:
        lines += _refusal(result, out)
    if out is None:
        sys.stdout.buffer.flush()
        say("\n".join(lines))
    else:
        following = f"loren check {shlex.quote(str(out))}" if not result.issues else _explain_command(result)
        written = str(out) if not result.issues else None
        finish(output_format, {**result.to_json(), "out": written}, text="\n".join(lines), next_command=following)
    if result.issues:
        raise click.exceptions.Exit(EXIT_BROKEN)


def _ledger(result: Conversion) -> list[str]:
    """What was read, what was written, and what a reader of the new file would not see otherwise."""
    counted = f"{result.rows_in} row(s) in, {result.rows_out} out"
    read = f"read as {result.read_as.title}" if result.read_as else "not read"
    lines = [f"{read}: {counted}, sha256 of the file {result.sha256[:12]}"]
    if result.blank_lines:
        lines.append(f"  {result.blank_lines} blank line(s) skipped")
    if result.kept:
        lines.append("  kept under their names: " + ", ".join(f"{name} ({rows})" for name, rows in sorted(result.kept.items())))
    return lines + [f"  {note} ({rows} row(s))" for note, rows in sorted(result.notes.items())]


def _refusal(result: Conversion, out: Path | None) -> list[str]:
    """The places of rows that could not be converted, errors of one kind together."""
    lines = [f"{len(result.issues)} problem(s): {'nothing was written' if out else 'these rows were left out'}"]
    unit = result.read_as.unit if result.read_as else "line"
    for issue in (issue for first in result.issues.first.values() for issue in first):
        place = " ".join(part for part in (f"{unit} {issue.line}" if issue.line else "file", issue.path) if part)
        lines.append(f"  {place}: {issue.message}  [{issue.rule}]")
    hidden = len(result.issues) - sum(len(first) for first in result.issues.first.values())
    return [*lines, f"  ... and {hidden} more; --out FILE --format json lists all"] if hidden else lines


def _explain_command(result: Conversion) -> str:
    counts = result.issues.counts
    return f"loren check --explain {max(counts, key=lambda rule: counts[rule])}"
