"""Personal data in a text: where it is, never what it is. Pure.

A detector takes a folded text (see ``fold.py``) and yields spans; another kind of personal data is another line of ``_DETECTORS``.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from loren.data.fold import fold
from loren.data.phone import MAY_HOLD_PHONE, find_phones, pii_table

_PREFILTER = re.compile(f"@|{MAY_HOLD_PHONE}")
"""What a text of either kind holds; one search settles most texts."""

_LOCAL_SIGNS = frozenset(".!#$%&'*+-/=?^_`{|}~")
_TOP_LEVEL = re.compile(r"(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,63})\Z", re.IGNORECASE)
_MARKS = re.compile(r"[\u0300-\u036f]")
_MAX_LOCAL, _MAX_DOMAIN = 64, 255
"""Bounds of RFC 5321, in characters."""


class Finding(NamedTuple):
    """Personal data at a place; its value is not kept."""

    rule: str
    """Name of the rule that it breaks."""
    start: int
    """0-based, in code points of the text as it was given."""
    end: int
    """One after the last."""


def may_hold_pii(text: str) -> bool:
    """Whether a text must be searched; False is certain."""
    return bool(_PREFILTER.search(fold(text).text))


def find_pii(text: str) -> list[Finding]:
    """All personal data in a text, in the order of their places.

    The number inside of an e-mail address is part of it, not a phone number.
    """
    folded = fold(text)
    if not _PREFILTER.search(folded.text):
        return []
    taken: list[tuple[int, int]] = []
    findings: list[Finding] = []
    for rule, detect in _DETECTORS:
        spans = [span for span in detect(folded.text) if not _overlaps(span, taken)]
        taken = sorted(taken + spans)
        findings.extend(Finding(rule, *folded.span(start, end)) for start, end in spans)
    return sorted(findings, key=lambda finding: finding.start)


def _overlaps(span: tuple[int, int], taken: Sequence[tuple[int, int]]) -> bool:
    """Whether a span touches one of ``taken``, which are in order and apart."""
    place = bisect_left(taken, span)
    return any(span[0] < end and start < span[1] for start, end in taken[max(0, place - 1) : place + 1])


def find_mails(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each e-mail address in a folded text.

    The text is walked outwards from each at sign, and a walk ends at the next one, so the work grows with the text's length only.
    """
    at = text.find("@")
    while at >= 0:
        start, end = _local_start(text, at), _domain_end(text, at)
        if start < at and end > at + 1:
            yield start, end
        at = text.find("@", at + 1)


def _local_start(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start < _MAX_LOCAL and _is_local(text[start - 1]):
        start -= 1
    while start < at and (text[start] in _LOCAL_SIGNS and text[start] != "_"):
        start += 1  # `'name@...` and `--name@...`: the signs belong to the sentence
    return start


def _is_local(character: str) -> bool:
    return character.isalnum() or character in _LOCAL_SIGNS or bool(_MARKS.match(character))


def _domain_end(text: str, at: int) -> int:
    """The end of the domain after the at sign; ``at`` where there is none."""
    end = at + 1
    while end < len(text) and end - at <= _MAX_DOMAIN and (text[end].isalnum() or text[end] in ".-" or _MARKS.match(text[end])):
        end += 1
    labels = text[at + 1 : end].split(".")
    # The sentence may go on ("...@shop.vn.Cảm ơn", "...@shop.vn..."): the last label that can be a top-level one ends it.
    while len(labels) > 1 and not _is_top_level(labels[-1]):
        labels.pop()
    if len(labels) < 2 or not all(labels) or labels[-1].casefold() in _file_endings():
        return at
    return at + 1 + len(".".join(labels))


def _is_top_level(label: str) -> bool:
    return bool(_TOP_LEVEL.match(_MARKS.sub("", label)))


@cache
def _file_endings() -> frozenset[str]:
    return frozenset(pii_table()["mail"]["file_endings"])


_DETECTORS: tuple[tuple[str, Callable[[str], Iterator[tuple[int, int]]]], ...] = (
    ("pii-email", find_mails),
    ("pii-phone", find_phones),
)
