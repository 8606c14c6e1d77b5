"""`loren check FILE`: the data contract, for people (text) and for machines (JSON)."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loren.cli.output import Format, format_option

if TYPE_CHECKING:
    from loren.data.report import CheckReport
    from loren.data.rules import Issue, Rule
    from loren.task.definition import Task

EXIT_BROKEN = 3
"""Exit code of a file that breaks the contract."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option("--task", "task_folder", type=click.Path(path_type=Path), help="Judge targets and label counts by this task too.")
@click.option(
    "--tokens", "config", type=click.Path(path_type=Path), metavar="CONFIG", help="Measure rows in tokens, as CONFIG trains."
)
@click.option("--show-row", type=click.IntRange(1), metavar="LINE", help="With --tokens: print this row with its labels marked.")
@click.option("--format-in", metavar="NAME", help="The rows' format, where it is not to be detected (see below).")
@click.option("--explain", metavar="RULE", help="Explain a rule, by id or name, and stop.")
@format_option
def command(
    file: Path | None,
    task_folder: Path | None,
    config: Path | None,
    show_row: int | None,
    format_in: str | None,
    explain: str | None,
    output_format: Format,
) -> None:
    """Check a training file against the data contract.

    FILE holds one JSON object a line, with its conversation under `messages`; - is the standard input. ShareGPT, Alpaca, OpenAI
    fine-tuning and prompt/completion rows are judged by the same rules, also in a JSON list, CSV, Parquet, gzip or zstd. What a
    file is, is detected; --format-in says it: messages, openai, sharegpt, alpaca, prompt-completion, or
    prompt-completion:QUESTION,REPLY with the names of two fields. Exit code 0: clean (there may be warnings);
    3: broken. No text of the file is ever printed, but by --show-row.

    Raises:
        click.UsageError: neither a file nor a rule was given, or the options don't fit together.
        click.exceptions.Exit: the file is broken; the report has been printed.
    """
    if explain is not None:
        _explain(explain)
        return
    file = _given(file, show_row, config)
    from loren.data.check import check_file

    task = _load_task(task_folder)
    report = check_file(file, task, format_in=format_in)
    if config is not None and not report.errors:
        from loren.cli.tokens import RowTokens

        rows = RowTokens(file, task, config, format_in)
        report.tokens = rows.statistics()
        if show_row is not None:
            click.echo(rows.show(show_row), err=output_format == "json")
    following = _next_command(report, task_folder, config)
    if format_in is not None and not report.errors:
        following += f" --set data.format={shlex.quote(format_in)}"
    if output_format == "json":
        if reconfigure := getattr(sys.stdout, "reconfigure", None):
            reconfigure(encoding="utf-8")  # JSON is UTF-8, whatever the terminal is
        report.write_json(sys.stdout)
        click.echo(f"{_verdict(report)}\nnext: {following}", err=True)
    else:
        _print_text(report, following)
    if report.errors:
        raise click.exceptions.Exit(EXIT_BROKEN)


def _given(file: Path | None, show_row: int | None, config: Path | None) -> Path:
    """The file, where the options fit together.

    Raises:
        click.UsageError: they don't.
    """
    if file is None:
        raise click.UsageError("expected a FILE to check, or --explain RULE")
    if show_row is not None and config is None:
        raise click.UsageError("--show-row needs --tokens CONFIG, which says how rows are rendered")
    if config is not None and str(file) == "-":
        raise click.UsageError("--tokens needs a FILE, which is read again; found the standard input")
    return file


def _load_task(folder: Path | None) -> Task | None:
    if folder is None:
        return None
    from loren.task.definition import load_task

    return load_task(folder)


