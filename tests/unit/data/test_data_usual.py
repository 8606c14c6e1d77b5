"""The fast way for usual rows takes nothing that the strict way complains of, and reads it as the strict way does."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.conversation import read_conversation
from loren.data.decode import decode_line
from loren.data.usual import conversation_of, decode_usual

USER = '{"role": "user", "content": "Q: a?"}'
REPLY = '{"role": "assistant", "content": "{\\"a\\": \\"b: c\\"}"}'
SYSTEM = '{"role": "system", "content": ":"}'
ROW = f'{{"messages": [{USER}, {REPLY}]}}'


def assert_same(data: bytes) -> bool:
    """Whether the fast way took the line; if so, the strict way must read the same and find no fault."""
    row = decode_usual(data)
    if row is None:
        return False
    usual = conversation_of(row)
    decoded = decode_line(data)
    assert decoded.value is not None
    strict = read_conversation(decoded.value, decoded.breaches, object_target=False)
    assert len(decoded.breaches) == len(usual.breaches) == 0
    for name in ("turns", "contents", "target", "groups"):
        assert getattr(usual, name) == getattr(strict, name)
    return True


@pytest.mark.parametrize(
    "line",
    [
        ROW,
        ROW.replace('role": ', 'role"  :\t ').replace(", ", " ,\t"),
        ROW.replace(" ", "") + "\r",
        f'{{"id": 7, "situation": "a:b", "customer": -3, "conversation": null, "messages": [{SYSTEM}, {USER}, {REPLY}]}}',
        f'{{"messages": [{", ".join([USER, REPLY] * 20)}], "customer": " \\u1ea1 "}}',
        ROW.replace("Q", "\\\\\\u00e1\\ud83d\\ude00"),
        ROW.replace("role", "r\\u006fle"),
    ],
)
def test_usual_rows_take_the_fast_way(line: str) -> None:
    assert assert_same(line.encode())


@pytest.mark.parametrize(
    "line",
    [
        ROW.replace('"role": "user"', '"role": "user", "role": "user"'),
        ROW.replace('"role": "user"', '"role": "user", "ro\\u006ce" :"user"'),
        ROW.replace('"Q: a?"', '"Q: a?", "content": "Q\\u003a a?"'),
        ROW.replace('"Q: a?"', '"Q a?", "content": "\\u003a"'),
        ROW.replace('"Q: a?"', '"Q: a?", "content": "\\u003A\\u003a"'),
        ROW.replace('{"messages"', '{"messages": [], "messages"'),
        ROW.replace('{"messages"', '{"customer": "a", "customer": "a", "messages"'),
        ROW.replace('{"messages"', '{"customer": 1.0, "messages"'),
        ROW.replace('{"messages"', '{"customer": true, "messages"'),
        ROW.replace('{"messages"', '{"customer": " ", "messages"'),
        ROW.replace('{"messages"', '{"id": ' + "9" * 401 + ', "messages"'),
        ROW.replace('{"messages"', '{"id": 1e999, "messages"'),
        ROW.replace('{"messages"', '{"id": NaN, "messages"'),
        ROW.replace('{"messages"', '{"other": 1, "messages"'),
        ROW.replace('{"role": "user"', '{"weight": 1, "role": "user"'),
        ROW.replace("Q", "\\ud800"),
        ROW.replace("Q: a?", "\\u200b"),
        ROW.replace("user", "human"),
        ROW.replace("Q", "\t"),
        f"\ufeff{ROW}",
        f"{ROW} x",
        f'{{"messages": [{REPLY}, {USER}]}}',
        f'{{"messages": [{USER}, {SYSTEM}, {REPLY}]}}',
        f'{{"messages": [{SYSTEM}, {REPLY}]}}',
        f'{{"messages": [{USER}, {REPLY}, {USER}]}}',
        f'{{"messages": [{SYSTEM}]}}',
        '{"messages": []}',
        "{}",
        "[" * 100_000,
    ],
)
def test_any_doubt_is_left_to_the_strict_way(line: str) -> None:
    assert decode_usual(line.encode()) is None


def test_bytes_that_are_no_utf8_are_left_to_the_strict_way() -> None:
    assert decode_usual(ROW.encode().replace(b"Q", b"\xff")) is None


texts = st.text(alphabet='ạ:"\\{}, \u200b\u3164a1', max_size=6) | st.text(max_size=3)
messages = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": texts | st.none()})
ids = st.none() | st.integers() | st.floats() | texts | st.booleans()
rows = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=4) | st.just([json.loads(USER), json.loads(REPLY)])},
    optional={"id": ids, "situation": ids, "customer": ids, "more": ids},
)
PIECES = (
    '"role"', '"role" :"user",', '"content": "x",', '"id":1,', ":", "\\u003a", '"', "\\", "{", "}", ",", "[", "]", " ", "0",
)  # fmt: skip


@given(rows, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]), st.integers(0, 2), st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_fast_and_strict_agree(row: object, ascii_only: bool, separators: tuple[str, str], edits: int, seed: int) -> None:
    """Differential, over rows with doubled keys, spaces, escapes and cuts anywhere."""
    text = json.dumps(row, ensure_ascii=ascii_only, separators=separators)
    chance = random.Random(seed)
    for _ in range(edits):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice(PIECES) + text[place + chance.randrange(3) :]
    assert_same(text.encode("utf-8", "surrogatepass"))
