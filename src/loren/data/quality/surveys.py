"""Rules of quality over the file. Each holds a bounded number of counters and of line numbers, whatever the file's size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import heappush, heappushpop
from math import log2
from typing import TYPE_CHECKING

from loren.data.contract import Verdict
from loren.data.quality import language
from loren.data.rules import Breach

if TYPE_CHECKING:
    from loren.task.definition import Task

MAX_LINES = 100
"""Lines of one kind that a rule over the file names."""
MIN_ROWS = 20
"""In a smaller file shares say little."""
MIN_LENGTHS = 10
"""So many rows have a usual length."""

SAME_REPLY_SHARE, SAME_REPLY_ROWS = 0.10, 5
REFUSAL_SHARE, REFUSAL_ROWS = 0.20, 5
USUAL_SHARE = 0.90
"""What so many rows of a file do is its habit, and the others are exceptions."""
ENDED_SHARE = 0.95
MAX_LABEL_RATIO = 20
MAX_LABEL_SHARE = 0.90
MIN_LABEL_ROWS = 10
MAX_REPLIES = 50_000
"""Different replies that are counted at a time; the rarest are forgotten first."""
_MAX_LABELS = 1_000
_UNUSUAL_RATIO = 10
_MAX_UNUSUAL_SHARE = 0.01
_BUCKETS = 8
"""Buckets of the histogram of lengths for each doubling."""


class Lines:
    """Numbers of the lines where something was found: all are counted, the first are kept."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, line: int) -> None:
        """Add one."""
        self.count += 1
        if len(self.first) < MAX_LINES:
            self.first.append(line)

    def shown(self, few: int = 5) -> str:
        """The first lines, for a message."""
        more = ", ..." if self.count > few else ""
        return "line" + ("s " if self.count > 1 else " ") + ", ".join(map(str, self.first[:few])) + more


