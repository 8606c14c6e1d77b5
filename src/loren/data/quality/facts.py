"""Facts that change: prices, rates, dates, opening hours and links that a reply states though nothing before it did. Pure.

A model that learned such a fact says it for ever; it belongs where it can be looked up. What the question or the system prompt
holds is no fact of the model's, and neither is what follows from it by one step of arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import NamedTuple

from loren.data.quality.tables import any_of, number_rules, quality_table

_FIRST_FIXED_YEAR = 2000
"""A date before this year is history, which does not change."""
_MAX_FACTS = 50
"""Facts of one reply that are looked at."""
_MAX_NUMBERS = 12
"""Numbers of the question from which a reply may calculate."""


class Fact(NamedTuple):
    """A statement in a reply."""

    kind: str
    """As a message says it."""
    start: int
    end: int


MAY_STATE = re.compile(r"[0-9]|\.[a-z]|://")
"""A reply in which it finds nothing states none of these facts."""


def find_facts(reply: str, held: str) -> Iterator[Fact]:
    """The changing facts that ``reply`` states and ``held``, all that was said before it, does not."""
    text, before = reply.lower(), held.lower()
    squeezed = _squeeze(before)
    for kind, match in islice(_stated(text), _MAX_FACTS):
        if _squeeze(match[0]) in squeezed or _is_held(kind, match[0], before):
            continue
        yield Fact(kind, match.start(), match.end())


def _squeeze(text: str) -> str:
    return re.sub(r"[\s/]+$|\s+", "", text)


def _stated(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    taken: list[tuple[int, int]] = []
    for kind, expression in _expressions():
        for match in expression.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in taken[-_MAX_FACTS:]):
                continue
            if kind == "a date" and _stays(match[0]):
                continue
            if kind == "a link" and match[0] in _table()["no_links"]:
                continue
            taken.append(match.span())
            yield kind, match


def _stays(date: str) -> bool:
    """Whether a date is one of history, or the same day of every year."""
    years = [int(number) for number in re.findall(r"(?<!\d)\d{4}(?!\d)", date)]
    if years:
        return max(years) < _FIRST_FIXED_YEAR
    return any(day in _table()["fixed_days"] for day in re.findall(r"\d+/\d+", date.replace(" tháng ", "/")))


def _is_held(kind: str, fact: str, held: str) -> bool:
    """Whether the same is said before in another form, or follows from what was said."""
    if kind == "a link":
        return re.sub(r"^(?:https?://)?(?:www\.)?", "", fact).rstrip("/.,;:!?)") in held
    numbers = [number for number in re.findall(r"\d+", fact)]
    if kind in {"a date", "opening hours"}:
        known = {int(number) for number in re.findall(r"\d{1,9}", held)}
        return all(int(number) in known for number in numbers if len(number) < 10)
    stated = number_rules().states(fact)
    before = number_rules().held(held)
    return bool(stated) and all(before.covers(entity) or _follows(Decimal(entity.value), held) for entity in stated)


def _follows(value: Decimal, held: str) -> bool:
    """Whether a number is a sum, difference, product or share of two numbers that were said."""
    numbers = {
        Decimal(entity.value)
        for entity in number_rules().states(held)
        if entity.kind in {"number", "amount", "percentage", "duration"}
    }
    known = sorted(numbers)[:_MAX_NUMBERS]
    return value in set(_derived(known))


def _derived(known: Sequence[Decimal]) -> Iterator[Decimal]:
    for one in known:
        for other in known:
            yield from (one + other, one - other, one * other, one * other / 100, one - one * other / 100, one + one * other / 100)
            if other:
                yield one / other


@cache
def _table() -> dict[str, list[str]]:
    return quality_table()["facts"]


@cache
def _links() -> re.Pattern[str]:
    ends = any_of(_table()["top_level"])
    return re.compile(
        rf"https?://[^\s<>\"']+|www\.[^\s<>\"']+|(?<![\w@.-])[a-z0-9](?:[a-z0-9-]{{0,62}}\.){{1,4}}{ends}(?![\w@-]|\.\w)(?:/[^\s<>\"']*)?"
    )


@cache
def _expressions() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Kinds and what they look like in a text of lower case; every repeat is bounded."""
    table = _table()
    number = r"\d{1,12}(?:[.,]\d{1,9}){0,5}"
    scale = any_of(table["scales"])
    after, before = any_of(table["money_after"]), any_of(table["money_before"])
    stop = r"(?=\s{0,2}(?:[.,;:!?)/\n]|$))"
    money = (
        rf"(?<![\w.,]){before}\s?{number}(?:\s?{scale}\b)?(?!\w)"
        rf"|(?<![\w.,]){number}(?:\s?{scale}\b)?\s?{after}(?!\w)"
        rf"|(?<![\w.,])(?:\d{{3}}|{number}[.,]\d{{3}}|{number}\s?(?:k|tr|triệu|nghìn|ngàn))\s?đ(?!\w)"
        rf"|(?<=giá )(?:chỉ |từ |là |khoảng )?{number}\s?{scale}(?!\w)|(?<![\w.,-]){number}(?:k|tr){stop}"
    )
    share = rf"{number}\s?(?:%|phần trăm\b|percent\b)"
    rates = any_of(table["rates"])
    rate = (
        rf"(?<!\w){any_of(table['rate_before'])}\s{share}"
        rf"|(?<!\w){rates}(?!\w)[^.!?\n%\d]{{0,25}}(?:{share})"
        rf"|(?<![\d.,]){share}\s{rates}(?!\w)"
    )
    month = any_of(table["months"])
    year = r"(?:19|20)\d\d"
    day, month_number = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
    date = (
        rf"(?<![\w./-])(?:{day}[/.-]{month_number}[/.-]{year}|{year}-{month_number}-{day}|{day}/{month_number}/\d\d)(?![\w/-]|[.]\d)"
        rf"|\bngày\s{day}(?:\s?/\s?{month_number}|\stháng\s{month_number})(?:\snăm\s{year}|/{year})?(?![\w/])"
        rf"|\btháng\s{month_number}(?:/|\snăm\s){year}(?!\w)|(?:đến|hết|trước|từ|sau)\s{day}/{month_number}(?![\w/])"
        rf"|\b(?:on|by|until|before|from|since)\smay\s{day}(?!\w)|\bmay\s{day}(?:st|nd|rd|th|,\s{year})|(?<![\w/]){day}\smay\s{year}"
        rf"|\b{month}\.?\s{day}(?:st|nd|rd|th)?(?!\w)(?:,?\s{year})?|(?<![\w/]){day}(?:st|nd|rd|th)?\s{month}(?!\w)(?:,?\s{year})?|\b{month}\s{year}\b"
    )
    clock = r"\d{1,2}(?:\s?(?:am|pm|a\.m\.|p\.m\.)|[:h]\d{2}(?:\s?[ap]m)?|\s?(?:giờ|h|g)(?!\w)(?:\s?\d{2})?)"
    until = any_of(table["until"])
    hours = (
        rf"(?<![\w:/]){clock}(?:\s(?:sáng|trưa|chiều|tối))?\s?(?:[-–—]|{until})\s?{clock}"
        rf"|(?<!\w){any_of(table['opening'])}(?!\w)[^.!?\n\d]{{0,25}}{clock}|(?<!\w){any_of(table['opening'])}(?!\w)[^.!?\n\d]{{0,15}}24/7"
        r"|(?<![\w:])\d{1,2}\s?(?:-|to)\s?\d{1,2}\s?(?:am|pm)\b"
    )
    return (
        ("a link", _links()),
        ("a price", re.compile(money)),
        ("a rate", re.compile(rate)),
        ("opening hours", re.compile(hours)),
        ("a date", re.compile(date)),
    )
