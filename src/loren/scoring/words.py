"""Words of the question that failing rows share. Pure.

They are a customer's words: whoever shows them shows text. Only words that stand in several situations are told, never a number,
and nothing that was found to be personal data or a secret anywhere in the questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from loren.data.personal.find import find_pii
from loren.data.secrets.find import find_secrets
from loren.data.similar.forms import MAX_CHARACTERS, normalised
from loren.runs.files import Json
from loren.scoring.stats.exchange import exchanged
from loren.scoring.stats.rows import FloatArray, IntArray

MIN_SITUATIONS = 3
"""A word of fewer situations may name a person or a case."""
DRAWS = 1_999
_MAX_WORDS = 20_000
"""The words of most rows are tested, where there are more."""
_TOGETHER = 2_000_000
"""Counts, of words in draws, that are in memory at once."""
_TOKEN = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
_NO_WORD = re.compile(r"[\d_]|\W\Z")
_BREAK = " . "
"""Stands where something was taken out of a text: no phrase goes over it."""


class Asked(NamedTuple):
    """A row's question, and whether the row failed."""

    id: str
    situation: str
    text: str
    failed: bool


class SharedWord(NamedTuple):
    """A word or two that stand in failing rows more often than in others."""

    word: str
    """In lower case; two words with one space."""
    failing: int
    """Failing rows that have it."""
    of_failing: int
    """All failing rows."""
    passing: int
    of_passing: int
    ratio: float
    """Odds of failing with it by the odds without, half a row being added to each count (Haldane 1956), so that it is finite."""
    adjusted_p: float
    """See ``shared_words``."""

    def to_json(self) -> dict[str, Json]:
        """For result.json."""
        return dict(self._asdict())


def shared_words(rows: Sequence[Asked], *, alpha: float = 0.05, draws: int = DRAWS) -> list[SharedWord]:
    """Words and pairs of neighbouring words that failing rows share, by more than chance; the surest first.

    Each is judged by Fisher's exact test (one-sided) over its rows. What such a p value is worth among so many words, of which the
    rows of a situation share many, is read from outcomes that are dealt out anew (``stats.exchange``): the adjusted p is the share
    of draws in which any word has a p as small. So the chance that any word is named where none matters is ``alpha`` at most, and
    words that stand everywhere need no list to be left out by. Of words that stand in the same rows the longest is told.

    Args:
        rows: Questions of the golden set with the outcomes of one arm, in any order; ids differ.
        alpha: Of all words together.
        draws: Of outcomes.

    Source: Westfall and Young 1993, Resampling-Based Multiple Testing, section 2.6 (the single-step min-p).
    """
    ordered = sorted(rows, key=lambda row: (row.situation, row.id))
    failed = np.array([row.failed for row in ordered], dtype=np.float64)
    failing = int(failed.sum())
    words = _words_of_rows(ordered)
    if not words or failing in {0, len(ordered)}:
        return []
    counts = np.array([len(places) for places in words.values()])
    found = np.array([failed[list(places)].sum() for places in words.values()], dtype=np.int64)
    sizes, size = np.unique(counts, return_inverse=True)
    table = _log_p_table(len(ordered), failing, sizes)
    seen = table[size, found]
    members = _matrix(list(words.values()), len(ordered))
    least = _least(members, exchanged(failed, [row.situation for row in ordered], draws=draws), table, size)
    # Rounding in a logarithm must not part equal values.
    adjusted = ((np.searchsorted(np.sort(least), seen + 1e-9, side="right") + 1) / (draws + 1)).tolist()
    results = [
        SharedWord(word, hits, failing, rows_with - hits, len(ordered) - failing, _ratio(hits, rows_with, failing, len(ordered)), p)
        for word, hits, rows_with, p in zip(words, found.tolist(), counts.tolist(), adjusted, strict=True)
        if p <= alpha
    ]
    order = dict(zip(words, seen.tolist(), strict=True))
    return sorted(results, key=lambda each: (order[each.word], each.word))


