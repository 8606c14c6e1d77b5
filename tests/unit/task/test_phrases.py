"""The pattern language of wording.toml."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.task.phrases import MASK, Lexicon, fold, is_link

GROUPS = {
    "done": ["đã", "vừa", "vừa mới"],
    "soft": ["được", "bên mình"],
    "act": ["hoàn", "hoàn tiền", "hủy"],
    "not": ["không", "chưa"],
}
LEXICON = Lexicon(GROUPS, spelling={"uỷ": "ủy", "oà": "òa"}, ordinary=["hoàn toàn"])


def holds(pattern: str, text: str) -> bool:
    return any(LEXICON.compile(pattern).matches(LEXICON.read(text)))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("vui lòng", "Bạn VUI   LÒNG chờ"),
        ("vui lòng", "Bạn vui\nlòng chờ"),
        ("vui lòng", "Bạn vui\u00a0lòng chờ"),
        ("vui lòng", "Bạn v\u200bui lòng"),
        ("vui lòng", "Bạn **vui** _lòng_ chờ"),
        ("vui lòng", unicodedata.normalize("NFD", "Bạn vui lòng chờ")),
        ("đã hủy", "Đơn đã huỷ rồi"),
        ("đã huỷ", "Đơn đã hủy."),
        ("<done> <soft>* <act>", "đơn đã được bên mình hoàn tiền"),
        ("<done> <soft>? <act>", "vừa mới hủy"),
        ("<done> ... <act>", "đã giúp bạn mình hủy"),
        ("hoàn|hủy xong", "hủy xong"),
        ("^ bạn gửi", "Cảm ơn bạn, bạn gửi mã nhé"),
        ("^ bạn gửi", "Bạn gửi mã nhé"),
        ("rồi $", "Mình làm rồi, bạn xem nhé"),
        ("rồi $", "Mình làm rồi"),
        ("-<not> xong", "đã làm xong"),
        ("-của bạn đã", "vì bạn đã gửi"),
        ("100 %", "giảm 100% nhé"),
    ],
)
def test_a_pattern_is_found(pattern: str, text: str) -> None:
    assert holds(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("vui lòng", "vuilòng"),
        ("vui lòng", "vui, lòng"),
        ("vui lòng", "vui lòngg"),
        ("ad", "tải về admin"),
        ("<done> <act>", "đã hoàn toàn hiểu"),
        ("<done> ... <act>", "đã xem, mình hủy"),
        ("<done> ... <act>", "đã một hai ba bốn năm hủy"),
        ("<done> <soft>* <act>", "đã được được được được hủy"),
        ("^ bạn gửi", "Mình hiểu bạn gửi nhầm"),
        ("rồi $", "Mình làm rồi bạn xem nhé"),
        ("-<not> xong", "làm chưa xong"),
        ("-của bạn đã", "đơn của bạn đã gửi"),
        ("đã hủy", "Mình xem đã.\n\nHủy đơn thì sau."),
        ("đã hủy", "đã. Hủy"),
    ],
)
def test_a_pattern_is_not_found(pattern: str, text: str) -> None:
    assert not holds(pattern, text)


@pytest.mark.parametrize("pattern", ["", "  ", "<nobody>", "<done", "<done!> <act!>", "-<nobody>", "a||b", "***", "<done>+"])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        LEXICON.compile(pattern)


def test_the_key_is_compared_without_accents() -> None:
    pattern = LEXICON.compile("<done> <act!>")
    assert list(pattern.folded_keys(LEXICON.read("da huy don roi, vua moi hoan tien").folded())) == ["huy", "hoan tien"]


def test_sentences_and_masks() -> None:
    text = LEXICON.read("Mình hoàn toàn hiểu. Bạn chờ nhé! Phí 1.250.000đ; xem a.vn")
    assert text.sentences == (f" mình {MASK} hiểu . ", " bạn chờ nhé ! ", " phí 1.250.000 đ ; ", " xem a.vn ")
    assert LEXICON.read("").sentences == ()


def test_links_and_missing_spaces() -> None:
    assert is_link("a.vn")
    assert is_link("https://x")
    assert not is_link("nhé")
    assert LEXICON.read("kiểm tra nhé.Bạn chờ").tokens == ("kiểm", "tra", "nhé", ".", "bạn", "chờ")


def test_words_of_a_task_are_no_expressions() -> None:
    hostile = Lexicon({"x": ["(a+)+$", "[", "\\"]})
    pattern = hostile.compile("(b*)*c <x>")
    started = time.process_time()
    assert not list(pattern.matches(hostile.read("b" * 2000 + " a" * 2000)))
    assert time.process_time() - started < 20  # by backtracking it would never end


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_reading_is_stable_and_blind_to_case_and_space(text: str) -> None:
    tokens = LEXICON.read(text).tokens
    assert all(token.strip() == token and token for token in tokens)
    assert LEXICON.read("  " + text + "\t").tokens == tokens
    assert LEXICON.read(unicodedata.normalize("NFD", text)).tokens == tokens


def test_fold_takes_accents_and_strokes() -> None:
    assert fold("đã hủy đơn ở Hà Nội") == "da huy don o Ha Noi"
