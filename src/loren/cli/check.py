"""`loren check FILE`: the data contract, for people (text) and for machines (JSON, SARIF, JUnit)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

if TYPE_CHECKING:
    from loren.data.approvals import Approvals
    from loren.data.check import CheckOptions
    from loren.data.report import CheckReport
    from loren.data.rules import Language
    from loren.data.similar.golden import GoldenIndex
    from loren.data.text_checks import TextCheck
    from loren.task.definition import Task

EXIT_BROKEN = 3
"""Exit code of a file that breaks the contract."""
ReportFormat: TypeAlias = Literal["text", "json", "sarif", "junit"]


@click.command()
@click.argument("files", metavar="[FILE]...", type=click.Path(path_type=Path, allow_dash=True), nargs=-1)
@click.option("--task", "task_folder", type=click.Path(path_type=Path), help="Judge targets and label counts by this task too.")
@click.option(
    "--approvals", "approvals_file", type=click.Path(path_type=Path), help="Issues that someone answers for, one by one (TOML)."
)
@click.option(
    "--tokens", "config", type=click.Path(path_type=Path), metavar="CONFIG", help="Measure rows in tokens, as CONFIG trains."
)
@click.option("--show-row", type=click.IntRange(1), metavar="LINE", help="With --tokens: print this row with its labels marked.")
@click.option("--format-in", metavar="NAME", help="The rows' format, where it is not to be detected (see below).")
@click.option(
    "--release", is_flag=True, help="Judge the DATASET.toml beside FILE too: who answers for the rows, who reviewed them."
)
@click.option(
    "--croissant",
    "croissant_file",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Describe a clean dataset, JSONL of messages, in OUT as Croissant JSON-LD; implies --release.",
)
@click.option(
    "--against",
    "golden_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="GOLDEN",
    help="No row may be a copy of a row of this file, or share a situation, customer or conversation with it; repeatable.",
)
@click.option(
    "--copies-limit",
    type=click.IntRange(0),
    metavar="QUESTIONS",
    help="Look for copies in other words among up to so many different questions; 200000 unless told otherwise.",
)
@click.option("--explain", metavar="RULE", help="Explain a rule, by id or name, and stop.")
@click.option(
    "--recognizer", "recognizers", multiple=True, metavar="NAME", help="Also report what `presidio` or `gliner:FOLDER` finds; slow."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="How many judge the lines: 1 for a small file, else one a core; the report is the same.",
)
@click.option(
    "--lang", "language", type=click.Choice(["en", "vi"]), help="With --explain: its language; by default the terminal's."
)
@click.option("--print-schema", is_flag=True, help="Print the JSON Schema of the JSON report, and stop.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "sarif", "junit"]),
    default="text",
    help="text for people; for machines on stdout: json, sarif (code scanning), junit (build servers).",
)
def command(
    files: tuple[Path, ...],
    task_folder: Path | None,
    approvals_file: Path | None,
    config: Path | None,
    show_row: int | None,
    format_in: str | None,
    release: bool,
    croissant_file: Path | None,
    golden_files: tuple[Path, ...],
    copies_limit: int | None,
    explain: str | None,
    recognizers: tuple[str, ...],
    processes: int | None,
    language: Language | None,
    print_schema: bool,
    output_format: ReportFormat,
) -> None:
    """Check training files against the data contract.

    FILE holds one JSON object a line, with its conversation under `messages`; - is the standard input. ShareGPT, Alpaca, OpenAI
    fine-tuning and prompt/completion rows are judged by the same rules, also in a JSON list, CSV, Parquet, gzip or zstd. What a
    file is, is detected; --format-in says it: messages, openai, sharegpt, alpaca, prompt-completion, or
    prompt-completion:QUESTION,REPLY with the names of two fields. Exit code 0: clean (there may be warnings);
    3: broken. No text of the file is ever printed, but by --show-row.

    Raises:
        click.UsageError: neither a file nor a rule was given, or the options don't fit together.
        click.exceptions.Exit: the file is broken; the report has been printed.
    """
    if _answered(explain, language, print_schema, output_format):
        return
    if not files:
        raise click.UsageError("expected a FILE to check, or --explain RULE")
    if len(files) > 1:
        _check_each(files, output_format, croissant_file)
        return
    file = _given(files, show_row, config, croissant_file)
    task = _load_task(task_folder)
    from loren.data.judge import usual_processes

    approvals = _load_approvals(approvals_file)
    options: CheckOptions = {
        "format_in": format_in,
        "approvals": approvals,
        "golden": _load_golden(golden_files, file),
        "copies_limit": copies_limit,
        "release": release or croissant_file is not None,
        "more_checks": _recognizer_checks(recognizers),
        # A recogniser's model is held once.
        "processes": 1 if recognizers else processes or usual_processes(file),
    }
    report = _check(file, task, options)
    if config is not None and not report.errors:
        _add_tokens(report, (file, task, config), options, show_row)
    if croissant_file is not None:
        _write_croissant(report, file, croissant_file)
    _print(report, output_format, _next_command(report, task_folder, config, approvals_file, format_in))
    if report.errors:
        raise click.exceptions.Exit(EXIT_BROKEN)


def _answered(explain: str | None, language: Language | None, print_schema: bool, output_format: ReportFormat) -> bool:
    """Print what needs no file, and say whether that was asked for."""
    if explain is not None:
        from loren.cli.explain import explain as print_rule

        print_rule(explain, language, as_json=output_format == "json")
        return True
    if print_schema:
        from loren.data.outputs.schema import schema_text

        click.echo(schema_text(), nl=False)
    return print_schema


def _given(files: tuple[Path, ...], show_row: int | None, config: Path | None, croissant_file: Path | None) -> Path:
    """The one file, where the options fit together.

    Raises:
        click.UsageError: they don't.
    """
    file = next(iter(files))
    if show_row is not None and config is None:
        raise click.UsageError("--show-row needs --tokens CONFIG, which says how rows are rendered")
    if config is not None and str(file) == "-":
        raise click.UsageError("--tokens needs a FILE, which is read again; found the standard input")
    if croissant_file is not None and (str(file) == "-" or (file.exists() and not file.is_file())):
        raise click.UsageError("--croissant needs a FILE, whose name and size it states; found the standard input or a pipe")
    return file


def _add_tokens(report: CheckReport, measured: tuple[Path, Task | None, Path], options: CheckOptions, show_row: int | None) -> None:
    """Measure the rows as a configuration trains them; show one where that was asked for."""
    from loren.cli.tokens import RowTokens

    rows = RowTokens(*measured, approvals=options.get("approvals"), format_in=options.get("format_in"))
    report.tokens = rows.statistics()
    report.scopes = (*report.scopes, "tokens")
    for found in rows.issues():
        report.issues.append(found)
    if show_row is not None:
        click.echo(rows.show(show_row), err=click.get_current_context().params["output_format"] != "text")


def _check_each(files: tuple[Path, ...], output_format: ReportFormat, croissant_file: Path | None) -> None:
    """Check several files with the options of this command, one after the other.

    Raises:
        click.UsageError: an option is about one file.
        click.exceptions.Exit: one of them is broken.
    """
    if output_format != "text" or croissant_file is not None:
        raise click.UsageError("--format json, sarif or junit and --croissant take one FILE: a report is about one")
    context = click.get_current_context()
    broken = False
    for number, file in enumerate(files):
        if number:
            click.echo()
        try:
            context.invoke(command, **{**context.params, "files": (file,)})
        except click.exceptions.Exit:
            broken = True
    if broken:
        raise click.exceptions.Exit(EXIT_BROKEN)


def _check(file: Path, task: Task | None, options: CheckOptions) -> CheckReport:
    from loren.cli.progress import ByteProgress
    from loren.data.check import check_file

    with ByteProgress("checking", total=file.stat().st_size if file.is_file() else None) as progress:
        return check_file(file, task, **{**options, "on_read": progress.update})


def _recognizer_checks(names: tuple[str, ...]) -> list[TextCheck]:
    if not names:
        return []
    from loren.data.personal.recognizers import make_recognizer
    from loren.data.text_checks import recognizer_check

    return [recognizer_check(make_recognizer(name)) for name in names]


def _load_task(folder: Path | None) -> Task | None:
    if folder is None:
        return None
    from loren.task.definition import load_task

    return load_task(folder)


def _load_golden(files: tuple[Path, ...], file: Path) -> GoldenIndex | None:
    """The index of the golden files; None without any.

    Raises:
        click.UsageError: one of them is the file that is checked.
    """
    if not files:
        return None
    if any(golden.exists() and file.exists() and golden.samefile(file) for golden in files):
        raise click.UsageError("--against: expected another file than the one that is checked: every row would be a leak")
    from loren.data.load import read_golden

    return read_golden(files)


def _load_approvals(file: Path | None) -> Approvals | None:
    if file is None:
        return None
    from loren.data.approvals import load_approvals

    return load_approvals(file)


def _print(report: CheckReport, output_format: ReportFormat, following: str) -> None:
    """The report on stdout; with a format for machines, verdict and next command on stderr."""
    from loren.cli.check_text import print_report, verdict

    if output_format == "text":
        print_report(report, following)
        return
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(encoding="utf-8")  # JSON and XML are UTF-8 here, whatever the terminal is
    if output_format == "json":
        report.write_json(sys.stdout)
    elif output_format == "sarif":
        from loren.data.outputs.sarif import write_sarif

        write_sarif(report, sys.stdout)
    else:
        from loren.data.outputs.junit import write_junit

        write_junit(report, sys.stdout)
    click.echo(f"{verdict(report)}\nnext: {following}", err=True)


def _write_croissant(report: CheckReport, file: Path, out: Path) -> None:
    from loren.data.dataset_card import read_card
    from loren.data.outputs.croissant import croissant, refuse_for_croissant
    from loren.runs.files import write_json

    refuse_for_croissant(report, file)
    card = read_card(file.parent).card
    if card is not None and not report.errors:
        write_json(out, croissant(card, report, file, out.parent))
        click.echo(f"wrote {out}", err=True)


def _next_command(
    report: CheckReport, task: Path | None, config: Path | None, approvals: Path | None, format_in: str | None
) -> str:
    """The command that a person runs next: train a clean file, understand the most frequent error of a broken one."""
    errors = [entry for entry in report.by_rule() if entry["severity"] == "error"]
    if errors:
        return f"loren check --explain {max(errors, key=lambda entry: entry['issues'])['rule']}"
    if config is not None:
        return f"loren train {shlex.quote(str(config))}"
    variables = {"DATA_PATH": "FILE" if report.file == "-" else report.file, **({"TASK": str(task)} if task else {})}
    chosen = [f"--set data.approvals={shlex.quote(str(approvals))}"] if approvals else []
    chosen += [f"--set data.format={shlex.quote(format_in)}"] if format_in else []
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), "loren train", *chosen])
