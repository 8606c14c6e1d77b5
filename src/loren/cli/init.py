"""`loren init DIR`: a starter project that runs at once (its files lie in `starter/`), or another trainer's configuration."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from loren.cli.output import Format, finish, format_option
from loren.errors import ConfigError, Problem, StorageError
from loren.runs.files import Json

_LAST = "run.toml"
"""Put in place after everything else: where it is, the project is whole."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--from-axolotl", "axolotl", type=click.Path(path_type=Path), metavar="FILE", help="Translate Axolotl's YAML into run.toml."
)
@click.option(
    "--from-llamafactory", "llamafactory", type=click.Path(path_type=Path), metavar="FILE", help="Translate LLaMA-Factory's YAML."
)
@format_option
def command(folder: Path, axolotl: Path | None, llamafactory: Path | None, output_format: Format) -> None:
    """Make a starter project in FOLDER: run.toml, a task, sample data and a README that says what to edit first.

    FOLDER is made where it does not exist; one that holds anything is refused and left alone.

    With --from-axolotl or --from-llamafactory, FOLDER gets a run.toml alone. Every key of the YAML is accounted for: translated,
    without a counterpart and why, or a default that differs. Paths in it are read from the working directory, as those trainers do.

    Raises:
        click.UsageError: both --from options are given.
    """
    if axolotl is not None and llamafactory is not None:
        raise click.UsageError("give --from-axolotl FILE or --from-llamafactory FILE, not both")
    if axolotl is not None or llamafactory is not None:
        _translate(folder, axolotl, llamafactory, output_format)
        return
    written, here = _make(folder, _starter)
    finish(
        output_format,
        {"folder": str(folder), "files": list(written)},
        text="\n".join([f"made {folder}", *(f"  {name}" for name in written)]),
        next_command=f"{here}loren check data/train.jsonl --task task && loren train run.toml",
    )


def _translate(folder: Path, axolotl: Path | None, llamafactory: Path | None, output_format: Format) -> None:
    from loren.config import load_config
    from loren.config.foreign import run_toml, translate

    source = axolotl or llamafactory or Path()
    result = translate(source, "axolotl" if axolotl else "llamafactory", folder.resolve())

    def fill(stage: Path) -> list[str]:
        (stage / _LAST).write_text(run_toml(result, source.name), encoding="utf-8")
        load_config(stage / _LAST, environment={})
        return [_LAST]

    _, here = _make(folder, fill)
    account = {
        "translated": result.translated,
        "without a counterpart": result.without,
        "default that differs": result.defaults,
        "without a value": result.unset,
    }
    data: dict[str, Json] = {
        name.replace(" ", "_"): [{"key": entry.key, "note": entry.note} for entry in entries] for name, entries in account.items()
    }
    lines = [f"made {folder / _LAST} from {result.name}'s {source.name}"]
    for name, entries in account.items():
        lines += [f"{len(entries)} {name}", *(f"  {entry.key:<34}{entry.note}" for entry in entries)] if entries else []
    check = shlex.quote(str(result.values["data.path"])) if "data.path" in result.values else "data/train.jsonl"
    finish(
        output_format,
        {"folder": str(folder), "files": [_LAST], **data},
        text="\n".join(lines),
        next_command=f"{here}loren check {check} && loren train {_LAST}",
    )


def _make(folder: Path, fill: Callable[[Path], list[str]]) -> tuple[list[str], str]:
    """Make FOLDER with what ``fill`` writes into a stage of it.

    Returns:
        The relative names, and the beginning of a shell command that goes there.

    Raises:
        ConfigError: FOLDER holds something, or is no folder.
        StorageError: FOLDER can't be written.
    """
    try:
        # A link is followed, and "." has a name: the folder is staged beside its final name.
        target = folder.resolve()
        _refuse(folder, target)
        written = _into_existing(target, fill) if target.exists() else _new(target, fill)
    except (OSError, RuntimeError) as error:  # RuntimeError: Python 3.11's word for links that lead in a circle
        cause = error.__cause__ if isinstance(error, StorageError) else error
        reason = cause.strerror if isinstance(cause, OSError) else None
        raise StorageError(
            f"{folder}: expected a folder that can be written, found {reason or type(error).__name__}",
            hint="give a folder in a place of yours",
        ) from error
    return written, "" if target == Path.cwd() else f"cd {shlex.quote(str(folder))} && "


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


def _starter(stage: Path) -> list[str]:
    return _copy(resources.files("loren.cli").joinpath("starter"), stage)


def _new(target: Path, fill: Callable[[Path], list[str]]) -> list[str]:
    from loren.runs.files import staged_folder

    with staged_folder(target) as stage:
        return fill(stage)


def _into_existing(target: Path, fill: Callable[[Path], list[str]]) -> list[str]:
    """Fill a folder that must stay the same one: a shell may stand in it, or a disk be mounted on it."""
    whole = target / "starter.tmp"
    written = _new(whole, fill)
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
