"""`loren report RUN|SWEEP`: what was measured, as one page, Markdown, JSON and JUnit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loren.cli.explain import system_language
from loren.cli.output import Format, finish, format_option

if TYPE_CHECKING:
    from loren.data.rules import Language
    from loren.report.write import Written


@click.command()
@click.argument("run", metavar="[RUN|SWEEP]", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files; by default RUN itself.")
@click.option(
    "--lang", "language", type=click.Choice(["en", "vi"]), help="Language of page and Markdown; by default the terminal's."
)
@click.option("--show-text", is_flag=True, help="With the replies and the words of failing rows: what customers may have written.")
@click.option("--print-schema", is_flag=True, help="Print the JSON Schema of report.json, and stop.")
@format_option
def command(
    run: Path | None, out: Path | None, language: Language | None, show_text: bool, print_schema: bool, output_format: Format
) -> None:
    """Write the report of a run or of a sweep, from its files alone.

    report.html is one page that needs no network and no script, report.md is for a pull request, report.json for programs and
    report.junit.xml for build servers. What was not measured is named. No model and no data file is read, and nothing that
    customers or models wrote is shown, but with --show-text.

    Raises:
        click.UsageError: no run was given.
    """
    if print_schema:
        from loren.report.schema import schema_text

        click.echo(schema_text(), nl=False)
        return
    if run is None:
        raise click.UsageError("expected a RUN or SWEEP to report on, or --print-schema")
    from loren.report.write import write_report

    written = write_report(run, out=out, language=language or system_language(), show_text=show_text)
    finish(output_format, written.data, text=_text(written), next_command=_next(written, run))


def _text(written: Written) -> str:
    from loren.report.page import Report

    report = written.report
    lines = [f"written  {path}" for path in written.files]
    if isinstance(report, Report):
        verdict = report.verdict
        word = {"preview": "none, only a preview was asked", "none": "none, not evaluated"}.get(verdict.source, "none was written")
        lines.insert(0, f"verdict  {word if verdict.word is None else verdict.word}")
        lines.append(f"not measured  {', '.join(report.not_measured)}")
    elif report.recommendation:
        lines.insert(0, f"recommendation  {report.recommendation.words}")
    return "\n".join(lines)


def _next(written: Written, run: Path) -> str:
    from loren.report.page import Report

    report = written.report
    if not isinstance(report, Report):
        advice = report.recommendation
        return f"loren report {run / advice.run}" if advice and advice.run else f"loren report {run} --format json"
    if report.evaluation is None or report.verdict.source != "evaluation":
        return f"loren evaluate {run}"
    return f"loren report {run} --show-text" if not report.shows_text else f"loren sanity {run}"