class SameReply:
    """One reply for many questions.

    Where a file has more different replies than are held, the rarest are forgotten; a count is then the least that it can be.
    """

    def __init__(self) -> None:
        self._rows = 0
        self.held: dict[int, tuple[int, int, frozenset[int]]] = {}
        """Digest of a reply -> its rows, its first line, some of its questions' digests."""
        self._at_least = False

    def add(self, line: int, verdict: Verdict) -> None:
        """Count one reply."""
        self._rows += 1
        traits = verdict.traits
        if not traits.reply:
            return
        count, first, asked = self.held.get(traits.reply, (0, line, frozenset[int]()))
        if len(asked) < SAME_REPLY_ROWS:
            asked = asked | {traits.question}
        self.held[traits.reply] = (count + 1, first, asked)
        if len(self.held) > MAX_REPLIES:
            self._forget()

    def _forget(self) -> None:
        self._at_least = True
        floor = sorted(entry[0] for entry in self.held.values())[MAX_REPLIES // 2]
        self.held = {digest: entry for digest, entry in self.held.items() if entry[0] > floor}

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """The replies that too many rows have, each at its first line."""
        least = max(SAME_REPLY_ROWS, SAME_REPLY_SHARE * self._rows)
        for count, line, asked in sorted(self.held.values(), key=lambda entry: entry[1]):
            if count >= least and len(asked) >= SAME_REPLY_ROWS:
                found = f"{'at least ' if self._at_least else ''}{count} of {self._rows} rows ({count / self._rows:.0%})"
                yield (
                    line,
                    Breach("same-reply", "", f"expected a reply for each question, found this one, word for word, in {found}"),
                )


class RefusalShare:
    """How many replies refuse."""

    def __init__(self) -> None:
        self._rows = 0
        self._lines = Lines()

    def add(self, line: int, verdict: Verdict) -> None:
        """Count one reply."""
        self._rows += 1
        if verdict.traits.refuses:
            self._lines.add(line)

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """A share that would teach to refuse."""
        count = self._lines.count
        if count >= REFUSAL_ROWS and count > REFUSAL_SHARE * self._rows:
            found = f"{count} of {self._rows} ({count / self._rows:.0%}), {self._lines.shown()}"
            yield 0, Breach("many-refusals", "", f"expected at most {REFUSAL_SHARE:.0%} of the replies to refuse, found {found}")


class LanguageMix:
    """Replies in another language than the file's, or without the accents that the others have."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._lines: dict[str, Lines] = {}

    def add(self, line: int, verdict: Verdict) -> None:
        """Count one reply."""
        spoken, asked = verdict.traits.language, verdict.traits.asked_in
        if not spoken:
            return
        self._rows[spoken] += 1
        # A question in English that is answered so was meant so; without accents nobody means to answer.
        if spoken == language.BARE or (spoken == language.ENGLISH and asked != language.ENGLISH):
            self._lines.setdefault(spoken, Lines()).add(line)

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """The exceptions by line, or the mixture as a whole."""
        known = self._rows.total()
        if known < MIN_ROWS:
            return
        usual, rows = self._rows.most_common(1)[0]
        for other, lines in sorted(self._lines.items()):
            if other == usual:
                continue
            if rows >= USUAL_SHARE * known:
                for line in lines.first:
                    message = f"expected {language.NAMES[usual]}, as in {rows} of {known} replies, found {language.NAMES[other]}"
                    yield line, Breach("language-mix", "", message)
            else:
                found = f"{lines.count} of {known} in {language.NAMES[other]}, {lines.shown()}"
                yield (
                    0,
                    Breach(
                        "language-mix", "", f"expected replies in one language, most are in {language.NAMES[usual]}, found {found}"
                    ),
                )


class Unended:
    """Replies without a mark at their end in a file where nearly all have one."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lines = {"open": Lines(), "none": Lines()}

    def add(self, line: int, verdict: Verdict) -> None:
        """Count one reply."""
        end = verdict.traits.end
        if end:
            self._counts[end] += 1
            if end in self._lines:
                self._lines[end].add(line)

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """The exceptions by line."""
        known = self._counts.total()
        if known < MIN_ROWS or self._counts["ended"] < ENDED_SHARE * known:
            return
        for end, what in (("none", "none"), ("open", "three dots")):
            for line in self._lines[end].first:
                usual = f"as {self._counts['ended']} of {known} replies have"
                yield line, Breach("reply-unended", "", f"expected a mark that ends the reply, {usual}, found {what}")


class Lengths:
    """Rows that are far longer or shorter than the file's rows are."""

    def __init__(self) -> None:
        self._rows = 0
        self._histogram: Counter[int] = Counter()
        self._longest: list[tuple[int, int]] = []
        self._shortest: list[tuple[int, int]] = []

    def add(self, line: int, verdict: Verdict) -> None:
        """Take one length."""
        characters = verdict.traits.characters
        if not characters:
            return
        self._rows += 1
        self._histogram[int(log2(characters) * _BUCKETS)] += 1
        for heap, key in ((self._longest, characters), (self._shortest, -characters)):
            if len(heap) < MAX_LINES:
                heappush(heap, (key, -line))
            elif key > heap[0][0]:
                heappushpop(heap, (key, -line))

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """The exceptions by line; where they are many, such lengths are the file's habit."""
        if self._rows < MIN_LENGTHS:
            return
        median = 2 ** ((self._quantile(0.5) + 0.5) / _BUCKETS)
        spread = (self._quantile(0.9) - self._quantile(0.1)) / _BUCKETS
        ratio = max(_UNUSUAL_RATIO, 2 ** (2 * spread))
        for heap, is_long in ((self._longest, True), (self._shortest, False)):
            found = [
                (-line, abs(key)) for key, line in heap if (abs(key) > median * ratio if is_long else abs(key) * ratio < median)
            ]
            if len(found) <= max(1, _MAX_UNUSUAL_SHARE * self._rows) and len(found) < MAX_LINES:
                for line, characters in sorted(found):
                    message = (
                        f"expected a row of a length like the others' (half have about {median:.0f} characters), found {characters}"
                    )
                    yield line, Breach("unusual-length", "", message)

    def _quantile(self, share: float) -> int:
        left = share * self._rows
        for bucket in sorted(self._histogram):
            left -= self._histogram[bucket]
            if left <= 0:
                return bucket
        return max(self._histogram)


class LabelBalance:
    """Values of a label that nearly all rows have, or nearly none."""

    def __init__(self, task: Task | None) -> None:
        self._pointers = task.labels if task else ()
        self._counts: tuple[Counter[str], ...] = tuple(Counter() for _ in self._pointers)

    def add(self, line: int, verdict: Verdict) -> None:
        """Count the label of one row."""
        for counts, value in zip(self._counts, verdict.label, strict=False):
            if value and (value in counts or len(counts) < _MAX_LABELS):
                counts[value] += 1

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Each label that is out of balance; its values are not shown, for they may be text of the file."""
        for pointer, counts in zip(self._pointers, self._counts, strict=True):
            rows = counts.total()
            if rows < MIN_ROWS or not 2 <= len(counts) < _MAX_LABELS:
                continue
            most, least = max(counts.values()), min(counts.values())
            if most > MAX_LABEL_SHARE * rows:
                found = f"one in {most} of {rows} ({most / rows:.0%})"
                yield (
                    0,
                    Breach(
                        "label-unbalanced",
                        pointer,
                        f"expected each value in at most {MAX_LABEL_SHARE:.0%} of the rows, found {found}",
                    ),
                )
            elif most > MAX_LABEL_RATIO * least and most >= MIN_LABEL_ROWS:
                found = f"{most} rows of one and {least} of another"
                yield (
                    0,
                    Breach(
                        "label-unbalanced",
                        pointer,
                        f"expected at most {MAX_LABEL_RATIO} rows of one value for each of another, found {found}",
                    ),
                )


def quality_surveys(task: Task | None) -> tuple[SameReply, RefusalShare, LanguageMix, Unended, Lengths, LabelBalance]:
    """All of them."""
    return SameReply(), RefusalShare(), LanguageMix(), Unended(), Lengths(), LabelBalance(task)
