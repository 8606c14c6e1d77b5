"""How commands speak: words to stderr, data to stdout, the next command last."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import click

from loren.runs.files import Json

Format: TypeAlias = Literal["text", "json"]


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The `--format` that every command takes; the command's parameter is ``output_format``."""
    return click.option(
        "--format", "output_format", type=click.Choice(["text", "json"]), default="text", help="json: data for machines on stdout."
    )(function)


def say(text: str) -> None:
    """One line for the person who waits."""
    click.echo(text, err=True)


def finish(output_format: Format, data: Json, *, text: str, next_command: str) -> None:
    """The result of a command.

    Args:
        output_format: "json" prints ``data`` to stdout, "text" prints ``text``.
        data: the result for machines; ``next`` is added.
        text: the result for people.
        next_command: what a user would run now; the last line.
    """
    if output_format == "json":
        value = {**data, "next": next_command} if isinstance(data, dict) else data
        click.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
        return
    if text:
        click.echo(text)
    click.echo(f"next: {next_command}")
