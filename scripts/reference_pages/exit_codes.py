"""exit-codes.md: what a command leaves with, and the errors behind it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loren import errors
from loren.errors import LorenError
from reference_pages.markdown import NOTICE

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
        errors.EXIT_INTERRUPTED: "Interrupted (SIGINT, SIGTERM; a training saves its step first), or a pipe's reader went away.",
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
