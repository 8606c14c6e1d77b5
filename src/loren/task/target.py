"""Targets: the text of a reply -> a JSON value, strictly, and what a schema says about it.

The same rules hold for the rows that a model is trained on and for what it answers afterwards. A text is refused where a lenient
reader would guess: a fence around it, a double key, NaN, words before or after. No message holds any part of the text or value
that it is about: only places, types and what was expected, and of an unknown key its name where it looks like a field's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import jsonschema_rs

from loren.errors import ConfigError, Problem
from loren.runs.files import Json
from loren.task.strict_json import DECODER, MAX_DEPTH, MAX_DIGITS, SPACE, SURROGATE, BadNumber, DoubleKeys, json_type

MAX_TARGET_BYTES = 256 * 1024
"""A longer text is not parsed; a reply of a small model is a thousandth of it."""
MAX_PROBLEMS = 50
"""So many problems of one value are listed; who reads on needs no more."""
_SHOWN_KEYS = 5
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,31}[0-9]{0,2}\Z")
_HIDDEN = "*"

# A pattern of a schema is data from outside: these bound its size and the steps that it may take on one string.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=4 << 20, dfa_size_limit=4 << 20)


@dataclass(frozen=True, slots=True)
class TargetProblem:
    """One thing that is wrong with a target."""

    pointer: str
    """JSON pointer of the place; "" is the whole target."""
    message: str
    """What was expected and what was found; never a part of the target but an unknown key that looks like the name of a field."""


@dataclass(frozen=True, slots=True)
class ParseResult:
    """The value of a text, or why it has none."""

    value: Json
    """None where there are problems (and for the text ``null``)."""
    problems: tuple[TargetProblem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the text is one strict JSON value."""
        return not self.problems


def parse_strict(text: str) -> ParseResult:
    """Parse a text that must be one JSON value and nothing else (white space around it is allowed)."""
    start = len(text) - len(text.lstrip(SPACE))
    if problem := _unreadable(text, start):
        return ParseResult(None, (problem,))
    try:
        value, end = cast("tuple[object, int]", DECODER.raw_decode(text, start))
    except RecursionError:
        return ParseResult(None, (_TOO_DEEP,))
    except json.JSONDecodeError as error:
        reason = "the end of the text" if not text[error.pos :].strip(SPACE) else "text that is not JSON"
        return ParseResult(None, (TargetProblem("", f"expected JSON, found {reason} at character {error.pos + 1}"),))
    if rest := text[end:].lstrip(SPACE):
        place = len(text) - len(rest) + 1
        return ParseResult(None, (TargetProblem("", f"expected nothing after the value, found text at character {place}"),))
    problems = tuple(_first(MAX_PROBLEMS, _faults(value)))
    return ParseResult(None, problems) if problems else ParseResult(cast("Json", value))


def canonical_json(value: Json) -> str:
    """The one text form of a target: keys in their given order, ``", "`` and ``": "`` between, characters unescaped.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), allow_nan=False)


@lru_cache(maxsize=256)
def pointer_tokens(pointer: str) -> tuple[str, ...]:
    """The keys and indices of a JSON pointer (RFC 6901).

    Raises:
        ValueError: it is neither empty nor begins with a slash, or holds a ``~`` that escapes nothing.
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError("expected a JSON pointer, which begins with '/'")
    if re.search("~(?![01])", pointer):
        raise ValueError("expected '~0' or '~1' in a JSON pointer, found another '~'")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def pointer_get(value: Json, pointer: str) -> Json:
    """The value at ``pointer``.

    Raises:
        KeyError: there is none; the error holds the pointer.
    """
    for token in pointer_tokens(pointer):
        if isinstance(value, (dict, Mapping)) and token in value:
            value = value[token]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,6}", token) and int(token) < len(value):
            value = value[int(token)]
        else:
            raise KeyError(pointer)
    return value


