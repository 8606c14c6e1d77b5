"""Every kind of personal data but mail and phone: what is found, where, and what only looks like it."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from loren.data.check import check_file
from loren.data.personal.find import NOUNS, find_pii
from loren.data.personal.glance import may_hold_pii
from loren.data.rules import all_rules

# Rule, and a text in which [[...]] is what it finds; nothing else is found.
FOUND = """
pii-id-number   Số CCCD của tôi là [[079203001234]].
pii-id-number   CCCD:[[079 203 001 234]]
pii-id-number   căn cước công dân số [[001088012345]], cấp năm 2021
pii-id-number   can cuoc cua em [[038099001234]] a
pii-id-number   [[079203001234]] là số căn cước của mẹ em
pii-id-number   CCCD [[079203001234]]ạ, của em
pii-id-number   CCCD [[079203001234]]Anh xem giúp
pii-id-number   CCCD: [[079203001234]]e
pii-id-number   CMND [[025123456]] cấp tại TP HCM
pii-id-number   chứng minh thư: [[025 123 456]]
pii-id-number   MST cá nhân [[079203001234]]
pii-id-number   My national ID is [[079203001234]].
pii-id-number   cccd０７９: [[０７９２０３００１２３４]]
pii-id-number   СССD [[079203001234]]
pii-id-number   CCCD [[0792\u200b0300\u200b1234]]
pii-id-shape    Mình gửi [[079203001234]] rồi nhé
pii-id-shape    [[001 088 012 345]]
pii-card        Thẻ [[4242 4242 4242 4242]] bị trừ hai lần
pii-card        [[4242-4242-4242-4242]]
pii-card        [[4242.4242.4242.4242]]
pii-card        [[4111111111111111]] hết hạn 12/27
pii-card        [[4111 1111 1111 1111]] 12/27
pii-card        AMEX [[3782 822463 10005]]
pii-card        JCB [[3530111333300000]]
pii-card        Napas [[9704366614626070]]
pii-card        [[4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2]]
pii-card        [[٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢]]
pii-card        card [[4242\u2011424242424242]]
pii-card        Thẻ [[4111 1111 1111 1111]]ạ, hết hạn rồi
pii-card        Thẻ [[4111111111111111]]a nhé
pii-card        Thẻ ATM [[970422 91 1234 5678]] bị nuốt
pii-card        thẻ trả trước [[4688 3301 2745 09 16]] nhé
pii-card        my visa [[4688-3301-2745-09-16]]
pii-bank-account  STK [[19031234567891]] Techcombank
pii-bank-account  STK [[19031234567891]]ạ
pii-bank-account  stk[[0071000123456]]
pii-bank-account  số tài khoản của mình là [[0071 0001 23456]]
pii-bank-account  chuyển về Vietcombank [[0071000123456]] giúp em
pii-bank-account  bank account [[1034567890]], thanks
pii-bank-account  STK [[0912345678]] MB Bank
pii-bank-account  Techcombank - [[19036789012345]] - Lan
pii-tax-code    MST [[0100233488]]
pii-tax-code    Mã số thuế: [[0100233488-001]]
pii-tax-code    our tax code is [[0100233488]]
pii-iban        [[DE89370400440532013000]]
pii-iban        IBAN: [[DE89 3704 0044 0532 0130 00]], thanks
pii-iban        [[GB82 WEST 1234 5698 7654 32]] xin cảm ơn
pii-iban        [[gb82west12345698765432]]
pii-iban        [[DЕ89370400440532013000]]
pii-passport    Hộ chiếu [[C1234567]] còn hạn
pii-passport    passport no. [[P01234567]]
pii-passport    [[B1234567]] là số hộ chiếu của tôi
pii-passport    passport number [[YA1234567]]
pii-passport    US passport: [[512345678]]
pii-passport    hộ chiếu [[С1234567]]
pii-plate       biển số [[29A-123.45]]
pii-plate       Xe [[51G-678.90]] đậu trước cửa
pii-plate       xe máy [[59X1-234.56]]
pii-plate       BKS [[30F 12345]]
pii-plate       biển số xe [[29X1 1234]]
pii-plate       license plate [[7ABC123]] please
pii-plate       plate number is [[AB12 CDE]]
pii-spelled-number  gọi [[không chín một hai ba bốn năm sáu bảy tám]] nhé
pii-spelled-number  goi [[khong chin mot hai ba bon nam sau bay tam]] nhe
pii-spelled-number  call [[zero nine one two, three four five, six seven one]]
pii-spelled-number  [[oh nine double one four five six seven eight two]]
pii-spelled-number  at [[four one five, five five five, two six seven one]]
pii-spelled-number  số [[không chín 1 hai ba bốn 5 sáu bảy tám]]
pii-spelled-number  số [[không chín một hai 65 bảy tám 90]] nhé
pii-spelled-number  số [[không chín 8 bảy 65 bốn 3 hai một]] trộn
pii-spelled-number  it is [[zero nine one two 345 six seven]]
pii-name        Tôi tên là [[Nguyễn Văn Hùng]], ở Huế
pii-name        chị [[Trần Thị Mai]] nhận giúp
pii-name        chủ tài khoản [[NGUYEN THI HOA]]
pii-name        Người nhận: [[Lê Minh Quân]]
pii-name        My name is [[Ann Lee]].
pii-name        for Mr. [[David Brown]], please
pii-address     giao tới [[12 đường Lê Lợi, phường Bến Nghé, quận 1]] nhé
pii-address     [[45/7 Nguyễn Trãi, P.3, Q.5]]
pii-address     ở [[số 8 ngõ 102 phố Khương Trung, quận Thanh Xuân]]
pii-address     [[tổ 5, phường Hòa Minh, quận Liên Chiểu]]
pii-address     ship to [[221B Baker Street, London]]
""".strip().split("\n")

NOT_FOUND = """
đơn 079203001234 chưa giao
mã vận đơn: 079203001234
DH079203001234
079903001234
013203001234
000000000000
CCCD 000000000000
số CMND gồm 9 số
CCCD hết hạn, mã đơn 123456789
4242 4242 4242 4243
1234 5678 9012 3452
thẻ 4688 3301 2745 09 17
đơn 4688 3301 2745 09 16
mã vận đơn 970422 91 1234 5678
4688 3301 2745 09 16
giá thẻ 4688 33 01 27
CCCD 079203001234VN
CCCD 079203001234a1
CCCD 079203001234abcdef
9999 9999 9999 9995
mã giao dịch 4242424242424242
order 4242424242424242
SPXVN4242424242424242
4.000.000.000.000
20 000 000 000 000
IMEI 356938035643809
STK của shop là gì
tài khoản bị trừ 12500000
tài khoản bị trừ 1.250.000đ
tài khoản + 500000
Vietcombank trừ 2.000.000đ
MST 0100233489
MST: 0312345678
tài khoản -50000123
STK nhận được 219.031.234
tài khoản của tôi từ lâu đã có thông báo 12345678
1.079.203.001.234 đồng
10A-123.45
mã số thuế 10 chữ số
DE88370400440532013000
VN12345678901234567890
AB12 ngày mai giao 12345 nhé
C1234567
P01234567
passport photo 35x45
29A-12345
SKU 29A-12345
phòng 29A, tầng 3
lô 29A1234
plate number two
một hai ba bốn năm sáu bảy tám chín
không không không không không không không không
one two three four five six seven eight
six seven eight nine 10 11 12 13
không phải hai ba năm 2024 và 2025
nine eight seven six five four three two
năm bảy phút nữa
Nguyễn Trãi
đường Nguyễn Văn Cừ
shop Hoàng Gia
anh Hùng
<NAME_1>
chị <NAME_1> ở <ADDRESS_1>
<ID_1> 123456789
quận 1
12 cái áo
12 Áo thun
số 12
phố 5
Mr. and Mrs.
My name is
""".strip("\n").split("\n")


@pytest.mark.parametrize("line", FOUND)
def test_it_is_found_whole_and_alone(line: str) -> None:
    rule, marked = line.split(maxsplit=1)
    start, end = marked.index("[["), marked.index("]]") - 2
    text = marked.replace("[[", "").replace("]]", "")
    assert [tuple(finding) for finding in find_pii(text)] == [(rule, start, end)]
    assert may_hold_pii(f"Xin chào.\n{text}\nCảm ơn.")


@pytest.mark.parametrize("text", NOT_FOUND)
def test_it_only_looks_like_it(text: str) -> None:
    assert find_pii(text) == []
    assert find_pii(f"Khách hỏi: {text}, nhờ kiểm tra.") == []


@pytest.mark.parametrize("line", [line for line in FOUND if "name" in line or "address" in line or "spelled" in line])
def test_loose_marks_hide_nothing(line: str) -> None:
    """Letters and their marks apart, as files from a Mac have them: the same is found at its own places."""
    rule, marked = line.split(maxsplit=1)
    marked = unicodedata.normalize("NFD", marked)
    text = marked.replace("[[", "").replace("]]", "")
    found = [tuple(finding) for finding in find_pii(text)]
    assert found == [(rule, marked.index("[["), marked.index("]]") - 2)]


@pytest.mark.parametrize(
    ("plain", "hidden"),
    [
        ("lan@shop.vn", "l\u0430n@sh\u043ep.vn"),  # Cyrillic
        ("lan@shop.vn", "l\u03b1n@sh\u03bfp.vn"),  # Greek
        ("lan@shop.vn", "\U0001d425\U0001d41a\U0001d427@shop.vn"),  # mathematical letters
        ("lan@shop.vn", "la\u00adn\u200d@\ufeffshop.v\u2064n"),
        ("lan@shop.vn", "l\u0336a\u0336n\u0336@shop.vn"),  # struck out
        ("0912345678", "O912345678"),
        ("0912 345 678", "o912 345 678"),
        ("0912345608", "09123456O8"),
        ("0912345678", "0\u03369\u03361\u03362\u03363\u03364\u03365\u03366\u03367\u03368"),
        ("0912345678", "".join(f"{digit}\ufe0f\u20e3" for digit in "0912345678")),
        ("0912345678", "०९१२३४५६७८"),
        ("4242424242424242", "４２４２\u200b４２４２４２４２４２４２"),
    ],
)  # fmt: skip
def test_other_characters_hide_nothing(plain: str, hidden: str) -> None:
    def covered(text: str) -> list[tuple[str, str]]:
        return [(finding.rule, text[finding.start : finding.end]) for finding in find_pii(text)]

    (rule, _), *rest = covered(f"xin {plain} nhé")
    assert rest == []
    assert [found[0] for found in covered(f"xin {hidden} nhé")] == [rule]
    assert covered(f"xin {hidden} nhé")[0][1].rstrip("\u0336\ufe0f\u20e3") == hidden.rstrip("\u0336\ufe0f\u20e3")


def test_every_rule_of_the_family_has_its_noun_and_its_example_here() -> None:
    family = {rule.name for rule in all_rules().values() if rule.id.startswith("D3")}
    assert set(NOUNS) == family
    assert {line.split()[0] for line in FOUND} | {"pii-email", "pii-phone"} == family


def test_an_earlier_kind_keeps_its_digits() -> None:
    text = "0912345678@gmail.com, STK 0912345678, gọi 0912345678"
    assert [finding.rule for finding in find_pii(text)] == ["pii-email", "pii-bank-account", "pii-phone"]


def test_messages_say_the_kind_and_never_the_value(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    text = "CCCD 079203001234, thẻ 4242 4242 4242 4242, chị Nguyễn Thị Lan, 12 đường Lê Lợi, quận 1"
    row = f'{{"messages": [{{"role": "user", "content": "{text}"}}, {{"role": "assistant", "content": "Yes."}}]}}\n'
    file.write_text(row, encoding="utf-8")
    issues = check_file(file, minimum_rows=0).issues
    messages = [issue.message for issue in issues]
    assert len(messages) == 4
    for message in messages:
        assert not re.search(r"\d{4}|Lan|Lợi", message)
        assert re.search(r"found .* at characters \d+ to \d+ of the text", message)
