"""The rules that look at the texts of a row, one after another. Pure.

A check sees every text: each message's, and of a content that is JSON its decoded keys and strings. Most rows break nothing, so a
check first says so for all texts of a row together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from loren.data.fold import is_plain
from loren.data.personal.find import NOUNS, find_pii
from loren.data.personal.finding import Finding
from loren.data.personal.glance import may_hold_pii, pii_suspects
from loren.data.personal.recognizers import Recognizer
from loren.data.quality.characters import find_characters
from loren.data.quality.markup import find_markup
from loren.data.rules import Breach
from loren.data.secrets.find import may_hold_secret, secret_breaches, secret_suspects
from loren.data.together import Together


class TextCheck(NamedTuple):
    """A rule, or several, over texts."""

    may_find: Callable[[str], bool]
    """Takes all texts of a row, joined; False says that none of them breaks the rule. It is what most rows cost."""
    find: Callable[[str, str], Iterable[Breach]]
    """Takes a pointer and the text there."""
    doubtful: Callable[[Together], set[int]] | None = None
    """Says the same as ``may_find`` of several plain rows (see ``fold.is_plain``) at once: those that may break the rule."""

    def doubtful_in(self, together: Together) -> set[int]:
        """The rows that may break the rule."""
        if self.doubtful is not None:
            return self.doubtful(together)
        return {row for row in range(len(together)) if self.may_find(together.row(row))}


def _pii(path: str, text: str) -> Iterator[Breach]:
    for finding in find_pii(text):
        yield _personal(path, finding)


def _personal(path: str, finding: Finding, who: str = "") -> Breach:
    place = f"characters {finding.start + 1} to {finding.end} of the text"
    message = f"expected no personal data, found {NOUNS[finding.rule]} at {place}{who}"
    return Breach(finding.rule, path, message, (finding.start, finding.end))


def recognizer_check(recognizer: Recognizer) -> TextCheck:
    """What a recogniser finds besides our own findings."""

    def find(path: str, text: str) -> Iterator[Breach]:
        known = find_pii(text)
        for finding in recognizer.find(text):
            if not any(finding.start < other.end and other.start < finding.end for other in known):
                yield _personal(path, finding, f", says {recognizer.name}")

    return TextCheck(bool, find)


def _unusual(path: str, text: str) -> Iterator[Breach]:
    yield from find_characters(path, text)
    yield from find_markup(path, text)


def _may_be_unusual(text: str) -> bool:
    return not is_plain(text)


def _none(together: Together) -> set[int]:
    """Plain rows hold nothing unusual."""
    return set()


TEXT_CHECKS = (
    TextCheck(may_hold_pii, _pii, pii_suspects),
    TextCheck(may_hold_secret, secret_breaches, secret_suspects),
    TextCheck(_may_be_unusual, _unusual, _none),
)
"""In this order."""
