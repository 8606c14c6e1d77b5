"""Plain rows, settled at once: usual rows in which no search finds a reason to look closer, at half the price.

Most rows break no rule. The texts of many rows are searched as one, and what the rules over the file need of each is read; any
doubt about a row, and ``contract`` judges it by itself. So this file reports nothing, and its answer must be the one of the
contract's stages. A search of many rows is cheaper than many searches: its pattern is in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from loren.data.decode import COLON_ESCAPE
from loren.data.fold import unusual_rows
from loren.data.quality import facts
from loren.data.quality.row import LONGEST, MAX_MESSAGES, Traits, add_reply_breaches, phrase_suspects, traits_of
from loren.data.rules import Breach
from loren.data.similar.forms import plain_digest, target_digest
from loren.data.similar.question import question_of
from loren.data.target import FAST_CHARACTERS, JSON_STARTS
from loren.data.text_checks import TextCheck
from loren.data.together import Together
from loren.data.usual import UsualRow

_ESCAPE = COLON_ESCAPE.decode()
_decode = msgspec.json.Decoder(dict[str, str]).decode


class Settled(NamedTuple):
    """What a verdict holds of a row without a breach."""

    traits: Traits
    digests: tuple[int, int]
    """Of the question and of the target."""


class _Read(NamedTuple):
    """A row's texts."""

    place: int
    """Among the rows that were given."""
    row: UsualRow
    said: tuple[list[str], list[str]]
    """By the user and by the system."""
    replies: list[str]
    """Those that a person reads."""
    reply: str
    """The last of them; of several strings in JSON the longest."""
    texts: list[str]
    """All of them."""


def settle(rows: Sequence[UsualRow | None], checks: Sequence[TextCheck]) -> list[Settled | None]:
    """Judge usual rows; None where there is no row, or where a check or a rule of quality must look closer."""
    read = [each for place, row in enumerate(rows) if row is not None and (each := _read(place, row)) is not None]
    read = _without(unusual_rows(Together([each.texts for each in read])), read)
    together = Together([each.texts for each in read])
    doubtful = phrase_suspects(together).union(*(check.doubtful_in(together) for check in checks))
    settled: list[Settled | None] = [None] * len(rows)
    for each in _without(doubtful, read):
        if _all_well(each):
            characters = sum(map(len, each.texts)) + len(each.texts) - 1
            traits = traits_of(each.reply, *each.said, characters, has_phrases=False)
            messages = each.row.messages
            digests = plain_digest(question_of(messages).whole), target_digest(messages[-1].content)
            settled[each.place] = Settled(traits, digests)
    return settled


def _without(places: set[int], read: list[_Read]) -> list[_Read]:
    return [each for place, each in enumerate(read) if place not in places] if places else read


def _read(place: int, row: UsualRow) -> _Read | None:
    """The texts of a row; None where they may stand in JSON that is more than an object of texts."""
    messages = row.messages
    if len(messages) > MAX_MESSAGES:
        return None
    target = messages[-1].content
    learnt = _learnt(target)
    if learnt is None:
        return None
    asked: list[str] = []
    system: list[str] = []
    replies: list[str] = []
    by_role = {"user": asked, "assistant": replies, "system": system}
    for message in messages[:-1]:
        content = message.content
        if content[0] in JSON_STARTS or content[0].isspace():
            return None
        by_role[message.role].append(content)
    texts = [message.content for message in messages[:-1]] + learnt
    reply = ""
    for text in learnt:
        if " " in text or text is target:
            replies.append(text)
            if len(text) > len(reply):
                reply = text
    return _Read(place, row, (asked, system), replies, reply, texts)


def _learnt(target: str) -> list[str] | None:
    """The texts of a target: itself, or the keys and values of an object of texts; None for other JSON."""
    first = target[0]
    if first != "{":
        return None if first in JSON_STARTS or first.isspace() else [target]
    if len(target) > FAST_CHARACTERS or _ESCAPE in target:
        return None
    try:
        value = _decode(target)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    texts = [*value, *value.values()]
    # As many colons as keys and colons in texts: no key stood there twice (see decode.py).
    return texts if target.count(":") == len(value) + "\n".join(texts).count(":") else None


def _all_well(read: _Read) -> bool:
    """Whether no reply breaks a rule by itself or beside its question."""
    asked, system = read.said
    found: list[Breach] = []
    for text in read.replies:
        add_reply_breaches(found, "", text, asked[-1])
    if found or not read.reply or not facts.may_state(read.reply):
        return not found
    held = "\n".join((*system, *asked))
    return not any(True for text in read.replies for _ in facts.find_facts(text[:LONGEST], held))
