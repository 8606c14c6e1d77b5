"""What a training file shares with the files that a model is judged by.

One index for `loren check --against`, for the refusal to train on golden questions, and for `loren diff`.

A golden question is all that the customer says in its row. It is looked for in each turn of a customer, and in all turns of a row
together; and ids of situations, customers and conversations are compared. Nothing is approximate here: each text is compared with
every golden one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from loren.data.rows import Row
from loren.data.rules import Breach, all_rules
from loren.data.similar.forms import Forms, batches, digest, read_forms
from loren.data.similar.pairs import Collection, Near
from loren.data.similar.question import Asked, asked_in
from loren.data.similar.shingles import Sets, joined, read_sets, without
from loren.errors import Problem

_IDS = {"situation": "golden-situation", "customer": "golden-customer", "conversation": "golden-conversation"}
_KINDS = {
    "golden-question": "found that of {place}",
    "golden-diacritics": "found that of {place} with other diacritics or punctuation",
    "golden-digits": "found that of {place} with other digits",
    "golden-near": "found a near copy of that of {place}",
}
_RANKS = {rule: rank for rank, rule in enumerate(_KINDS)}
"""The closest likeness first."""


class GoldenIndex:
    """Golden rows of any number of files, as a training row meets them. Holds digests and pieces, no text."""

    def __init__(self, files: Iterable[tuple[str, Iterable[Row]]]) -> None:
        """Index some files, each given with its name for the messages."""
        self._ids: dict[tuple[str, str], str] = {}
        self._places: list[str] = []
        texts: list[str] = []
        for name, rows in files:
            for row in rows:
                place = f"{name}:{row.line}"
                for kind in _IDS.keys() & row.groups.keys():
                    self._ids.setdefault((kind, row.groups[kind]), place)
                for asked in asked_in(enumerate(row.messages)):
                    if asked.is_whole:
                        self._places.append(place)
                        texts.append(asked.text)
        self._exact = _first({}, [digest(text) for text in texts])
        self._plain: dict[int, int] = {}
        self._loose: dict[int, int] = {}
        sets: list[Sets] = []
        start = 0
        for part in batches(texts):
            forms = read_forms(texts[part])
            _first(self._plain, forms.plain.tolist(), start)
            _first(self._loose, forms.loose.tolist(), start)
            sets.append(read_sets(forms))
            start = part.stop
        self._texts = Collection.of(joined(sets), np.arange(len(texts)))
        self._near = Near(self._texts)

    def leaks(self, asked: Sequence[Asked], groups: Mapping[str, str]) -> Iterator[Breach]:
        """Yield what one training row shares with the golden rows; of each golden row its closest likeness."""
        closest: dict[int, tuple[int, str]] = {}
        exact = [self._exact.get(digest(each.text)) for each in asked]
        forms = None if None not in exact else read_forms([each.text for each in asked])
        sets = read_sets(forms) if forms is not None else None
        for index, each in enumerate(asked):
            rule, golden = "golden-question", exact[index]
            if golden is None and forms is not None and sets is not None:
                rule, golden = self._copy(forms, sets, index)
            if golden is not None:
                found = _RANKS[rule], each.path
                closest[golden] = min(closest.get(golden, found), found)
        for golden, (rank, path) in sorted(closest.items()):
            rule = list(_KINDS)[rank]
            found = _KINDS[rule].format(place=self._places[golden])
            yield Breach(rule, path, f"expected no golden question in training data, {found}")
        for kind, rule in _IDS.items():
            place = self._ids.get((kind, groups.get(kind, "")))
            if place is not None:
                yield Breach(rule, f"/{kind}", f"expected no golden {kind} in training data, found the {kind} id of {place}")

    def _copy(self, forms: Forms, sets: Sets, index: int) -> tuple[str, int | None]:
        """The rule that a text breaks, and the golden question that it is a copy of; None where it is none."""
        golden = self._plain.get(int(forms.plain[index]))
        if golden is not None:
            return "golden-diacritics", golden
        golden = self._loose.get(int(forms.loose[index]))
        if golden is not None:
            return "golden-digits", golden
        own = sets.take(np.array([index]))
        near = self._near.find(own.pieces, without(own, self._texts.common).pieces)
        return "golden-near", int(near[0]) if len(near) else None


def golden_leaks(
    train_rows: Iterable[Row], golden_rows: Iterable[Row], *, file: str = "train", golden_file: str = "golden"
) -> list[Problem]:
    """What training rows share with golden rows.

    Args:
        train_rows: rows that a model is trained on or chosen by: train and validation.
        golden_rows: rows that it is judged by.
        file: name of the training file, for the places.
        golden_file: name of the golden file.

    Returns:
        A problem for each pair of lines, by line of the training file.
    """
    index = GoldenIndex([(golden_file, golden_rows)])
    rules = all_rules()
    return [
        Problem(f"{file}:{row.line}", breach.message, rules[breach.rule].id)
        for row in sorted(train_rows, key=lambda row: row.line)
        for breach in index.leaks(asked_in(enumerate(row.messages)), row.groups)
    ]


def _first(table: dict[int, int], digests: Iterable[int], start: int = 0) -> dict[int, int]:
    """Add digest -> index of the first text that has it."""
    for index, each in enumerate(digests, start):
        table.setdefault(each, index)
    return table
