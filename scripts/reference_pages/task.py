"""task.md: the files of a task folder and their keys."""

from __future__ import annotations

import typing
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from loren.task import phrases
from loren.task.definition import TaskFile
from loren.task.sections import ContractSection, SanityThresholds
from loren.task.wording import WordingFile
from reference_pages.fields import key_entry, section_sentence
from reference_pages.markdown import NOTICE

_HEAD = """\
# The task folder

A task says what a good reply is. Loren's code knows no label and no word of any task: they stand in these files.

| file | holds | needed |
|---|---|---|
| `task.toml` | labels, language, thresholds of the sanity check, gates of the evaluation, stricter rules of the contract | always |
| `schema.json` | JSON Schema (2020-12) of a target; without it a target is free text | for JSON targets |
| `system.txt` | the system prompt: the base model always gets it, training only with `system_in_training` | no |
| `rules.json` | relations between fields of a target that evaluation judges: name -> JSON Schema (`if`, `then`) | no |
| `wording.toml` | politeness, length, next step, and what a reply must not state, claim or promise | no |
| `sanity.jsonl` | a handful of prompts that training must not hold | by `loren sanity` |
| `golden.jsonl` | questions with targets, and a `situation` id | by `loren evaluate` |
| `judge.txt` | a prompt about `{question}`, `{target}` and `{reply}` that asks for a verdict | by `loren judge` |

Rows of `sanity.jsonl` are `{"id": ..., "prompt": ...}` or `{"id": ..., "messages": [...]}`; rows of `golden.jsonl` look like
training rows. What `judge.txt` has to ask for stands [on its page](../concepts/judge.md). An unknown key in a TOML file is a
mistake, and all mistakes are reported at once.
"""

_PATTERNS_HEAD = """\
## Patterns

Most keys of `wording.toml` hold patterns: words that must stand in this order, on word borders, whatever the case, the white space
and the marks of emphasis between them. A pattern may also hold

| sign | stands for |
|---|---|
"""


def task_page() -> str:
    """The files, the keys of task.toml and wording.toml, and the pattern language."""
    parts = [NOTICE, _HEAD, "## task.toml\n", *_entries(TaskFile, "")]
    parts += ["## wording.toml\n", "Every section may be left out; a rule that is not given is not judged.\n"]
    parts += [*_entries(WordingFile, ""), _PATTERNS_HEAD + "\n".join(_pattern_rows()) + "\n"]
    return "\n".join(parts)


def _entries(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """The plain keys of a section, then its inner sections."""
    inner: list[tuple[str, FieldInfo, type[BaseModel]]] = []
    for name, field in section.model_fields.items():
        kind = _section_in(field)
        if kind is None:
            yield key_entry(prefix + (field.alias or name), field, level=4 if prefix else 3)
        else:
            inner.append((name, field, kind))
    for name, field, kind in inner:
        is_list = typing.get_origin(field.annotation) is list
        path = prefix + name
        yield f"### {f'[[{path}]]' if is_list else f'[{path}]'}\n"
        yield section_sentence(kind)
        yield from _entries(kind, f"{path}.")
        if kind is SanityThresholds:
            yield "A criterion that the task has no rule for is not judged, and `loren sanity` says so.\n"
        if kind is ContractSection:
            yield "[The rules](rules.md) have their own page. An entry that is no rule is a mistake.\n"


def _section_in(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _pattern_rows() -> Iterator[str]:
    """The rows of the table in the docstring of phrases.py, whose columns two spaces or more divide."""
    table = (phrases.__doc__ or "").split("=============  ")[1]
    for line in table.splitlines()[1:]:
        sign, _, meaning = line.partition("  ")
        if meaning.strip():
            yield f"| {sign.replace('``', '`').replace('|', chr(92) + '|')} | {meaning.strip().replace('``', '`')} |"
