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
_LOWER = bytes(range(256)).lower()
_INVISIBLE: dict[int, str | int | None] = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))

DROPPED, LETTER, DIGIT, MARK = range(4)
"""What a character is: a separator, a letter or symbol, a digit, or a mark that vanishes."""
_UNDECOMPOSED = {"đ": "d", "ł": "l", "ø": "o", "ħ": "h", "ŧ": "t", "ı": "i"}
_STRIPPED_RANGES = ((0xC0, 0x250), (0x370, 0x530), (0x1E00, 0x2000))


def normalised(text: str) -> str:
    """The form in which two texts count as the same: NFC, no capitals, single spaces."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def digest(text: str) -> int:
    """64 bits of a text's exact form, in a microsecond or two; white space is left out rather than evened out."""
    if text.isascii():
        return xxhash.xxh3_64_intdigest(text.encode().translate(_LOWER, _SPACES))
    text = unicodedata.normalize("NFC", text).casefold()
    if "\u00a0" in text or "\u200b" in text or "\ufeff" in text or "\u3000" in text or "\u202f" in text or "\u2009" in text:
        text = "".join(text.translate(_INVISIBLE).split())
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass").translate(None, _SPACES))


def plain_digest(text: str) -> int:
    """The same of a plain text (see ``fold.is_plain``): it is in NFC, without rarer spaces, and its letters fold to small ones."""
    return xxhash.xxh3_64_intdigest(text.lower().encode().translate(None, _SPACES))


def target_digest(text: str) -> int:
    """64 bits of a target, less its white space and ASCII capitals: other capitals would cost more than they are worth there."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass").translate(_LOWER, _SPACES))


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
    kept = kind != DROPPED
    kept[1:] |= (kind[:-1] != DROPPED) & (rows[1:] == rows[:-1])  # the first separator after a word
    shown, rows, kind = shown[kept], rows[kept], kind[kept]
    inner = kind != DROPPED
    inner[:-1] |= rows[1:] == rows[:-1]  # but not at the end of the text
    digests = np.array([plain_digests, loose_digests], np.uint64)
    return Forms(digests[0], digests[1], ~marked, shown[inner], rows[inner])


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
