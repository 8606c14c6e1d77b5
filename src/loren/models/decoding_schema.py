"""A task's schema -> the schema that decoding is held to, or everything in it that a grammar can't hold, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from loren.errors import ConfigError, Problem
from loren.runs.files import Json
from loren.task.target import TargetSchema, pointer_get

LONGEST_HELD = 100
"""Bounds on the length of texts up to here are held: codes, names. A longer text would be cut in the middle of a word, and its
grammar is slow."""
_LARGEST = 10**15
"""Bound of numbers without one: every integer up to it is exact in a double, and none is too long to be read."""
_MOST_NODES = 10_000
_NOTES = frozenset([
    "title",
    "description",
    "default",
    "examples",
    "$comment",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentMediaType",
    "contentEncoding",
    "$schema",
    "$defs",
    "definitions",
])
"""Keywords that say nothing about a value, or what is written out in the places that refer to it."""
_HELD = frozenset([
    "type",
    "enum",
    "const",
    "$ref",
    "anyOf",
    "oneOf",
    "allOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
])
_FORMATS = frozenset({"date", "uuid", "ipv4", "ipv6"})
"""Formats whose grammar lets nothing through that a validator refuses; that of others does (a time with 60 seconds)."""
_SAME_SPACES = r"^[^\u0085\ufeff]*$"
r"""Beside every pattern: the two characters that ``\s`` means in one dialect of regular expressions and not in the other."""
_ALONE = ("$ref", "allOf", "anyOf", "oneOf")


def decoding_schema(schema: Mapping[str, Json]) -> dict[str, Json]:
    """What decoding is held to: every value of it is one of ``schema``, but for bounds on the length of long texts.

    References are written out; objects have their named keys alone, in the order of the schema; numbers have bounds.

    Raises:
        ConfigError: everything in the schema that a grammar can't hold, by keyword and place.
    """
    TargetSchema(schema)
    reader = _Reader(schema)
    made = reader.node(schema, "", ())
    if reader.problems or not isinstance(made, dict):
        raise ConfigError(
            f"schema.json: {len(reader.problems)} place(s) that decoding can't be held to",
            problems=reader.problems,
            hint="change these places, or ask without the constraint: replies are validated all the same",
        )
    return made


class _Reader:
    """Walks a schema once and collects what is wrong."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root
        self._nodes = 0
        self.problems: list[Problem] = []

    def node(self, node: Json, place: str, refs: tuple[str, ...]) -> Json:
        """One subschema; ``refs`` are the references on the way to it."""
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            if self._nodes == _MOST_NODES + 1:
                self._wrong(place, f"expected at most {_MOST_NODES} subschemas with references written out, found more")
            return {}
        if not isinstance(node, Mapping):
            return self._wrong(place, "expected a type, found a place that takes any value or none")
        found = {key: value for key, value in node.items() if key not in _NOTES}
        for keyword in found.keys() - _HELD:
            self._wrong(f"{place}/{keyword}", f"expected no '{keyword}', which a grammar can't hold")
        alone = next((keyword for keyword in _ALONE if keyword in found), None)
        if alone:
            return self._alone(alone, found, place, refs)
        if "enum" in found or "const" in found:
            return found
        return self._typed(found, place, refs)

    def _alone(self, keyword: str, found: dict[str, Json], place: str, refs: tuple[str, ...]) -> Json:
        """A reference or alternatives."""
        if len(found) > 1:
            others = ", ".join(sorted(found.keys() - {keyword}))
            return self._wrong(f"{place}/{keyword}", f"expected '{keyword}' alone, found {others} beside it")
        value = found[keyword]
        if keyword == "$ref":
            if value in refs:
                return self._wrong(f"{place}/$ref", "expected no schema that holds itself, for a value could nest without end")
            return self.node(pointer_get(self._root, str(value)[1:]), place, (*refs, str(value)))
        branches = cast("list[Json]", value)
        if keyword == "allOf":
            if len(branches) > 1:
                return self._wrong(f"{place}/allOf", "expected one schema in 'allOf', found several")
            return self.node(branches[0], f"{place}/allOf/0", refs)
        return {keyword: [self.node(branch, f"{place}/{keyword}/{n}", refs) for n, branch in enumerate(branches)]}

    def _typed(self, found: dict[str, Json], place: str, refs: tuple[str, ...]) -> Json:
        kinds = found.get("type")
        types = {kinds} if isinstance(kinds, str) else set(cast("list[str]", kinds or []))
        if not types:
            return self._wrong(place, "expected a type, found none: any value would do")
        made = dict(found)
        if "object" in types:
            self._object(made, place, refs)
        if "array" in types:
            self._array(made, place, refs)
        if types & {"number", "integer"}:
            _bound(made)
        if "string" in types:
            self._text(made, place)
        return made

    def _object(self, made: dict[str, Json], place: str, refs: tuple[str, ...]) -> None:
        properties = made.get("properties")
        others = made.get("additionalProperties", True)
        if not isinstance(properties, Mapping) or others not in (True, False, {}):
            self._wrong(place, "expected an object of named properties, found one of any keys: they could repeat")
            return
        made["properties"] = {
            name: self.node(value, f"{place}/properties/{name}", refs) for name, value in properties.items() if value is not False
        }
        made["additionalProperties"] = False

    def _array(self, made: dict[str, Json], place: str, refs: tuple[str, ...]) -> None:
        first = made.get("prefixItems")
        if isinstance(first, list):
            made["prefixItems"] = [self.node(item, f"{place}/prefixItems/{n}", refs) for n, item in enumerate(first)]
            made.setdefault("items", False)
        if made.get("items") is not False:
            made["items"] = self.node(made.get("items", True), f"{place}/items", refs)

    def _text(self, made: dict[str, Json], place: str) -> None:
        for keyword in ("minLength", "maxLength"):
            if cast("float", made.get(keyword, 0)) > LONGEST_HELD:
                del made[keyword]
        form = made.get("format")
        if form is not None and form not in _FORMATS:
            self._wrong(f"{place}/format", f"expected one of the formats {', '.join(sorted(_FORMATS))}, found another")
        if "pattern" in made:
            made["allOf"] = [{"pattern": _SAME_SPACES}]

    def _wrong(self, place: str, message: str) -> Json:
        self.problems.append(Problem(f"schema.json {place}".rstrip(), message))
        return {}


def _bound(made: dict[str, Json]) -> None:
    """Give numbers the bounds that they lack."""
    lower = [cast("float", made[key]) for key in ("minimum", "exclusiveMinimum") if key in made]
    upper = [cast("float", made[key]) for key in ("maximum", "exclusiveMaximum") if key in made]
    if not lower:
        made["minimum"] = -_LARGEST if not upper or min(upper) > -_LARGEST else min(upper) * 2
    if not upper:
        made["maximum"] = _LARGEST if not lower or max(lower) < _LARGEST else max(lower) * 2
