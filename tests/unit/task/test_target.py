"""Strict parsing, pointers and schemas of targets."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import ConfigError
from loren.task.strict_json import MAX_DEPTH
from loren.task.target import (
    MAX_TARGET_BYTES,
    TargetSchema,
    canonical_json,
    parse_strict,
    pointer_get,
    pointer_tokens,
)

# Real text: no lone surrogates, which JSON in UTF-8 can't hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_a_canonical_text_parses_to_its_value(value: Any) -> None:
    text = canonical_json(value)
    parsed = parse_strict(text)
    assert parsed.ok
    assert parsed.value == json.loads(text)
    assert canonical_json(parsed.value) == text


@settings(max_examples=200, deadline=None)
@given(VALUES, st.text(" \t\r\n", max_size=3), st.integers(0, 4))
def test_white_space_around_and_inside_changes_nothing(value: Any, space: str, indent: int) -> None:
    assert parse_strict(space + json.dumps(value, indent=indent) + space).value == json.loads(json.dumps(value))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.text('{}[]":,0123456789eE+-.\\untrefals \n', max_size=30))
def test_whatever_is_accepted_is_what_json_reads(text: str) -> None:
    parsed = parse_strict(text)
    if parsed.ok:
        assert parsed.value == json.loads(text)
    assert parsed.ok or parsed.value is None


@settings(max_examples=100, deadline=None)
@given(TEXTS, SCALARS, SCALARS, st.integers(0, 3))
def test_a_double_key_is_refused_at_any_depth(key: str, first: Any, second: Any, depth: int) -> None:
    name = json.dumps(key)
    text = f"{{{name}: {json.dumps(first)}, {name}: {json.dumps(second)}}}"
    for _ in range(depth):
        text = f'{{"inner": [{text}]}}'
    assert "twice" in parse_strict(text).problems[0].message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "found nothing"),
        (" \n", "found nothing"),
        ("```json\n{}\n```", "code fence"),
        ("{} x", "character 4"),
        ("{}{}", "nothing after"),
        ('{"a": NaN}', "finite"),
        ('{"a": -Infinity}', "finite"),
        ('{"a": 1e400}', "finite"),
        ('{"a": ' + "9" * 5000 + "}", "finite"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ('"\ud800"', "surrogate"),
        ('{"a": 1,}', "expected JSON"),
        ("{'a': 1}", "expected JSON"),
        ('{"a": "', "expected JSON"),
        ('"a\nb"', "expected JSON"),
        ("\ufeff{}", "expected JSON"),
        ('"' + "a" * MAX_TARGET_BYTES + '"', "bytes"),
        ('"' + "ế" * (MAX_TARGET_BYTES // 3) + '"', "bytes"),
        ("[" * 100_000, "levels"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels"),
        ('{"a":' * 200 + "1" + "}" * 200, "levels"),
    ],
)
def test_what_is_refused_and_why(text: str, part: str) -> None:
    parsed = parse_strict(text)
    assert not parsed.ok
    assert part in parsed.problems[0].message


def test_the_deepest_allowed_value_parses() -> None:
    assert parse_strict("[" * MAX_DEPTH + "]" * MAX_DEPTH).ok


def test_no_problem_shows_the_text() -> None:
    for text in ('{"số thẻ 4111": 1, "số thẻ 4111": 2}', 'x {"bimat": 1}', '{"bimat": "4111}', '{"số thẻ 4111": NaN}'):
        for problem in parse_strict(text).problems:
            assert "4111" not in problem.pointer + problem.message
            assert "bimat" not in problem.pointer + problem.message


def test_canonical_json_keeps_order_and_letters_and_refuses_nan() -> None:
    assert canonical_json({"b": "đổi\n", "a": [1, None]}) == '{"b": "đổi\\n", "a": [1, null]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": math.nan})


def test_pointers() -> None:
    value: Any = {"a/b": [10, {"~": "x"}], "": 0, "0": "zero"}
    assert pointer_get(value, "") is value
    assert pointer_get(value, "/a~1b/0") == 10
    assert pointer_get(value, "/a~1b/1/~0") == "x"
    assert pointer_get(value, "/") == 0
    assert pointer_get(value, "/0") == "zero"
    for missing in ("/x", "/a~1b/2", "/a~1b/-1", "/a~1b/00", "/a~1b/0/0", "/a~1b/٠"):
        with pytest.raises(KeyError):
            pointer_get(value, missing)
    for wrong in ("a", "a/b", "/~", "/~2"):
        with pytest.raises(ValueError, match="pointer"):
            pointer_tokens(wrong)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "fixed": {"const": 3},
        "text": {"type": "string", "minLength": 2, "maxLength": 9, "pattern": "^x"},
        "list": {"type": "array", "items": {"type": "integer", "minimum": 3}, "uniqueItems": True, "maxItems": 2},
        "any": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["kind"],
    "additionalProperties": False,
}


def test_problems_say_expected_and_found_but_never_the_value() -> None:
    secret = "bimat-8842"
    value: Any = {
        "kind": secret, "fixed": secret, "text": secret, "list": [secret, secret, 1], "any": secret, secret: secret, "more": 1,
    }  # fmt: skip
    problems = TargetSchema(SCHEMA).problems(value)
    told = {(problem.pointer, problem.message) for problem in problems}
    assert ("/kind", 'expected one of "a", "b", found another value (a string)') in told
    assert ("/fixed", "expected 3, found another value (a string)") in told
    assert ("/list/0", "expected integer, found a string") in told
    assert ("/list/2", "expected a number of at least 3, found another (a number)") in told
    assert ("", "expected no other keys, found 2: 'more', ...") in told
    assert "bimat" not in str(told)
    assert "8842" not in str(told)
    assert {pointer for pointer, _ in told} == {"", "/kind", "/fixed", "/text", "/list", "/list/0", "/list/1", "/list/2", "/any"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "A"}, 'expected one of "a", "b", found one of them in other capitals (a string)'),
        ({"kind": " b\n"}, 'expected one of "a", "b", found one of them with spaces around it (a string)'),
        ({"kind": "ab"}, 'expected one of "a", "b", found another value (a string)'),
        ({"kind": "a", "Note": 1}, "expected no other keys, found 1: 'Note'"),
        ({"kind": "a", "0912345678": 1, "lan@shop.vn": 2}, "expected no other keys, found 2"),
        ({"kind": "a", **dict.fromkeys("uvwxyz")}, "expected no other keys, found 6: 'u', 'v', 'w', 'x', 'y', ..."),
    ],
)
def test_what_is_nearly_right_is_named(value: Any, message: str) -> None:
    assert [problem.message for problem in TargetSchema(SCHEMA).problems(value)] == [message]


def test_a_constant_in_other_capitals() -> None:
    (problem,) = TargetSchema({"const": "Done"}).problems("DONE ")
    assert problem.message == 'expected "Done", found it with spaces around it (a string)'


@pytest.mark.parametrize("value", [{"kind": "a"}, {"kind": "b", "fixed": 3, "text": "xy", "list": [3, 4], "any": None}])
def test_a_valid_value_has_no_problems(value: Any) -> None:
    assert TargetSchema(SCHEMA).problems(value) == []


@pytest.mark.parametrize(
    "value", [None, [], "a", 1, True, {}, {"kind": None}, {"kind": ["a"]}, {"kind": "A"}, {"kind": "a", "fixed": "3"}]
)
def test_an_invalid_value_has_problems(value: Any) -> None:
    assert TargetSchema(SCHEMA).problems(value)


def test_the_list_of_problems_is_bounded() -> None:
    many: Any = {"kind": "a", "list": ["x"] * 5000}
    assert len(TargetSchema(SCHEMA).problems(many)) == 50


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"pattern": "("},
        {"minLength": -1},
        {"required": "a"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "https://json-schema.org/draft/2019-09/missing"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/missing"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$schema": 7},
    ],
)
def test_a_bad_or_remote_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"schema\.json"):
        TargetSchema(schema)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*(?=b)$", "(a*)*(?!a)c", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_catastrophic_pattern_costs_little(pattern: str) -> None:
    schema = TargetSchema({"type": "string", "pattern": pattern})
    started = time.process_time()
    assert schema.problems("a" * 5000 + "!")
    assert time.process_time() - started < 20  # by backtracking it would never end


def test_a_schema_that_turns_in_a_circle_is_survived() -> None:
    tree: Any = {"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}}
    schema = TargetSchema(tree)
    assert schema.values_at("/next/next") is None
    assert schema.can_hold("/next/next/next")
    loop = TargetSchema({"properties": {"a": {"$ref": "#/properties/a"}}})
    assert loop.values_at("/a") is None


def test_a_value_that_json_cannot_hold_is_a_problem_not_a_crash() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    schema = TargetSchema({"items": {"$ref": "#"}, "enum": [7]})
    for value in ("\ud800", {"a": "\ud800"}, deep):
        assert "JSON value" in schema.problems(value)[0].message


def test_values_at_follows_references_and_alternatives() -> None:
    schema = TargetSchema({
        "properties": {
            "a": {"$ref": "#/$defs/kinds"},
            "b": {"oneOf": [{"const": 1}, {"const": "1"}, {"$ref": "#/$defs/kinds"}]},
            "c": {"anyOf": [{"const": 1}, {"type": "string"}]},
            "d": {"type": "array", "prefixItems": [{"const": True}], "items": {"enum": [None]}},
            "e": {"type": "object", "additionalProperties": False},
        },
        "$defs": {"kinds": {"enum": ["x", "y"]}},
    })
    assert schema.values_at("/a") == ("x", "y")
    assert schema.values_at("/b") == (1, "1", "x", "y")
    assert schema.values_at("/c") is None
    assert schema.values_at("/d/0") == (True,)
    assert schema.values_at("/d/1") == (None,)
    assert schema.can_hold("/unknown")
    assert not schema.can_hold("/e/x")
