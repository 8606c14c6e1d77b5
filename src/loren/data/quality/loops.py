"""Replies that say the same again and again, as a model does that can't stop. Pure."""

from __future__ import annotations

_PROBE = 12
_STRIDE = 24
_MAX_PROBES = 40
_LONGEST = 24
"""Words of the longest phrase whose repeats are looked for."""
_MAX_WORDS = 20_000
_REPEATS = {1: 8, 2: 6, 3: 5, 4: 4, 5: 4}
"""Words of a phrase -> how often it must follow on itself; longer ones: three times. Songs and laughter stay below."""


def may_loop(reply: str) -> bool:
    """Whether a short piece of the reply occurs in it three times: a loop of some length always shows so."""
    length = len(reply)
    if length < _PROBE * 3:
        return False
    if reply.count(reply[-_PROBE:]) > 2:
        return True
    for start in range(0, length - _PROBE, max(_STRIDE, length // _MAX_PROBES)):
        if reply.count(reply[start : start + _PROBE]) > 2:
            return True
    return False


def repeats(reply: str) -> tuple[int, int]:
    """The words of a phrase that is repeated too often, and how often it stands there; (0, 0) where none is."""
    words = [word.strip(".,!?;:…").lower() for word in reply.split(maxsplit=_MAX_WORDS)[:_MAX_WORDS]]
    for size in range(1, min(_LONGEST, len(words) // 2) + 1):
        needed = _REPEATS.get(size, 3)
        run = 0
        for place in range(size, len(words)):
            run = run + 1 if words[place] == words[place - size] else 0
            if run >= size * (needed - 1) and _speaks(words[place - size + 1 : place + 1]):
                return size, _count(words, place, size)
    return 0, 0


def _count(words: list[str], place: int, size: int) -> int:
    """How often in all the phrase that ends at ``place`` follows on itself."""
    first = last = place
    while first - size >= 0 and words[first] == words[first - size]:
        first -= 1
    while last + 1 < len(words) and words[last + 1] == words[last + 1 - size]:
        last += 1
    return (last - first + 1) // size + 1


def _speaks(phrase: list[str]) -> bool:
    """Whether a phrase is of words of two letters at least: no table, no rule, no laughter."""
    letters = [word for word in phrase if len(word) > 1 and word.isalpha()]
    return len(letters) * 2 > len(phrase) and not all(set(word) <= set("haeikocjw") for word in letters)
