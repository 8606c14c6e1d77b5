"""Phone numbers and e-mail addresses: what is found, what is not, and where; and the time that any personal data takes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.fold import fold
from loren.data.personal.find import find_pii
from loren.data.personal.glance import may_hold_pii

# Each is one number, and the finding covers all of it.
PHONES = """
0912 345 678
0912.345.678
0912-345-678
0912345678
0912 345678
091 234 5678
09 1234 5678
09 12 34 56 78
0912 34 56 78
0912_345_678
0912,345,678
0912–345–678
0912\u00a0345\u00a0678
(0912) 345 678
(0)912 345 678
0 912 345 678
0 9 1 2 3 4 5 6 7 8
+84912345678
+84 912 345 678
+84-912-345-678
+84.912.345.678
+84 (0)90 123 4567
+84(0)912345678
(+84) 912 345 678
+84 0912 345 678
84912345678
84 912 345 678
0084 912 345 678
(024) 3826 4567
024 3826 4567
024.3826.4567
0243.826.4567
02438264567
028 3822 1234
1900 1234
1900.1234
19001234
1900 123 456
1800 6060
1800-6060
+1 415 555 2671
+44 20 7946 0958
(415) 555-2671
415-555-2671
０９１２３４５６７８
０９１２ ３４５ ６７８
٠٩١٢٣٤٥٦٧٨
0912\u200b345\u200b678
0\u200b9\u200b1\u200b2\u200b3\u200b4\u200b5\u200b6\u200b7\u200b8
0912\u2060345\ufeff678
𝟎𝟗𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖
""".strip().split("\n")

# Texts that hold numbers which are no phone numbers.
OTHER_NUMBERS = """
DH0912345678
đơn DH-0912345678 chưa giao
SPXVN0123456789
GHTK-0912345678
S22.A21.17375698.BO.MT1-A1.880506654
VTP1234567890123
mã vận đơn 8401234567890
1234567890123
0123456789012
mã đơn 0912345678
Mã đơn hàng: 0912345678
đơn hàng số 0912345678
#0912345678
order id 0912345678
order 1029384756
80012345678
880506654
giá 1.250.000đ
12.500.000 đ
1,250,000 VND
84.500.000đ
84 912 345 678 đồng
+500.000.000đ
18000000
18.005.000đ
19.001.234 đồng
1900.000đ
20 000 000
2023-09-12 08:30:00
12/09/2023
02-09-2023 24
09.12.2023 10:30
ngày 02.09.2023 123
từ 8h00 đến 17h30 ngày 20/11/2023
20231109 123456
giai đoạn 1900-1945
2023 2024 2025
v1.2.3.4567
phiên bản 10.0.19045.3693
192.168.100.123
550e8400-e29b-41d4-a716-0912345678ab
59f57fc9-52e7-ee28-fafa-0392548062cd
e1a93fef-fbdf-9e05-9909-acb06396932f
0912345678abcdef
0912345678A
0912345678b2
0.9123456789
3.14159265358979
4111 1111 1111 1112
9704 0912 3456 7890
STT 01 02 03 04 05 06 07
000000000000
12345678
""".strip().split("\n")

MAILS = """
a@b.vn
lan.nguyen@gmail.com
tên.dài+x@mail.shop.com.vn
ann_lee-2@a-b.example.co
thư@bưuđiện.vn
a@xn--fiq228c.com
0912345678@gmail.com
A@EXAMPLE.COM
a＠b．vn
a\u200b@b.v\u200bn
ａｎｎ@example.com
git@github.com
l*n@shop.vn
""".strip().split("\n")

NO_MAILS = [
    "@shop",
    "a @ b",
    "logo@2x.png",
    "a@localhost",
    "lodash@4.17.21",
    "@@@@",
    "a@b.c",
    "100@50k",
    "thu@.com",
    "a@b..com",
    "@a.vn",
    "git clone git@github.com:org/repo.git",
    "hg@host.example.com:~/repo",
    "ssh://lan@server.shop.vn/repo",
    "git+ssh://git@server.shop.vn:2222/repo.git",
    "https://user:password@git.shop.vn/repo.git",
    "l***@gmail.com",
]


@pytest.mark.parametrize("number", PHONES)
@pytest.mark.parametrize("frame", ["{}", "Gọi mình số {} nhé.", "SĐT: {}", "<{}>", "tên Lan, {}; cảm ơn", "đơn 25 của {}"])
def test_a_phone_number_is_found_whole(number: str, frame: str) -> None:
    start = frame.index("{}")
    assert [(found.rule, found.start, found.end) for found in find_pii(frame.format(number))] == [
        ("pii-phone", start, start + len(number))
    ]


@pytest.mark.parametrize("text", OTHER_NUMBERS)
def test_other_numbers_are_no_phone_numbers(text: str) -> None:
    assert find_pii(text) == []
    assert find_pii(f"Khách hỏi: {text}, nhờ kiểm tra.") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sđt0912345678", ["0912345678"]),
        ("gọi 0912345678nhé", ["0912345678"]),
        ("gọi 0912345678ạ", ["0912345678"]),
        ("gọi 0912345678a, nhé", ["0912345678"]),
        ("Liên hệ:0912345678b", ["0912345678"]),
        ("gọi 0912345678anh", ["0912345678"]),
        ("_0912345678_", ["0912345678"]),
        ("Lan-0912345678", ["0912345678"]),
        ("shop:0912.345.678/0987.654.321", ["0912.345.678", "0987.654.321"]),
        ("0912345678/0987654321", ["0912345678", "0987654321"]),
        ("0912345678-0987654321", ["0912345678", "0987654321"]),
        ("0912345678,0987654321", ["0912345678", "0987654321"]),
        ("0912 345 678 0987 654 321", ["0912 345 678", "0987 654 321"]),
        ("đơn hàng của số 0912345678", ["0912345678"]),
        ("đơn 0912 345 678", ["0912 345 678"]),
        ("mà 0912345678 không nghe", ["0912345678"]),
        ("size 38 39 0912 345 678", ["0912 345 678"]),
        ("lúc 17:30, 0243.826.4567", ["0243.826.4567"]),
        ("zalo.me/0912345678", ["0912345678"]),
        ("0912345678 k nghe máy", ["0912345678"]),
        ("a@b.vn 0912345678", ["a@b.vn", "0912345678"]),
        ("DH0912345678 của 0987654321", ["0987654321"]),
        ("https://a.vn/x?to=lan@shop.vn", ["a.vn/x?to=lan@shop.vn"]),
        ("https://lan@shop.vn", ["lan@shop.vn"]),
        ("lan@shop.vn:đã gửi", ["lan@shop.vn"]),
    ],
)
def test_what_stands_around_decides(text: str, expected: list[str]) -> None:
    assert [text[found.start : found.end] for found in find_pii(text)] == expected


@pytest.mark.parametrize("mail", MAILS)
@pytest.mark.parametrize("frame", ["{}", "Gửi tới {}, nhé", "<{}>", "({}).", "mailto:{}", "'{}'", "email: {}?"])
def test_an_address_is_found_whole(mail: str, frame: str) -> None:
    start = frame.index("{}")
    found = find_pii(frame.format(mail))
    assert [tuple(finding) for finding in found] == [("pii-email", start, start + len(mail))]


@pytest.mark.parametrize("text", NO_MAILS)
def test_no_address(text: str) -> None:
    assert find_pii(text) == []


HOSTILE = [
    "1", "0", "0 ", "09 ", "0912 ", "0912 345 ", "091.", "0-", "0  ", "+84", "+", "(", "0912345678-", "0 9 1 2 3 ", "84.", "1900 ",
    "mã đơn 0", "@", "a@", "a.", "a@b.", "a@b.vn ", "０", "0\u200b", "\u200b", "Đơn ", "415-555-", "a" * 63 + "@", "4242 ", "4 2 ",
    "123 ", "1234 567 ", "stk 12 ", "STK 190312 ", "CCCD 079203001234 ", "079203001234 ", "cccd ", "VN12", "DE89 3704 ", "DE89",
    "29A-123.", "29A-123.45 ", "29A", "C12345678 ", "passport C1234567 ", "plate AB12 ", "không ", "không chín ", "zero one ",
    "Nguyễn ", "anh Nguyễn Văn ", "Mr ", "my name is Ann ", "12 đường ", "12 Lê Lợi, phường ", "12 Lê Lợi ", "12/", "12, phường 3",
    "o", "o0", "O9", "\u0430@", "a\u0336", "e\u0301", "<ID_1>", "A", "a1", "A,",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_length_only(unit: str) -> None:
    """Eight times the text may take eight times the time, not sixty-four; a quadratic search would."""

    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        before = time.process_time()
        find_pii(text)
        return time.process_time() - before

    most = 25 * max(seconds(12_500), seconds(12_500), 0.002)
    assert any(seconds(100_000) < most for _ in range(3))  # other work on the machine may be what was slow


@given(st.text(max_size=60) | st.text(alphabet="0189+(). -đ@aé\u200b０", max_size=60))
@settings(max_examples=500, deadline=None)
def test_spans_lie_in_the_text_in_order_and_apart(text: str) -> None:
    findings = find_pii(text)
    places = [place for found in findings for place in (found.start, found.end)]
    assert places == sorted(places)
    assert all(0 <= found.start < found.end <= len(text) for found in findings)
    assert not findings or may_hold_pii(text)


@given(st.text(alphabet="abcdefghiklmnopqrstuvxyăâđêôơư ,.?!", max_size=200))
@settings(max_examples=300, deadline=None)
def test_text_without_digits_and_at_signs_is_clean(text: str) -> None:
    assert find_pii(text) == []


def test_folding_keeps_the_way_back() -> None:
    folded = fold("x\u200b０\u00ad1y")
    assert folded.text == "x01y"
    assert folded.span(1, 3) == (2, 5)
    assert fold("Tiếng Việt, có dấu: 1.250.000₫").places is None
