"""Of many texts, those that are most like another one; exact.

Likeness is the Jaccard index of five-character pieces, as for near copies, without the wording that most of the texts share. A
text too short for pieces is like another that is the same without diacritics and punctuation, and like no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from loren.data.similar.forms import batches, read_forms
from loren.data.similar.pairs import Collection, Near
from loren.data.similar.shingles import joined, read_sets, without


class Neighbour(NamedTuple):
    """A text of the collection: its place, and how like it is."""

    place: int
    similarity: float
    """From 0, nothing in common, to 1."""


class Nearest:
    """A collection of texts that is searched. Holds digests and pieces, no text."""

    def __init__(self, texts: Sequence[str]) -> None:
        forms = [read_forms(texts[part]) for part in batches(texts)]
        order = np.argsort(np.concatenate([np.empty(0, np.uint64), *(each.loose for each in forms)]), kind="stable")
        self._plain = np.concatenate([np.empty(0, np.uint64), *(each.plain for each in forms)])
        self._texts = Collection.of(joined([read_sets(each) for each in forms]), order)
        self._near = Near(self._texts)

    def find(self, texts: Sequence[str], count: int) -> list[list[Neighbour]]:
        """For each text the ``count`` most like it, the first of equal ones first; those with nothing in common are left out."""
        found: list[list[Neighbour]] = []
        for part in batches(texts):
            forms = read_forms(texts[part])
            sets = without(read_sets(forms), self._texts.common)
            for index, plain in enumerate(forms.plain):
                likeness = self._near.likeness(sets[index]) if len(self._plain) else np.empty(0)
                likeness = np.where(self._plain == plain, 1.0, likeness)
                best = np.argsort(-likeness, kind="stable")[:count]
                found.append([Neighbour(place, float(likeness[place])) for place in best.tolist() if likeness[place] > 0])
        return found
