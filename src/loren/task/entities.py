"""Entities: the numbers, amounts, durations, percentages, dates, times and links that a text states.

Two texts that say the same are made to compare equal: "1.250.000đ" and "1,25 triệu", "hai lần" and "2 lần", "24h" and "1 ngày".
How a language writes numbers and units comes from wording.toml. A number word counts only before a unit or scale, or after an
ordinal: by themselves such words mean too many other things.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

from loren.task.phrases import CLAUSE_ENDS, MASK, Lexicon, Text, fold, is_link

if TYPE_CHECKING:
    from loren.task.wording import NumberRules, Unit, Wording

Kind: TypeAlias = Literal["number", "amount", "duration", "percentage", "date", "time", "link", "address"]
_ONE = Decimal(1)
_VAGUE = "vague"
_LIST_MARKER_MAX = 20
_NUMBER = re.compile(r"\d")
_SIGNS = frozenset((*CLAUSE_ENDS, MASK, "/"))
"""Tokens with which nothing begins, as with most words."""
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:([.,])\d{3})(?:\1\d{3})*\Z")


class Entity(NamedTuple):
    """One thing that a text states."""

    kind: Kind
    value: str
    """What it is compared by: a number in the kind's smallest unit, a phrase, an address."""
    numbers: tuple[Decimal, ...] = ()
    """The numbers as they are written."""


class Extractor:
    """Finds entities in the tokens of a text, by the number rules of a wording."""

    def __init__(self, wording: Wording) -> None:
        self._lexicon = wording.lexicon
        self._plain = _Tables(wording.file.numbers, wording.lexicon, folded=False)
        self._folded = _Tables(wording.file.numbers, wording.lexicon, folded=True)
        self._standing: tuple[str, list[Entity]] = ("", [])

    def states(self, text: str) -> list[Entity]:
        """What ``text`` states, in order."""
        return list(_scan(self._lexicon.read(text), self._plain))

    def held(self, text: str, standing: str = "") -> Held:
        """What a reply to ``text`` may state: read generously, without accents too.

        Args:
            text: what was asked.
            standing: a text that holds for many questions, such as the system prompt; it is read once.
        """
        if standing != self._standing[0]:
            self._standing = (standing, self._generously(standing))
        return Held([*self._generously(text), *self._standing[1]])

    def _generously(self, text: str) -> list[Entity]:
        tokens = self._lexicon.read(text)
        return [*_scan(tokens, self._plain), *_scan(tokens.folded(), self._folded)]


class Held:
    """What a prompt holds, and so what a reply may say again."""

    def __init__(self, entities: Sequence[Entity]) -> None:
        self._stated = {(entity.kind, entity.value) for entity in entities}
        self._numbers = {number for entity in entities for number in entity.numbers}
        self._numbers |= {Decimal(entity.value) for entity in entities if entity.kind in {"number", "amount"}}

    def covers(self, entity: Entity) -> bool:
        """Whether the prompt says the same.

        A duration or percentage must be the same one. Of other numbers the value must occur, whatever it counts: "2 lần" in the
        prompt makes "hai đơn" no invention.
        """
        if (entity.kind, entity.value) in self._stated:
            return True
        if entity.kind in {"number", "amount"}:
            return Decimal(entity.value) in self._numbers
        return entity.kind in {"date", "time"} and bool(entity.numbers) and self._numbers.issuperset(entity.numbers)


