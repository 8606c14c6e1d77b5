"""Our strictness against the standard library with hooks, and jsonschema-rs against jsonschema, on generated values."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzzing import any_row
from loren.data.decode import decode_line, decode_text
from loren.task.target import TargetSchema, parse_strict


class _Refused(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _Refused
    return value


def _real(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        raise _Refused
    return number


def _integer(digits: str) -> int:
    if len(digits) > 400:
        raise _Refused
    return int(digits)


def _never(_: str) -> None:
    raise _Refused


def stdlib_strict(data: bytes) -> tuple[bool, Any]:
    """Whether the standard library's decoder takes the bytes, once told what it lets through; and the value."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_pairs, parse_float=_real, parse_int=_integer, parse_constant=_never)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate can't
    except (_Refused, ValueError, RecursionError):
        return False, None
    return _depth(value) <= 64, value


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def compare(data: bytes) -> None:
    fits, value = stdlib_strict(data)
    decoded = decode_line(data)
    ours = decoded.value is not None and not decoded.breaches
    assert ours == (fits and isinstance(value, dict)), data
    if ours:
        assert decoded.value == value, data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    assert parse_strict(text).ok == fits, data
    if value is not None:
        assert decode_text(text) == value, data
    elif not fits:
        assert decode_text(text) is None, data


TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"a"',
    '"b"',
    '"a\\\\"',
    '"\\":"',
    '"',
    "\\",
    " ",
    "\t",
    "1",
    "-1",
    "1e5",
    "1e400",
    "01",
    "1.",
    ".5",
    "9" * 401,
    "9" * 400,
    "NaN",
    "Infinity",
    "-Infinity",
    "null",
    "true",
    "'",
    '"\\ud83d"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    "\x00",
    "\ufeff",
    "\xa0",
    '{"a": ',
    '"a" :',
    "[" * 63,
    "]" * 63,
    "[" * 65,
    "]" * 65,
]


def spoiled_row(rng: random.Random) -> bytes:
    text = json.dumps(
        any_row(rng), ensure_ascii=rng.random() < 0.5, separators=rng.choice([(",", ":"), (", ", ": "), (" ,\t", " :\n")])
    )
    for _ in range(rng.choice([0, 0, 1, 2])):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(TOKENS) + text[place + rng.choice([0, 0, 1, 4]) :]
    return text.encode("utf-8", "surrogatepass")


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join))
@settings(max_examples=400, deadline=None)
def test_tokens_in_any_order_are_taken_as_by_the_standard_library(text: str) -> None:
    compare(text.encode("utf-8", "surrogatepass"))


def test_spoiled_rows_are_taken_as_by_the_standard_library() -> None:
    rng = random.Random(3)
    for _ in range(1_500):
        compare(spoiled_row(rng))


@pytest.mark.slow
def test_many_more_spoiled_rows() -> None:
    rng = random.Random(4)
    for _ in range(200_000):
        compare(spoiled_row(rng))


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    2.5,
    10**20,
    "",
    "a",
    "ab",
    "ạ",
    "2026-01-02",
    [],
    [1],
    ["a", "a"],
    [1, 1.0],
    {},
    {"a": 1},
    {"a": "x", "b": [1]},
    {"b": None},
    "😀",
    "e\u0301",
]


def any_schema(rng: random.Random, depth: int = 0) -> Any:
    """A schema of the keywords that targets use, and of those beside them."""
    if depth > 2 or rng.random() < 0.05:
        return rng.choice([True, False, {}])
    schema: dict[str, Any] = {}
    for keyword in rng.sample([*_KEYWORDS], rng.randrange(1, 4)):
        schema[keyword] = _KEYWORDS[keyword](rng, depth)
    return schema


_KEYWORDS: dict[str, Any] = {
    "type": lambda rng, _: rng.choice(["object", "array", "string", "number", "integer", "boolean", "null", ["string", "null"]]),
    "enum": lambda rng, _: [rng.choice(VALUES)] if rng.random() < 0.3 else [rng.choice(VALUES), "zz"],
    "const": lambda rng, _: rng.choice(VALUES),
    "required": lambda rng, _: rng.choice([[], ["a"], ["a", "b"]]),
    "properties": lambda rng, depth: {name: any_schema(rng, depth + 1) for name in rng.sample("abc", 2)},
    "patternProperties": lambda rng, depth: {rng.choice(["^a", "b$", "."]): any_schema(rng, depth + 1)},
    "additionalProperties": lambda rng, depth: rng.choice([False, any_schema(rng, depth + 1)]),
    "propertyNames": lambda rng, _: {"maxLength": rng.randrange(3)},
    "minProperties": lambda rng, _: rng.randrange(3),
    "maxProperties": lambda rng, _: rng.randrange(3),
    "dependentRequired": lambda _rng, _: {"a": ["b"]},
    "items": lambda rng, depth: any_schema(rng, depth + 1),
    "prefixItems": lambda rng, depth: [any_schema(rng, depth + 1)],
    "contains": lambda rng, depth: any_schema(rng, depth + 1),
    "minItems": lambda rng, _: rng.randrange(3),
    "maxItems": lambda rng, _: rng.randrange(3),
    "uniqueItems": lambda rng, _: rng.random() < 0.8,
    "minLength": lambda rng, _: rng.randrange(3),
    "maxLength": lambda rng, _: rng.randrange(3),
    "pattern": lambda rng, _: rng.choice(["^a", "b$", "^[a-z]*$", "\\d{4}"]),
    "minimum": lambda rng, _: rng.randrange(-1, 3),
    "exclusiveMaximum": lambda rng, _: rng.randrange(-1, 3),
    "multipleOf": lambda rng, _: rng.choice([1, 2, 0.5]),
    "anyOf": lambda rng, depth: [any_schema(rng, depth + 1) for _ in range(2)],
    "oneOf": lambda rng, depth: [any_schema(rng, depth + 1) for _ in range(2)],
    "allOf": lambda rng, depth: [any_schema(rng, depth + 1) for _ in range(2)],
    "not": lambda rng, depth: any_schema(rng, depth + 1),
    "if": lambda rng, depth: any_schema(rng, depth + 1),
    "then": lambda rng, depth: any_schema(rng, depth + 1),
    "else": lambda rng, depth: any_schema(rng, depth + 1),
}


def any_value(rng: random.Random, depth: int = 0) -> Any:
    if depth > 2 or rng.random() < 0.6:
        return rng.choice(VALUES)
    if rng.random() < 0.5:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {name: any_value(rng, depth + 1) for name in rng.sample("abc", rng.randrange(4))}


def compare_validators(pairs: int, seed: int) -> None:
    rng = random.Random(seed)
    seen = 0
    for _ in range(pairs // 10):
        schema = any_schema(rng)
        theirs = jsonschema.Draft202012Validator(schema)
        ours = jsonschema_rs.Draft202012Validator(schema)
        wrapped = TargetSchema(schema) if isinstance(schema, dict) else None
        for _ in range(10):
            value = any_value(rng)
            expected = theirs.is_valid(value)
            assert ours.is_valid(value) == expected, (schema, value)
            if wrapped is not None:
                assert (wrapped.problems(value) == []) == expected, (schema, value)
            seen += 1
    assert seen == pairs


def test_two_validators_agree() -> None:
    compare_validators(600, seed=1)


@pytest.mark.slow
def test_two_validators_agree_on_many_more() -> None:
    compare_validators(10_000, seed=2)
