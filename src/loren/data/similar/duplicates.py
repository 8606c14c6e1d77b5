"""The survey of rows that say the same: exact duplicates and conflicts in any file, copies in other words where it is not too long.

What is a conflict, an error, and what a doubt, a warning:

- The same question (and system turn) with two targets is a conflict: whichever the model learns, the other is wrong.
- A question and the same question without its diacritics is one question to the people who ask; two *labels* for it are a conflict.
  Two replies with one label are not: answering it in other words is what such rows are written for.
- A question with other digits, or nearly the same, may well have another label ("for 2 days", "for 20 days"): a doubt.
- Where there are no labels, a near question with another answer is nothing at all but a near question.

Each row is compared with those above it and reported once, with the line that it is most like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from loren.data.rules import Breach
from loren.data.similar.copies import MAX_PIECES, Copies, Reread
from loren.data.similar.pairs import SKETCH_BYTES
from loren.data.similar.spool import RECORD, RecordSpool

if TYPE_CHECKING:
    from loren.data.contract import Verdict

COPIES_LIMIT = 200_000
"""Different questions of a file up to which copies in other words are looked for."""
BYTES_A_QUESTION = SKETCH_BYTES + 64
"""Memory that the search takes for each question, and four bytes more for each of its characters."""


class Duplicates:
    """Sees 32 bytes of each row; see the module for what it says."""

    def __init__(self, reread: Reread | None = None, *, limit: int = COPIES_LIMIT) -> None:
        """Without ``reread`` (standard input), and above ``limit`` different questions, only the exact form is compared."""
        self._reread = reread
        self._limit = limit
        self._spool = RecordSpool()
        self._facts: dict[str, Any] = {}

    def add(self, line: int, verdict: Verdict) -> None:
        """See one row; one whose question and target could not be read is not compared."""
        if verdict.digests is not None:
            label = xxhash.xxh3_64_intdigest("\0".join(verdict.label).encode("utf-8", "surrogatepass")) if any(verdict.label) else 0
            self._spool.add(line, *verdict.digests, label)

    def breaches(self) -> Iterator[tuple[int, Breach]]:
        """Yield duplicates and conflicts by line (in a file of more than half a million rows, in several such rounds)."""
        heads: list[npt.NDArray[np.void]] = []
        questions = 0
        for part in self._spool.parts():
            order = np.lexsort((part["line"], part["question"]))
            part = part[order]
            is_head = np.ones(len(part), np.bool_)
            is_head[1:] = part["question"][1:] != part["question"][:-1]
            yield from _exact(part, is_head)
            questions += int(is_head.sum())
            if self._reread is not None and questions <= self._limit:
                heads.append(part[is_head])
        yield from self._copies(questions, heads)

    def to_json(self) -> Mapping[str, Any]:
        """For the report: whether copies in other words were looked for, among how many questions, or why not."""
        return self._facts

    def _copies(self, questions: int, heads: list[npt.NDArray[np.void]]) -> Iterator[tuple[int, Breach]]:
        self._facts = {"questions": questions, "limit": self._limit, "bytes_a_question": BYTES_A_QUESTION}
        if self._reread is None:
            self._facts["not_compared"] = "standard input can't be read twice: give a file"
        elif questions > self._limit:
            self._facts["not_compared"] = f"more than {self._limit} different questions: raise --copies-limit"
        else:
            records = np.concatenate(heads) if heads else np.empty(0, RECORD)
            copies = Copies(records[np.argsort(records["line"])], self._reread)
            yield from copies.breaches()
            if not copies.near_searched:
                self._facts["not_compared"] = f"more than {MAX_PIECES} characters in questions: near copies would not fit in memory"


def _exact(part: npt.NDArray[np.void], is_head: npt.NDArray[np.bool_]) -> Iterator[tuple[int, Breach]]:
    """What the rows of a part, ordered by question and line, say against the first row with their question."""
    heads = np.maximum.accumulate(np.where(is_head, np.arange(len(part)), 0))
    found = np.flatnonzero(~is_head)
    for place in found[np.argsort(part["line"][found])].tolist():
        row, head = part[place], part[heads[place]]
        line = int(head["line"])
        if row["target"] == head["target"]:
            message = f"expected each question once, found that of line {line} again, with the same target"
            yield int(row["line"]), Breach("duplicate-question", "", message)
            continue
        what = "label" if row["label"] != head["label"] else "target"
        message = f"expected one answer to a question, found that of line {line} again, with another {what}"
        yield int(row["line"]), Breach("conflicting-targets", "", message)
