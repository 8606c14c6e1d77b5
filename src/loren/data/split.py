"""Rows -> train, validation and test, so that nothing that belongs together is separated. Pure.

A *group* is a connected component of rows that ask the same (also in a near, digit-changed or diacritic-stripped copy), or that
have an equal ``situation``, ``customer`` or ``conversation`` id. A group's *stratum* is the label that most of its rows have.
Within a stratum the groups are put in the order of a keyed hash of (seed, group); validation takes the first of them, test the
last. So the order of the file does not matter, and a row that is appended moves little: at most one other group of its stratum
enters or leaves validation, at most one enters or leaves test, and none passes from one to the other. (If it ties together groups
that were apart, those become one, too; and with it some wording may become that of most rows, which then makes no copies.)

Test takes the other end of the order, not the groups right after validation's, for this reason only: there a new group at
the front would push one group from validation into test, and another out of test.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

from loren.data.rows import Row
from loren.data.similar.forms import normalised
from loren.data.similar.ties import ties
from loren.errors import ConfigError, DataContractError, Problem
from loren.provenance.digests import sha256_json
from loren.runs.files import Json

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together."""

    id: str
    """Hex keyed hash of (seed, the group's least key): its place in the order."""
    rows: tuple[Row, ...]
    """By line."""
    stratum: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stratum:
    """How the groups of one label were shared out."""

    label: tuple[str, ...]
    groups: int
    validation: int
    """Groups that went to validation."""
    test: int
    left_out: int = 0
    """Groups of training that are not trained on."""

    def to_json(self) -> dict[str, Json]:
        """A line of ``strata``; groups that are left out are named where there are any."""
        train = self.groups - self.validation - self.test - self.left_out
        counts: dict[str, Json] = {"groups": self.groups, "validation": self.validation, "test": self.test, "train": train}
        return {"label": list(self.label), **counts, **({"left_out": self.left_out} if self.left_out else {})}


@dataclass(frozen=True, slots=True)
class Split:
    """Three parts of the rows, each by line."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]
    seed: int
    eval_ratio: float
    test_ratio: float
    strata: Sequence[Stratum]
    group_ids: dict[int, str]
    """Line of a row -> id of its group."""
    train_share: float = 1.0
    """Of the groups that are for training."""

    def to_json(self) -> dict[str, Json]:
        """What ``data/split.json`` holds: digests and lines, no text."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            "schema_version": SCHEMA_VERSION,
            "seed": self.seed,
            "eval_ratio": self.eval_ratio,
            "test_ratio": self.test_ratio,
            **({"train_share": self.train_share} if self.train_share < 1 else {}),
            "strata": [stratum.to_json() for stratum in self.strata],
            "splits": {name: self._part(rows) for name, rows in parts.items()},
        }

    def _part(self, rows: Sequence[Row]) -> dict[str, Json]:
        ids = [row.id for row in rows]
        return {
            "rows": len(rows),
            "groups": len({self.group_ids[row.line] for row in rows}),
            "sha256": sha256_json(sorted(ids)),
            "members": [
                {"line": row.line, "id": id_, "group": self.group_ids[row.line]} for row, id_ in zip(rows, ids, strict=True)
            ],
        }


def split_rows(rows: Sequence[Row], *, eval_ratio: float, test_ratio: float, seed: int) -> Split:
    """Share out rows by groups, label by label.

    Of a stratum's n groups, ``ratio * n`` (rounded, at least one where the ratio is above 0) go to validation and to test; at
    least one stays in training, so a stratum of one group gives none, and one of two groups gives none to test.

    Args:
        rows: rows of one file, in any order.
        eval_ratio: share of validation, from 0 to below 1.
        test_ratio: share of test, from 0; together they are below 1.
        seed: chooses the order of the groups.

    Raises:
        ConfigError: the ratios are not such shares.
        DataContractError: a part that was asked for would be empty.
    """
    shares = (Fraction(str(eval_ratio)), Fraction(str(test_ratio)))
    if min(shares) < 0 or sum(shares) >= 1:
        raise ConfigError(f"expected eval_ratio and test_ratio from 0, together below 1, found {eval_ratio} and {test_ratio}")
    by_label: defaultdict[tuple[str, ...], list[Group]] = defaultdict(list)
    for group in _groups(rows, seed):
        by_label[group.stratum].append(group)
    train: list[Group] = []
    validation: list[Group] = []
    test: list[Group] = []
    strata: list[Stratum] = []
    for label, groups in sorted(by_label.items()):
        groups.sort(key=lambda group: group.id)
        evaluated, tested = _sizes(len(groups), *shares)
        validation += groups[:evaluated]
        train += groups[evaluated : len(groups) - tested]
        test += groups[len(groups) - tested :]
        strata.append(Stratum(label, len(groups), evaluated, tested))
    _refuse_empty(rows, strata, eval_ratio, test_ratio)
    ids = {row.line: group.id for groups in by_label.values() for group in groups for row in group.rows}
    return Split(_by_line(train), _by_line(validation), _by_line(test), seed, eval_ratio, test_ratio, strata, ids)


