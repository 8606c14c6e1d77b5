"""Markup in texts: strings that a tokenizer obeys, tags and entities of HTML, brackets that somebody forgot to fill. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from loren.data.quality.tables import any_of, quality_table, word_in
from loren.data.rules import Breach

MARKED = re.compile(r"[&<\[{]")
"""Every finding of this module begins with one of these."""

SPECIAL_TOKEN = re.compile(
    r"<\|[A-Za-z][A-Za-z0-9_ ]{0,38}\|>"
    r"|<\uff5c[^\uff5c>\n]{1,40}\uff5c>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|CLS|SEP|PAD|UNK|BOS|EOS)\]"
    r"|<</?SYS>>"
    r"|</?s>"
    r"|<(?:start_of_turn|end_of_turn|start_of_image|bos|eos|pad|unk|unused\d{1,4}|extra_id_\d{1,3}|0x[0-9A-F]{2}|fim_(?:prefix|middle|suffix))>"
)
"""Control tokens as the tokenizers of chat models read them: ChatML, Llama, Gemma, Mistral, Phi, DeepSeek, T5, BERT."""

# A tag of these can be nothing else.
_TAG = re.compile(
    r"</?(?:br|hr|div|span|li|ul|ol|td|tr|th|tbody|thead|table|img|h[1-6]|strong|em|font|script|style|iframe|html|body|head|meta|blockquote|pre|center|sup|sub|figure|input|button)"
    r"(?:\s[^<>\n]{0,300})?/?>"
    # Words that also stand for a value need their closing tag or an attribute.
    r"|</(?:a|b|i|u|p|q|code|small|label|form|section|article|header|footer|nav|main|video|audio|cite)>"
    r"|<(?:a|p|b|i|u|small|label|form|section|article|input|option|link|svg|video|audio)\s{1,5}(?:href|class|style|id|src|target|rel|title|data-[a-z]{1,20}|type|name|action|align|width)\s?=[^<>\n]{0,300}>"
    r"|<p/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(
    r"&(?:nbsp|amp|lt|gt|quot|apos|hellip|ndash|mdash|lsquo|rsquo|ldquo|rdquo|bull|middot|copy|reg|trade|laquo|raquo|times|deg|euro|ensp|emsp|zwnj|zwj|shy"
    r"|[aeiouy](?:acute|grave|circ|tilde|uml)|#\d{2,6}|#x[0-9a-f]{2,5});",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_MARKUP_NEAR = 2_000
"""So much of a text is looked at for what it is about."""


def find_markup(path: str, text: str) -> Iterator[Breach]:
    """Control tokens and HTML of one text."""
    if MARKED.search(text):
        yield from _special_tokens(path, text)
        yield from _html(path, text)


def _special_tokens(path: str, text: str) -> Iterator[Breach]:
    """Strings that the tokenizer of a chat model reads as control tokens."""
    for match in SPECIAL_TOKEN.finditer(text):
        what = f"the control token of a chat model at characters {match.start() + 1} to {match.end()}"
        yield Breach("special-token", path, f"expected plain text, found {what}", match.span())


def _html(path: str, text: str) -> Iterator[Breach]:
    """The first tag or entity of HTML; code and texts that speak of HTML may hold them."""
    found = _TAG.search(text) or _ENTITY.search(text)
    if not found:
        return
    if word_in("markup", "about").search(text[:_MARKUP_NEAR].lower()):
        return
    found = _left_over(_CODE.sub(lambda match: " " * len(match[0]), text))
    if found:
        what = "an entity" if found[0].startswith("&") else "a tag"
        yield Breach("html", path, f"expected plain text, found {what} of HTML at character {found.start() + 1}", found.span())


def _left_over(text: str) -> re.Match[str] | None:
    """The first tag or entity that the text does not ask about or explain."""
    for expression in (_TAG, _ENTITY):
        named = -1
        for found in expression.finditer(text):
            start, end = found.span()
            is_word = not text[max(0, start - 1) : start].strip(_QUOTES).strip() and not _GLUED.match(text, end)
            is_next = named >= 0 and not _SENTENCE_END.search(text, named, start)
            if not is_word or not (is_next or _is_spoken_of(text, start, end)):
                return found
            named = end
    return None


def _is_spoken_of(text: str, start: int, end: int) -> bool:
    """Whether the words right before or right after a tag ask what it is, or say it."""
    before, after = text[max(0, start - _SPOKEN) : start].lower(), text[end : end + _SPOKEN].lower()
    return bool(_spoken_before().search(before) or _spoken_after().match(after))


_QUOTES = "\"'“‘(«"
_GLUED = re.compile(r"[\w<]")
_SENTENCE_END = re.compile(r"[.!?\n]\s")
_SPOKEN = 60
"""So many characters around a tag may say that the text is about it."""


@cache
def _spoken_before() -> re.Pattern[str]:
    section = quality_table()["markup"]
    return re.compile(rf"(?<!\w){any_of(section['spoken_before'])}(?:\s+{any_of(section['fillers'])}){{0,3}}[\s\"'“‘(«:]*\Z")


@cache
def _spoken_after() -> re.Pattern[str]:
    return re.compile(rf"[\"'”’)»]?\s+{any_of(quality_table()['markup']['spoken_after'])}(?!\w)")


@cache
def _bracketed() -> re.Pattern[str]:
    section = quality_table()["placeholder"]
    words, verbs = any_of(section["bracketed"]), any_of(section["bracketed_verbs"])
    inner = rf"(?:{words}(?:[\s_][^\[\]<>{{}}\n=]{{0,60}})?|{verbs}\s[^\[\]<>{{}}\n=]{{1,60}})"
    return re.compile(
        rf"\[\s?{inner}\](?![(:\[])"
        rf"|(?<!<)<\s?(?:{words}|{verbs})[\s_][^\[\]<>{{}}\n=/\"]{{1,60}}>"
        r"|\{\{\s?[^\W\d][\w .-]{0,60}\}\}"
        rf"|(?<![\w$\\{{])\{{(?:[a-z]{{1,30}}(?:_[a-z]{{1,30}}){{1,4}}|{any_of(section['braced'])})\}}",
        re.IGNORECASE,
    )


@cache
def _screen() -> re.Pattern[str]:
    return re.compile(rf"(?:{any_of(quality_table()['placeholder']['screen'])})[\s\"“‘'*:]*\Z", re.IGNORECASE)


_REDACTED = re.compile(r"<[A-Z][A-Z0-9_]*>")
"""What `loren redact` puts in the place of personal data: no blank to be filled."""
_BEFORE = 40
"""So many characters before a bracket may say that it names a part of a screen."""


def find_blank(text: str) -> re.Match[str] | None:
    """The first name in brackets that stands for a value: ``[Your name]``, ``{{customer}}``, ``<tên khách hàng>``."""
    bare = _CODE.sub(lambda match: " " * len(match[0]), text) if "`" in text else text
    for found in _bracketed().finditer(bare):
        if not _REDACTED.fullmatch(found[0]) and not _screen().search(bare[max(0, found.start() - _BEFORE) : found.start()]):
            return found
    return None
