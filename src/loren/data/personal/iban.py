"""International bank account numbers: two letters, two check digits, the rest as the country has it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import iban

IBAN_TAIL = r"(?<=[A-Za-z]{2}.)(?<![^\W_]...)[0-9](?:[ -]?[A-Za-z0-9]){11,30}"
"""Pattern of what follows the first digit, behind the country's letters; it may take in words of the sentence."""
_CANDIDATE = re.compile("[0-9]" + IBAN_TAIL, re.DOTALL)
_SHORTEST, _LONGEST = 15, 34


def find_ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each IBAN in a folded text."""
    for match in _CANDIDATE.finditer(text):
        start = match.start() - 2
        places = [place for place in range(start, match.end()) if text[place] not in " -"]
        for size in range(min(_LONGEST, len(places)), _SHORTEST - 1, -1):
            end = places[size - 1] + 1
            if not text[end : end + 1].isalnum() and iban.is_valid(text[start:end], check_country=False):
                yield start, end
                break