def thin_training(split: Split, share: float) -> Split:
    """Leave out training groups, the last ones in the order of their stratum: what a smaller share keeps, a larger one keeps too.

    Of a stratum's n training groups the first ``share * n``, rounded up, stay. Validation and test are as they were.

    Args:
        split: of the whole file.
        share: of the training groups of each stratum, above 0.
    """
    if share >= 1:
        return split
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in split.train:
        members[split.group_ids[row.line]].append(row)
    by_label: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for group in sorted(members):
        by_label[_stratum(members[group])].append(group)
    kept: list[Row] = []
    left_out: dict[tuple[str, ...], int] = {}
    for label, groups in by_label.items():
        count = ceil(Fraction(str(share)) * len(groups))
        kept += [row for group in groups[:count] for row in members[group]]
        left_out[label] = len(groups) - count
    strata = [replace(stratum, left_out=left_out.get(stratum.label, 0)) for stratum in split.strata]
    return replace(split, train=sorted(kept, key=lambda row: row.line), strata=strata, train_share=share)


def _groups(rows: Sequence[Row], seed: int) -> Iterator[Group]:
    parent = list(range(len(rows)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    holder: dict[str, int] = {}
    keys = [_keys(row) for row in rows]
    for index, row_keys in enumerate(keys):
        for key in row_keys:
            parent[find(index)] = find(holder.setdefault(key, index))
    for one, other in ties(rows):
        parent[find(one)] = find(other)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        members[find(index)].append(index)
    for indices in members.values():
        # Named by its least key of the first kind that it has: rows of a situation that are added later leave the name alone.
        name = min(min(keys[index]) for index in indices)
        group = tuple(sorted((rows[index] for index in indices), key=lambda row: row.line))
        yield Group(_keyed_hash(seed, name), group, _stratum(group))


def _stratum(rows: Sequence[Row]) -> tuple[str, ...]:
    """The label that most rows of a group have."""
    labels = Counter(row.label for row in rows)
    return min(labels, key=lambda label: (-labels[label], label))


def _keys(row: Row) -> tuple[str, ...]:
    """What ties a row to others: digests, so that no text is held; the first character is the kind, for the order of names."""
    ids = [f"{kind}:{sha256_json(row.groups[name])}" for kind, name in _ID_KINDS if name in row.groups]
    content = sha256_json([[message.role, normalised(message.content)] for message in row.messages])
    return (*ids, f"4:{content}")


_ID_KINDS = (("1", "situation"), ("2", "conversation"), ("3", "customer"))


def _keyed_hash(seed: int, name: str) -> str:
    return hashlib.blake2b(name.encode(), key=str(seed).encode()[:64], digest_size=16).hexdigest()


def _sizes(groups: int, eval_share: Fraction, test_share: Fraction) -> tuple[int, int]:
    """Groups of a stratum for validation and for test.

    Grown group by group, and at most one of the two grows with a group: that keeps what an added group moves small.
    """
    evaluated = tested = 0
    for count in range(2, groups + 1):
        room = evaluated + tested < count - 1
        if room and evaluated < _wanted(eval_share, count):
            evaluated += 1
        elif room and tested < _wanted(test_share, count):
            tested += 1
    return evaluated, tested


def _wanted(share: Fraction, groups: int) -> int:
    return max(1, int(share * groups + Fraction(1, 2))) if share > 0 else 0


def _refuse_empty(rows: Sequence[Row], strata: Sequence[Stratum], eval_ratio: float, test_ratio: float) -> None:
    """A part that is asked for holds a group at least.

    Raises:
        DataContractError: one would be empty; says why the rows are so few groups.
    """
    groups = sum(stratum.groups for stratum in strata)
    found = f"found {groups} group(s) under {len(strata)} label(s)"
    if groups == 1 and len(rows) > 1:
        found = f"found that all {len(rows)} rows are one, {_tie(rows)}"
    problems: list[Problem] = []
    if eval_ratio > 0 and not any(stratum.validation for stratum in strata):
        expected = "expected a label with at least two groups of rows"
        problems.append(Problem("data.eval_ratio", f"{expected}, {found}: validation would be empty"))
    if test_ratio > 0 and not any(stratum.test for stratum in strata):
        expected = "expected a label with at least three groups of rows"
        problems.append(Problem("data.test_ratio", f"{expected}, {found}: test would be empty"))
    if problems:
        raise DataContractError(
            "the rows can't be split",
            problems=problems,
            hint="copies of a question, and rows with an equal situation, customer or conversation, stay together: "
            "add rows that ask other things in other words; `loren check FILE` names the copies",
        )


def _tie(rows: Sequence[Row]) -> str:
    """What may tie all rows together."""
    if any(row.groups for row in rows):
        return "by equal ids (situation, customer, conversation) or as copies of each other"
    return "as copies of each other (one question in nearly the same words, or with other digits or diacritics)"


def _by_line(groups: Iterable[Group]) -> list[Row]:
    return sorted((row for group in groups for row in group.rows), key=lambda row: row.line)
