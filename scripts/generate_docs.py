"""Write the pages of docs/reference from the code; with --check, fail when one of them is stale.

A page is a pure function of the code: no time, no machine, no terminal width goes into it.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

import click
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from loren import errors
from loren.config.environment import ENVIRONMENT_KEYS
from loren.config.lora import PRESETS
from loren.config.run import RunConfig
from loren.config.section import Section
from loren.data.rules import Rule, all_rules
from loren.errors import LorenError

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
HELP_WIDTH = 100
"""Columns of the help texts, whatever the terminal."""
NOTICE = "<!-- Written by `make docs` from the code: edit the code, not this page. -->\n"


# ------------------------------------------------------------------------------------------------------------ config.md


_CONFIG_HEAD = """\
# Configuration

One TOML file holds everything that a run depends on. Paths in it are relative to the file. Values are taken in this order, the
later one wins: default, file, environment, `--set KEY=VALUE`. All mistakes are reported at once, each with its key, what was
expected and what was given; an unknown key is a mistake. `config.json` of the run folder records every value with where it came
from.
"""


def config_page() -> str:
    """Every key of a configuration, section by section, and a file with all defaults."""
    parts = [
        NOTICE,
        _CONFIG_HEAD,
        "## Top level\n",
    ]
    sections = _sections()
    parts += [_key_entry(name, field) for name, field in RunConfig.model_fields.items() if name not in sections]
    for name, section in sections.items():
        parts.append(f"## [{name}]\n")
        parts.append(_section_sentence(section))
        parts += [_key_entry(f"{name}.{field_name}", field) for field_name, field in section.model_fields.items()]
        if name == "lora":
            parts.append(_preset_table())
    parts += [_environment_table(), _all_defaults()]
    return "\n".join(parts)


def _sections() -> dict[str, type[Section]]:
    return {
        name: field.annotation
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _section_sentence(section: type[Section]) -> str:
    text = inspect.getdoc(section) or ""
    sentence = text.partition(" - ")[2] or text
    return sentence[:1].upper() + sentence[1:] + "\n"


def _key_entry(key: str, field: FieldInfo) -> str:
    facts = [_type_words(field.annotation), *_bounds(field)]
    names = [f"`{name}`" for name, target in ENVIRONMENT_KEYS.items() if target == key]
    tail = f" · environment {', '.join(names)}" if names else ""
    return f"### `{key}`\n\n{field.description or ''}\n\n{', '.join(facts)} · default {_default_words(field)}{tail}\n"


def _type_words(annotation: object) -> str:
    """A type as a person who writes TOML calls it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_type_words(part) for part in arguments if part is not type(None))
    if origin is tuple:
        return "list of strings"
    names: dict[object, str] = {bool: "`true` or `false`", int: "whole number", float: "number", str: "string", Path: "path"}
    return names[annotation]


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        match bound:
            case Ge(ge=value):
                yield f"at least {value}"
            case Gt(gt=value):
                yield f"above {value}"
            case Le(le=value):
                yield f"at most {value}"
            case Lt(lt=value):
                yield f"below {value}"
            case MinLen(min_length=value):
                yield f"at least {value} character{'s' if value != 1 else ''}"
            case MaxLen(max_length=value):
                yield f"at most {value} characters"
            case _:
                pass


def _default_words(field: FieldInfo) -> str:
    default: object = field.default
    return "not set" if default is None else f"`{_toml(default)}`"


