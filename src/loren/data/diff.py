"""Two versions of a training file -> what changed between them, in numbers and lines, without a text.

Rows of the two files are matched in this order, each at most once: those that are equal (but for white space and the order of keys
in the line), then those with the same `id`, with the same question, with a question that is a copy, and of the same situation. What
was matched and is not equal has changed; what was not matched was added or removed. Where rows move in the file nothing changed.

72 bytes are held for each row of each file. Questions of rows that found no match are read again; where more than ``COPIES_LIMIT``
of a file are left, copies are not looked for, and the result says so.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import xxhash

from loren.data.conversation import Conversation, read_conversation
from loren.data.formats.source import open_source
from loren.data.formats.translate import Translated
from loren.data.label_count import shown_label
from loren.data.reader import Line
from loren.data.report import IssueLog
from loren.data.rules import Breaches, all_rules, issue
from loren.data.similar.forms import Digests, batches, read_forms, target_digest
from loren.data.similar.pairs import Collection, Near
from loren.data.similar.question import asked_in, question_of
from loren.data.similar.shingles import Places, Sets, joined, mixed, read_sets, without
from loren.data.target import read_target
from loren.errors import ConfigError, LorenError

if TYPE_CHECKING:
    from loren.data.similar.golden import GoldenIndex
    from loren.task.definition import Task

SCHEMA_VERSION = 1
COPIES_LIMIT = 20_000

_COLUMNS = ("line", "content", "id", "question", "target", "label", "situation")
_MAX_LABELS = 10_000
"""Different labels that are told apart; a file with more has free text there."""

Records: TypeAlias = Mapping[str, Digests]
Reader: TypeAlias = Callable[[Sequence[int]], Sequence[str]]
"""Line numbers, ascending -> the questions there."""


class Change(NamedTuple):
    """A row that is in both files and is not the same."""

    old_line: int
    new_line: int
    by: str
    """What matched: id, question, copy or situation."""
    parts: tuple[str, ...]
    """What is another: question, target, label; form where only white space, capitals, ids or other keys are."""
    label: tuple[str, str] | None = None
    """Its label before and after, where it moved."""


class Version(NamedTuple):
    """One of the two files."""

    file: str
    sha256: str
    rows: int
    unreadable: int
    """Rows that are no conversations; they are compared as a whole."""


@dataclass(slots=True)
class Diff:
    """What changed. Holds no text of a row."""

    old: Version
    new: Version
    unchanged: int
    changed: list[Change]
    added: list[int]
    """Lines of the new file."""
    removed: list[int]
    """Lines of the old file."""
    leaks: IssueLog
    """What the new file shares with golden rows."""
    not_compared: str = ""
    """Why copies were not looked for, where they were not."""

    @property
    def moved(self) -> Counter[tuple[str, str]]:
        """Label before and after -> rows that changed so."""
        return Counter(change.label for change in self.changed if change.label is not None)

    def to_json(self) -> dict[str, Any]:
        """The whole result, nothing capped."""
        moved = sorted(self.moved.items(), key=lambda item: (-item[1], item[0]))
        return {
            "schema_version": SCHEMA_VERSION,
            "old": self.old._asdict(),
            "new": self.new._asdict(),
            "unchanged": self.unchanged,
            "changed": [{**change._asdict(), "parts": list(change.parts)} for change in self.changed],
            "added": self.added,
            "removed": self.removed,
            "labels_moved": [{"from": before, "to": after, "rows": rows} for (before, after), rows in moved],
            "leaks": list(self.leaks.json_values()),
            "not_compared": self.not_compared,
        }


def diff_files(old: Path, new: Path, task: Task | None = None, golden: GoldenIndex | None = None) -> Diff:
    """Compare two versions of a file.

    Args:
        old: the file before.
        new: the file after.
        task: with a task, labels are compared too.
        golden: rows that the new file may share nothing with.

    Raises:
        ConfigError: one of the files can't be read.
    """
    labels = _Labels(task)
    before, after = _Side(old, task, labels), _Side(new, task, labels, golden)
    match = _Match(before.records, after.records)
    unchanged = match.by("content")
    matched: list[tuple[str, Places, Places]] = [(name, *match.by(name)) for name in ("id", "question")]
    reason = match.too_many_left()
    if not reason:
        matched.append(("copy", *match.by_likeness(before.questions, after.questions)))
    matched.append(("situation", *match.by("situation")))
    changed = [
        _change(name, {key: column[one] for key, column in before.records.items()}, after.records, other, labels)
        for name, ones, others in matched
        for one, other in zip(ones.tolist(), others.tolist(), strict=True)
    ]
    changed.sort(key=lambda change: change.new_line)
    lines = [side.records["line"][left].tolist() for side, left in ((before, match.old_left), (after, match.new_left))]
    return Diff(before.version, after.version, len(unchanged[0]), changed, lines[1], lines[0], after.leaks, reason)


def _change(name: str, before: Mapping[str, Any], records: Records, other: int, labels: _Labels) -> Change:
    after = {key: column[other] for key, column in records.items()}
    parts = tuple(part for part in ("question", "target", "label") if before[part] != after[part])
    moved = (labels.names[int(before["label"])], labels.names[int(after["label"])]) if "label" in parts else None
    return Change(int(before["line"]), int(after["line"]), name, parts or ("form",), moved)


class _Labels:
    """Numbers of labels, and how each may be shown; 0 is that of a row whose label could not be read."""

    def __init__(self, task: Task | None) -> None:
        space = task.label_space() if task else None
        self._listed = space or ((),) * len(task.labels if task else ())
        self._numbers: dict[tuple[str, ...], int] = {}
        self.names = ["none", "other"]

    def number(self, label: tuple[str, ...]) -> int:
        if not any(label):
            return 0
        if label not in self._numbers:
            if len(self._numbers) >= _MAX_LABELS:
                return 1
            self._numbers[label] = len(self.names)
            values = zip(label, self._listed, strict=False)
            self.names.append(
                ", ".join(value if value in listed else shown_label(value) if value else "none" for value, listed in values)
            )
        return self._numbers[label]


@dataclass(slots=True)
class _Side:
    """One file, read once."""

    path: Path
    task: Task | None
    labels: _Labels
    golden: GoldenIndex | None = None
    leaks: IssueLog = field(default_factory=IssueLog)
    version: Version = field(init=False)
    records: Records = field(init=False)

    def __post_init__(self) -> None:
        numbers = array("Q")
        unreadable = 0
        if self.path.exists() and not self.path.is_file():
            raise ConfigError(f"{self.path}: expected a file, which can be read twice, found a pipe or a folder")
        try:
            with open_source(self.path) as source:
                for line in source.lines:
                    row = self._row(line, source.translated(line))
                    numbers.extend(row)
                    unreadable += row[_COLUMNS.index("question")] == 0
                sha256, end = source.sha256, source.end
        except LorenError:
            raise  # some are OSErrors too, and say more
        except OSError as error:
            raise ConfigError(
                f"{self.path}: expected a file of conversations, found {error.strerror or 'an unreadable one'}",
                hint="loren diff OLD NEW compares two versions of a training file",
            ) from error
        if end is not None:
            raise ConfigError(f"{self.path}: {end[1].message}", hint=all_rules()[end[1].rule].hint)
        table = np.frombuffer(numbers, np.uint64).reshape(-1, len(_COLUMNS))
        self.records = dict(zip(_COLUMNS, table.T.copy(), strict=True))
        name = str(self.path).encode("utf-8", "backslashreplace").decode()
        self.version = Version(name, sha256, len(table), unreadable)

    def questions(self, lines: Sequence[int]) -> list[str]:
        """The questions at some lines, ascending, which are read again."""
        found: list[str] = []
        wanted = iter(lines)
        number = next(wanted, None)
        with open_source(self.path) as source:
            for line in source.lines:
                if line.number == number:
                    found.append(question_of(_conversation(source.row(line)).turns).text)
                    number = next(wanted, None)
                if number is None:
                    break
        return found

    def _row(self, line: Line, translated: Translated) -> tuple[int, ...]:
        """One record, in the order of the columns; 0 stands for what a row does not have."""
        value = translated.row or {}
        conversation = _conversation(value)
        if conversation.target is None:
            return line.number, xxhash.xxh3_64_intdigest(line.data or b""), 0, 0, 0, 0, 0
        target = read_target(conversation.target, Breaches(), self.task)
        if self.golden is not None:
            asked = asked_in((turn.place, turn) for turn in conversation.turns)
            for breach in self.golden.leaks(asked, conversation.groups):
                self.leaks.append(issue(breach._replace(path=translated.place(breach.path)), line.number))
        return (
            line.number,
            xxhash.xxh3_64_intdigest(msgspec.json.encode(value, order="deterministic")),
            _id_digest(value.get("id")),
            question_of(conversation.turns).digest or 1,
            target_digest(target.text),
            self.labels.number(target.label),
            _id_digest(conversation.groups.get("situation")),
        )


def _conversation(row: Mapping[str, Any]) -> Conversation:
    return read_conversation(row, Breaches(), object_target=True)


def _id_digest(value: object) -> int:
    """64 bits of an id; 0 for none."""
    return (
        xxhash.xxh3_64_intdigest(str(value).encode("utf-8", "surrogatepass"))
        if isinstance(value, (str, int)) and value != ""
        else 0
    )


class _Match:
    """Rows that have no match yet."""

    def __init__(self, old: Records, new: Records) -> None:
        self._old, self._new = old, new
        self.old_left = np.arange(len(old["line"]))
        self.new_left = np.arange(len(new["line"]))

    def by(self, column: str) -> tuple[Places, Places]:
        """Match rows that are equal in a column: the first of one file with the first of the other, and so on."""
        old, new = self.old_left[self._old[column][self.old_left] != 0], self.new_left[self._new[column][self.new_left] != 0]
        _, one, other = np.intersect1d(_numbered(self._old[column][old]), _numbered(self._new[column][new]), return_indices=True)
        return self._take(old[one], new[other])

    def too_many_left(self) -> str:
        """Why copies are not looked for; empty where they are."""
        most = max(len(self.old_left), len(self.new_left))
        return f"{most} rows of a file have no match: copies are looked for among {COPIES_LIMIT}" if most > COPIES_LIMIT else ""

    def by_likeness(self, read_old: Reader, read_new: Reader) -> tuple[Places, Places]:
        """Match rows whose questions are copies of one another: by form, then near copies, each with its first."""
        old, new = (
            self.old_left[self._old["question"][self.old_left] != 0],
            self.new_left[self._new["question"][self.new_left] != 0],
        )
        old_loose, old_sets = _read(read_old(self._old["line"][old].tolist()))
        new_loose, new_sets = _read(read_new(self._new["line"][new].tolist()))
        _, one, other = np.intersect1d(_numbered(old_loose), _numbered(new_loose), return_indices=True)
        ones, others = one.tolist(), other.tolist()
        free = np.ones(len(old), np.bool_)
        free[one] = False
        collection = Collection.of(old_sets, np.argsort(old_loose))
        near, rest = Near(collection), without(new_sets, collection.common)
        for place in np.setdiff1d(np.arange(len(new)), other).tolist():
            found = near.find(new_sets[place], rest[place])
            found = found[free[found]]
            if len(found):
                free[found[0]] = False
                ones.append(int(found[0]))
                others.append(place)
        return self._take(old[np.array(ones, np.int64)], new[np.array(others, np.int64)])

    def _take(self, old: Places, new: Places) -> tuple[Places, Places]:
        """These rows are no longer left."""
        self.old_left, self.new_left = np.setdiff1d(self.old_left, old), np.setdiff1d(self.new_left, new)
        return old, new


def _read(texts: Sequence[str]) -> tuple[Digests, Sets]:
    forms = [read_forms(texts[part]) for part in batches(texts)]
    loose = np.concatenate([each.loose for each in forms]) if forms else np.empty(0, np.uint64)
    return loose, joined([read_sets(each) for each in forms])


def _numbered(keys: Digests) -> Digests:
    """Keys that differ for the first, the second... row with one key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    is_head = np.ones(len(keys), np.bool_)
    is_head[1:] = ordered[1:] != ordered[:-1]
    counts = np.arange(len(keys)) - np.maximum.accumulate(np.where(is_head, np.arange(len(keys)), 0))
    result = np.empty_like(keys)
    result[order] = mixed(ordered + mixed(counts.astype(np.uint64)))
    return result