class TargetSchema:
    """A compiled JSON Schema (2020-12) that never reaches out: remote references are refused, patterns are bounded."""

    def __init__(self, schema: Mapping[str, Json], *, place: str = "schema.json") -> None:
        """Compile ``schema``.

        Args:
            schema: the schema; an object.
            place: the name of its file, for errors.

        Raises:
            ConfigError: it is no valid schema of the dialect, or refers to something outside itself.
        """
        dialect = schema.get("$schema", DIALECT)
        if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
            wrong = Problem(f"{place} /$schema", f"expected {DIALECT}, found another dialect")
            raise ConfigError(f"{place}: expected a JSON Schema (2020-12)", problems=[wrong])
        self.schema = schema
        """The schema as it is written."""
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                cast("dict[str, Any]", schema), pattern_options=_PATTERNS, offline=True, validate_formats=True
            )
        except ValueError as error:
            where = _as_pointer(error.instance_path) if isinstance(error, jsonschema_rs.ValidationError) else ""
            raise ConfigError(
                f"{place}: expected a JSON Schema (2020-12)",
                problems=[Problem(f"{place} {where}".rstrip(), str(error).splitlines()[0][:300])],
                hint="references must stay inside the file (#/$defs/...); patterns are regular expressions of bounded size",
            ) from error
        self._names = frozenset(_property_names(schema))

    def problems(self, value: Json) -> list[TargetProblem]:
        """Everything in ``value`` that breaks the schema (at most :data:`MAX_PROBLEMS`), in document order."""
        try:
            if self._validator.is_valid(value):
                return []
            errors = _first(MAX_PROBLEMS, self._validator.iter_errors(value))
        except ValueError:  # nested too deep, or holds what JSON can't
            return [TargetProblem("", f"expected a JSON value of at most {MAX_DEPTH} levels, found another")]
        return [TargetProblem(self._shown(error.instance_path), _explain(error)) for error in errors]

    def broken_keywords(self, value: Json) -> frozenset[str]:
        """The keywords of the schema that ``value`` breaks: ``required``, ``enum``, ``type``..."""
        try:
            return frozenset(error.kind.name for error in _first(MAX_PROBLEMS, self._validator.iter_errors(value)))
        except ValueError:  # nested too deep, or holds what JSON can't
            return frozenset({"type"})

    @cached_property
    def keywords(self) -> frozenset[str]:
        """Every keyword that stands anywhere in the schema; names of properties may be among them."""
        return frozenset(_keys(self.schema))

    def values_at(self, pointer: str) -> tuple[Json, ...] | None:
        """The values that the schema lists (enum, const, alternatives of these) at ``pointer``; None where it lists none."""
        node = self._node_at(pointer)
        return _listed(node, self.schema) if node is not None else None

    def can_hold(self, pointer: str) -> bool:
        """Whether a valid target may have a value at ``pointer``: False only where the schema plainly forbids its key."""
        return self._node_at(pointer) is not None

    def _node_at(self, pointer: str) -> Mapping[str, Json] | None:
        """The subschema at ``pointer``; {} where nothing is said, None where its key is forbidden."""
        node: Mapping[str, Json] = self.schema
        for token in pointer_tokens(pointer):
            node = _resolve(node, self.schema)
            properties = node.get("properties")
            items = node.get("prefixItems")
            if isinstance(properties, Mapping) and token in properties:
                step: Json = properties[token]
            elif isinstance(items, list) and token.isdecimal() and int(token) < len(items):
                step = items[int(token)]
            elif node.get("additionalProperties") is False and "patternProperties" not in node:
                return None
            else:
                step = node.get("items", {})
            node = step if isinstance(step, Mapping) else {}
        return _resolve(node, self.schema)

    def _shown(self, path: Sequence[str | int]) -> str:
        return _as_pointer([token if isinstance(token, int) or token in self._names else _HIDDEN for token in path])


_TOO_DEEP = TargetProblem("", f"expected at most {MAX_DEPTH} levels of nesting, found more")


def _unreadable(text: str, start: int) -> TargetProblem | None:
    """Why a text is not even tried."""
    if len(text) > MAX_TARGET_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_TARGET_BYTES:
        return TargetProblem("", f"expected at most {MAX_TARGET_BYTES} bytes, found more")
    if start == len(text):
        return TargetProblem("", "expected JSON, found nothing")
    if text.startswith("```", start):
        return TargetProblem("", "expected JSON alone, found a code fence (```) around it")
    if found := SURROGATE.search(text):
        return TargetProblem("", f"expected whole characters, found half of a surrogate pair at character {found.start() + 1}")
    return None


def _faults(root: object) -> Iterator[TargetProblem]:
    """What the parser let pass: depth, double keys, numbers, escaped surrogates; without recursion."""
    stack: list[tuple[str, object, int]] = [("", root, 1)]
    while stack:
        path, value, depth = stack.pop()
        if isinstance(value, str) and SURROGATE.search(value):
            yield TargetProblem(path, "expected whole characters, found half of a surrogate pair")
        elif isinstance(value, BadNumber):
            yield TargetProblem(path, f"expected a finite number of at most {MAX_DIGITS} digits, found another")
        elif isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                yield _TOO_DEEP
                return
            if isinstance(value, DoubleKeys):
                for name in value.names:
                    yield TargetProblem(f"{path}/{_safe(name)}", "expected each key once in an object, found it twice")
            items = cast("dict[str, object] | list[object]", value)
            pairs = list(items.items() if isinstance(items, dict) else enumerate(items))
            if any(isinstance(key, str) and SURROGATE.search(key) for key, _ in pairs):
                yield TargetProblem(path, "expected whole characters in a key, found half of a surrogate pair")
            stack.extend((f"{path}/{_safe(key)}", item, depth + 1) for key, item in reversed(pairs))


