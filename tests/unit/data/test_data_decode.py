"""The strict decoder: every trap is named, at its place, and nothing crashes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.decode import _decode_fast, decode_line, decode_text
from loren.data.rules import Breach
from loren.task.strict_json import MAX_DEPTH
from loren.task.target import parse_strict


def rules(data: bytes | str) -> list[tuple[str, str]]:
    decoded = decode_line(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    return [(breach.rule, breach.path) for breach in decoded.breaches]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"a": 1}', []),
        ('  {"a": [1, 2.5, -0, 1e10, true, null, "x"]}\t ', []),
        ('{"a":1,"a":2}', [("duplicate-key", "/a")]),
        ('{"a":{"b":[{"c":1,"d":2,"c":3}]}}', [("duplicate-key", "/a/b/0/c")]),
        ('{"\\u0061":1,"a":2}', [("duplicate-key", "/a")]),
        ('{"a":1,"a":"\\u003a"}', [("duplicate-key", "/a")]),
        ('{"a":1,"a":"\\u003A"}', [("duplicate-key", "/a")]),
        ('{"0912345678":1,"0912345678":2}', [("duplicate-key", "/*")]),
        ('{"a":NaN}', [("bad-number", "/a")]),
        ('{"a":[Infinity,-Infinity]}', [("bad-number", "/a/0"), ("bad-number", "/a/1")]),
        ('{"a":1e400}', [("bad-number", "/a")]),
        ('{"a":' + "9" * 401 + "}", [("bad-number", "/a")]),
        ('{"a":' + "9" * 5000 + "}", [("bad-number", "/a")]),
        ('{"a":' + "9" * 23 + "}", []),
        ('{"a":"\\ud800"}', [("lone-surrogate", "/a")]),
        ('{"a":"\\uDC00x"}', [("lone-surrogate", "/a")]),
        ('{"a":"\\ud800\\u0041"}', [("lone-surrogate", "/a")]),
        ('{"\\ud800":1}', [("lone-surrogate", "")]),
        ('{"a":"\\ud83d\\ude00"}', []),
        ('{"a":"\ud800"}', [("not-utf8", "")]),
        (b'{"a":"\xff"}', [("not-utf8", "")]),
        (b"\xef\xbb\xbf{}", [("byte-order-mark", "")]),
        (b'\xef\xbb\xbf{"a":NaN}', [("byte-order-mark", ""), ("bad-number", "/a")]),
        ('{"a":1} x', [("trailing-text", "")]),
        ('{"a":1}{"a":1}', [("trailing-text", "")]),
        ('{"a":1},', [("trailing-text", "")]),
        ('{"a":1,}', [("not-json", "")]),
        ("{'a':1}", [("not-json", "")]),
        ('{"a":1', [("not-json", "")]),
        ('{"a":"\x01"}', [("not-json", "")]),
        ('{"a":01}', [("not-json", "")]),
        ('{"a":+1}', [("not-json", "")]),
        ('{"a":1.}', [("not-json", "")]),
        ("{a:1}", [("not-json", "")]),
        ("x", [("not-json", "")]),
        ("[]", [("not-an-object", "")]),
        ('"a"', [("not-an-object", "")]),
        ("null", [("not-an-object", "")]),
        ("7", [("not-an-object", "")]),
        ("NaN", [("bad-number", ""), ("not-an-object", "")]),
        ("[" * 100_000, [("too-deep", "")]),
        ('{"a":' * 500 + "1" + "}" * 500, [("too-deep", "")]),
        ('{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}", []),
        ('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", [("too-deep", "")]),
    ],
)
def test_each_trap_is_named_at_its_place(line: str | bytes, expected: list[tuple[str, str]]) -> None:
    assert rules(line) == expected


def test_a_value_with_faults_is_still_handed_on() -> None:
    decoded = decode_line(b'{"a": 1, "a": 2, "b": NaN}')
    assert decoded.value is not None
    assert decoded.value["a"] == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe{\x00", "UTF-16"),
        (b"\x1f\x8b\x08\x00\xff", "gzip"),
        (b"PK\x03\x04\xff", "spreadsheet"),
        ('{"a": "\0"}'.encode("utf-16-le"), "NUL"),
        (b'{"a": 1,', "spread over several lines"),
        (b'{"a": 1, }', "comma"),
        (b"{'a': 1}", "double quotes"),
        (b'{"a": True}', "Python"),
        (b'{"a": "x\ty"}', "control character"),
        (b'{"a": "x}', "closing quote"),
    ],
)
def test_the_message_says_what_happened(data: bytes, words: str) -> None:
    assert any(words in breach.message for breach in decode_line(data).breaches)


def test_messages_hold_nothing_of_the_line() -> None:
    for line in (
        '{"secret',
        '{"a": secret}',
        "secret",
        '{"a": "\\xsecret"}',
        '{"a": 1} secret',
        '{"secret-text": NaN, "secret-text": 1}',
    ):
        for breach in decode_line(line.encode()).breaches:
            assert "secret" not in breach.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), json_values, max_size=4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_valid_json_is_taken_unchanged(value: dict[str, object], ascii_only: bool) -> None:
    line = json.dumps(value, ensure_ascii=ascii_only).encode()
    decoded = decode_line(line)
    assert list(decoded.breaches) == []
    assert decoded.value == value


@given(st.text(alphabet='{}[]":,\\ud8c0aé1.eE+-tnN \t', max_size=40) | st.text(max_size=20))
@settings(max_examples=1500, deadline=None)
def test_the_fast_way_takes_nothing_that_hooks_refuse(text: str) -> None:
    """Differential: what the fast way lets through, the standard library with strict hooks lets through, with an equal value."""
    value = _decode_fast(text.encode("utf-8", "surrogatepass"))
    if value is None:
        return

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(items)) == len(items)
        return dict(items)

    def refuse(_: str) -> object:
        raise AssertionError("a constant that is no JSON")

    expected = json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)
    assert value == expected
    json.dumps(expected, ensure_ascii=False).encode()  # no lone surrogate
    assert not (isinstance(value, float) and math.isinf(value))


@given(
    json_values.map(json.dumps)
    | json_values.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1))
    | st.text(alphabet='{}[]":,\\ud8c0a1.eE-N \t', max_size=30)
)
@settings(max_examples=600, deadline=None)
def test_targets_are_decoded_as_the_task_parses_replies(text: str) -> None:
    """Two ways to one verdict: a target that the check takes fast, scoring takes too, with the same value; and the reverse."""
    parsed = parse_strict(text)
    value = decode_text(text)
    if parsed.ok:
        assert value == parsed.value
    else:
        assert value is None


@given(st.binary(max_size=60))
@settings(max_examples=1000, deadline=None)
def test_any_bytes_give_a_value_or_a_breach(data: bytes) -> None:
    decoded = decode_line(data)
    assert (decoded.value is not None) or decoded.breaches
    assert all(isinstance(breach, Breach) for breach in decoded.breaches)


@pytest.mark.parametrize("text", ["", "x", "{", '{"a":1,"a":2}', "NaN", '"\ud800"', "[1] x", "```json\n{}\n```"])
def test_decode_text_refuses_what_is_not_strict(text: str) -> None:
    assert decode_text(text) is None


def test_decode_text_takes_escapes() -> None:
    assert decode_text('{"a": "\\"b\\": \\\\", ":c": ":"}') == {"a": '"b": \\', ":c": ":"}
