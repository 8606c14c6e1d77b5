"""A task: what a good reply is, read from a folder.

The folder's files are data from outside: each is bounded, strictly parsed and validated, and all that is wrong with all of them is
said at once. Code that needs to know the labels, the reply or the words of a task asks this object; nothing else may know them.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator

from loren.errors import ConfigError, Problem
from loren.provenance.digests import sha256_json, sha256_text
from loren.runs.files import Json
from loren.task.entities import Extractor
from loren.task.sections import ContractSection, EvaluationSection, FewShotSection, SanityThresholds, Section
from loren.task.target import ParseResult, TargetSchema, parse_strict, pointer_get, pointer_tokens
from loren.task.wording import Wording, WordingFile, compile_wording

MAX_FILE_BYTES = 1024 * 1024
"""A larger file of a task folder is refused unread; the rows of golden.jsonl and others are not read here."""
TASK_FILE, SCHEMA_FILE, SYSTEM_FILE, WORDING_FILE = "task.toml", "schema.json", "system.txt", "wording.toml"
RULES_FILE = "rules.json"
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*\Z")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class TaskFile(Section):
    """task.toml as it is written."""

    name: str
    """The task's name: letters, digits, ``.``, ``_`` and ``-``."""
    language: str
    """Language of the replies, a BCP 47 tag: ``vi``, ``en-GB``."""
    version: str
    """Version of the definition; change it when the meaning of a label or rule changes."""
    labels: list[str] = Field(default=[])
    """JSON pointers of the labels in a target: the values that evaluation compares."""
    reply: str = ""
    """JSON pointer of the text that a person reads; empty when the whole target is that text."""
    system_in_training: bool = False
    """Whether training rows get the system prompt; the adapter then gets it everywhere after."""
    max_new_tokens: int = Field(default=256, ge=1, le=32768)
    """Longest generated reply, in tokens."""
    label_meanings: dict[str, dict[str, str]] = Field(default={})
    """[label_meanings."/pointer"] - what each value of a label means, in a sentence."""
    sanity: SanityThresholds = SanityThresholds()
    contract: ContractSection = ContractSection()
    fewshot: FewShotSection = FewShotSection()
    evaluation: EvaluationSection = EvaluationSection()

    @field_validator("name", "language", "version")
    @classmethod
    def _forms(cls, value: str, info: Any) -> str:
        form = {"name": _NAME, "language": _LANGUAGE, "version": _VERSION}[info.field_name]
        if not form.match(value):
            raise ValueError(f"expected the form {form.pattern.removesuffix(chr(92) + 'Z')}, found another")
        return value

    @field_validator("labels", "reply")
    @classmethod
    def _pointers(cls, value: list[str] | str) -> list[str] | str:
        for pointer in [value] if isinstance(value, str) else value:
            pointer_tokens(pointer)
        if isinstance(value, list) and ("" in value or len(set(value)) < len(value)):
            raise ValueError("expected different pointers, each to a part of the target")
        return value


class CrossFieldRule(NamedTuple):
    """A relation between fields of a target, which its schema alone does not say."""

    name: str
    schema: TargetSchema


