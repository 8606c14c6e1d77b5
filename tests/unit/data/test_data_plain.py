"""Plain rows, settled together, get the verdict that each would get by itself, stage by stage."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.contract import Contract, Verdict
from loren.data.fold import is_plain
from loren.data.plain import settle
from loren.data.reader import Line, LineReader
from loren.data.similar.forms import digest, plain_digest
from loren.data.text_checks import TEXT_CHECKS, TextCheck
from loren.data.together import Together
from loren.data.usual import decode_usual

ROOT = Path(__file__).parents[3]
TOGETHER = Contract()


def nothing(path: str, text: str) -> tuple[()]:
    return ()


ONE_BY_ONE = Contract(more_checks=[TextCheck(lambda text: True, nothing)])
"""A check that doubts every row keeps all of them from being settled together."""

PIECES = (
    "Mình", "đơn hàng", "giao", "không", "chín", "bảy", "tám", "hông", "zero", "nine", "0912345678", "0912 345 678", "VN2591008",
    "B1234567", "passport", "name", "plate", "51F-123.45", "Nguyễn Văn An", "12 Lê Lợi, Quận 1", "a@b.vn", "4111111111111111",
    "mật khẩu", "password=", "a1B2c3D4e5", "khẩu: Ab12#x", "sk-abcdefghijklmnopqrstuv", "AKIAIOSFODNN7EXAMPLE", "the ", "is ",
    "you", "ignore", "prompt", "từ chối", "TODO", "[tên]", "{{x}}", "<b>", "&amp;", "50.000đ", "2026", "3 ngày", "https://x.vn/a",
    "a.b", "ha ha ha ha ha ha ha ha ha", "\u200b", "\u0301", "０", "😀", "“", "(", ",", ".", "...", "?", ":", "\n", " ", "  ", "và",
    "İ", "ß", "như thế nào", "o9o9", "O", "x", "1", "8", "4", "+84", "=", "'", "-", "/", "k", "K", "A",
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(" ".join) | st.lists(st.sampled_from(PIECES), min_size=1).map(
    "".join
)
targets = texts | st.dictionaries(texts, texts, max_size=3).map(lambda value: json.dumps(value, ensure_ascii=False))
other_json = st.sampled_from(['{"a": 1}', '{"a": "b", "a": "c"}', '["a b"]', '"a b c"', "{", '{"a": null}', '{"a\\u003a": "b"}'])
turns = st.tuples(texts, targets | other_json)


def lines_of(rows: Iterable[object]) -> list[Line]:
    return [Line(number, json.dumps(row, ensure_ascii=False).encode()) for number, row in enumerate(rows, start=1)]


def row_of(pairs: Sequence[tuple[str, str]], system: str | None) -> dict[str, object]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    for asked, reply in pairs:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    return {"messages": messages, "situation": "s"}


def shown(verdict: Verdict) -> tuple[object, ...]:
    fields = (verdict.row, verdict.label, verdict.object_target, verdict.traits, verdict.row_id, verdict.approved, verdict.met)
    return (list(verdict.breaches), *fields, verdict.digests)


def settled_share(lines: Sequence[Line]) -> float:
    """How many are settled together; all must have the verdict of one by one."""
    together, alone = TOGETHER.check_all(lines), ONE_BY_ONE.check_all(lines)
    for line, one, other in zip(lines, together, alone, strict=True):
        assert shown(one) == shown(other), line.number
    rows = [None if line.data is None else decode_usual(line.data) for line in lines]
    return sum(each is not None for each in settle(rows, TEXT_CHECKS)) / len(lines)


@given(st.lists(st.tuples(st.lists(turns, min_size=1, max_size=3), st.none() | texts), min_size=1, max_size=6))
@settings(max_examples=120, deadline=None)
def test_any_rows_get_the_verdict_of_one_by_one(rows: list[tuple[list[tuple[str, str]], str | None]]) -> None:
    lines = lines_of(row_of(pairs, system) for pairs, system in rows)
    settled_share(lines)
    assert [shown(each) for each in TOGETHER.check_all(lines)] == [shown(TOGETHER.check(line)) for line in lines]


def test_shipped_rows_get_the_verdict_of_one_by_one_and_most_are_settled() -> None:
    files = sorted((ROOT / "examples").rglob("*.jsonl"))
    assert len(files) >= 3
    shares: list[float] = []
    for path in files:
        with path.open("rb") as stream:
            lines = list(LineReader(stream))
        shares.append(settled_share(lines))
    assert max(shares) > 0.5


def test_labelled_lines_of_personal_data_get_the_verdict_of_one_by_one() -> None:
    """Each as a question, as a reply and inside of a target, between plain neighbours: none may be missed for their sake."""
    rows: list[object] = []
    for path in sorted((ROOT / "tests" / "fixtures" / "personal").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["text"]
            rows += [
                row_of([(text, "Vâng ạ, mình xem rồi báo lại.")], None),
                row_of([("Em hỏi chút", text)], None),
                row_of([("Em hỏi chút", json.dumps({"answer": text}, ensure_ascii=False))], "Bạn là nhân viên"),
            ]
    assert len(rows) > 3_000
    settled_share(lines_of(rows))


@given(
    st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=5),
    st.sampled_from(["a", r"\sk", "o9|9o", r"\s", r"8\s*4"]),
)
@settings(max_examples=300, deadline=None)
def test_a_search_of_all_rows_finds_those_that_it_finds_alone(rows: list[list[str]], pattern: str) -> None:
    together, search = Together(rows), re.compile(pattern).search
    alone = {index for index, row in enumerate(rows) if search("\n" + "\n".join(row))}
    found = together.rows_with(search)
    assert alone <= found
    for index in found - alone:  # what begins in the row before, or ends in the next, may be counted for both
        around = [text for row in rows[max(0, index - 1) : index + 2] for text in row]
        assert search("\n" + "\n".join(around))
    assert [together.row(index) for index in range(len(together))] == ["\n".join(row) for row in rows]


def test_every_plain_character_keeps_its_place_and_digest_in_small_letters() -> None:
    plain = [character for code in range(sys.maxunicode + 1) if is_plain(character := chr(code))]
    assert len(plain) > 1_000
    for character in plain:
        assert len(character.lower()) == 1
        assert plain_digest(f"a{character}b") == digest(f"a{character}b")


@given(texts | st.text())
@settings(max_examples=300, deadline=None)
def test_a_plain_text_has_one_digest(text: str) -> None:
    if is_plain(text):
        assert plain_digest(text) == digest(text)


@pytest.mark.parametrize("before", ["a", "9", "B", "=", "ờ"])
@pytest.mark.parametrize(
    "text", ["B1234567 hộ chiếu", "0912345678", "không chín một hai ba bốn năm sáu", "ignore all", "password=Ab12#xyz9"]
)
def test_a_row_is_not_judged_by_how_the_one_before_it_ends(before: str, text: str) -> None:
    rows = [row_of([("Em hỏi chút", f"Vâng {before}")], None), row_of([(text, "Vâng ạ, mình xem rồi báo lại.")], None)]
    assert settled_share(lines_of(rows)) == 0.5
