"""`loren init DIR`: a starter project that runs at once; its files lie in `starter/`."""

from __future__ import annotations

import os
import shlex
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from loren.cli.output import Format, finish, format_option
from loren.errors import ConfigError, Problem, StorageError

_LAST = "run.toml"
"""Put in place after everything else: where it is, the project is whole."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@format_option
def command(folder: Path, output_format: Format) -> None:
    """Make a starter project in FOLDER: run.toml, a task, sample data and a README that says what to edit first.

    FOLDER is made where it does not exist; one that holds anything is refused and left alone.

    Raises:
        ConfigError: FOLDER holds something, or is no folder.
        StorageError: FOLDER can't be written.
    """
    try:
        # A link is followed, and "." has a name: the folder is staged beside its final name.
        target = folder.resolve()
        _refuse(folder, target)
        written = _into_existing(target) if target.exists() else _new(target)
    except (OSError, RuntimeError) as error:  # RuntimeError: Python 3.11's word for links that lead in a circle
        cause = error.__cause__ if isinstance(error, StorageError) else error
        reason = cause.strerror if isinstance(cause, OSError) else None
        raise StorageError(
            f"{folder}: expected a folder that can be written, found {reason or type(error).__name__}",
            hint="give a folder in a place of yours",
        ) from error
    here = "" if target == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    finish(
        output_format,
        {"folder": str(folder), "files": list(written)},
        text="\n".join([f"made {folder}", *(f"  {name}" for name in written)]),
        next_command=f"{here}loren check data/train.jsonl --task task && loren train run.toml",
    )


def _refuse(folder: Path, target: Path) -> None:
    """Accept only an empty folder, or a name in a place where one can be made.

    Raises:
        ConfigError: FOLDER holds something; it or a parent is no folder.
    """
    for place in (target, *target.parents):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{folder}: expected a folder, found a file at {place}", hint="give another folder")
    there = sorted(path.name for path in target.iterdir()) if target.exists() else []
    if there:
        raise ConfigError(
            f"{folder}: expected an empty or new folder, found {len(there)} thing(s) in it",
            # repr: a name may hold anything, a terminal's control codes too.
            problems=[Problem(str(folder), f"holds {name!r}") for name in there],
            hint="give another folder",
        )


def _new(target: Path) -> list[str]:
    from loren.runs.files import staged_folder

    with staged_folder(target) as stage:
        return _copy(resources.files("loren.cli").joinpath("starter"), stage)


def _into_existing(target: Path) -> list[str]:
    """Fill a folder that must stay the same one: a shell may stand in it, or a disk be mounted on it."""
    whole = target / "starter.tmp"
    written = _new(whole)
    for name in sorted(os.listdir(whole), key=lambda name: (name == _LAST, name)):
        os.replace(whole / name, target / name)
    whole.rmdir()
    return written


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