@dataclass(frozen=True)
class _Tables:
    """The number rules as tables of tokens; ``folded`` ones lack accents and read prompts only."""

    rules: NumberRules
    lexicon: Lexicon
    folded: bool

    def _phrase(self, phrase: str) -> tuple[str, ...]:
        text = self.lexicon.read(phrase)
        return text.folded().tokens if self.folded else text.tokens

    def _values(self, table: Mapping[str, int]) -> dict[str, Decimal]:
        return {" ".join(self._phrase(word)): Decimal(value) for word, value in table.items()}

    @cached_property
    def words(self) -> dict[str, Decimal]:
        return self._values(self.rules.words)

    @cached_property
    def tails(self) -> dict[str, Decimal]:
        return self._values(self.rules.tails)

    @cached_property
    def scales(self) -> dict[str, Decimal]:
        return self._values(self.rules.scales)

    @cached_property
    def signs(self) -> dict[str, Decimal]:
        return self._values(self.rules.signs)

    @cached_property
    def ordinals(self) -> frozenset[tuple[str, ...]]:
        return frozenset(map(self._phrase, self.rules.ordinals))

    @cached_property
    def vague(self) -> _Index[None]:
        return _by_first_word([(self._phrase(phrase), None) for phrase in self.rules.vague])

    @cached_property
    def units(self) -> _Index[tuple[Unit, bool]]:
        """Units, and whether their name stands after digits only."""
        names = [(self._phrase(name), (unit, False)) for unit in self.rules.units for name in unit.names]
        return _by_first_word(names + [(self._phrase(name), (unit, True)) for unit in self.rules.units for name in unit.signs])

    @cached_property
    def dates(self) -> _Index[str]:
        """Date phrases, and the first of the ways to say the same."""
        return _by_first_word([(self._phrase(way), fold(ways[0])) for ways in self.rules.dates for way in ways])

    @cached_property
    def calendar(self) -> frozenset[tuple[str, ...]]:
        return frozenset(map(self._phrase, self.rules.calendar))

    def names_date(self, tokens: Sequence[str], start: int, end: int) -> bool:
        """Whether the unit between two indices belongs to a date: it may, and a number follows it."""
        follows = end < len(tokens) and (bool(_NUMBER.match(tokens[end])) or tokens[end] in self.words)
        return follows and tuple(tokens[start:end]) in self.calendar

    @cached_property
    def starters(self) -> frozenset[str]:
        """The words with which something may begin that is no digit and no link."""
        return frozenset((*self.words, *self.dates, *self.vague))

    def is_bare_unit(self, tokens: Sequence[str], index: int) -> bool:
        """Whether a number word is meant as the unit that it also is ("năm": five, year): no unit or scale follows it."""
        follows = tokens[index + 1] if index + 1 < len(tokens) else ""
        return (
            self.unit_at(tokens, index, digits=False)[0] is not None
            and self.unit_at(tokens, index + 1, digits=False)[0] is None
            and follows not in self.scales
        )

    def unit_at(self, tokens: Sequence[str], index: int, *, digits: bool) -> tuple[Unit | None, int]:
        """The unit that begins at a token, and the index after it."""
        for phrase, (unit, is_sign) in _phrases_at(self.units, tokens, index):
            if digits or not is_sign:
                return unit, index + len(phrase)
        return None, index


_T = TypeVar("_T")
_Index: TypeAlias = "dict[str, list[tuple[tuple[str, ...], _T]]]"
"""First token -> phrases that begin with it and what they mean, longest first."""


def _by_first_word(phrases: Sequence[tuple[tuple[str, ...], _T]]) -> _Index[_T]:
    index: _Index[_T] = {}
    for phrase, meaning in sorted(phrases, key=lambda entry: -len(entry[0])):
        if phrase:
            index.setdefault(phrase[0], []).append((phrase, meaning))
    return index


def _phrases_at(index: _Index[_T], tokens: Sequence[str], start: int) -> Iterator[tuple[tuple[str, ...], _T]]:
    """The phrases that begin at a token."""
    for phrase, meaning in index.get(tokens[start], ()) if start < len(tokens) else ():
        if tuple(tokens[start : start + len(phrase)]) == phrase:
            yield phrase, meaning


def _scan(text: Text, tables: _Tables) -> Iterator[Entity]:
    tokens, starters = text.tokens, tables.starters
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token not in starters and (token.isalpha() or token in _SIGNS):
            index += 1
            continue
        for reader in (_link, _date_phrase, _digits, _number_words, _vague_duration):
            entities, after = reader(tokens, index, tables)
            if after > index:
                yield from entities
                index = after
                break
        else:
            index += 1


_Found: TypeAlias = "tuple[list[Entity], int]"
"""Entities, and the index after their tokens (the same index: there is nothing here)."""


def _link(tokens: Sequence[str], index: int, _: _Tables) -> _Found:
    token = tokens[index]
    if is_link(token):
        return [Entity("link", token.rstrip("/.,;:!?)"))], index + 1
    if token == "@" and index + 1 < len(tokens) and tokens[index + 1][0].isalnum():
        return [Entity("address", f"@{tokens[index + 1]}")], index + 2
    return [], index


def _date_phrase(tokens: Sequence[str], index: int, tables: _Tables) -> _Found:
    for phrase, name in _phrases_at(tables.dates, tokens, index):
        return [Entity("date", name)], index + len(phrase)
    return [], index


def _digits(tokens: Sequence[str], index: int, tables: _Tables) -> _Found:
    token = tokens[index]
    if not _NUMBER.match(token):
        return [], index
    if _is_list_marker(tokens, index):
        return [], index + 1
    numbers, kind = _parse_digits(token)
    if kind:
        return [Entity(kind, token, tuple(numbers))], index + 1
    after = index + 1
    scale = _ONE
    while after < len(tokens) and (step := tables.signs.get(tokens[after]) or tables.scales.get(tokens[after])):
        scale *= step
        after += 1
    unit, end = tables.unit_at(tokens, after, digits=True)
    if unit and tables.names_date(tokens, after, end):
        return [_entity(number, scale, None) for number in numbers], after
    after = end
    return [_entity(number, scale, unit) for number in numbers], after


