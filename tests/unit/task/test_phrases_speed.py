"""What makes patterns fast changes nothing that they find: each shortcut against the long way."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from loren.task.entities import Extractor
from loren.task.phrases import MASK, Lexicon, Patterns, word_tree
from loren.task.wording import WordingFile, compile_wording

GROUPS = {"done": ["đã", "vừa", "vừa mới"], "act": ["hoàn", "hoàn tiền", "hủy", "hủy bỏ"], "soft": ["được", "bên mình"]}
SOURCES = [
    "nhé|ạ", "ko", "<act>", "vui lòng", "<done> <soft>* <act!>", "<soft>?", "^ bạn ... <act>", "-đã hủy", "rồi $", "<soft>* ...",
]  # fmt: skip
WORDS = [
    "đã", "vừa", "mới", "hoàn", "tiền", "toàn", "hủy", "huỷ", "bỏ", "bạn", "nhé", "ạ", "ko", "vui", "lòng", "rồi", "được", "bên",
    "mình", "**hủy**", "rồi.", "bạn,", "HỦY", "hu\u0309y", "h\u200bủy", "...", "…", "-", "a.vn", "3",
    "hai", "lần", "vài", "ngày", "hôm", "qua", "\n\n", "\r",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
LEXICON = Lexicon(GROUPS, spelling={"uỷ": "ủy"}, ordinary=["hoàn toàn", "hủy bỏ ngày"])
PATTERNS = Patterns(map(LEXICON.compile, SOURCES))


@given(st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=8, unique=True), st.text("ab ", max_size=8))
@example(["a", "ab", "abb"], "abb")
@example(["ab"], "abb")
def test_a_tree_of_words_is_their_choice_with_the_longest_first(words: list[str], text: str) -> None:
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    for after in ("", "(?= )", "b", "{0,3}b", "?$"):
        tree = re.compile(f"(?:{word_tree(words)}){after}")
        assert [m.span() for m in tree.finditer(text)] == [m.span() for m in re.finditer(f"(?:{longest_first}){after}", text)]


@given(TEXTS)
def test_words_rule_a_pattern_out_only_where_it_has_no_match(text: str) -> None:
    read = LEXICON.read(text)
    found = [any(pattern.expression.search(sentence) for sentence in read.sentences) for pattern in PATTERNS]
    assert [pattern.is_in(read) for pattern in PATTERNS] == found
    assert {pattern for pattern, here in zip(PATTERNS, found, strict=True) if here} <= set(PATTERNS.possible(read))
    for count in range(len(PATTERNS)):
        assert Patterns(PATTERNS[count:]).any_in(read) == any(found[count:])


@given(TEXTS)
def test_sentences_hold_every_token_once_and_in_order(text: str) -> None:
    read = LEXICON.read(text)
    assert [token for sentence in read.sentences for token in sentence.split()] == list(read.tokens)
    assert all(not {".", "…", ";", "!"} & set(sentence.split()[:-1]) for sentence in read.sentences)


def test_a_pattern_that_is_compiled_later_finds_its_words_in_a_text_read_before() -> None:
    lexicon = Lexicon({})
    lexicon.read("bạn chờ nhé")
    assert lexicon.compile("chờ").is_in(lexicon.read("bạn chờ nhé"))


@given(st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from("\u0301\u200b\u00adạệ…–’\u2028"), max_size=20))
@example("İ ß ŉ ǰ \u1e96")
def test_usual_characters_are_read_like_others(text: str) -> None:
    lexicon = Lexicon({})
    unusual = f"{text} \u3042"  # a letter that sends the whole text the long way
    assert lexicon.read(unusual).tokens[:-1] == lexicon.read(text).tokens


@given(TEXTS)
def test_words_with_which_nothing_begins_are_passed_over(text: str) -> None:
    numbers = {"words": {"hai": 2}, "vague": ["vài"], "dates": [["hôm qua"]], "units": [{"kind": "duration", "names": ["ngày"]}]}
    wording, problems = compile_wording(WordingFile.model_validate({"numbers": numbers}), place="wording.toml")
    assert not problems
    stated = Extractor(wording).states(text)
    tokens = wording.lexicon.read(text).tokens
    pairs = list(zip(tokens, (*tokens[1:], ""), strict=False))
    assert sum(entity.kind == "date" for entity in stated) == pairs.count(("hôm", "qua"))
    assert sum(entity.kind == "link" for entity in stated) == tokens.count("a.vn")
    assert sum(entity.kind == "duration" for entity in stated) == sum(pairs.count((word, "ngày")) for word in ("hai", "vài", "3"))


def test_masks_and_folds_are_as_before() -> None:
    assert LEXICON.read("Hoàn toàn hủy").tokens == (MASK, "hủy")
    assert LEXICON.read(unicodedata.normalize("NFD", "huỷ")).tokens == ("hủy",)
