"""`loren init DIR`: a starter project that runs at once; its files lie in `starter/`."""

from __future__ import annotations

import shlex
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from loren.cli.output import Format, finish, format_option
from loren.errors import ConfigError, Problem

_SHOWN = 5
"""Files of a folder that is not empty that the error names."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@format_option
def command(folder: Path, output_format: Format) -> None:
    """Make a starter project in FOLDER: run.toml, a task, sample data and a README that says what to edit first.

    Raises:
        ConfigError: FOLDER exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ["a file of that name"]
        raise ConfigError(
            f"{folder}: expected an empty or new folder, found {len(there)} thing(s) in it",
            problems=[Problem(str(folder), f"holds {name}") for name in there[:_SHOWN]],
            hint="give another folder",
        )
    from loren.runs.files import staged_folder

    with staged_folder(folder) as stage:
        written = _copy(resources.files("loren.cli").joinpath("starter"), stage)
    shown = "\n".join(f"  {name}" for name in written)
    here = shlex.quote(str(folder))
    finish(
        output_format,
        {"folder": str(folder), "files": list(written)},
        text=f"made {folder}\n{shown}",
        next_command=f"cd {here} && loren check data/train.jsonl --task task && loren train run.toml",
    )


def _copy(source: Traversable, target: Path) -> list[str]:
    """Copy package data, which need not lie on a disk; returns the relative names."""
    written: list[str] = []
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            (target / entry.name).mkdir()
            written += [f"{entry.name}/{name}" for name in _copy(entry, target / entry.name)]
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
            written.append(entry.name)
    return written
