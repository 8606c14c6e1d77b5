"""cli.md: the help of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click

from reference_pages.markdown import NOTICE, fenced

HELP_WIDTH = 100
"""Columns of the help texts, whatever the terminal."""

_CLI_HEAD = """\
# Command line

Results go to stdout, words for the person who waits go to stderr. Every command takes `--format json` and ends with the next
command to run. Colours and bars appear on a terminal only; `NO_COLOR` switches colours off. The exit codes have
[a page of their own](exit-codes.md). Completion in bash: `eval "$(_LOREN_COMPLETE=bash_source loren)"`; other shells have
`zsh_source` and `fish_source`.
"""


def cli_page() -> str:
    """The help of `loren` and of every verb, as click prints it at a fixed width."""
    from loren.cli.main import VERBS, group

    root = click.Context(group, info_name="loren", terminal_width=HELP_WIDTH, color=False, **group.context_settings)
    parts = [
        NOTICE,
        _CLI_HEAD,
        "## loren\n",
        fenced(group.get_help(root)),
    ]
    for verb in VERBS:
        command = group.get_command(root, verb)
        assert command is not None, verb
        parts += _command_entries(command, verb, root, level=2)
    return "\n".join(parts)


def _command_entries(command: click.Command, name: str, parent: click.Context, *, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=HELP_WIDTH, color=False)
    yield f"{'#' * level} {context.command_path}\n"
    yield fenced(command.get_help(context))
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _command_entries(found, child, context, level=level + 1)
