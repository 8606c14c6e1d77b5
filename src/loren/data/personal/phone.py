"""Phone numbers in a text: Vietnamese forms, ``+`` and country code, and North America's 3-3-4.

A regular expression finds runs of digits with the signs that people write between them; the run is cut into its groups, and a
sequence of whole groups that has the shape of a phone number is confirmed by ``phonenumbers``. Dates, prices, versions, waybills
and order ids are runs too; they are told apart by their groups, by what is written right around them, and by their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple, cast

from loren.data.personal.digits import BETWEEN, SPACES, is_border
from loren.data.personal.labels import is_slip, label_before
from loren.data.personal.tables import one_of, personal_table

_RUN = re.compile(rf"[0-9](?:{BETWEEN}[0-9]){{7,}}+")
_OPENING = re.compile(rf"(?:[+(][{SPACES}]?){{1,2}}\Z")
_GROUP = re.compile(r"[0-9]+")
_MAY_HOLD_PHONE = re.compile(
    rf"\+|(?:0(?<![0-9].)|8(?<![0-9].)(?=4|[^0-9])|1(?<![0-9].)(?=[89]|[^0-9]))(?:{BETWEEN}[0-9]){{6}}"
    r"|[2-9](?<![0-9].)[0-9]{2}[^0-9]{1,3}[2-9][0-9]{2}[^0-9]{1,3}[0-9]{4}"
)
"""What a phone number may begin with, and some more digits. Most runs hold none."""

_NATIONAL = re.compile(r"(?:0|84|840|0084|00840)(?:[35-9][0-9]{8}|2[0-9]{9})\Z|1[89]00[0-9]{4,6}\Z")
"""The shapes of Vietnamese numbers: trunk 0 or country code with nine digits (mobile) or ten (landline), and 1800 and 1900."""

_MIN_DIGITS, _MAX_DIGITS = 8, 15
_LONG_GROUP = 8
_WORD_CHARACTER = re.compile(r"\w")
_NUMBER_BEFORE = re.compile(r"[0-9](?:[ .\-_·][0-9]|[0-9]){7,24}[/&=]\Z")
_CONTEXT = 48
"""Characters before a number that are looked at."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sequence of whole groups of a run."""

    groups: tuple[str, ...]
    separators: tuple[str, ...]
    """What stands between the groups."""
    before: str
    """Up to 48 characters before the first digit, without an opening bracket or plus sign."""
    after: str
    plus: bool
    """Whether a ``+`` stands before it."""
    is_head: bool
    """Whether it begins its run."""
    is_tail: bool
    """Whether it ends its run."""

    @property
    def digits(self) -> str:
        """The digits of all groups."""
        return "".join(self.groups)


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each phone number in a folded text, in order, without overlap."""
    for run in _RUN.finditer(text):
        opening = _OPENING.search(text, max(0, run.start() - 4), run.start())
        head = opening.start() if opening else run.start()
        if opening and opening[0].startswith("+") and opening[0][-1] in SPACES and run[0].startswith("0"):
            head = run.start()  # a list whose items begin with a plus sign
        if not _MAY_HOLD_PHONE.search(text, head, run.end()):
            continue
        groups = list(_GROUP.finditer(text, run.start(), run.end()))
        first = 0
        while first < len(groups):
            last = _last_group(text, head, groups, first)
            if last is None:
                first += 1
                continue
            yield (head if first == 0 else groups[first].start()), groups[last].end()
            first = last + 1


def _last_group(text: str, head: int, groups: Sequence[re.Match[str]], first: int) -> int | None:
    """The last group of the longest phone number that begins with group ``first``; None where none does."""
    plus = first == 0 and "+" in text[head : groups[0].start()]
    if not plus and not _may_begin(text, groups, first):
        return None
    digits = 0
    lasts: list[int] = []
    for last in range(first, len(groups)):
        digits += len(groups[last][0])
        if digits > _MAX_DIGITS:
            break
        if digits >= _MIN_DIGITS and (last == len(groups) - 1 or is_border(text, groups[last].span(), groups[last + 1].span())):
            lasts.append(last)
    for last in reversed(lasts):
        candidate = _candidate(text, groups, first, last, plus=plus)
        if _has_shape(candidate) and not _is_other_thing(candidate) and _is_confirmed(candidate):
            return last
    return None


def _may_begin(text: str, groups: Sequence[re.Match[str]], first: int) -> bool:
    group = groups[first][0]
    if not (group.startswith(("0", "84", "18", "19")) or group in {"1", "8"} or len(group) == 3):
        return False
    if first == 0:
        return True
    in_series = len(group) <= 2 and len(groups[first - 1][0]) <= 2  # 01 02 03 04 05 06 is a list
    return not in_series and is_border(text, groups[first - 1].span(), groups[first].span())


def _candidate(text: str, groups: Sequence[re.Match[str]], first: int, last: int, *, plus: bool) -> _Candidate:
    chosen = groups[first : last + 1]
    start, end = chosen[0].start(), chosen[-1].end()
    return _Candidate(
        groups=tuple(group[0] for group in chosen),
        separators=tuple(text[a.end() : b.start()] for a, b in pairwise(chosen)),
        before=text[max(0, start - _CONTEXT) : start].rstrip("+("),
        after=text[end : end + _CONTEXT],
        plus=plus,
        is_head=first == 0,
        is_tail=last == len(groups) - 1,
    )


def _has_shape(candidate: _Candidate) -> bool:
    """Whether the groups are such as people write in a phone number."""
    groups, digits = candidate.groups, candidate.digits
    if candidate.plus or _is_north_american(candidate):
        return True
    if not _NATIONAL.match(digits):
        return False
    if len(groups) == 1 or all(len(group) == 1 for group in groups):
        return True
    if digits[0] == "1" and len(groups[0]) != len("1900"):
        return False  # 19.001.234 is an amount
    if digits[0] == "8" and groups[0] not in {"84", "840"} and len(groups[0]) < _LONG_GROUP:
        return False
    if groups[0] == "0" and candidate.separators[0].strip(SPACES + "()"):
        return False  # 0.912345678 is a fraction
    # A single digit is a trunk 0: the first group, or the second after a country code.
    sizes = [2 if group == "0" and index < 2 else len(group) for index, group in enumerate(groups)]
    return min(sizes) > 1 and not _is_date(groups)


def _is_date(groups: Sequence[str]) -> bool:
    """Whether the groups begin with day, month and year."""
    if len(groups) < 3:
        return False
    day, month, year = groups[:3]
    return len(day) == len(month) == 2 and day <= "31" and month <= "12" and len(year) == 4 and year[:2] in {"19", "20"}


def _is_north_american(candidate: _Candidate) -> bool:
    sizes = [len(group) for group in candidate.groups]
    if sizes not in ([3, 3, 4], [1, 3, 3, 4]) or (len(sizes) == 4 and candidate.groups[0] != "1"):
        return False
    return candidate.separators[-1].strip(SPACES) in {"-", "."} and candidate.groups[-3][0] in "23456789"


def _is_other_thing(candidate: _Candidate) -> bool:
    """Whether what is written around the number says that it is no phone number."""
    digits, words = candidate.digits, _words()
    if candidate.is_head and _is_code_before(candidate.before):
        return True
    if candidate.is_tail and _is_code_after(candidate.after):
        return True
    if digits[0] != "0" and words.amount.match(candidate.after.casefold()):
        return True
    if digits.startswith(("18", "19")) and not candidate.plus and _is_amount_or_years(candidate):
        return True
    return len(candidate.groups) == 1 and not candidate.plus and bool(words.thing.search(candidate.before.casefold()))


def _is_amount_or_years(candidate: _Candidate) -> bool:
    """Whether a service number is rather a round amount (19000000) or a range of years (1900-1945)."""
    if not candidate.digits[4:].strip("0"):
        return True
    years = len(candidate.groups) == 2 and len(candidate.groups[1]) == 4 and "18" <= candidate.groups[1][:2] <= "21"
    return years and bool(candidate.separators[0].strip(SPACES))


def _is_code_before(before: str) -> bool:
    """Whether letters or digits that are written on to the number make it a code (DH0912345678, VN-0912345678)."""
    if before.endswith("#"):
        return True
    attached = re.search(r"([^\W_]+)([-_/.&=]?)\Z", before)
    if not attached:
        return False
    word, sign = attached[1], attached[2]
    if _words().label.fullmatch(word.casefold()):
        return False
    if word.isdigit():
        return not _NUMBER_BEFORE.search(before)  # 0912.345.678/0987.654.321 are two numbers
    if any(character.isdigit() for character in word) or any(character.isupper() for character in word[1:]) or len(word) < 2:
        return True
    return not sign or bool(_words().thing.search(word.casefold()))


def _is_code_after(after: str) -> bool:
    """Whether letters that are written on to the number make it a code; a word that follows without a space is a slip."""
    after = after.lstrip("_")
    return bool(_WORD_CHARACTER.match(after)) and not is_slip(after, 0)


def _is_confirmed(candidate: _Candidate) -> bool:
    """Whether ``phonenumbers`` knows the number as one that can be dialled."""
    import phonenumbers  # takes 30 ms, and most files hold no candidate

    digits = candidate.digits
    if candidate.plus:
        number, region = f"+{digits}", None
    elif digits.startswith(("84", "0084")) and _NATIONAL.match(digits):
        number, region = f"+{digits.removeprefix('00')}", None
    else:
        number, region = digits, "VN" if _NATIONAL.match(digits) else "US"
    try:
        if phonenumbers.is_valid_number(phonenumbers.parse(number, region)):
            return True
    except phonenumbers.NumberParseException:
        return False
    return region == "VN" and _is_called_phone(candidate)


def _is_called_phone(candidate: _Candidate) -> bool:
    """Whether a word before a number says that it is a phone number: new prefixes are in use before the library knows them."""
    label = label_before(candidate.before, len(candidate.before))
    return label is not None and label.kind == "phone" and len(candidate.digits) == len("0912345678")


class _Words(NamedTuple):
    label: re.Pattern[str]
    thing: re.Pattern[str]
    amount: re.Pattern[str]


@cache
def _words() -> _Words:
    """The tables of ``personal.toml``, as patterns over small letters."""
    table = cast("dict[str, list[str]]", personal_table()["phone"])
    labels = cast("dict[str, list[str]]", personal_table()["labels"])
    things = [*labels["thing"], *labels["tax"]]
    return _Words(
        label=re.compile(one_of(table["labels"])),
        thing=re.compile(rf"(?<!\w)(?:{one_of(things)})(?:[\s:#.=]{{1,3}}(?:{one_of(table['fillers'])}))?[\s:#.=]{{0,3}}\Z"),
        amount=re.compile(rf"\s?(?:{one_of(table['units'])})(?!\w)"),
    )