def _number_words(tokens: Sequence[str], index: int, tables: _Tables) -> _Found:
    if tokens[index] not in tables.words:
        return [], index
    value, after, scaled = _word_value(tokens, index, tables)
    unit, end = tables.unit_at(tokens, after, digits=False)
    is_ordinal = any(tuple(tokens[max(0, index - len(phrase)) : index]) == phrase for phrase in tables.ordinals)
    if unit and unit.kind == "count" and value == 1 and tables.rules.one_is_an_article and not is_ordinal:
        return [], end
    if unit or scaled or is_ordinal:
        return [_entity(value, _ONE, unit, by_scale=scaled)], end
    return [], after


def _word_value(tokens: Sequence[str], index: int, tables: _Tables) -> tuple[Decimal, int, bool]:
    """The value of the number words from ``index`` on, the index after them, and whether a thousand or more scaled it."""
    total, current = Decimal(0), tables.words[tokens[index]]
    after = index + 1
    last_was_scale = False
    scaled = False
    while after < len(tokens):
        token = tokens[after]
        tail = tables.words.get(token, tables.tails.get(token))
        if tail is not None and not last_was_scale and not _completes_tens(current, tail):
            tail = None
        if token in tables.scales:
            step = tables.scales[token]
            scaled = scaled or step >= 1000
            total, current = (total + current * step, Decimal(0)) if step >= 1000 else (total, _scaled(current, step))
            last_was_scale = True
        elif tail is not None:
            if tables.is_bare_unit(tokens, after):
                break
            current += tail
            last_was_scale = False
        else:
            break
        after += 1
    return total + current, after, scaled


def _scaled(current: Decimal, step: Decimal) -> Decimal:
    """2 and "hundred" make 200; 205 and "ten" make 250, for a small scale after a larger one multiplies the last digit alone."""
    rest = current % 10
    return current - rest + rest * step if current >= step and rest else current * step


def _completes_tens(current: Decimal, value: Decimal) -> bool:
    """Whether a digit may follow what was read so far without a scale between ("twenty five")."""
    return current >= 10 and current % 10 == 0 and value < 10


def _vague_duration(tokens: Sequence[str], index: int, tables: _Tables) -> _Found:
    for phrase, _ in _phrases_at(tables.vague, tokens, index):
        unit, end = tables.unit_at(tokens, index + len(phrase), digits=False)
        if unit and unit.kind == "duration":
            return [Entity("duration", _VAGUE)], end
    return [], index


def _entity(number: Decimal, scale: Decimal, unit: Unit | None, *, by_scale: bool = False) -> Entity:
    value = number * scale * (unit.factor if unit else 1)
    kind: Kind = "amount" if scale >= 1000 or by_scale else "number"
    if unit is not None:
        kind = "number" if unit.kind == "count" else unit.kind
    return Entity(kind, _plain_decimal(value), (number,))


def _parse_digits(token: str) -> tuple[list[Decimal], Kind | None]:
    """The numbers of a token, and its kind where its form alone says it (a date, a time)."""
    parts = re.split(r"[/:–-]", token)
    if ":" in token:
        return [_decimal(part) for part in parts], "time"
    if "/" in token or len(parts) == 3:
        return [_decimal(part) for part in parts], "date"
    if len(parts) == 1 and re.fullmatch(r"\d{1,2}\.\d{1,2}\.\d{2,4}", token):
        return [Decimal(part) for part in token.split(".")], "date"
    return [_decimal(part) for part in parts], None


def _decimal(text: str) -> Decimal:
    """The value of digits with points and commas: groups of three are thousands, anything else ends in decimals."""
    if _GROUPED.match(text):
        return Decimal(re.sub("[.,]", "", text))
    whole, _, decimals = text.replace(",", ".").rpartition(".")
    return Decimal(f"{whole.replace('.', '')}.{decimals}") if whole else Decimal(decimals)


def _plain_decimal(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _is_list_marker(tokens: Sequence[str], index: int) -> bool:
    """Whether a number only counts the items of a list: "1." or "2)" where a sentence begins."""
    begins = index == 0 or tokens[index - 1] in CLAUSE_ENDS
    ends = index + 2 < len(tokens) and tokens[index + 1] in {".", ")"}
    return begins and ends and tokens[index].isdecimal() and len(tokens[index]) <= 2 and int(tokens[index]) <= _LIST_MARKER_MAX