def _words_of_rows(rows: Sequence[Asked]) -> dict[str, tuple[int, ...]]:
    """Word -> places of the rows that have it; without those of few situations, and one for each set of rows."""
    places: dict[str, list[int]] = {}
    private: set[str] = set()
    for place, row in enumerate(rows):
        text, taken_out = _without_private(row.text[:MAX_CHARACTERS])
        private.update(*(word.split(" ") for part in taken_out for word in _phrases(part)))
        for word in set(_phrases(text)):
            places.setdefault(word, []).append(place)
    by_rows: dict[tuple[int, ...], str] = {}
    for word, found in sorted(places.items(), key=lambda item: (item[0].count(" "), len(item[0]), item[0])):
        is_common = len({rows[place].situation for place in found}) >= MIN_SITUATIONS
        if is_common and private.isdisjoint(word.split(" ")):
            by_rows[tuple(found)] = word
    kept = sorted(by_rows.items(), key=lambda item: (-len(item[0]), item[1]))[:_MAX_WORDS]
    return {word: found for found, word in kept}


def _without_private(text: str) -> tuple[str, list[str]]:
    """A text without personal data and secrets, and these."""
    spans = sorted((each.start, each.end) for each in (*find_pii(text), *find_secrets("", text)))
    kept: list[str] = []
    end = 0
    for start, stop in spans:
        kept.append(text[end:start])
        end = max(end, stop)
    return _BREAK.join([*kept, text[end:]]), [text[start:stop] for start, stop in spans]


def _phrases(text: str) -> Iterator[str]:
    """Words and pairs of neighbouring words. In Vietnamese white space stands between syllables, so that a pair is a word there."""
    before = ""
    for token in _TOKEN.findall(normalised(text)):
        word = "" if _NO_WORD.search(token) else token
        if word:
            yield word
            if before:
                yield f"{before} {word}"
        before = word


def _log_p_table(rows: int, failing: int, sizes: IntArray) -> FloatArray:
    """``(S, most + 1)``: log of Fisher's one-sided p of so many rows with a word, h of which fail, at [s, h]."""
    table = np.zeros((len(sizes), int(sizes.max()) + 1))
    for place, size in enumerate(sizes.tolist()):
        hits: IntArray = np.arange(int(size) + 1, dtype=np.int64)
        possible = (hits <= failing) & (size - hits <= rows - failing)
        log_p = np.full(size + 1, -np.inf)
        log_p[possible] = _log_ways(failing, hits[possible]) + _log_ways(rows - failing, size - hits[possible])
        log_p -= _log_ways(rows, np.array([size]))
        table[place, : size + 1] = np.logaddexp.accumulate(log_p[::-1])[::-1]
    return table


def _log_ways(items: int, taken: IntArray) -> FloatArray:
    """Log of the binomial coefficient."""
    ways: FloatArray = special.gammaln(items + 1) - special.gammaln(taken + 1) - special.gammaln(items - taken + 1)
    return ways


def _matrix(places: list[tuple[int, ...]], rows: int) -> Any:
    """Words by rows, 1 where a row has the word."""
    from scipy import sparse

    bounds = np.concatenate([[0], np.cumsum([len(each) for each in places])])
    columns = np.concatenate([np.array(each, dtype=np.int64) for each in places])
    return sparse.csr_array((np.ones(len(columns)), columns, bounds), shape=(len(places), rows))


def _least(members: Any, draws: Iterable[FloatArray], table: FloatArray, size: IntArray) -> FloatArray:
    """The least log p of any word in each draw."""
    step = max(1, _TOGETHER // len(size))
    parts = (dealt[start : start + step] for dealt in draws for start in range(0, len(dealt), step))
    return np.concatenate([table[size[:, None], np.rint(members @ part.T).astype(np.int64)].min(axis=0) for part in parts])


def _ratio(hits: int, with_word: int, failing: int, rows: int) -> float:
    passing = with_word - hits
    odds_with = (hits + 0.5) / (passing + 0.5)
    return odds_with / ((failing - hits + 0.5) / (rows - failing - passing + 0.5))
