"""What stands before the tensors of a safetensors file. Needs no torch, so that a download can write one."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

BYTES_OF = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""safetensors' name of a type -> bytes of one number."""


class Layout(NamedTuple):
    """What a tensor is, without its values."""

    dtype: str
    """In safetensors' words: F32, BF16."""
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Size of the first dimension; 1 for a single number."""
        return self.shape[0] if self.shape else 1

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def slices(self, values: int) -> Iterator[tuple[int, int]]:
        """(start, stop) of row slices of about ``values`` numbers each."""
        step = max(1, values * self.rows // max(1, self.values))
        return ((start, min(start + step, self.rows)) for start in range(0, self.rows, step))


def write_header(file: BinaryIO, tensors: Mapping[str, Layout]) -> int:
    """Write the header (format 0.x); the tensors' bytes must follow in the same order.

    Returns:
        How many bytes must follow.
    """
    index: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    total = 0
    for name, layout in tensors.items():
        size = layout.values * BYTES_OF[layout.dtype]
        index[name] = {"dtype": layout.dtype, "shape": list(layout.shape), "data_offsets": [total, total + size]}
        total += size
    head = json.dumps(index, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    file.write(struct.pack("<Q", len(head)))
    file.write(head)
    return total
