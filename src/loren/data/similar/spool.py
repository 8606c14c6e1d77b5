"""Four numbers a row, for files of any length: held in memory while they are few, then in a temporary file without a name."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from loren.data.temporary import TemporaryFile

RECORD = np.dtype([("line", "<u8"), ("question", "<u8"), ("target", "<u8"), ("label", "<u8")])
"""Line, and digests of the question, the target and its label (0 where there is none). Texts are never written."""

_HELD_BYTES = 16 * 1024 * 1024
_FLUSH_ROWS = 1 << 15
PART_ROWS = 1 << 19
"""About so many rows are looked at together, which takes some 60 MB."""


class RecordSpool:
    """Records in the order in which they were added; read once, by parts."""

    def __init__(self) -> None:
        self._file = TemporaryFile(_HELD_BYTES)
        self._buffer = array("Q")
        self._rows = 0

    def __len__(self) -> int:
        """How many were added."""
        return self._rows

    def add(self, line: int, question: int, target: int, label: int) -> None:
        """Add one record."""
        self._buffer.extend((line, question, target, label))
        self._rows += 1
        if self._rows % _FLUSH_ROWS == 0:
            self._flush()

    def parts(self) -> Iterator[npt.NDArray[np.void]]:
        """Yield all records in parts, each in the order of the lines; records of equal questions are in one part."""
        self._flush()
        count = -(-self._rows // PART_ROWS)
        for part in range(count):
            blocks: list[npt.NDArray[np.void]] = []
            self._file.seek(0)
            while data := self._file.read(_FLUSH_ROWS * RECORD.itemsize):
                block = np.frombuffer(data, RECORD)
                blocks.append(block[block["question"] % np.uint64(count) == part] if count > 1 else block)
            yield np.concatenate(blocks)

    def _flush(self) -> None:
        self._file.seek(0, 2)
        self._file.write(np.array(self._buffer, "<u8").tobytes())
        self._buffer = array("Q")