@dataclass(frozen=True)
class Task:
    """What a good reply is, for one task."""

    folder: Path
    name: str
    language: str
    """BCP 47 tag."""
    version: str
    labels: tuple[str, ...]
    """JSON pointers of the labels; empty for a task of free text."""
    reply: str | None
    """JSON pointer of the text that a person reads; None when the whole reply is that text."""
    label_meanings: Mapping[str, Mapping[str, str]]
    """Pointer -> value -> a sentence."""
    system_prompt: str
    """"" where the task has none."""
    system_in_training: bool
    schema: Mapping[str, Json] | None
    """schema.json; None when a target is free text."""
    wording: Wording
    sanity: SanityThresholds
    max_new_tokens: int
    digest: str
    """SHA-256 over the definition: every file of the folder that was read here, not the rows of golden, sanity or attacks."""
    target_schema: TargetSchema | None = field(default=None, repr=False)
    """The compiled schema."""
    fewshot: FewShotSection = field(default_factory=FewShotSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    rules: tuple[CrossFieldRule, ...] = ()
    """The cross-field rules of rules.json."""
    raised: tuple[str, ...] = ()
    """Rules of the data contract, by id or name, whose warnings are errors for this task."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the folder's name and its digest: the compiled schema can't be, and another process reads the same files."""
        return (_load_again, (self.folder, self.digest))

    @property
    def sanity_path(self) -> Path:
        """The unseen prompts of `loren sanity`."""
        return self.folder / "sanity.jsonl"

    @property
    def golden_path(self) -> Path:
        """Questions with targets, for evaluation; it need not exist."""
        return self.folder / "golden.jsonl"

    @property
    def is_json(self) -> bool:
        """Whether a target is JSON: it is where the task has a schema."""
        return self.schema is not None

    @property
    def has_text(self) -> bool:
        """Whether a reply has a text that a person reads: task.toml says where, or all of it is text."""
        return self.reply is not None or not self.is_json

    @cached_property
    def entities(self) -> Extractor:
        """Finds what a text of this task's language states."""
        return Extractor(self.wording)

    def parse(self, text: str) -> ParseResult:
        """The value of a reply: strict JSON, or the text itself for a task of free text."""
        return parse_strict(text) if self.is_json else ParseResult(text)

    def label_values(self, value: Json) -> tuple[str, ...]:
        """The values at the label pointers as JSON text, so that ``"7"`` is not ``7``; "" where there is no value."""
        return tuple(_label_text(value, pointer) for pointer in self.labels)

    def label_space(self) -> tuple[tuple[str, ...], ...] | None:
        """The allowed values of each label, as JSON text, from the schema.

        An empty tuple stands for a label whose values the schema does not list; None means that it lists those of no label.
        """
        if self.target_schema is None:
            return None
        listed = [self.target_schema.values_at(pointer) or () for pointer in self.labels]
        return tuple(tuple(_json_text(value) for value in values) for values in listed) if any(listed) else None

    def reply_text(self, value: Json) -> str | None:
        """The text that a person reads in a parsed reply; None where there is no text."""
        try:
            text = pointer_get(value, self.reply) if self.reply else value
        except KeyError:
            return None
        return text if isinstance(text, str) else None


def load_task(folder: Path) -> Task:
    """Read and validate a task folder.

    Raises:
        ConfigError: everything that is wrong with its files, each with file and key.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a task folder, found none", hint="`loren init DIR` makes a project with a task")
    problems: list[Problem] = []
    texts = {name: _read(folder, name, problems) for name in (TASK_FILE, SCHEMA_FILE, SYSTEM_FILE, WORDING_FILE, RULES_FILE)}
    if texts[TASK_FILE] is None and not problems:
        problems.append(Problem(TASK_FILE, "expected this file in the task folder, found none"))
    definition = _model(TaskFile, texts[TASK_FILE], TASK_FILE, problems)
    wording_file = _model(WordingFile, texts[WORDING_FILE], WORDING_FILE, problems) or WordingFile()
    wording, found = compile_wording(wording_file, place=WORDING_FILE)
    problems.extend(found)
    schema = _schema(texts[SCHEMA_FILE], SCHEMA_FILE, problems)
    rules = _rules(texts[RULES_FILE], problems)
    if rules and texts[SCHEMA_FILE] is None:
        problems.append(Problem(RULES_FILE, f"expected no such file, for without {SCHEMA_FILE} a target is free text"))
    if definition is not None and (schema is not None or texts[SCHEMA_FILE] is None):
        problems.extend(_label_problems(definition, schema))
    if problems or definition is None:
        raise ConfigError(
            f"{folder}: {len(problems)} problem(s) in the task", problems=problems, hint="docs/reference/task.md lists every key"
        )
    return Task(
        folder=folder,
        name=definition.name,
        language=definition.language,
        version=definition.version,
        labels=tuple(definition.labels),
        reply=definition.reply or None,
        label_meanings=MappingProxyType({key: MappingProxyType(dict(table)) for key, table in definition.label_meanings.items()}),
        system_prompt=(texts[SYSTEM_FILE] or "").strip(),
        system_in_training=definition.system_in_training,
        schema=schema.schema if schema else None,
        wording=wording,
        sanity=definition.sanity,
        max_new_tokens=definition.max_new_tokens,
        digest=sha256_json({name: sha256_text(text) for name, text in texts.items() if text is not None}),
        target_schema=schema,
        fewshot=definition.fewshot,
        evaluation=definition.evaluation,
        rules=rules,
        raised=tuple(definition.contract.raise_),
    )


def _load_again(folder: Path, digest: str) -> Task:
    task = load_task(folder)
    if task.digest != digest:
        raise ConfigError(f"{folder}: expected the task as it was a moment ago, found it changed", hint="run the command again")
    return task


def _read(folder: Path, name: str, problems: list[Problem]) -> str | None:
    """The text of a file; None where there is none, or none that can be used."""
    path = folder / name
    try:
        if not path.exists():
            return None
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            problems.append(Problem(name, f"expected at most {MAX_FILE_BYTES} bytes, found {size}"))
            return None
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        problems.append(Problem(name, f"expected UTF-8, found another byte at offset {error.start}"))
    except OSError as error:
        problems.append(Problem(name, f"expected a file that can be read, found: {error.strerror or error}"))
    return None


_Model = TypeVar("_Model", bound=BaseModel)


def _model(kind: type[_Model], text: str | None, name: str, problems: list[Problem]) -> _Model | None:
    if text is None:
        return None
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(name, f"expected TOML, found: {error}"))
    except ValidationError as error:
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                message = _unknown_key(str(item["loc"][-1]), kind)
            problems.append(Problem(f"{name} {key}", message))
    except RecursionError:
        problems.append(Problem(name, "expected TOML of a few levels, found a deeply nested one"))
    return None


def _unknown_key(key: str, kind: type[BaseModel]) -> str:
    known = sorted(set(_keys(kind)))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"expected a known key; did you mean {near[0]!r}?" if near else "expected a known key"


def _keys(kind: type[BaseModel]) -> Iterator[str]:
    """The keys of a section and of those inside it."""
    for name, info in kind.model_fields.items():
        yield info.alias or name
        for inner in (info.annotation, *get_args(info.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _keys(inner)


def _schema(text: str | None, place: str, problems: list[Problem]) -> TargetSchema | None:
    if text is None:
        return None
    parsed = parse_strict(text)
    problems.extend(Problem(f"{place} {problem.pointer}".rstrip(), problem.message) for problem in parsed.problems)
    return _compiled(parsed.value, place, problems) if parsed.ok else None


def _compiled(value: Json, place: str, problems: list[Problem]) -> TargetSchema | None:
    if not isinstance(value, Mapping):
        problems.append(Problem(place, "expected an object, found another value"))
        return None
    try:
        return TargetSchema(value, place=place)
    except ConfigError as error:
        problems.extend(error.problems)
        return None


def _rules(text: str | None, problems: list[Problem]) -> tuple[CrossFieldRule, ...]:
    """rules.json: name -> a JSON Schema that a target must satisfy too, such as an if-then between two of its fields."""
    if text is None:
        return ()
    parsed = parse_strict(text)
    problems.extend(Problem(f"{RULES_FILE} {problem.pointer}".rstrip(), problem.message) for problem in parsed.problems)
    if not parsed.ok or not isinstance(parsed.value, Mapping):
        problems.extend([Problem(RULES_FILE, "expected an object of rules by name")] if parsed.ok else [])
        return ()
    rules: list[CrossFieldRule] = []
    for name, value in parsed.value.items():
        if not _NAME.match(name):
            problems.append(Problem(RULES_FILE, "expected names of letters, digits, '.', '_' and '-', found another"))
            continue
        schema = _compiled(value, f"{RULES_FILE} {name}", problems)
        rules += [CrossFieldRule(name, schema)] if schema else []
    return tuple(rules)


def _label_problems(definition: TaskFile, schema: TargetSchema | None) -> list[Problem]:
    """Where labels, reply, meanings and schema do not fit together."""
    if schema is None:
        keys = [key for key in ("labels", "reply", "label_meanings") if getattr(definition, key)]
        message = f"expected none, for without {SCHEMA_FILE} a target is free text"
        return [Problem(f"{TASK_FILE} {key}", message) for key in keys]
    problems = [
        Problem(f"{TASK_FILE} {key}", f"expected a pointer into a target, found {pointer}, which {SCHEMA_FILE} forbids")
        for key, pointer in [("reply", definition.reply), *(("labels", label) for label in definition.labels)]
        if not schema.can_hold(pointer)
    ]
    for pointer, meanings in definition.label_meanings.items():
        place = f"{TASK_FILE} label_meanings.{pointer}"
        if pointer not in definition.labels:
            problems.append(Problem(place, f"expected one of the labels {', '.join(definition.labels) or '(none)'}"))
            continue
        allowed = [value if isinstance(value, str) else _json_text(value) for value in schema.values_at(pointer) or ()]
        for value in meanings:
            if allowed and value not in allowed:
                problems.append(Problem(f"{place}.{value}", f"expected one of {', '.join(allowed)}"))
        if missing := [value for value in allowed if value not in meanings]:
            problems.append(Problem(place, f"expected a meaning for every value, found none for {', '.join(missing)}"))
    return problems


def _json_text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _label_text(value: Json, pointer: str) -> str:
    try:
        label = pointer_get(value, pointer)
    except KeyError:
        return ""
    return _short_text(label) if isinstance(label, str) and len(label) <= _SHORT else _json_text(label)


_SHORT = 64


@lru_cache(maxsize=1024)
def _short_text(label: str) -> str:
    """Labels are few, and come again in every row."""
    return _json_text(label)


__all__ = ["SanityThresholds", "Task", "TaskFile", "load_task"]