def _print_text(report: CheckReport, following: str) -> None:
    """The report for people: what was read, the issues by rule, the verdict, the next command."""
    _say(f"{report.file}: {report.rows} row(s), sha256 {report.sha256[:12]}", bold=True)
    if report.read_as is not None:
        _say(f"  read as {report.read_as.title}")
    if report.blank_lines:
        _say(f"  {report.blank_lines} blank line(s) skipped")
    if report.object_targets:
        _say(f"  {report.object_targets} target(s) are objects: taken as their canonical JSON text")
    for pointer, values in report.labels.items():
        counts = ", ".join(f"{value} {count}" for value, count in _shown_labels(values))
        _say(f"  rows by {pointer}: {counts or 'none could be read'}")
    if report.tokens is not None:
        from loren.cli.tokens import token_lines

        for line in token_lines(report.tokens):
            _say(line)
    unit = report.read_as.unit if report.read_as else "line"
    for rule, issues, count in _by_rule(report):
        _say("")
        _say(f"{rule.severity} {rule.id} {rule.name}: {count} issue(s)", color="red" if rule.severity == "error" else "yellow")
        for issue in issues:
            place = " ".join(part for part in (f"{unit} {issue.line}" if issue.line else "file", issue.path) if part)
            _say(f"  {place}: {issue.message}")
        if count > len(issues):
            _say(f"  ... and {count - len(issues)} more; --format json lists all")
        _say(f"  hint: {rule.hint}")
    _say("")
    _say(_verdict(report), color="red" if report.errors else "green")
    _say(f"next: {following}")


def _by_rule(report: CheckReport) -> Iterator[tuple[Rule, list[Issue], int]]:
    from loren.data.rules import find_rule

    for entry in report.by_rule():
        rule = find_rule(entry["rule"])
        if rule is not None:
            yield rule, report.issues.first[rule.id], entry["issues"]


def _shown_labels(values: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(values.items(), key=lambda item: (-item[1], item[0]))


def _verdict(report: CheckReport) -> str:
    if report.errors:
        return f"broken: {report.errors} error(s), {report.warnings} warning(s)"
    if report.warnings:
        return f"clean: no error, {report.warnings} warning(s)"
    return "clean"


def _next_command(report: CheckReport, task: Path | None, config: Path | None) -> str:
    """The command that a person runs next: train a clean file, understand the most frequent error of a broken one."""
    errors = [entry for entry in report.by_rule() if entry["severity"] == "error"]
    if errors:
        return f"loren check --explain {max(errors, key=lambda entry: entry['issues'])['rule']}"
    if config is not None:
        return f"loren train {shlex.quote(str(config))}"
    file = "FILE" if report.file == "-" else report.file
    variables = {"DATA_PATH": file, **({"TASK": str(task)} if task else {})}
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), "loren train"])


def _explain(wanted: str) -> None:
    """Print one rule: why it is there, how to mend a breach, an example of both.

    Raises:
        click.UsageError: there is no such rule.
    """
    from difflib import get_close_matches

    from loren.data.rules import all_rules, find_rule

    rule = find_rule(wanted)
    if rule is None:
        words = {word.casefold(): word for each in all_rules().values() for word in (each.id, each.name)}
        near = get_close_matches(wanted.casefold(), words, n=1, cutoff=0.4)
        hint = f"; did you mean {words[near[0]]}?" if near else ""
        raise click.UsageError(f"expected a rule's id or name, such as D101{hint}")
    _say(f"{rule.id} {rule.name} ({rule.severity})", bold=True)
    _say(f"\n{click.wrap_text(rule.explanation, 96)}")
    _say(f"\nhow to mend it: {rule.hint}")
    _say(f"\nbreaks the rule:\n{_indented(rule.breaks)}")
    _say(f"\ndoes not:\n{_indented(rule.passes)}")
    _say("\nnext: loren check FILE")


def _indented(example: str) -> str:
    return "\n".join(f"  {line}" for line in example.strip("\n").split("\n"))


def _say(text: str, *, color: str | None = None, bold: bool = False) -> None:
    """One line on stdout; coloured only on a terminal, and never where NO_COLOR is set."""
    plain = bool(os.environ.get("NO_COLOR"))
    click.echo(click.style(text, fg=color, bold=bold or None), color=False if plain else None)
