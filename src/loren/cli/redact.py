"""`loren redact FILE --out FILE`: a training file without its personal data and secrets."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from loren.cli.output import Format, finish, format_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the result goes; never an existing file.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Where a list of all replacements goes: places, never values.")
@click.option("--task", "task_folder", type=click.Path(path_type=Path), help="Refuse placeholders that this task's schema forbids.")
@click.option("--errors-only", is_flag=True, help="Leave what the contract only warns about.")
@format_option
def command(file: Path, out: Path, ledger: Path | None, task_folder: Path | None, errors_only: bool, output_format: Format) -> None:
    """Replace personal data and secrets by placeholders.

    FILE is JSONL of messages; `loren convert` makes such a file of any other format that is read.
    In each conversation a value has one placeholder, such as <PHONE_1>, wherever it stands, also inside of JSON targets; ids under
    `situation`, `customer` and `conversation` have one in the whole file. Rows that hold nothing stay as they are, byte by byte.
    What can't be redacted (a key of an object, a value that the task's schema forbids to change, a line that is no JSON) is listed,
    and then nothing is written: exit code 3. Read the result before you train on it: no rule finds every name.

    Raises:
        DataContractError: places that can't be redacted; nothing was written.
    """
    from loren.data.redaction.file import redact_file
    from loren.task.definition import load_task

    task = load_task(task_folder) if task_folder else None
    done = redact_file(file, out, ledger=ledger, task=task, errors_only=errors_only)
    total = sum(done.replaced.values())
    lines = [f"{out}: {done.rows} row(s), {total} replacement(s) in {done.changed_rows} of them, sha256 {done.out_sha256[:12]}"]
    lines += [f"  {rule}: {count}" for rule, count in sorted(done.replaced.items())]
    chosen = f" --task {shlex.quote(str(task_folder))}" if task_folder else ""
    finish(
        output_format,
        {
            "file": _shown(file),
            "sha256": done.sha256,
            "out": _shown(out),
            "out_sha256": done.out_sha256,
            "ledger": _shown(ledger) if ledger else None,
            "rows": done.rows,
            "changed_rows": done.changed_rows,
            "replaced": dict(sorted(done.replaced.items())),
        },
        text="\n".join(lines),
        next_command=f"loren check {shlex.quote(str(out))}{chosen}",
    )


def _shown(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()