def _toml(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(item) for item in cast('tuple[object, ...]', value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    return json.dumps(value)


def _preset_table() -> str:
    keys = list(dict.fromkeys(key for preset in PRESETS.values() for key in preset))
    lines = [f"| preset | {' | '.join(f'`{key}`' for key in keys)} |", f"|---|{'---|' * len(keys)}"]
    lines += [f"| `{name}` | {' | '.join(f'`{_toml(preset[key])}`' for key in keys)} |" for name, preset in PRESETS.items()]
    return "### What a preset sets\n\nA key that you give beside the preset wins over it.\n\n" + "\n".join(lines) + "\n"


_ENVIRONMENT_HEAD = """\
## Environment names

The names that notebooks use. They work beside a file and without one; without a file, paths are relative to the working directory.
A name that is set to nothing counts as not set.

| name | key |
|---|---|
"""


def _environment_table() -> str:
    lines = [f"| `{name}` | [`{key}`](#{key.replace('.', '')}) |" for name, key in ENVIRONMENT_KEYS.items()]
    return _ENVIRONMENT_HEAD + "\n".join(lines) + "\n"


def _all_defaults() -> str:
    sections = _sections()
    lines = ["# run.toml: every key with its default; keys that are not set by default are left out"]
    lines += _assignments({name: field for name, field in RunConfig.model_fields.items() if name not in sections})
    for name, section in sections.items():
        lines += ["", f"[{name}]", *_assignments(section.model_fields)]
    return "## All defaults in one file\n\n```toml\n" + "\n".join(lines) + "\n```\n"


def _assignments(fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        if field.default is not None:
            yield f"{name} = {_toml(field.default)}"


# ------------------------------------------------------------------------------------------------------------- rules.md

_SCOPES = {
    "line": "one line",
    "target": "the target of a line (with `--task`)",
    "file": "the file as a whole",
    "labels": "the label values of the file (with `--task`)",
    "golden": "training rows against the task's golden rows (in `loren train`)",
}


_RULES_HEAD = """\
# Rules of the data contract

`loren check FILE` judges a training file by these rules; `loren train` refuses a file that breaks one of severity *error*.
`loren check --explain ID` prints one entry of this page.

In the examples `<FF>` is the byte 0xFF, `<a*1000>` is `a` a thousand times, and a line that ends with `<n=1..9>` stands for nine
such lines, with 1 to 9 in place of `<n>`. Where a rule needs a task, the task's targets are objects of two keys: `topic`, its
label, is `"a"` or `"b"`, and `reply` is a text that is not empty.
"""


def rules_page() -> str:
    """Every rule of the data contract with its two examples."""
    rules = list(all_rules().values())
    lines = [f"| [{rule.id}](#{_anchor(f'{rule.id} {rule.name}')}) | {rule.name} | {rule.severity} |" for rule in rules]
    table = "| id | name | severity |\n|---|---|---|\n" + "\n".join(lines) + "\n"
    return "\n".join([NOTICE, _RULES_HEAD, table, *map(_rule_entry, rules)])


def _rule_entry(rule: Rule) -> str:
    return (
        f"## {rule.id} {rule.name}\n\n{rule.severity} · judges {_SCOPES[rule.scope]}\n\n{rule.explanation}\n\n"
        f"**How to mend it:** {rule.hint}\n\nBreaks the rule:\n\n{_fenced(rule.breaks)}\nDoes not:\n\n{_fenced(rule.passes)}"
    )


def _fenced(text: str, language: str = "text") -> str:
    body = text.strip("\n")
    fence = "```"
    while fence in body:
        fence += "`"
    return f"{fence}{language}\n{body}\n{fence}\n"


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading of letters, digits, spaces and dashes."""
    return heading.lower().replace(" ", "-")


# --------------------------------------------------------------------------------------------------------------- cli.md


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
        _fenced(group.get_help(root)),
    ]
    for verb in VERBS:
        if importlib.util.find_spec(f"loren.cli.{verb}") is None:
            continue  # the table may name a verb before its module is there
        command: click.Command = importlib.import_module(f"loren.cli.{verb}").command
        parts += _command_entries(command, verb, root, level=2)
    return "\n".join(parts)


def _command_entries(command: click.Command, name: str, parent: click.Context, *, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=HELP_WIDTH, color=False)
    yield f"{'#' * level} {context.command_path}\n"
    yield _fenced(command.get_help(context))
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _command_entries(found, child, context, level=level + 1)


# --------------------------------------------------------------------------------------------------------- exit-codes.md


_ERRORS_HEAD = """\
An error is printed on stderr: a summary, one indented line a problem (place, what was expected, what was found, rule), and a hint.
It never quotes a row.

## The error tree

Who calls Loren from Python catches these; each is also a standard exception.
"""


def exit_codes_page() -> str:
    """Every exit code, and the error classes behind those that an error causes.

    Raises:
        SystemExit: an error class has an exit code that is not explained here.
    """
    kinds = list(_error_classes(LorenError, depth=0))
    words = {
        0: "Done; nothing was wrong.",
        errors.EXIT_GATE: "No error: a gate (`loren sanity`) answered no.",
        2: "A value, key, option or command line is wrong, or the run folder is not the one that is expected.",
        3: "Rows break the data contract, or can't be rendered exactly.",
        4: "Something is missing that you can install, fetch or free; the hint holds the command.",
        5: "An artifact does not match its digests: do not load it.",
        6: "Training stopped itself, or the disk refused a write.",
        errors.EXIT_BUG: "An unexpected exception: a bug. `loren --debug ...` shows its traceback.",
        errors.EXIT_INTERRUPTED: "Interrupted (SIGINT), or the reader of a pipe went away.",
    }
    lines: list[str] = []
    for code, sentence in words.items():
        names = ", ".join(f"`{kind.__name__}`" for _, kind in kinds if kind.exit_code == code)
        lines.append(f"| {code} | {sentence} | {names} |")
    undocumented = {kind.exit_code for _, kind in kinds} - set(words)
    if undocumented:
        raise SystemExit(
            f"scripts/generate_docs.py: expected a sentence for exit code(s) {sorted(undocumented)} in exit_codes_page"
        )
    table = "| code | meaning | errors |\n|---|---|---|\n" + "\n".join(lines) + "\n"
    tree = "| class | exit code | also a | raised when |\n|---|---|---|---|\n" + "".join(_error_row(*each) for each in kinds)
    return "\n".join([NOTICE, "# Exit codes\n", table, _ERRORS_HEAD, tree])


def _error_row(depth: int, kind: type[LorenError]) -> str:
    indent = "&nbsp;&nbsp;" * depth
    return f"| {indent}`{kind.__name__}` | {kind.exit_code} | `{_standard_base(kind).__name__}` | {inspect.getdoc(kind)} |\n"


def _error_classes(kind: type[LorenError], *, depth: int) -> Iterator[tuple[int, type[LorenError]]]:
    """The classes below ``kind`` in the order of the source, with their depth."""
    order = _class_order()
    for child in sorted(kind.__subclasses__(), key=lambda each: order[each.__name__]):
        yield depth, child
        yield from _error_classes(child, depth=depth + 1)


def _class_order() -> dict[str, int]:
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    return {node.name: node.lineno for node in tree.body if isinstance(node, ast.ClassDef)}


def _standard_base(kind: type[LorenError]) -> type[Any]:
    """The builtin exception that a class names itself, or that its parent does."""
    own = [base for base in kind.__bases__ if base.__module__ == "builtins"]
    return own[0] if own else _standard_base(kind.__bases__[0])


# ------------------------------------------------------------------------------------------------------------------ main

PAGES: dict[str, Callable[[], str]] = {
    "config.md": config_page,
    "rules.md": rules_page,
    "cli.md": cli_page,
    "exit-codes.md": exit_codes_page,
}


def stale_pages(folder: Path = REFERENCE) -> list[str]:
    """Names of the pages that are missing or not what the code says."""
    return [name for name, page in PAGES.items() if _read(folder / name) != page()]


def write_pages(folder: Path = REFERENCE) -> list[str]:
    """Write the stale pages; returns their names."""
    stale = stale_pages(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(PAGES[name](), encoding="utf-8", newline="\n")
    return stale


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main() -> int:
    """Write or check the pages.

    Returns:
        The exit code: 1 when --check found a stale page.
    """
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    if parser.parse_args().check:
        stale = stale_pages()
        for name in stale:
            print(f"docs/reference/{name} is stale: run `make docs` and commit it", file=sys.stderr)
        return 1 if stale else 0
    for name in write_pages():
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
