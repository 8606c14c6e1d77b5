"""How a reply ends: cut off, with a mark, or without one. Pure."""

from __future__ import annotations

import re
from functools import cache

from loren.data.quality.tables import any_of, quality_table

_ENDED = re.compile(r"[.!?…:;。！？)\]}>\"'”’»`*_~|^]\s*\Z|[^\w\s,\-–—/&+=\\(\[{<“‘«]\s*\Z")
"""Ends with a mark that ends a sentence, or with a sign or emoji that is no word."""
_ELLIPSIS = re.compile(r"(?<!\d)(?:\.\.\.|…)\s*\Z")
"""Behind a digit the dots stand for more digits: 1/3 = 0,333..."""
_EMOTICON = re.compile(r"[:;=8xX]['-]?[(\[{<c]+|<3")
_CODE_LIKE = re.compile(r"```|=>|\);|</|\{\s*\n|^ {4,20}\S|^\t\S", re.MULTILINE)
_LIST_LINE = re.compile(r"\s*(?:[-*+•·–]|\d{1,3}[.)]|[a-z][.)])\s")
_PAIRS = {"(": ")", "[": "]", "{": "}", "“": "”", "«": "»", "「": "」"}
_CLOSING = {close: start for start, close in _PAIRS.items()}
_TAIL = 600
"""So much of a reply's end is looked at."""
_SHORT_WORDS = 4
"""A last line of fewer words is a name, a code or a greeting, which needs no mark."""


def cut_sign(reply: str) -> str:
    """What shows that a reply was cut off; empty where nothing does."""
    text = reply.rstrip()
    last = text[-1:]
    if last in {",", "，", "、"}:
        return "a comma at the end"
    if last.isalpha() and _last_words().search(text[-40:].lower()) and not _unless().search(text[-40:].lower()):
        return "a word at the end that another must follow"
    if text.count("```") % 2:
        return "a code fence that is not closed"
    tail = text[-_TAIL:]
    if any(bracket in tail for bracket in _OPENERS) and not _CODE_LIKE.search(text):
        return _unclosed(tail)
    return ""


_OPENERS = (*_PAIRS, '"')


@cache
def _last_words() -> re.Pattern[str]:
    return re.compile(rf"(?:^|[\s,(]){any_of(quality_table()['cut']['last_words'])}\Z")


@cache
def _unless() -> re.Pattern[str]:
    return re.compile(rf"(?:^|\s){any_of(quality_table()['cut']['unless'])}\Z")


def _unclosed(tail: str) -> str:
    """An opening bracket or quote in the last line that nothing closes."""
    line = _EMOTICON.sub("  ", tail[tail.rfind("\n") + 1 :])
    opened = _opened(line)
    if opened:
        return "a quotation mark that is not closed" if opened[-1] in "“«「" else "a bracket that is not closed"
    quotes = [place for place, character in enumerate(line) if character == '"']
    if len(quotes) % 2 and _opens(line, quotes[-1]):
        return "a quotation mark that is not closed"
    return ""


def _opened(line: str) -> list[str]:
    """The opening brackets and quotes of a line that nothing closes."""
    opened: list[str] = []
    for place, character in enumerate(line):
        if character in _PAIRS:
            if character == "“" and not line[place + 1 : place + 2].strip():
                continue  # some close a quote with the sign that opens it
            opened.append(character)
        elif character in _CLOSING and opened:
            if opened[-1] == _CLOSING[character]:
                opened.pop()
            elif character in {"”", "»"}:
                opened = [each for each in opened if each != _CLOSING[character]]
    if "“" in opened and (opened.count("“") % 2 == 0 or re.search(r"\w“(?:\s|$)", line)):
        opened = [each for each in opened if each != "“"]
    return opened


def _opens(line: str, place: int) -> bool:
    """Whether the quotation mark at a place begins a quote: a space or nothing before it, a letter after it."""
    return (place == 0 or line[place - 1].isspace() or line[place - 1] in "([:") and line[place + 1 : place + 2].isalpha()


def has_end(reply: str) -> bool:
    """Whether a reply ends as a whole text does: with a mark, or where none is needed."""
    return bool(_ENDED.search(reply[-3:]))


def needs_end(reply: str) -> bool:
    """Whether one would expect a mark at the end: no list, link, number, name, heading or code stands there."""
    text = reply.rstrip()
    line = text[text.rfind("\n") + 1 :][-_TAIL:]
    last = line.split()[-1:] or [""]
    return (
        len(line.split()) >= _SHORT_WORDS
        and not _LIST_LINE.match(line)
        and (text.count("\n") == 0 or not text.split("\n")[-2].rstrip().endswith(","))
        and not any(character.isdigit() or character in "/@._" for character in last[0].rstrip(",.-"))
        and not line.lstrip().startswith(("#", "|", ">"))
    )


def ends_open(reply: str) -> bool:
    """Whether a reply ends with dots that leave it open."""
    return bool(_ELLIPSIS.search(reply[-5:]))
