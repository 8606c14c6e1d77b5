"""Texts as sets of their five-character pieces, and how much of them two texts have in common.

Likeness is the Jaccard index of the two sets: pieces in both over pieces in either. A piece is held as 32 bits of a hash, so no
text is held, and a set takes four bytes for each distinct piece, about as many as the text has characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loren.data.similar.forms import Forms

PIECE = 5
MIN_CHARACTERS = 20
"""A shorter text is like no other: one word would be half of it."""

MIN_COMMON_TEXTS = 20
"""Among fewer texts nothing counts as their common wording."""
_COMMON_SAMPLE = 4000

Pieces = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]


class Sets(NamedTuple):
    """N sets of pieces."""

    pieces: Pieces
    """The sets one after another, each ascending."""
    bounds: Places
    """``(N + 1,)``: set ``n`` is ``pieces[bounds[n]:bounds[n + 1]]``."""

    @property
    def sizes(self) -> Places:
        """``(N,)``: pieces of each set."""
        return np.diff(self.bounds)

    def __getitem__(self, index: int) -> Pieces:  # pyright: ignore[reportIncompatibleMethodOverride] - a set, not a field
        return self.pieces[self.bounds[index] : self.bounds[index + 1]]

    def owners(self) -> Places:
        """For each of ``pieces`` the index of its set."""
        return np.repeat(np.arange(len(self.bounds) - 1), self.sizes)

    def take(self, indices: npt.NDArray[np.integer]) -> Sets:
        """The sets with these indices, in this order."""
        return Sets(self.pieces[_spread(self.bounds[indices], self.sizes[indices])], bounds_of(self.sizes[indices]))


def read_sets(forms: Forms) -> Sets:
    """The pieces of each text; an empty set for one of fewer than :data:`MIN_CHARACTERS`."""
    texts, codes, rows = len(forms.plain), forms.codes, forms.rows
    if len(codes) < PIECE:
        return Sets(np.empty(0, np.uint32), np.zeros(texts + 1, np.int64))
    count = len(codes) - PIECE + 1
    hashes = np.zeros(count, np.uint64)
    for place in range(PIECE):
        hashes *= np.uint64(0x100000001B3)
        hashes += codes[place : place + count]
    hashes = mixed(hashes) >> np.uint64(32)
    long_enough = np.bincount(rows, minlength=texts) >= MIN_CHARACTERS
    inside = (rows[:count] == rows[PIECE - 1 :]) & long_enough[rows[:count]]
    keys = (rows[:count][inside].astype(np.uint64) << np.uint64(32)) | hashes[inside]
    keys.sort()
    keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
    sizes = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=texts)
    return Sets(keys.astype(np.uint32), bounds_of(sizes))


def joined(parts: Sequence[Sets]) -> Sets:
    """The sets of all parts, in order."""
    if not parts:
        return Sets(np.empty(0, np.uint32), np.zeros(1, np.int64))
    return Sets(np.concatenate([part.pieces for part in parts]), bounds_of(np.concatenate([part.sizes for part in parts])))


def common_pieces(sets: Sets, order: npt.NDArray[np.integer]) -> Pieces:
    """The pieces that more than half of the texts have, ascending: an instruction that stands in every question.

    Two questions are no copies because they share it. ``order`` says in which order texts are looked at, where they are too many
    to look at all: one that does not depend on the file's order.
    """
    texts = sets.take(order[sets.sizes[order] > 0][:_COMMON_SAMPLE])
    if len(texts.sizes) < MIN_COMMON_TEXTS:
        return np.empty(0, np.uint32)
    pieces, counts = np.unique(texts.pieces, return_counts=True)
    return pieces[2 * counts > len(texts.sizes)]


def without(sets: Sets, pieces: Pieces) -> Sets:
    """The sets less some pieces."""
    if not len(pieces):
        return sets
    kept = ~np.isin(sets.pieces, pieces)
    return Sets(sets.pieces[kept], bounds_of(np.bincount(sets.owners()[kept], minlength=len(sets.sizes))))


def jaccard_of_pairs(one: Sets, other: Sets) -> npt.NDArray[np.float64]:
    """The Jaccard index of each set of ``one`` with that of the same index of ``other``; 0 for two empty ones."""
    keys = [(each.owners().astype(np.uint64) << np.uint64(32)) | each.pieces for each in (one, other)]
    merged = np.concatenate(keys)
    merged.sort()
    twice = merged[1:][merged[1:] == merged[:-1]]
    shared = np.bincount((twice >> np.uint64(32)).astype(np.int64), minlength=len(one.sizes))
    return jaccard(shared, one.sizes, other.sizes)


def jaccard(shared: Places, one: Places | int, other: Places | int) -> npt.NDArray[np.float64]:
    """The Jaccard index from numbers of pieces; 0 where there are none."""
    return shared / np.maximum(one + other - shared, 1)


def bounds_of(sizes: Places) -> Places:
    """Sizes -> bounds."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the argument (the finaliser of SplitMix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _spread(starts: Places, sizes: Places) -> Places:
    """The places ``start, start + 1, ...`` of several runs, one run after another."""
    return np.arange(int(sizes.sum())) + np.repeat(starts - bounds_of(sizes)[:-1], sizes)
