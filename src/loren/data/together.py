"""The texts of several rows as one: a search begins anew behind each row in which it finds something, not at each row. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

Search: TypeAlias = Callable[[str, int], re.Match[str] | None]


class Together:
    """The texts of some rows, a line feed before each text."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        """Put the texts of rows together."""
        self.text = "\n" + "\n".join([text for texts in rows for text in texts])
        self._starts = [1]
        """Where the first text of each row begins, and one more for the end."""
        for texts in rows:
            self._starts.append(self._starts[-1] + sum(map(len, texts)) + len(texts))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._starts) - 1

    def row(self, index: int) -> str:
        """The texts of one row, a line feed between two."""
        return self.text[self._starts[index] : self._starts[index + 1] - 1]

    def rows_with(self, search: Search, *, text: str = "") -> set[int]:
        """The rows in which a pattern finds something, and rows into which what it finds there reaches.

        Args:
            search: the pattern's; the line feed before a row belongs to it.
            text: another form of the text, each character in its place.
        """
        text = text or self.text
        found: set[int] = set()
        place = 0
        while match := search(text, place):
            start, end = match.span()
            first = bisect_right(self._starts, start + 1) - 1
            last = min(max(first, bisect_right(self._starts, end) - 1), len(self) - 1)
            found.update(range(first, last + 1))
            place = self._starts[last + 1] - 1
        return found
