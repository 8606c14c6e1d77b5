"""What a text states, in the shipped task's Vietnamese, and what a prompt holds of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.task.definition import load_task
from loren.task.entities import Extractor

SHIPPED = Path(__file__).parents[3] / "examples" / "support-vi" / "task"


@cache
def vietnamese() -> Extractor:
    return load_task(SHIPPED).entities


def stated(text: str) -> list[tuple[str, str]]:
    return [(entity.kind, entity.value) for entity in vietnamese().states(text)]


def held(prompt: str, reply: str) -> bool:
    holds = vietnamese().held(prompt)
    entities = vietnamese().states(reply)
    assert entities, "nothing to compare"
    return all(holds.covers(entity) for entity in entities)


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("1.250.000đ", [("amount", "1250000")]),
        ("1,250,000 đồng", [("amount", "1250000")]),
        ("1,25 triệu", [("amount", "1250000")]),
        ("350k", [("amount", "350000")]),
        ("350 nghìn đồng", [("amount", "350000")]),
        ("2tr", [("amount", "2000000")]),
        ("hai triệu rưỡi", [("amount", "2000000")]),
        ("ba trăm năm mươi nghìn đồng", [("amount", "350000")]),
        ("một trăm hai mươi lăm nghìn", [("amount", "125000")]),
        ("24h", [("duration", "86400")]),
        ("24 giờ", [("duration", "86400")]),
        ("hai mươi bốn tiếng đồng hồ", [("duration", "86400")]),
        ("một ngày", [("duration", "86400")]),
        ("3-5 ngày làm việc", [("duration", "259200"), ("duration", "432000")]),
        ("mười lăm phút", [("duration", "900")]),
        ("năm ngày", [("duration", "432000")]),
        ("hai năm", [("duration", "63072000")]),
        ("mười năm", [("duration", "315360000")]),
        ("hai mươi năm", [("duration", "630720000")]),
        ("vài hôm", [("duration", "vague")]),
        ("nửa tiếng", [("duration", "vague")]),
        ("20%", [("percentage", "20")]),
        ("hai mươi phần trăm", [("percentage", "20")]),
        ("0,5 %", [("percentage", "0.5")]),
        ("2 lần", [("number", "2")]),
        ("hai lần", [("number", "2")]),
        ("thứ hai", [("number", "2")]),
        ("tháng mười", [("number", "10")]),
        ("20/11", [("date", "20/11")]),
        ("24/7", [("date", "24/7")]),
        ("20.11.2024", [("date", "20.11.2024")]),
        ("2024-11-20", [("date", "2024-11-20")]),
        ("20 tháng 11", [("number", "20"), ("number", "11")]),
        ("21:30", [("time", "21:30")]),
        ("ngày mai", [("date", "ngay mai")]),
        ("https://cuahang.vn/a?b=1.", [("link", "https://cuahang.vn/a?b=1")]),
        ("cuahang.com.vn", [("link", "cuahang.com.vn")]),
        ("hotro@cuahang.vn", [("link", "hotro@cuahang.vn")]),
        ("@cuahang", [("address", "@cuahang")]),
        ("mã DH0123", [("number", "123")]),
        ("1. Gửi mã đơn. 2. Chờ máy.", []),
        ("Đơn 3. Chờ máy.", [("number", "3")]),
    ],
)
def test_what_is_stated(text: str, entities: list[tuple[str, str]]) -> None:
    assert stated(text) == entities


ORDINARY = """
năm nay · năm ngoái · suốt năm qua · sang năm · không đồng ý · không ngày nào · ba lô · ba mẹ · tư vấn · chín chắn · một mã đơn
một sản phẩm · một lần nữa · một ngày tốt lành · một vài thông tin · cả hai đơn · hai bên · bảo mật hai lớp · lần đầu · nhiều lần
mấy đơn · trăm sự nhờ bạn · hàng nghìn · mười phân vẹn mười · bốn phương tám hướng · mỗi ngày · hằng tháng · ngày tháng năm sinh
thứ tự · đồng ý · phần nào · nhé.Bạn · a/b · ...
"""


@pytest.mark.parametrize("text", ORDINARY.strip().replace("\n", " · ").split(" · "))
def test_ordinary_words_state_nothing(text: str) -> None:
    assert stated(text) == []


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        ("bị trừ 2 lần", "hai lần"),
        ("bị trừ hai lần", "2 lần"),
        ("bi tru hai lan", "2 lần"),
        ("350k", "350.000đ"),
        ("350.000", "350 nghìn"),
        ("1,25 triệu", "1.250.000đ"),
        ("2 triệu", "hai triệu đồng"),
        ("24h", "một ngày"),
        ("3 hôm", "ba ngày"),
        ("mấy hôm nay", "vài ngày"),
        ("20 phần trăm", "20%"),
        ("20/11/2024", "ngày 20 tháng 11"),
        ("ngày 20 tháng 11", "20/11"),
        ("2 áo", "hai sản phẩm"),
        ("giao lúc 9:30", "9:30"),
        ("hqua", "hôm qua"),
        ("hom qua", "hôm qua"),
        ("xem cuahang.vn", "cuahang.vn"),
        ("đơn DH0123", "DH0123"),
    ],
)
def test_the_prompt_holds_the_same_said_otherwise(prompt: str, reply: str) -> None:
    assert held(prompt, reply)


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        ("bị trừ 2 lần", "ba lần"),
        ("chờ 2 ngày", "2 giờ"),
        ("chờ 2 ngày", "2 tuần"),
        ("bị trừ 2 lần", "2 ngày"),
        ("giảm 20k", "20%"),
        ("20 cái", "20%"),
        ("350k", "350 triệu"),
        ("20/11", "21/11"),
        ("20/11", "20/11/2025"),
        ("hôm qua", "ngày mai"),
        ("cuahang.vn", "cuahang.com"),
        ("một tháng trước", "ba tháng"),
        ("", "1 đồng"),
    ],
)
def test_the_prompt_does_not_hold_what_it_did_not_say(prompt: str, reply: str) -> None:
    assert not held(prompt, reply)


UNITS = st.sampled_from(["ngày", "giờ", "phút", "tuần", "tháng", "%", "lần", "đồng", "nghìn", "triệu", "k", "đ", "h", ""])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), UNITS)
def test_a_reply_may_always_say_what_its_prompt_says(number: int, unit: str) -> None:
    text = f"{number}{unit}" if unit in {"k", "đ", "h"} else f"{number} {unit}"
    assert held(f"Khách nói {text} rồi.", f"Mình hiểu {text} nhé.")
    grouped = f"{number:,}".replace(",", ".")
    if unit not in {"k", "đ", "h"}:
        assert held(f"Khách nói {grouped} {unit}", f"{number} {unit}")


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6), UNITS)
def test_a_number_that_the_prompt_lacks_is_never_held(asked: int, said: int, unit: str) -> None:
    if asked != said:
        assert not held(f"Khách nói {asked} {unit}", f"{said} {unit}")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    entities = vietnamese().states(text)
    holds = vietnamese().held(text)
    assert all(holds.covers(entity) for entity in entities)
