"""Which language a text is in, by its letters and common words: Vietnamese, the same without accents, English. Pure.

No model: where the signs are few the answer is "unknown", and no rule speaks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from loren.data.quality.tables import quality_table, word_in

VIETNAMESE, BARE, ENGLISH, UNKNOWN = "vi", "vi-bare", "en", ""
NAMES: Final = {VIETNAMESE: "Vietnamese", BARE: "Vietnamese without accents", ENGLISH: "English"}

_VIETNAMESE_LETTER = re.compile("[đơưăĐƠƯĂạ-ỹẠ-Ỹ]")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CODE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|[^\s@]{1,64}@\S{1,255}|\"[^\"\n]*\"|“[^“”\n]*”|\([^()\n]*\)|‘[^‘’\n]*’|<[^<>\n]*>",
    re.DOTALL,
)
_SENTENCE = re.compile(r"[^.!?\n;]+")
_OTHER_SCRIPT = re.compile(
    "[\u0370-\u052f\u0590-\u06ff\u0900-\u0dff\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af]{2,}"
)
_BEGINNING = 400
_MIN_LATIN = 3
"""Words of Latin letters that make a reply one in these."""
_MIN_WORDS = 5
_MIN_SENTENCE = 6
_SOME_ENGLISH, _MUCH_ENGLISH = 0.2, 0.3
"""Shares of the words of a sentence that are words of every English one."""
_SURE_WORDS = 3
"""With so many different ones some are enough."""
_LONGEST = 20_000
"""Characters of a text that are read."""


def has_accents(text: str) -> bool:
    """Whether a text holds a letter that Vietnamese alone has, near its beginning."""
    return bool(_VIETNAMESE_LETTER.search(text, 0, _BEGINNING))


def language_of(text: str) -> str:
    """The language of a text, or UNKNOWN."""
    if has_accents(text):
        if not any(hint in text for hint in _common()):
            return VIETNAMESE
        words = _words(text)
        accented = sum(1 for word in words if _VIETNAMESE_LETTER.search(word))
        if accented * 6 >= len(words):
            return VIETNAMESE
        return ENGLISH if _english_share(words) >= 0.25 and accented * 12 < len(words) else UNKNOWN
    words = _words(text)
    if len(words) < _MIN_WORDS:
        return UNKNOWN
    if sum(1 for word in words if word in _list("accented")) >= 2 and not text.isascii():
        return VIETNAMESE
    english = _english_share(words)
    bare = [word for word in words if word in _list("bare_vietnamese")]
    if english >= 0.25 and len(bare) * 4 < len(words):
        return UNKNOWN if not text.isascii() and _OTHER_SCRIPT.search(text, 0, _LONGEST) else ENGLISH
    if len(bare) * 3 >= len(words) and len(set(bare)) >= 3 and english < 0.1:
        return BARE
    return UNKNOWN


def answered_in(asked: Sequence[str], system: Sequence[str]) -> str:
    """The language that a reply in English is meant to have, by all that was said before it; UNKNOWN where nothing says so.

    A question in few words is English where some of them are, and none is Vietnamese.
    """
    question = asked[-1] if asked else ""
    language = language_of(question)
    if language == ENGLISH or is_about_language("\n".join((*system, *asked))):
        return ENGLISH
    if language == UNKNOWN and len(asked) > 1:
        language = language_of("\n".join(asked))
    if language == UNKNOWN and not has_accents(question):
        words = _words(question)
        english = sum(1 for word in words if word in _list("english"))
        return ENGLISH if english > sum(1 for word in words if word in _list("bare_vietnamese")) else UNKNOWN
    return language


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text[:_LONGEST].lower())]


def _english_share(words: list[str]) -> float:
    found = [word for word in words if word in _list("english")]
    return len(found) / len(words) if len(set(found)) >= 2 else 0.0


@cache
def _common() -> tuple[str, ...]:
    return tuple(quality_table()["language"]["common"])


@cache
def _list(name: str) -> frozenset[str]:
    return frozenset(quality_table()["language"][name])


def is_about_language(text: str) -> bool:
    """Whether a question asks for another language, or for words about words."""
    return bool(word_in("language", "about").search(text[:_LONGEST].lower()))


def may_switch(reply: str) -> bool:
    """Whether a reply must be searched for a change of language; False is certain."""
    return any(hint in reply for hint in _common()) or bool(_OTHER_SCRIPT.search(reply))


def switch(reply: str, said_before: str) -> str:
    """What a reply changes to: a whole sentence of English in Vietnamese or the reverse, or words of another script; else ""."""
    text = _CODE.sub(" , ", reply[:_LONGEST])
    foreign = _OTHER_SCRIPT.search(text)
    if foreign and not _OTHER_SCRIPT.search(said_before) and len(re.findall("[A-Za-zÀ-ỹ]+", text)) >= _MIN_LATIN:
        return "words of another script"
    found: dict[str, int] = {}
    for sentence in _SENTENCE.findall(text):
        words = _words(sentence)
        if len(words) >= _MIN_SENTENCE and (language := _sentence_language(words)) != UNKNOWN:
            found[language] = found.get(language, 0) + len(words)
    if VIETNAMESE in found and ENGLISH in found:
        return "whole sentences in Vietnamese and in English"
    return ""


def _sentence_language(words: list[str]) -> str:
    with_letters = sum(1 for word in words if _VIETNAMESE_LETTER.search(word))
    vietnamese = sum(1 for word in words if word in _list("accented") or _VIETNAMESE_LETTER.search(word))
    english = _english_share(words)
    if vietnamese * 5 >= len(words) * 2 and english < _SOME_ENGLISH:
        return VIETNAMESE
    is_english = english >= _MUCH_ENGLISH or (
        english >= _SOME_ENGLISH and len({word for word in words if word in _list("english")}) >= _SURE_WORDS
    )
    return ENGLISH if with_letters == 0 and is_english else UNKNOWN
