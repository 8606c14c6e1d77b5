"""A text in the forms in which it may be the same as another; many texts at a time.

========  ==================================================  =============================================
form      what is evened out                                  two texts that share it are
========  ==================================================  =============================================
exact     Unicode form (NFC), capitals, white space           duplicates
plain     also diacritics (đ is d) and punctuation            the same question, typed without its marks
loose     also digits: they are left out                      the same question about another number
========  ==================================================  =============================================

Marks are taken off Latin, Greek and Cyrillic letters only: elsewhere (Devanagari, Thai) they are vowels. A short text has no other
form than the exact one: ``mua`` and ``múa`` are two words, and ``room 12`` and ``room 14`` two rooms.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

Codes = npt.NDArray[np.uint32]
Digests = npt.NDArray[np.uint64]

MIN_PLAIN = 8
"""Letters and digits below which a text without its marks may well be another text."""
MIN_LOOSE = 16
"""Letters below which a text without its digits says too little; some 20 characters with the spaces."""
MAX_CHARACTERS = 20_000
"""A longer text is compared with others in its exact form only."""

_SPACES = b" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
_RARE_SPACES = (b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80", b"\xe2\x81", b"\xe3\x80", b"\xe1\x9a", b"\xef\xbb")
"""First bytes in UTF-8 of the white space outside ASCII, and of the invisible characters; also those of dashes and quotes."""
_INVISIBLE: dict[int, str | int | None] = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))

DROPPED, LETTER, DIGIT, MARK = range(4)
"""What a character is: a separator, a letter or symbol, a digit, or a mark that vanishes."""
_UNDECOMPOSED = {"đ": "d", "ł": "l", "ø": "o", "ħ": "h", "ŧ": "t", "ı": "i"}
_STRIPPED_RANGES = ((0xC0, 0x250), (0x370, 0x530), (0x1E00, 0x2000))


def normalised(text: str) -> str:
    """The form in which two texts count as the same: NFC, no capitals, single spaces."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def digest(text: str) -> int:
    """64 bits of a text's exact form, in a few microseconds; white space is left out rather than evened out."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    data = text.casefold().encode("utf-8", "surrogatepass")
    if not text.isascii() and any(rare in data for rare in _RARE_SPACES):
        text = unicodedata.normalize("NFC", text.casefold()).translate(_INVISIBLE)
        data = "".join(text.split()).encode("utf-8", "surrogatepass")
    return xxhash.xxh3_64_intdigest(data.translate(None, _SPACES))


class Forms(NamedTuple):
    """The forms of N texts."""

    plain: Digests
    """``(N,)``; a text that is too short or too long for it has a digest of its exact form here."""
    loose: Digests
    """``(N,)``; the plain digest where the text is too short."""
    unmarked: npt.NDArray[np.bool_]
    """``(N,)``: whether the text has no diacritics at all."""
    codes: Codes
    """Plain characters of all texts one after another, as they are compared for likeness: digits are 0, and what separates words
    is one space."""
    rows: npt.NDArray[np.int64]
    """Of each of ``codes``: the index of its text, ascending."""


def read_forms(texts: Sequence[str]) -> Forms:
    """The forms of some texts; memory is some 60 bytes a character, so callers hand in batches (see :func:`batches`)."""
    folded = [unicodedata.normalize("NFC", text).casefold() if len(text) <= MAX_CHARACTERS else "" for text in texts]
    lengths = np.fromiter(map(len, folded), np.int64, len(folded))
    codes = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
    rows = np.repeat(np.arange(len(texts)), lengths)
    table, kinds = _tables()
    place = np.minimum(codes, len(table) - 1)
    plain, kind = np.where(codes < len(table), table[place], codes), kinds[place]

    marked = np.bincount(rows[(plain != codes) & (kind == LETTER) | (kind == MARK)], minlength=len(texts)) > 0
    own = [digest(text) for text in texts]
    plain_digests = _digests(plain, rows, (kind == LETTER) | (kind == DIGIT), own, MIN_PLAIN)
    loose_digests = _digests(plain, rows, kind == LETTER, plain_digests, MIN_LOOSE)

    visible = kind != MARK
    kind, rows = kind[visible], rows[visible]
    shown = np.where(kind == DROPPED, ord(" "), np.where(kind == DIGIT, ord("0"), plain[visible])).astype(np.uint32)
    starts_word = np.ones(len(shown), np.bool_)
    starts_word[1:] = (kind[1:] != DROPPED) | (kind[:-1] != DROPPED) | (rows[1:] != rows[:-1])
    return Forms(
        np.array(plain_digests, np.uint64), np.array(loose_digests, np.uint64), ~marked, shown[starts_word], rows[starts_word]
    )


def batches(texts: Sequence[str], *, characters: int = 1_000_000) -> list[slice]:
    """Slices of ``texts`` of about so many characters each, in order."""
    found: list[slice] = []
    start = held = 0
    for index, text in enumerate(texts):
        held += min(len(text), MAX_CHARACTERS) + 20
        if held >= characters:
            found.append(slice(start, index + 1))
            start, held = index + 1, 0
    if start < len(texts):
        found.append(slice(start, len(texts)))
    return found


def _digests(
    plain: Codes, rows: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_], short: Sequence[int], minimum: int
) -> list[int]:
    """Digests of the kept characters of each text; of one with fewer than ``minimum``, the digest that it has in ``short``."""
    counts = np.bincount(rows[kept], minlength=len(short))
    ends = np.cumsum(counts)
    data = plain[kept].astype("<u4").tobytes()
    spans = zip((ends - counts).tolist(), ends.tolist(), short, strict=True)
    return [xxhash.xxh3_64_intdigest(data[4 * start : 4 * end]) if end - start >= minimum else other for start, end, other in spans]


@cache
def _tables() -> tuple[Codes, npt.NDArray[np.uint8]]:
    """For each code point of the first plane: the character without its marks, and what it is; the last entry is all others'."""
    table = np.arange(0x10000, dtype=np.uint32)
    kinds = np.full(0x10000, LETTER, np.uint8)
    for code in range(0x10000):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            kinds[code], table[code] = DIGIT, ord("0") + unicodedata.digit(character)
        elif 0x300 <= code <= 0x36F or category == "Cf":
            kinds[code] = MARK
        elif category[0] in "PZCN" and category not in {"Co", "Cn", "Cs"}:
            kinds[code] = DROPPED
    for start, end in _STRIPPED_RANGES:
        for code in range(start, end):
            table[code] = ord(_without_marks(chr(code)))
    kinds[0xFFFF] = LETTER
    return table, kinds


def _without_marks(character: str) -> str:
    """The letter under its marks; the character itself where it is no such letter."""
    first, *marks = unicodedata.normalize("NFD", character)
    bare = first if all("\u0300" <= mark <= "\u036f" for mark in marks) else character
    return _UNDECOMPOSED.get(bare, bare)
