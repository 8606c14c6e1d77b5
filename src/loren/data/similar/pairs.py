"""Which of many texts are near copies of one another.

Two texts are near copies where at least two thirds of their five-character pieces are common (Jaccard), capitals, marks and digits
evened out, and, of what is left without the wording that most texts of the file share, at least half.

Up to ``EXACT_TEXTS`` texts, each is compared with all, through an index of pieces. Among more, candidates come from sketches
(MinHash, 128 values in 32 bands of 4), and each candidate is then compared exactly: nothing that is no near copy is called one, and
of those that are, a share is found that ``benchmarks/similar.py`` measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from loren.data.similar.shingles import Pieces, Places, Sets, bounds_of, common_pieces, jaccard, jaccard_of_pairs, mixed, without

NEAR = 2 / 3
"""Jaccard index from which two texts are near copies."""
NEAR_REST = 0.5
"""That of what is left without the common wording."""
MIN_REST = 8
"""Pieces that must be left; a question with fewer is the common wording and a word."""

EXACT_TEXTS = 4000
VALUES = 128
BANDS = 32
SKETCH_BYTES = 4 * VALUES
MAX_SHARERS = 64
"""Texts with one equal band with which a text is compared. A band that more texts share holds no more than their wording."""
_DOUBT = 3 * 0.5 / VALUES**0.5
"""By so much a share of equal sketch values may lie below the Jaccard index that it estimates: three standard deviations."""
_CHUNK = 50_000
_TOGETHER = 4_000


class Collection(NamedTuple):
    """Texts that are compared with one another."""

    whole: Sets
    rest: Sets
    """Without the common wording; the same as ``whole`` where there is none."""
    common: Pieces

    @classmethod
    def of(cls, sets: Sets, order: npt.NDArray[np.integer]) -> Collection:
        """Find the common wording; ``order`` is that of :func:`common_pieces`."""
        common = common_pieces(sets, order)
        return cls(sets, without(sets, common), common)


class Near:
    """Finds the texts of a collection that are near copies of another text; exact."""

    def __init__(self, texts: Collection) -> None:
        owners = texts.rest.owners()
        order = np.argsort(texts.rest.pieces, kind="stable")
        self._texts = texts
        self._pieces, self._owners = texts.rest.pieces[order], owners[order]

    def find(self, whole: Pieces, rest: Pieces) -> Places:
        """Indices of the near copies of a text, ascending; ``rest`` is it without the collection's common wording."""
        if len(rest) < MIN_REST:
            return np.empty(0, np.int64)
        likeness = self.likeness(rest)
        if self._texts.rest is self._texts.whole:
            return np.flatnonzero(likeness >= NEAR)
        hits = np.flatnonzero((likeness >= NEAR_REST) & (self._texts.rest.sizes >= MIN_REST))
        wholes = self._texts.whole.take(hits)
        same = np.bincount(wholes.owners()[np.isin(wholes.pieces, whole)], minlength=len(hits))
        return hits[jaccard(same, len(whole), wholes.sizes) >= NEAR]

    def likeness(self, rest: Pieces) -> npt.NDArray[np.float64]:
        """``(N,)``: the Jaccard index of a text with each of the collection, both without the common wording."""
        starts = np.searchsorted(self._pieces, rest, "left")
        sizes = np.searchsorted(self._pieces, rest, "right") - starts
        places = np.arange(int(sizes.sum())) + np.repeat(starts - bounds_of(sizes)[:-1], sizes)
        shared = np.bincount(self._owners[places], minlength=len(self._texts.rest.sizes))
        return jaccard(shared, len(rest), self._texts.rest.sizes)


Settled: TypeAlias = Callable[[Places, Places], npt.NDArray[np.bool_]]
"""Says of pairs, the smaller index first, whether they need not be compared any more after what was yielded so far."""


def near_pairs(sets: Sets, order: npt.NDArray[np.integer], settled: Settled | None = None) -> Iterator[tuple[Places, Places]]:
    """Yield pairs of near copies as two arrays of indices, the smaller index first; a pair may come more than once.

    Args:
        sets: the texts.
        order: their indices in an order that does not depend on the file's, where the result must not.
        settled: without it, a file made from one template costs the square of its rows.
    """
    texts = Collection.of(sets, order)
    if len(sets.sizes) > EXACT_TEXTS:
        yield from _by_sketch(texts, order, settled)
        return
    near = Near(texts)
    for index in range(len(sets.sizes)):
        found = near.find(sets[index], texts.rest[index])
        found = found[found < index]
        if len(found):
            yield found, np.full(len(found), index)