def _safe(key: str | int) -> str:
    """A key may hold a customer's words: it is shown where it looks like the name of a field."""
    return str(key) if isinstance(key, int) or _FIELD_NAME.match(key) else _HIDDEN


def _as_pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def _first(count: int, items: Iterable[Any]) -> list[Any]:
    return [item for item, _ in zip(items, range(count), strict=False)]


_BOUNDS = {
    "minLength": "at least {} character(s)",
    "maxLength": "at most {} character(s)",
    "minItems": "at least {} item(s)",
    "maxItems": "at most {} item(s)",
    "minProperties": "at least {} key(s)",
    "maxProperties": "at most {} key(s)",
    "minimum": "a number of at least {}",
    "maximum": "a number of at most {}",
    "exclusiveMinimum": "a number above {}",
    "exclusiveMaximum": "a number below {}",
    "format": "a string in the format {}",
    "pattern": "a string that matches {}",
}
"""Keywords with one argument, which the schema's author wrote: it may be shown."""


def _explain(error: jsonschema_rs.ValidationError) -> str:
    """Expected and found, in words that hold nothing of the value."""
    keyword = error.kind.name
    argument = error.kind.as_dict()
    found = json_type(error.instance)
    if keyword == "required":
        return f"expected the key {json.dumps(argument['property'], ensure_ascii=False)}, found none"
    if keyword in {"additionalProperties", "unevaluatedProperties"}:
        return f"expected no other keys, found {_names(argument['unexpected'])}"
    if keyword == "type":
        return f"expected {' or '.join(sorted(argument['types']))}, found {found}"
    if keyword == "enum":
        return f"expected one of {_values(argument['options'])}, found {_other(error.instance, argument['options'])} ({found})"
    if keyword == "const":
        options = [argument["expected_value"]]
        return f"expected {_values(options)}, found {_other(error.instance, options)} ({found})"
    if keyword == "uniqueItems":
        return "expected no two equal items, found some"
    if keyword in _BOUNDS and len(argument) == 1:
        limit = next(iter(argument.values()))
        return f"expected {_BOUNDS[keyword].format(limit)}, found another ({found})"
    return f"expected what the keyword '{keyword}' of the schema asks for, found another value ({found})"


def _names(keys: Sequence[str]) -> str:
    """How many keys, and the first names of those that look like a field's."""
    shown = [f"'{key}'" for key in keys if _FIELD_NAME.match(key)][:_SHOWN_KEYS]
    return f"{len(keys)}: {', '.join(shown)}{', ...' if len(shown) < len(keys) else ''}" if shown else str(len(keys))


def _other(value: object, options: Sequence[Json]) -> str:
    """What a value is that is none of those: nearly one, which says no more than the schema does, or another."""
    if isinstance(value, str):
        words = [option for option in options if isinstance(option, str)]
        if any(value.casefold() == word.casefold() for word in words):
            return "one of them in other capitals" if len(options) > 1 else "it in other capitals"
        if any(value.strip().casefold() == word.casefold() for word in words):
            return "one of them with spaces around it" if len(options) > 1 else "it with spaces around it"
    return "another value"


def _values(options: Sequence[Json]) -> str:
    text = ", ".join(json.dumps(option, ensure_ascii=False) for option in options)
    return text if len(text) <= 300 else text[:300] + "..."


def _keys(node: Json) -> Iterator[str]:
    if isinstance(node, Mapping):
        yield from node
    for item in node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ():
        yield from _keys(item)


def _property_names(node: Json) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, item in node.items():
            if key in {"properties", "patternProperties", "dependentSchemas"} and isinstance(item, Mapping):
                yield from item
            yield from _property_names(item)
    elif isinstance(node, list):
        for item in node:
            yield from _property_names(item)


def _resolve(node: Mapping[str, Json], root: Mapping[str, Json]) -> Mapping[str, Json]:
    """``node`` with its local references followed (at most so many, for they may turn in a circle)."""
    for _ in range(MAX_DEPTH):
        reference = node.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        try:
            target = pointer_get(root, reference[1:])
        except (KeyError, ValueError):
            return {}
        node = target if isinstance(target, Mapping) else {}
    return node


def _listed(node: Mapping[str, Json], root: Mapping[str, Json]) -> tuple[Json, ...] | None:
    if "const" in node:
        return (node["const"],)
    if isinstance(node.get("enum"), list):
        return tuple(cast("list[Json]", node["enum"]))
    for keyword in ("oneOf", "anyOf"):
        branches = node.get(keyword)
        if isinstance(branches, list) and branches:
            found = [_listed(_resolve(branch, root), root) if isinstance(branch, Mapping) else None for branch in branches]
            if all(values is not None for values in found):
                return tuple(value for values in found for value in values or ())
    return None
