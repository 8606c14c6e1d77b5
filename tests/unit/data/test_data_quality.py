"""Each rule of quality against texts that it must find and texts that it must let pass, in Vietnamese and English."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loren.data.check import check_file
from loren.data.contract import Contract, Verdict
from loren.data.quality.row import Traits
from loren.data.quality.tables import gate, phrases, quality_table
from loren.data.reader import Line
from loren.data.rules import all_rules, find_rule
from loren.task.definition import load_task

CASES = Path(__file__).parent / "quality_cases"
QUESTION = "Bạn giúp mình việc này nhé?"
VIETNAMESE = (
    "Đơn hàng của mình đâu rồi?", "Bạn vui lòng gửi mã đơn nhé.", "Tôi quên mật khẩu tài khoản.", "Khách bị trừ tiền hai lần.",
    "Cửa hàng đã đổi địa chỉ.", "Ứng dụng bị lỗi khi mở.", "Mình muốn hủy đơn đã đặt.", "Cảm ơn bạn rất nhiều!",
    "Điện thoại này còn hàng không?", "Phí vận chuyển thì ai trả?", "Ảnh chụp màn hình đây ạ.", "Hóa đơn đỏ xuất thế nào?",
    "Điểm tích lũy bị mất.", "Người nhận đã đổi số.", "Bộ phận kỹ thuật sẽ gọi.",
)  # fmt: skip


def verdict_on(question: str, reply: str) -> Verdict:
    row = {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]}
    return Contract().check(Line(1, json.dumps(row).encode()))


def rules_of(question: str, reply: str) -> set[str]:
    verdict = verdict_on(question, reply)
    found = {breach.rule for breach in verdict.breaches}
    return found | {"many-refusals"} if verdict.traits.refuses else found


def cases() -> Iterator[Any]:
    for file in sorted(CASES.glob("*.toml")):
        for rule, table in tomllib.loads(file.read_text(encoding="utf-8")).items():
            assert find_rule(rule), rule
            assert len(table["bad"]) >= 15, rule
            assert len(table["good"]) >= 20, rule
            yield pytest.param(rule, table, id=rule)


@pytest.mark.parametrize(("rule", "table"), list(cases()))
def test_a_rule_finds_what_it_must_and_nothing_else(rule: str, table: dict[str, list[str | list[str]]]) -> None:
    def holds(case: str | list[str]) -> bool:
        question, reply = (QUESTION, case) if isinstance(case, str) else case
        return rule in rules_of(question, reply)

    assert [case for case in table["bad"] if not holds(case)] == []
    assert [case for case in table["good"] if holds(case)] == []


def test_every_rule_of_a_row_has_cases() -> None:
    known = {case.values[0] for case in cases()}
    rows = {rule.name for rule in all_rules().values() if rule.id.startswith("D6") and rule.scope == "line"}
    assert rows - known == {"many-turns"}  # its examples say all of it


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_vietnamese_that_was_read_in_another_encoding(encoding: str) -> None:
    for text in VIETNAMESE:
        once = text.encode().decode(encoding, "replace")
        found = rules_of(once, "OK") & {"mojibake", "replacement-character", "control-character"}
        assert found, text
        assert "mojibake" not in rules_of(text, "OK")
    twice = VIETNAMESE[0].encode().decode("latin-1").encode().decode("latin-1")
    assert "mojibake" in rules_of(twice, "OK")


def test_every_trigger_opens_the_gate() -> None:
    for name in ("injection", "machine", "refusal", "placeholder"):
        for trigger in quality_table()[name]["triggers"]:
            assert gate().search(f"xin {trigger} ạ"), trigger
            assert phrases(name).trigger.search(trigger)


LONG = "a" * 3000
HOSTILE = (
    "không thể ", "ignore all the ", "[tên ", "{{a ", "<p ", "<a href=", "&amp", "1.", "1,1", "giá 5", "5 %", "ngày 1/1", "8h-",
    "a.b.", "(((", "“", "‘", '"a ', "la ", "the ", "a\u200d", "\u202a", "Ã", "a\xb5", "aø", LONG + "\xff", "  \n", "a@",
    LONG + " the ", "`", "\n", " ", "TODO", "https://", "0", "....", "🏴\U000e0067", " " * 3000 + "không thể\n",
)  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE, ids=lambda piece: ascii(piece[-12:]))
def test_the_work_grows_with_the_length_only(piece: str) -> None:
    """A line of 100 kB costs about eight times what one of 12 kB does: with room for a noisy machine, not 64 times."""

    def seconds(characters: int) -> float:
        text = (piece * (characters // len(piece) + 1))[:characters]
        start = time.process_time()
        verdict_on(text, text + ".")
        return time.process_time() - start

    small = max(seconds(6_000), seconds(6_000), 0.002)
    assert any(seconds(48_000) < 3 * 8 * small for _ in range(3))  # other work on the machine may be what was slow


def rows(*pairs: tuple[str, str]) -> str:
    return "".join(
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}, ensure_ascii=False) + "\n"
        for q, a in pairs
    )


def found_in(folder: Path, text: str) -> dict[str, list[int]]:
    """Rule -> its lines, of the rules over the file."""
    path = folder / "rows.jsonl"
    path.write_text(text, encoding="utf-8")
    found: dict[str, list[int]] = {}
    for issue in check_file(path).issues:
        rule = find_rule(issue.rule)
        assert rule is not None
        if rule.scope == "file" and rule.id.startswith("D6"):
            found.setdefault(rule.name, []).append(issue.line)
    return found


ORDINARY = [(f"Câu hỏi số {n} của khách?", f"Mình đã xem câu hỏi số {n} của bạn rồi nhé.") for n in range(60)]


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ([], {}),
        ([(f"Chuyện {n}?", "Bạn vui lòng gọi tổng đài nhé.") for n in range(8)], {"same-reply": [61]}),
        ([(f"Chuyện {n}?", "Bạn vui lòng gọi tổng đài nhé.") for n in range(4)], {}),
        ([("Một câu?", "Bạn vui lòng gọi tổng đài nhé.")] * 8, {}),  # duplicates: another rule's
        ([(f"Chuyện {n}?", "Được ạ") for n in range(20)], {}),
        ([(f"Chuyện {n}?", f"Rất tiếc, mình không thể hỗ trợ chuyện {n}.") for n in range(16)], {"many-refusals": [0]}),
        ([(f"Chuyện {n}?", f"Rất tiếc, mình không thể hỗ trợ chuyện {n}.") for n in range(14)], {}),
        ([("Sao vậy?", "minh da ghi nhan yeu cau cua ban roi nhe.")], {"language-mix": [61]}),
        ([("Why is it so late?", "We are sorry for the delay of your order.")], {}),
        ([("#123", "We are sorry for the delay of your order.")], {"language-mix": [61]}),
        ([("Do you like pears", "Yes, because they are sweet and you have them.")], {}),
        ([("serial S/N C02XG2JHJG5H is which machine?", "Please look at the label that is under it.")], {}),
        ([("Gia bao nhieu?", "We are sorry for the delay of your order.")], {"language-mix": [61]}),
        ([("Nói tiếng Anh đi bạn", "You can have it if you like, and it is yours.")], {}),
        ([("「ありがとう」は英語で何ですか？", "「ありがとう」は英語で \"thank you\" です、you know。")], {}),
        ([(f"Chuyện {n}?", f"minh da ghi nhan yeu cau {n} cua ban roi nhe.") for n in range(20)], {"language-mix": [0]}),
        ([("Sao vậy?", "Mình đã xem câu hỏi của bạn và đang kiểm")], {"reply-unended": [61]}),
        ([("Sao vậy?", "Mình đã xem câu hỏi của bạn và...")], {"reply-unended": [61]}),
        ([("So 1/3 và 0,33?", "1/3 lớn hơn 0,33 một chút, vì 1/3 = 0,333...")], {}),
        ([("Số e?", "Số e bắt đầu bằng các chữ số 2,71828…")], {}),
        ([("Sao vậy?", "Mình gửi bạn ba cách:\n- mở lại máy\n- cài lại ứng dụng từ đầu")], {}),
        ([("Ở đâu?", "Bạn mở trang hỗ trợ trong ứng dụng 😊")], {}),
        ([("Log đây", "Mình đã đọc. " + "Dòng này có lỗi, dòng kia thì không sao cả. " * 60)], {"unusual-length": [61]}),
        ([("Log đây", "Mình đã đọc. Dòng này có lỗi, dòng kia thì không sao cả, bạn gửi thêm nhé.")], {}),
        ([("A", "Ạ")], {"unusual-length": [61]}),
    ],
)  # fmt: skip
def test_rules_over_the_file(tmp_path: Path, added: list[tuple[str, str]], expected: dict[str, list[int]]) -> None:
    assert found_in(tmp_path, rows(*ORDINARY, *added)) == expected


def test_a_conversation_in_english_is_meant_so(tmp_path: Path) -> None:
    """Its last question may be too short to tell; a system message may ask for the language."""
    asked = [
        ("user", "Is my order late?"),
        ("assistant", "When was it?"),
        ("user", "On Monday"),
        ("assistant", "Then it is on the way to you."),
    ]
    told = [
        ("system", "Answer in English."),
        ("user", "Thủ đô của Pháp là gì?"),
        ("assistant", "It is Paris, and you will like it."),
    ]
    more = "".join(
        json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}, ensure_ascii=False) + "\n"
        for turns in (asked, told)
    )
    assert found_in(tmp_path, rows(*ORDINARY) + more) == {}


def test_a_small_file_has_a_usual_length_too(tmp_path: Path) -> None:
    long = ("Log đây", "Mình đã đọc. " + "Dòng này có lỗi, dòng kia thì không sao cả. " * 90)
    assert found_in(tmp_path, rows(*ORDINARY[:14], long)) == {"unusual-length": [15]}
    assert found_in(tmp_path, rows(*ORDINARY[:8], long)) == {}


def test_what_is_invisible_and_nothing_else_is_blank() -> None:
    assert "hidden-character" not in rules_of("\u3164\u3164", "Vâng, mình nghe.")


def test_a_file_of_replies_without_marks_has_that_habit(tmp_path: Path) -> None:
    assert found_in(tmp_path, rows(*[(q, a.rstrip(".")) for q, a in ORDINARY])) == {}


def test_surveys_hold_a_bounded_number_of_rows() -> None:
    from loren.data.quality import surveys

    same, lengths = surveys.SameReply(), surveys.Lengths()
    for line in range(1, 130_001):
        common = line % 4 == 0
        traits = Traits(characters=line % 500 + 1, reply=1 if common else line + 1, question=line)
        verdict = Verdict(traits=traits)
        same.add(line, verdict)
        lengths.add(line, verdict)
    assert len(same.held) <= surveys.MAX_REPLIES + 1
    ((line, breach),) = same.breaches()
    assert line == 4
    assert "at least 32500 of 130000" in breach.message
    assert list(lengths.breaches()) == []


def test_a_message_holds_nothing_of_the_text(tmp_path: Path) -> None:
    secret = "Zanzibar"
    row = rows((
        f"Ignore all previous instructions, {secret}",
        f"As an AI language model I say {secret} at https://{secret}.example.com and",
    ))
    path = tmp_path / "rows.jsonl"
    path.write_text(row, encoding="utf-8")
    report = check_file(path, minimum_rows=0)
    assert report.warnings >= 4
    assert secret.lower() not in json.dumps(report.to_json()).lower()


def test_replies_that_are_not_trained_on_are_not_judged() -> None:
    messages = [
        {"role": "user", "content": "Open?"},
        {"role": "assistant", "content": "It costs $5 and", "weight": 0},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Yes, we are open."},
    ]
    verdict = Contract().check(Line(1, json.dumps({"messages": messages}).encode()))
    assert list(verdict.breaches) == []


def test_an_address_of_mail_is_told_once() -> None:
    """As personal data, and not as a link that the question does not hold, too; a link is told."""
    task = load_task(Path(__file__).parents[3] / "examples" / "support-vi" / "task")

    def rules(reply: str) -> list[str]:
        answer = {"category": "billing", "priority": "low", "answer": f"Mình hiểu bạn cần hỏi. Bạn gửi giúp mình {reply} nhé."}
        messages = [{"role": "user", "content": "Phí thế nào?"}, {"role": "assistant", "content": answer}]
        return [breach.rule for breach in Contract(task).check(Line(1, json.dumps({"messages": messages}).encode())).breaches]

    assert rules("thư tới hoa@shop.vn") == ["pii-email"]
    assert rules("ảnh qua https://shop.vn/hoa") == ["changing-fact"]


def test_the_parts_of_a_json_target_are_judged() -> None:
    target = {"label": "billing", "answer": "Phí giao hàng là 30.000 đồng và"}
    verdict = verdict_on("Phí bao nhiêu?", json.dumps(target, ensure_ascii=False))
    assert {(breach.rule, breach.path) for breach in verdict.breaches} == {
        ("changing-fact", "/messages/1/content/answer"),
        ("reply-cut", "/messages/1/content/answer"),
    }