def sketches(sets: Sets) -> npt.NDArray[np.uint32]:
    """``(N, VALUES)``: the least value of each of ``VALUES`` hash functions over each set, none of which may be empty.

    The functions are multiply-add-shift over 64 bits, with odd multipliers: with 32 bits they never wrap, and find a fifth.
    """
    multipliers, addends = _functions()
    result = np.empty((len(sets.sizes), VALUES), np.uint32)
    step = 1 << 15  # pieces at a time: they stay in the processor's cache
    start = 0
    while start < len(sets.sizes):
        end = max(start + 1, int(np.searchsorted(sets.bounds, sets.bounds[start] + step, "right")) - 1)
        pieces = mixed(sets.pieces[sets.bounds[start] : sets.bounds[end]].astype(np.uint64) + np.uint64(1))
        begins = (sets.bounds[start:end] - sets.bounds[start]).astype(np.intp)
        for number in range(VALUES):
            values = ((pieces * multipliers[number] + addends[number]) >> np.uint64(32)).astype(np.uint32)
            result[start:end, number] = np.minimum.reduceat(values, begins)
        start = end
    return result


def _functions() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Always the same: a split must not depend on the machine."""
    numbers = mixed(np.arange(1, 2 * VALUES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return numbers[:VALUES] | np.uint64(1), numbers[VALUES:]


def _by_sketch(texts: Collection, order: npt.NDArray[np.integer], settled: Settled | None) -> Iterator[tuple[Places, Places]]:
    order = order[texts.rest.sizes[order] >= MIN_REST]
    if not len(order):
        return  # all are too short, or hold nothing but wording that most share
    least = (NEAR if texts.rest is texts.whole else NEAR_REST) - _DOUBT

    def is_open(one: Places, other: Places) -> npt.NDArray[np.bool_]:
        if settled is None:
            return np.ones(len(one), np.bool_)
        return ~settled(*_ascending(order[one], order[other]))

    for one, other in _gathered(_candidates(sketches(texts.rest.take(order)), least, is_open)):
        still = is_open(one, other)
        first, second = _ascending(order[one[still]], order[other[still]])
        alike = jaccard_of_pairs(texts.whole.take(first), texts.whole.take(second)) >= NEAR
        if texts.rest is not texts.whole:
            alike &= jaccard_of_pairs(texts.rest.take(first), texts.rest.take(second)) >= NEAR_REST
        yield first[alike], second[alike]


def _ascending(one: npt.NDArray[np.integer], other: npt.NDArray[np.integer]) -> tuple[Places, Places]:
    return np.minimum(one, other).astype(np.int64), np.maximum(one, other).astype(np.int64)


def _gathered(pairs: Iterator[tuple[Places, Places]]) -> Iterator[tuple[Places, Places]]:
    """The same pairs, some thousands at a time: a comparison of few costs about as much as one of many."""
    held: list[tuple[Places, Places]] = []
    for pair in pairs:
        held.append(pair)
        if sum(len(one) for one, _ in held) >= _TOGETHER:
            yield np.concatenate([one for one, _ in held]), np.concatenate([other for _, other in held])
            held.clear()
    if held:
        yield np.concatenate([one for one, _ in held]), np.concatenate([other for _, other in held])


def _candidates(
    table: npt.NDArray[np.uint32], least: float, is_open: Callable[[Places, Places], npt.NDArray[np.bool_]]
) -> Iterator[tuple[Places, Places]]:
    """Open pairs of sketches that share a band and at least ``least`` of their values; each comes once, for its first such band."""
    keys = _band_keys(table)
    for number, distance, sequence, same in _sharers(keys):
        for start in range(0, len(same), _CHUNK):
            chunk = same[start : start + _CHUNK]
            one, other = sequence[chunk], sequence[chunk + distance]
            left = is_open(one, other)
            one, other = one[left], other[left]
            left = ~(keys[:number, one] == keys[:number, other]).any(axis=0)
            one, other = one[left], other[left]
            left = (table[one] == table[other]).mean(axis=1) >= least
            if left.any():
                yield one[left], other[left]


def _band_keys(table: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """``(BANDS, N)``: the values of each band in one number."""
    bands = table.reshape(len(table), BANDS, -1)
    keys = np.zeros((BANDS, len(table)), np.uint64)
    for number in range(BANDS):
        for value in range(bands.shape[2]):
            keys[number] = mixed(keys[number] + bands[:, number, value] + np.uint64(1))
    return keys


def _sharers(keys: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int, Places, Places]]:
    """Yield a band, a distance, the texts in the order of their keys, and the places there with an equal key so far on."""
    for number in range(BANDS):
        sequence = np.argsort(keys[number], kind="stable")
        ordered = keys[number][sequence]
        for distance in range(1, MAX_SHARERS):
            same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
            if not len(same):
                break
            yield number, distance, sequence, same
