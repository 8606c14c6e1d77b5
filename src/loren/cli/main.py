"""The `loren` command: finds a verb without importing the others, and turns every outcome into words and an exit code."""

from __future__ import annotations

import importlib
import inspect
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import cast

import click
from click.shell_completion import CompletionItem

from loren import __version__
from loren.errors import EXIT_BUG, EXIT_INTERRUPTED, LorenError

VERBS: dict[str, str] = {
    "init": "make a starter project that runs at once",
    "check": "check a training file against the data contract",
    "convert": "turn a file of another format into JSONL of messages",
    "redact": "replace personal data and secrets by placeholders",
    "diff": "what changed between two versions of a training file",
    "train": "check, split, train and save an adapter",
    "adopt": "make a run folder around an adapter from elsewhere",
    "generate": "answer prompts with a run's adapter or any model",
    "sanity": "ask a run's adapter the task's unseen prompts",
    "evaluate": "is the adapter better than the base, and than a good prompt?",
    "triage": "sort the failures by what would mend them",
    "report": "write what was measured as one page, Markdown, JSON and JUnit",
    "sweep": "train variants of a configuration and say which to take",
    "merge": "the adapter and its base as one model, proven",
    "judge": "another model's opinion of stored predictions, beside the labels",
    "run": "all of it in order, stopping at the first gate that says no",
    "models": "list, fetch and describe base models",
    "doctor": "show this machine and what would be used",
}
"""Verb -> what it does in a phrase; the module is `loren.cli.VERB`."""


class _LazyGroup(click.Group):
    """Imports a verb's module when it is called, not when help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of a project's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb's command."""
        if cmd_name not in VERBS:
            return None
        return _for_people(cast("click.Command", importlib.import_module(f"loren.cli.{cmd_name}").command))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete verbs from the table, without importing them."""
        return [CompletionItem(verb, help=phrase) for verb, phrase in VERBS.items() if verb.startswith(incomplete)]


def _for_people(command: click.Command) -> click.Command:
    """Leave the developers' part of a docstring out of a command's help, and of its subcommands'."""
    command.help = inspect.cleandoc(command.help or "").partition("\n\nRaises:")[0]
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _for_people(inner)
    return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loren")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def group(debug: bool) -> None:
    """Turn a JSONL file of conversations into a LoRA adapter, with evidence for every step."""


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    """Let SIGTERM unwind the stack as SIGINT does: staged files are removed, the exit code is the documented one.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Run one command.

    Returns:
        The exit code: 0 ok, 1 a gate said no, 2 usage or configuration, 3 data contract, 4 a prerequisite is missing, 5 an
        artifact does not match its digests, 6 training stopped itself or the disk failed, 70 a bug, 130 interrupted.
    """
    debug = "--debug" in arguments
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        result: object = group.main(args=arguments, prog_name="loren", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        click.echo(f"error: {error.format_message()}", err=True)
        click.echo(f"hint: {context.command_path if context else 'loren'} --help shows what it takes", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except LorenError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        # Only the kind: the message of a foreign exception may quote a customer's text.
        click.echo(f"error: a bug in Loren ({type(error).__name__})", err=True)
        click.echo("hint: run the command again as `loren --debug ...` and report the traceback", err=True)
        return EXIT_BUG
