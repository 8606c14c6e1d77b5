"""Copies in other words among the different questions of a file: a second reading, since the first holds no text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from loren.data.conversation import read_conversation
from loren.data.rules import Breach, Breaches
from loren.data.similar.forms import MAX_CHARACTERS, Digests, digest, read_forms
from loren.data.similar.pairs import near_pairs
from loren.data.similar.question import question_of
from loren.data.similar.shingles import Places, Sets, joined, mixed, read_sets
from loren.errors import ConfigError

MAX_PIECES = 100_000_000
"""Pieces that are held, in four bytes each."""
_BATCH_CHARACTERS = 1_000_000


Reread: TypeAlias = Callable[[], Iterable[tuple[int, Callable[[], Mapping[str, Any]]]]]
"""Reads the file again from its start: the number of each line, and what decodes its row of ``messages``."""


class _Read(NamedTuple):
    """What the second reading keeps of each question."""

    plain: Digests
    loose: Digests
    unmarked: npt.NDArray[np.bool_]
    system: Digests
    conversation: Digests
    """Digest of its id; 0 where it has none."""


class Copies:
    """Looks for copies among questions that are different in their exact form."""

    def __init__(self, records: npt.NDArray[np.void], reread: Reread) -> None:
        """``records`` are the first rows with their question, by line."""
        self._records = records
        self._reread = reread
        self._parts: list[_Read] = []
        self._sets: list[Sets] = []
        self._pieces = 0

    @property
    def near_searched(self) -> bool:
        """Whether near copies were looked for; not where the questions are too long to be held."""
        return self._pieces <= MAX_PIECES

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Yield each row that is a copy of one above it, by line.

        Raises:
            ConfigError: the file is not what it was at the first reading.
        """
        if len(self._records) < 2:
            return
        self._read()
        read = _Read(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))
        like = np.full(len(self._records), -1, np.int64)
        kind = np.zeros(len(self._records), np.int64)
        for number, form in enumerate((read.plain, read.loose)):
            _, first, which = np.unique(form ^ mixed(read.system), return_index=True, return_inverse=True)
            copies = (like < 0) & (first[which] < np.arange(len(like)))
            like[copies], kind[copies] = first[which][copies], number
        if self.near_searched:
            for one, other in self._near(read, np.flatnonzero(like < 0), like):
                like[other] = np.where(like[other] < 0, one, np.minimum(like[other], one))
                kind[other] = 2
        for index in np.flatnonzero(like >= 0).tolist():
            yield int(self._records["line"][index]), self._breach(read, index, int(like[index]), int(kind[index]))

    def _near(self, read: _Read, left: Places, like: Places) -> Iterator[tuple[Places, Places]]:
        """Yield pairs of near copies, each second index once a pair of arrays; one whose copy ``like`` names is done with."""
        sets = joined(self._sets)
        self._sets.clear()
        pairs = near_pairs(sets.take(left), np.argsort(read.loose[left]), lambda _, second: like[left[second]] >= 0)
        for one, other in pairs:
            first, second = left[one], left[other]
            apart = (read.conversation[first] == 0) | (read.conversation[first] != read.conversation[second])
            kept = apart & (read.system[first] == read.system[second])
            first, second = first[kept], second[kept]
            order = np.lexsort((first, second))
            first, second = first[order], second[order]
            least = np.append(True, second[1:] != second[:-1])[: len(second)]
            yield first[least], second[least]

    def _breach(self, read: _Read, index: int, other: int, kind: int) -> Breach:
        line = int(self._records["line"][other])
        labels = self._records["label"][[index, other]]
        if labels.all() and labels[0] != labels[1]:
            if kind == 0 and (read.unmarked[index] or read.unmarked[other]):
                message = f"expected one label for a question, found that of line {line} {_HOW[kind]}, with another label"
                return Breach("conflicting-labels", "", message)
            message = f"expected like questions to have one label, found that of line {line} {_HOW[kind]}, with another label"
            return Breach("doubtful-label", "", message)
        rule = ("diacritics-copy", "digits-copy", "near-copy")[kind]
        return Breach(rule, "", f"expected questions that differ in their words, found that of line {line} {_HOW[kind]}")

    def _read(self) -> None:
        """The second reading.

        Raises:
            ConfigError: the file is not what it was at the first.
        """
        texts: list[str] = []
        systems: list[int] = []
        conversations: list[int] = []
        held = place = 0
        lines, digests = self._records["line"].tolist(), self._records["question"].tolist()
        for line, read_row in self._reread():
            if line != lines[place]:
                continue
            conversation = read_conversation(read_row(), Breaches(), object_target=True)
            question = question_of(conversation.turns)
            if question.digest != digests[place]:
                break
            texts.append(question.text)
            systems.append(digest(question.system))
            conversations.append(digest(conversation.groups["conversation"]) if "conversation" in conversation.groups else 0)
            held += min(len(question.text), MAX_CHARACTERS)
            place += 1
            if held >= _BATCH_CHARACTERS or place == len(lines):
                self._take(texts, systems, conversations)
                texts, systems, conversations, held = [], [], [], 0
            if place == len(lines):
                return
        raise ConfigError("the file changed while it was checked", hint="check it again, when nothing writes to it")

    def _take(self, texts: list[str], systems: list[int], conversations: list[int]) -> None:
        forms = read_forms(texts)
        numbers = [np.array(each, np.uint64) for each in (systems, conversations)]
        self._parts.append(_Read(forms.plain, forms.loose, forms.unmarked, *numbers))
        sets = read_sets(forms)
        self._pieces += len(sets.pieces)
        if self.near_searched:
            self._sets.append(sets)
        else:
            self._sets.clear()


_HOW = ("with other diacritics or punctuation", "with other digits", "in nearly the same words")
