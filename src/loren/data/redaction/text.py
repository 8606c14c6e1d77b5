"""One text without its personal data and secrets. Pure.

What stands around a finding decides about others ("mã đơn 0912...", a number beside a number), so a text is searched again after
each change, until nothing is found. Findings of every round point into the text as it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from loren.data.personal.find import find_pii
from loren.data.redaction.placeholders import Placeholders
from loren.data.secrets.find import find_secrets

MAX_ROUNDS = 8


class _Finding(Protocol):
    @property
    def rule(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


# Secrets first: a password before an at sign is not the beginning of an address.
_FINDERS: tuple[Callable[[str, str], Sequence[_Finding]], ...] = (find_secrets, lambda path, text: find_pii(text))


class Replacement(NamedTuple):
    """A part of a text and what stands for it."""

    start: int
    """In the text as it was, in code points."""
    end: int
    rule: str
    """The rule's name."""
    placeholder: str


Wanted: TypeAlias = Callable[[str], bool]
"""Whether what breaks the rule of that name is replaced."""


def findings_in(path: str, text: str, wanted: Wanted) -> Iterator[_Finding]:
    """Yield what would have to be replaced in a text, in no order."""
    for find in _FINDERS:
        yield from (finding for finding in find(path, text) if wanted(finding.rule))


def redact_text(path: str, text: str, placeholders: Placeholders, wanted: Wanted) -> tuple[str, list[Replacement]]:
    """A text without what is found in it, and what was replaced, in order.

    After ``MAX_ROUNDS`` something may still be found; whoever asks must look.
    """
    replaced: list[Replacement] = []
    redacted = text
    for _ in range(MAX_ROUNDS):
        before = redacted
        for find in _FINDERS:
            found = [finding for finding in find(path, redacted) if wanted(finding.rule)]
            if found:
                replaced = _merge(text, replaced, found, placeholders)
                redacted = _apply(text, replaced)
        if redacted == before:
            break
    return redacted, replaced


def _apply(text: str, replaced: Sequence[Replacement]) -> str:
    pieces: list[str] = []
    done = 0
    for item in replaced:
        pieces += [text[done : item.start], item.placeholder]
        done = item.end
    return "".join([*pieces, text[done:]])


def _merge(text: str, replaced: Sequence[Replacement], found: Sequence[_Finding], placeholders: Placeholders) -> list[Replacement]:
    """The replacements with those of a new round, which points into the text that they made and may swallow old ones."""
    starts: list[int] = []  # of each placeholder, in the text that they made
    shift = 0
    for item in replaced:
        starts.append(item.start + shift)
        shift += len(item.placeholder) - (item.end - item.start)
    new: list[Replacement] = []
    for finding in found:
        start, end = (
            _original(place, replaced, starts, is_end=is_end) for place, is_end in ((finding.start, False), (finding.end, True))
        )
        if text[start] == "(" and ")" not in text[start:end]:
            start += 1  # "(+84 912...)": the sentence's bracket
        if new and start < new[-1].end:
            start = new.pop().start
        new.append(Replacement(start, end, finding.rule, placeholders.of(finding.rule, text[start:end])))
    begins = [item.start for item in new]
    kept = [old for old in replaced if (at := bisect_right(begins, old.start)) == 0 or old.start >= new[at - 1].end]
    return sorted([*kept, *new])


def _original(place: int, replaced: Sequence[Replacement], starts: Sequence[int], *, is_end: bool) -> int:
    """Where a place of the changed text lies in the text as it was; within a placeholder, at its beginning or end."""
    index = bisect_right(starts, place - is_end) - 1
    if index < 0:
        return place
    item, start = replaced[index], starts[index]
    over = place - start - len(item.placeholder)
    if over >= 0:
        return item.end + over
    return item.end if is_end else item.start
