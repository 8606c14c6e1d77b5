"""The four files of a report."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from loren.data.rules import Language
from loren.report.collect import collect
from loren.report.html import run_page, sweep_page
from loren.report.junit import run_junit, sweep_junit
from loren.report.markdown import run_markdown, sweep_markdown
from loren.report.page import Report
from loren.report.read import read_run
from loren.report.sweep import SweepReport, collect_sweep, is_sweep
from loren.runs.files import Json, encode_json, write_text
from loren.runs.folder import RunFolder

HTML, MARKDOWN, JSON, JUNIT = "report.html", "report.md", "report.json", "report.junit.xml"


class Written(NamedTuple):
    """What was written where."""

    report: Report | SweepReport
    data: dict[str, Json]
    """The content of report.json."""
    files: list[Path]


def write_report(folder: Path, *, out: Path | None, language: Language, show_text: bool) -> Written:
    """Write the report of a run or of a sweep.

    Args:
        folder: the run folder or the sweep's, as its user writes it.
        out: where the files go; None for the folder itself.
        language: of the page and of the Markdown.
        show_text: with what customers and models wrote.

    Raises:
        RunFolderError: the folder is neither.
        IntegrityError: a file in it is not of its form.
        StorageError: the disk refused.
    """
    report: Report | SweepReport
    if is_sweep(folder):
        report = collect_sweep(folder)
        page, markdown, junit = sweep_page(report, language), sweep_markdown(report, language), sweep_junit(report)
    else:
        report = collect(read_run(RunFolder(folder), show_text=show_text), run=str(folder), show_text=show_text)
        page, markdown, junit = run_page(report, language), run_markdown(report, language), run_junit(report)
    data = report.to_json()
    texts = {HTML: page, MARKDOWN: markdown, JSON: encode_json(data), JUNIT: junit}
    target = out or folder
    for name, text in texts.items():
        write_text(target / name, text)
    return Written(report, data, [target / name for name in texts])
