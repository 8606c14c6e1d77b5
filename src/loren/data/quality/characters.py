"""Characters that are not what somebody wrote: broken encodings, decomposed letters, what is invisible. Pure.

One search for anything that an ordinary text does not hold settles most texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from loren.data.fold import is_plain
from loren.data.rules import Breach

# The second and later bytes of a UTF-8 character, read as Latin-1 or as Windows-1252.
_TAIL = (
    "\x80-\xbf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018\u2019\u201c\u201d"
    "\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178"
)
# "Ã£", "Ä‘", "Æ°", "áº¿", "â€œ", "ðŸ˜": the first byte and what follows. "Ã" and "Â" are Vietnamese letters too: no quotation mark,
# dash or dots count after them.
_MOJIBAKE = re.compile(
    f"[ÃÂ][\x80-\x9f\xa1-\xa9\xac-\xba\xbc-\xbf\u20ac\u201a\u0192\u02c6\u0160\u0152\u017d\u02dc\u2122\u0161\u0153\u017e\u0178]"
    f"|[ÄÅÆ][{_TAIL}]"
    f"|[áâ][\xba\xbb\x80-\x9f\u20ac\u201a][{_TAIL}]"
    f"|ð[\x9f\u0178][{_TAIL}]"
    f"|ï(?:\xbf\xbd|\xbb\xbf|\xbc[{_TAIL}])"
)
_REPLACEMENT = "\ufffd"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff\ufff9-\ufffb]+")

# TCVN3 (ABC) puts Vietnamese letters on Latin-1's signs and capitals, which then stand inside of words, or before or after one.
_TCVN3_SIGNS = "\xa7-\xae\xb5-\xb9\xbb-\xbe"
_TCVN3 = re.compile(
    f"(?<![A-Za-z])[A-Za-z]{{1,8}}[{_TCVN3_SIGNS}][a-z]{{1,8}}"
    "|(?<!\\S)[\xa7\xa8\xaa\xac-\xae\xb6-\xb9\xbb-\xbe][a-z\xa7-\xfe]{1,8}"
    "|(?<![A-Za-z])[A-Za-z]{0,8}[a-z][À-ÖØ-Þ][a-z]{0,8}"
    "|(?<![A-Za-z])[A-Za-z]{1,8}[\xac\xb5-\xb8](?!\\S)"
)
# VNI writes a vowel and then its mark as a letter that never follows it in Vietnamese, and seldom elsewhere.
_VNI = re.compile("[aeouyAEOUYôöÔÖ][øùûõïäáàåâãéèëêúüØÙÛÕÏÄÅËÜ](?![øùûõïäåëü])|ñ[oaeiuôöaêâ]|Ñ[oaeiuôöAEIOUÔÖ]")
_LEGACY_WORDS = 3
"""So many words must look so: one is a name or a unit."""

_ZERO_WIDTH = "\u200b\u200c\u200d\u2060-\u2064\ufeff\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"
_BIDI = "\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(f"[{_ZERO_WIDTH}\u200e\u200f\u061c{_BIDI}\ufe00-\ufe0f\U000e0000-\U000e0fff]")
_VISIBLE = re.compile(r"\w")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdfd\ufe70-\ufefc]")
# Zero-width joiners belong to emoji and to the writing of these scripts (Arabic, Indic, Khmer, Mongolian).
_JOINED = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1800-\u18af\ufe0f\u20e3\u2190-\u2bff\U0001f000-\U0001faff\U0001f3fb-\U0001f3ff]"
)
_FLAGS = re.compile("\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]{1,8}\U000e007f")
_OVERRIDES = frozenset("\u202d\u202e")
_OPENING = frozenset("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")


def find_characters(path: str, text: str) -> Iterator[Breach]:
    """The characters of one text that nobody wrote."""
    if is_plain(text):
        return
    place = text.find(_REPLACEMENT)
    if place >= 0:
        count = text.count(_REPLACEMENT)
        yield _at("replacement-character", path, f"expected readable text, found {count} replacement character(s) (U+FFFD)", place)
    yield from _encodings(path, text)
    if not unicodedata.is_normalized("NFC", text):
        place = _first_difference(text)
        yield _at("not-nfc", path, "expected text in Unicode's NFC form, found letters and marks that are written apart", place)
    if control := _CONTROL.search(text):
        code = f"U+{ord(control[0][0]):04X}"
        yield _at("control-character", path, f"expected no control character but tab and line end, found {code}", control.start())
    yield from _hidden(path, text)


def _at(rule: str, path: str, message: str, start: int, length: int = 1) -> Breach:
    return Breach(rule, path, f"{message}, at character {start + 1}", (start, start + length))


def _encodings(path: str, text: str) -> Iterator[Breach]:
    if found := _MOJIBAKE.search(text):
        message = "expected UTF-8, found letters as they look when UTF-8 was read as Latin-1 or Windows-1252"
        yield _at("mojibake", path, message, found.start(), len(found[0]))
        return
    for name, expression in (("TCVN3", _TCVN3), ("VNI", _VNI)):
        words = {match[0] for match, _ in zip(expression.finditer(text), range(200), strict=False)}
        if len(words) >= _LEGACY_WORDS and (first := expression.search(text)):
            # Vietnamese in Unicode has letters that the old encodings can't show.
            if not re.search("[ạ-ỹẠ-ỸđĐơƠưƯăĂ]", text):
                yield _at(
                    "legacy-encoding", path, f"expected Unicode, found words as the {name} encoding shows them", first.start()
                )
            return


def _first_difference(text: str) -> int:
    normal = unicodedata.normalize("NFC", text)
    return next((place for place, (old, new) in enumerate(zip(text, normal, strict=False)) if old != new), len(normal) - 1)


def _hidden(path: str, text: str) -> Iterator[Breach]:
    if not _HIDDEN.search(text) or not _VISIBLE.search(_HIDDEN.sub("", text)):
        return  # a text of nothing else is blank, which another rule says
    flagged = (
        {place for match in _FLAGS.finditer(text) for place in range(match.start(), match.end())}
        if "\U0001f3f4" in text
        else set[int]()
    )
    has_rtl = bool(_RIGHT_TO_LEFT.search(text))
    bidi_fits = has_rtl and _bidi_closed(text)
    for match in _HIDDEN.finditer(text):
        place, character = match.start(), match[0]
        if place in flagged or _belongs(text, place, has_rtl=has_rtl, bidi_fits=bidi_fits):
            continue
        what = "a character that changes the direction of text" if character in _OPENING else "an invisible character"
        yield _at("hidden-character", path, f"expected nothing hidden, found {what} (U+{ord(character):04X})", place)
        return


def _belongs(text: str, place: int, *, has_rtl: bool, bidi_fits: bool) -> bool:
    """Whether an invisible character has its work to do where it stands."""
    character = text[place]
    if character in "\u200e\u200f\u061c":
        return has_rtl
    if "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069":
        return bidi_fits and character not in _OVERRIDES
    if character == "\ufe0f":
        return place > 0 and not (text[place - 1] < "\u2000" and text[place - 1].isalpha())
    if "\ufe00" <= character <= "\ufe0e":
        return place > 0 and not text[place - 1].isascii() and not text[place - 1].isspace()
    if character in "\u200c\u200d":
        around = text[max(0, place - 2) : place] + text[place + 1 : place + 3]
        return bool(_JOINED.search(around))
    return False


def _bidi_closed(text: str) -> bool:
    depth = 0
    for character in text:
        if character in _OPENING:
            depth += 1
        elif character in "\u202c\u2069":
            depth -= 1
        if depth < 0:
            return False
    return depth == 0
