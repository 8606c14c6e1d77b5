"""A file -> its report: one pass, constant memory, every issue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from loren.data.approvals import Approvals, ApprovalUse
from loren.data.contract import Contract, Verdict
from loren.data.formats.source import STDIN, open_source
from loren.data.judge import judge
from loren.data.label_count import LabelCount
from loren.data.quality.surveys import quality_surveys
from loren.data.report import CheckReport
from loren.data.rows import Row
from loren.data.rules import Scope, all_rules, issue
from loren.data.similar.duplicates import COPIES_LIMIT, Duplicates, Reread
from loren.data.survey import RowCount, Survey
from loren.data.text_checks import TextCheck
from loren.errors import ConfigError, LorenError

if TYPE_CHECKING:
    from loren.data.similar.golden import GoldenIndex
    from loren.task.definition import Task

MIN_ROWS = 10
"""Below this number hosted services refuse a file, and neither a split nor a loss means anything."""


class CheckOptions(TypedDict, total=False):
    """What a check may be told beside the file and the task."""

    minimum_rows: int
    """Fewer are an error; 0 turns the rules for the file as a whole off, those for labels too. ``MIN_ROWS`` unless told."""
    format_in: str | None
    """The format of the rows, where it is not to be detected."""
    on_row: Callable[[Row], None]
    """Called with every row that breaks no error-level rule, in order."""
    approvals: Approvals | None
    """Issues that someone answers for; they are counted apart."""
    golden: GoldenIndex | None
    """Rows that the file may share nothing with."""
    copies_limit: int | None
    """Different questions up to which copies in other words are looked for; ``COPIES_LIMIT`` unless told."""
    more_checks: Sequence[TextCheck]
    """Looks at texts besides the rules' own."""
    release: bool
    """The dataset's card beside the file is judged too."""
    processes: int
    """How many judge the lines, 1 unless told; the report does not depend on it."""
    on_read: Callable[[int], None]
    """Told the number of bytes read so far, about once a megabyte."""


def check_file(path: Path, task: Task | None = None, **options: Unpack[CheckOptions]) -> CheckReport:
    """Check a file of conversations against the data contract.

    Args:
        path: the file, of any format that ``loren.data.formats`` reads; ``-`` is the standard input.
        task: with a task, targets and label values are judged too.
        options: see :class:`CheckOptions`.

    Returns:
        The report, which holds every issue.

    Raises:
        ConfigError: there is no such file, or it can't be read; or the task raises a rule that does not exist.
        PrerequisiteError: one of several processes died.
        StorageError: the temporary disk refused.
    """
    # A file name may hold bytes that are no UTF-8; the report must not.
    report = CheckReport(file=str(path).encode("utf-8", "backslashreplace").decode())
    minimum_rows, approvals = options.get("minimum_rows", MIN_ROWS), options.get("approvals")
    contract = Contract(task, approvals, options.get("golden"), options.get("more_checks", ()))
    labels = LabelCount(task)
    limit = options.get("copies_limit")
    duplicates = Duplicates(_reread(path, options.get("format_in")), limit=COPIES_LIMIT if limit is None else limit)
    counts: tuple[Survey, ...] = (RowCount(minimum_rows), labels, ApprovalUse(approvals))
    surveys = (*counts, duplicates, *quality_surveys(task))
    report.approvals_sha256 = approvals.sha256 if approvals else ""
    report.raised = tuple(sorted(all_rules()[name].id for name in contract.raised))
    report.scopes = _scopes(task, options)
    is_whole = _judge_lines(report, path, contract, surveys, options)
    report.labels = labels.to_json()
    if minimum_rows > 0:
        for survey in surveys:
            if survey in counts and not is_whole:
                continue  # what it misses may stand in the part that could not be read
            for line_number, breach in survey.breaches():
                report.issues.append(issue(breach, line_number, contract.raised))
        report.duplicates = duplicates.to_json()
    if options.get("release"):
        _judge_card(report, path, contract.raised)
    return report


def _judge_lines(report: CheckReport, path: Path, contract: Contract, surveys: Sequence[Survey], options: CheckOptions) -> bool:
    """Judge every line; returns whether the file could be read to its end.

    Raises:
        ConfigError: there is no such file, or it can't be read.
        LorenError: as it is raised inside.
    """
    on_row = options.get("on_row")
    try:
        with open_source(path, options.get("format_in"), on_read=options.get("on_read")) as source:
            report.read_as = source.format
            contract.translate = source.translate
            for line, verdict in judge(source.lines, contract, with_rows=on_row is not None, processes=options.get("processes", 1)):
                _add(report, verdict, line, contract.raised)
                for survey in surveys:
                    survey.add(line, verdict)
                if on_row is not None and verdict.row is not None:
                    on_row(verdict.row)
            report.sha256, report.blank_lines = source.sha256, source.blank_lines
            if source.end is not None:
                number, breach = source.end
                report.issues.append(issue(breach, number, contract.raised))
            return source.end is None
    except LorenError:
        raise  # some are OSErrors too, and say more
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a file of rows, found {error.strerror or 'an unreadable one'}",
            hint="give the path of a file of rows; docs/concepts/data-formats.md lists what is read",
        ) from error


def _scopes(task: Task | None, options: CheckOptions) -> tuple[Scope, ...]:
    """What is judged here; tokens are measured by who has a tokenizer."""
    file_rules = options.get("minimum_rows", MIN_ROWS) > 0
    wanted: dict[Scope, bool] = {
        "line": True,
        "target": task is not None,
        "file": file_rules,
        "labels": task is not None and file_rules,
        "golden": options.get("golden") is not None,
        "approvals": options.get("approvals") is not None and file_rules,
        "release": options.get("release", False),
    }
    return tuple(scope for scope, judged in wanted.items() if judged)


def _judge_card(report: CheckReport, path: Path, raised: frozenset[str]) -> None:
    from loren.data.dataset_card import read_card, release_breaches

    reading = read_card(path.parent)
    for breach in release_breaches(reading, path, report.sha256):
        report.issues.append(issue(breach, 0, raised))
    report.dataset = reading.card.model_dump(mode="json") if reading.card else None


def _reread(path: Path, format_in: str | None) -> Reread | None:
    """Reads the file once more; None for a pipe, which can be read once."""
    if path == STDIN or not path.is_file():
        return None

    def rows() -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
        with open_source(path, format_in) as source:
            for line in source.lines:
                yield line.number, partial(source.row, line)

    return rows


def _add(report: CheckReport, verdict: Verdict, line: int, raised: frozenset[str]) -> None:
    report.rows += 1
    report.object_targets += verdict.object_target
    if verdict.breaches:
        for breach in verdict.breaches:
            report.issues.append(issue(breach, line, raised, row=verdict.row_id))
    for breach in verdict.approved:
        report.approved.append(issue(breach, line, raised, row=verdict.row_id))
