"""Which rows a split may not separate because they ask the same: copies in other words, digits or diacritics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from loren.data.rows import Row
from loren.data.similar.forms import batches, read_forms
from loren.data.similar.pairs import near_pairs
from loren.data.similar.question import asked_in
from loren.data.similar.shingles import Places, joined, read_sets


def ties(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices of rows that ask the same; those that are tied through others need not be among them.

    All that a customer says in one row is looked for in each other row, there turn by turn too: so no validation row would be a
    leak of a training row by the measure of ``golden``. What is found does not depend on the order of the rows.
    """
    texts: list[str] = []
    owners: list[int] = []
    wholes: list[bool] = []
    for index, row in enumerate(rows):
        for asked in asked_in(enumerate(row.messages)):
            texts.append(asked.text)
            owners.append(index)
            wholes.append(asked.is_whole)
    if not texts:
        return
    forms = [read_forms(texts[part]) for part in batches(texts)]
    sets = joined([read_sets(each) for each in forms])
    loose = np.concatenate([each.loose for each in forms])
    keys = loose.tolist()  # texts that share another form share this one
    holder: dict[int, int] = {}
    for index, key in enumerate(keys):
        if wholes[index]:
            holder.setdefault(key, owners[index])
    for index, key in enumerate(keys):
        if key in holder and holder[key] != owners[index]:
            yield holder[key], owners[index]
    whole = np.array(wholes)
    tied = Tied(len(texts))
    for first, second in near_pairs(sets, np.argsort(loose), tied.are):
        kept = (whole[first] | whole[second]) & (loose[first] != loose[second])
        for one, other in zip(first[kept].tolist(), second[kept].tolist(), strict=True):
            tied.tie(one, other)
            yield owners[one], owners[other]


class Tied:
    """Which texts are tied to one another, also through others (a union-find whose roots are read for many at a time)."""

    def __init__(self, texts: int) -> None:
        self._parents = np.arange(texts)

    def tie(self, one: int, other: int) -> None:
        """Tie two texts."""
        roots = sorted(self._root(each) for each in (one, other))
        self._parents[roots[1]] = roots[0]

    def are(self, one: Places, other: Places) -> npt.NDArray[np.bool_]:
        """Whether the texts of pairs are tied."""
        while (above := self._parents[self._parents] != self._parents).any():
            self._parents[above] = self._parents[self._parents[above]]
        return self._parents[one] == self._parents[other]

    def _root(self, text: int) -> int:
        while (parent := int(self._parents[text])) != text:
            self._parents[text] = self._parents[parent]
            text = parent
        return text
