"""`loren diff OLD NEW`: what changed between two versions of a training file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loren.cli.output import Format, finish, format_option

if TYPE_CHECKING:
    from loren.data.diff import Diff

EXIT_LEAK = 3
"""Exit code of a new file that holds golden rows."""
_SHOWN = 10


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--task", "task_folder", type=click.Path(path_type=Path), help="Compare labels too, as this task has them.")
@click.option(
    "--golden",
    "golden_files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Say what NEW shares with this file of golden rows; repeatable.",
)
@format_option
def command(old: Path, new: Path, task_folder: Path | None, golden_files: tuple[Path, ...], output_format: Format) -> None:
    """Compare two versions of a training file: rows added, removed and changed, labels moved, golden rows that leaked.

    Rows are matched by content, id, question (also a near copy) and situation, wherever they stand in the file. No text of
    a file is printed. Exit code 0; 3: NEW shares something with a golden file.

    Raises:
        click.exceptions.Exit: there is a leak; the result has been printed.
    """
    from loren.data.diff import diff_files

    task = golden = None
    if task_folder is not None:
        from loren.task.definition import load_task

        task = load_task(task_folder)
    if golden_files:
        from loren.data.load import read_golden

        golden = read_golden(golden_files)
    diff = diff_files(old, new, task, golden)
    following = ["loren check", shlex.quote(str(new))]
    if task_folder is not None:
        following += ["--task", shlex.quote(str(task_folder))]
    for file in golden_files:
        following += ["--against", shlex.quote(str(file))]
    finish(output_format, diff.to_json(), text="\n".join(_lines(diff)), next_command=" ".join(following))
    if len(diff.leaks):
        raise click.exceptions.Exit(EXIT_LEAK)


def _lines(diff: Diff) -> Iterator[str]:
    """The result for people; long lists are cut, and say so."""
    for name, version in (("old", diff.old), ("new", diff.new)):
        yield f"{name} {version.file}: {version.rows} row(s), sha256 {version.sha256[:12]}"
        if version.unreadable:
            yield f"  {version.unreadable} row(s) are no conversation with a target: compared as a whole"
    if diff.not_compared:
        yield f"  copies in other words were not looked for: {diff.not_compared}"
    counts = (diff.unchanged, len(diff.changed), len(diff.added), len(diff.removed))
    yield "unchanged {}, changed {}, added {}, removed {}".format(*counts)
    rows = [
        f"line {change.old_line} -> {change.new_line} (same {_BY[change.by]}): {', '.join(change.parts)}" for change in diff.changed
    ]
    yield from _list("changed", rows)
    moved = sorted(diff.moved.items(), key=lambda item: (-item[1], item[0]))
    yield from _list("labels moved", [f"{before} -> {after}: {count} row(s)" for (before, after), count in moved])
    yield from _list("added", [f"line {line} of the new file" for line in diff.added])
    yield from _list("removed", [f"line {line} of the old file" for line in diff.removed])
    leaks = [f"line {leak.line}: {leak.message}  [{leak.rule}]" for leak in diff.leaks]
    yield from _list("leaks", leaks)


_BY = {"id": "id", "question": "question", "copy": "question in other words", "situation": "situation"}


def _list(title: str, rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield f"{title}: {len(rows)}"
        yield from (f"  {row}" for row in rows[:_SHOWN])
        if len(rows) > _SHOWN:
            yield f"  ... and {len(rows) - _SHOWN} more; --format json lists all"
