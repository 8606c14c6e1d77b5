"""`loren check --explain RULE`: one rule in words, in English or Vietnamese."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from loren.data.rules import Language, Rule

_LABELS: dict[Language, dict[str, str]] = {
    "en": {
        "error": "error",
        "warning": "warning",
        "mend": "how to mend it",
        "breaks": "breaks the rule",
        "passes": "does not",
    },
    "vi": {
        "error": "lỗi",
        "warning": "cảnh báo",
        "mend": "cách sửa",
        "breaks": "phạm luật",
        "passes": "đúng luật",
    },
}
_WIDTH = 96


def system_language(environment: Mapping[str, str] = os.environ) -> Language:
    """The language of the terminal, as POSIX finds it: the first of LC_ALL, LC_MESSAGES and LANG that is set; else English."""
    locale = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return "vi" if locale.casefold().replace("-", "_").split("_")[0].split(".")[0] == "vi" else "en"


def explain(wanted: str, language: Language | None, *, as_json: bool = False) -> None:
    """Print one rule: why it is there, how to mend a breach, an example of both.

    Args:
        wanted: its id or name.
        language: None for that of the terminal.
        as_json: print the same as one object.

    Raises:
        click.UsageError: there is no such rule.
    """
    from loren.data.rules import find_rule, nearest_rule

    rule = find_rule(wanted)
    if rule is None:
        near = nearest_rule(wanted)
        hint = f"; did you mean {near}?" if near else ""
        raise click.UsageError(f"expected a rule's id or name, such as D101{hint}")
    language = language or system_language()
    click.echo(_as_json(rule, language) if as_json else _as_text(rule, language))


def _as_json(rule: Rule, language: Language) -> str:
    from loren.data.rules import words

    entry = {
        "id": rule.id,
        "name": rule.name,
        "severity": rule.severity,
        "scope": rule.scope,
        "language": language,
        **words(rule, language)._asdict(),
        "breaks": rule.breaks,
        "passes": rule.passes,
    }
    return json.dumps(entry, ensure_ascii=False, indent=2)


def _as_text(rule: Rule, language: Language) -> str:
    from loren.data.rules import words

    label = _LABELS[language]
    hint, explanation = words(rule, language)
    title = click.style(f"{rule.id} {rule.name} ({label[rule.severity]})", bold=True)
    parts = [
        title,
        click.wrap_text(explanation, _WIDTH),
        click.wrap_text(f"{label['mend']}: {hint}", _WIDTH, subsequent_indent="  "),
        f"{label['breaks']}:\n{_indented(rule.breaks)}",
        f"{label['passes']}:\n{_indented(rule.passes)}",
        "next: loren check FILE",
    ]
    text = "\n\n".join(parts)
    return click.unstyle(text) if os.environ.get("NO_COLOR") else text


def _indented(example: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in example.strip("\n").split("\n"))
