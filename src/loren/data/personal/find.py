"""Personal data in a text: where it is, never what it is. Pure.

A detector takes a folded text (see ``fold.py``) and yields spans; another kind of personal data is another line of ``_DETECTORS``.
What an earlier detector found belongs to it: the number inside of an e-mail address is no phone number.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from loren.data.fold import fold
from loren.data.personal.card import find_split_cards
from loren.data.personal.digits import read_zeros
from loren.data.personal.finding import Finding
from loren.data.personal.glance import may_hold_pii
from loren.data.personal.iban import find_ibans
from loren.data.personal.identity import find_numbered, find_passports
from loren.data.personal.mail import find_mails
from loren.data.personal.names import find_addresses, find_names
from loren.data.personal.phone import find_phones
from loren.data.personal.plate import find_plates
from loren.data.personal.spelled import find_spelled

Spans = Iterable[tuple[str, int, int]]

NOUNS = {
    "pii-email": "an e-mail address",
    "pii-phone": "a phone number",
    "pii-id-number": "an identity number",
    "pii-id-shape": "a number with the shape of an identity number",
    "pii-card": "a payment card number",
    "pii-bank-account": "a bank account number",
    "pii-tax-code": "a tax code",
    "pii-iban": "an IBAN",
    "pii-passport": "a passport number",
    "pii-plate": "a licence plate",
    "pii-spelled-number": "a number written out in words",
    "pii-name": "what looks like a person's name",
    "pii-address": "what looks like a postal address",
}
"""What each rule finds, for messages."""

_UUID = re.compile(r"(?<![^\W_])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![^\W_])")
"""Drawn by a machine: what looks like a number in it is none."""


def find_pii(text: str) -> list[Finding]:
    """All personal data in a text, in the order of their places, apart from each other."""
    if not may_hold_pii(text):
        return []
    folded = fold(text)
    read = _UUID.sub(lambda match: " " * len(match[0]), read_zeros(folded.text))
    taken: list[tuple[int, int]] = []
    findings: list[Finding] = []
    for detect in _DETECTORS:
        free = [found for found in detect(read) if not _overlaps(found[1:], taken)]
        if free:
            taken = sorted(taken + [found[1:] for found in free])
            findings.extend(Finding(rule, *folded.span(start, end)) for rule, start, end in free)
    return sorted(findings, key=lambda finding: finding.start)


def _overlaps(span: tuple[int, int], taken: Sequence[tuple[int, int]]) -> bool:
    """Whether a span touches one of ``taken``, which are in order and apart."""
    place = bisect_left(taken, span)
    return any(span[0] < end and start < span[1] for start, end in taken[max(0, place - 1) : place + 1])


def _as(rule: str, detect: Callable[[str], Iterator[tuple[int, int]]]) -> Callable[[str], Spans]:
    """A detector that names the rule of all that it finds."""
    return lambda text: ((rule, start, end) for start, end in detect(text))


_DETECTORS: tuple[Callable[[str], Spans], ...] = (
    _as("pii-email", find_mails),
    _as("pii-iban", find_ibans),
    _as("pii-card", find_split_cards),
    find_numbered,
    _as("pii-passport", find_passports),
    _as("pii-plate", find_plates),
    _as("pii-phone", find_phones),
    _as("pii-spelled-number", find_spelled),
    _as("pii-address", find_addresses),
    _as("pii-name", find_names),
)
