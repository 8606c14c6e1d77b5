"""The header of a GGUF file: its metadata and where its tensors lie. Light: no numpy, no weights are read.

The file comes from outside, so every count and length is checked against what is left of it before anything is allocated.
Source: the GGUF specification, versions 2 and 3, little-endian (ggml, docs/gguf.md).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from loren.errors import ModelLoadError

Value: TypeAlias = "bool | int | float | str | Sequence[Value]"
"""What a metadata entry can hold."""

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_ENTRIES = 4096
_MAX_TENSORS = 65536
_MAX_TEXT_BYTES = 4 * 1024 * 1024
_MAX_ARRAY = 4 * 1024 * 1024
_MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32
_STRING = 8
_ARRAY = 9
_NUMBERS: dict[int, str] = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type number -> struct format of a scalar."""

FILE_TYPES: dict[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip
"""`general.file_type` -> the quantisation's usual name."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]
    """Row-major, as torch has it: the reverse of the order in the file."""
    ggml_type: int
    offset: int
    """Bytes from the start of the file."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything of a GGUF file but its weights."""

    path: Path
    metadata: dict[str, Value]
    tensors: tuple[TensorEntry, ...]

    def text(self, key: str, default: str = "") -> str:
        """A string entry; ``default`` where it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else default

    def integer(self, key: str) -> int | None:
        """An integer entry; None where it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number(self, key: str) -> float | None:
        """A numeric entry; None where it is missing or of another type."""
        value = self.metadata.get(key)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def flag(self, key: str) -> bool | None:
        """A boolean entry; None where it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, bool) else None

    def array(self, key: str) -> Sequence[Value]:
        """An array entry; empty where it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, list) else ()

    @property
    def quantization(self) -> str:
        """The file's quantisation, such as ``Q4_K_M``; "unknown" where the file does not say."""
        return FILE_TYPES.get(self.integer("general.file_type") or 0, "unknown")


def read_header(path: Path) -> GgufHeader:
    """Read metadata and tensor list of a GGUF file.

    Raises:
        ModelLoadError: the file is missing, not a GGUF file, or damaged.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file, path).header()
    except ModelLoadError:  # also an OSError
        raise
    except OSError as error:
        raise ModelLoadError(f"{path}: expected a GGUF file, found {error.strerror or 'an unreadable one'}") from error


class _Reader:
    """Reads the header's fields in their order, never past the end of the file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = path.stat().st_size

    def header(self) -> GgufHeader:
        if self._bytes(4) != _MAGIC:
            raise self._error("expected a GGUF file, found another kind")
        version = self._int("I")
        if version not in _VERSIONS:
            raise self._error(f"expected GGUF version 2 or 3 (little-endian), found {version}")
        tensor_count = self._bounded(self._int("Q"), _MAX_TENSORS, "tensors")
        entry_count = self._bounded(self._int("Q"), _MAX_ENTRIES, "metadata entries")
        metadata = self._metadata(entry_count)
        relative = [self._tensor() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment > 65536 or alignment & (alignment - 1):
            raise self._error("expected general.alignment to be a power of two")
        position = self._file.tell()
        start = position + -position % alignment
        size = self._path.stat().st_size
        tensors = tuple(TensorEntry(entry.name, entry.shape, entry.ggml_type, start + entry.offset) for entry in relative)
        names = {entry.name for entry in tensors}
        if len(names) != len(tensors) or any(entry.offset > size for entry in tensors):
            raise self._error("expected tensors with different names inside the file, found others: it is damaged or cut")
        return GgufHeader(self._path, metadata, tensors)

    def _metadata(self, count: int) -> dict[str, Value]:
        metadata: dict[str, Value] = {}
        for _ in range(count):
            key = self._text()
            if key in metadata:
                raise self._error("expected each metadata key once, found one twice")
            metadata[key] = self._value(self._int("I"))
        return metadata

    def _tensor(self) -> TensorEntry:
        name = self._text()
        dimensions = self._bounded(self._int("I"), _MAX_DIMENSIONS, "dimensions")
        shape = tuple(reversed([self._int("Q") for _ in range(dimensions)]))
        return TensorEntry(name, shape, self._int("I"), self._int("Q"))

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._array()
        return self._numbers(kind, 1)[0]

    def _array(self) -> list[Value]:
        kind = self._int("I")
        count = self._bounded(self._int("Q"), _MAX_ARRAY, "array elements")
        if kind == _STRING:
            return [self._text() for _ in range(count)]
        if kind == _ARRAY:
            raise self._error("expected flat arrays in the metadata, found a nested one")
        return self._numbers(kind, count)

    def _numbers(self, kind: int, count: int) -> list[Value]:
        form = _NUMBERS.get(kind)
        if form is None:
            raise self._error(f"expected a known metadata type, found {kind}")
        return list(struct.unpack(f"<{count}{form}", self._bytes(count * struct.calcsize(f"<{form}"))))

    def _text(self) -> str:
        length = self._bounded(self._int("Q"), _MAX_TEXT_BYTES, "bytes of text")
        return self._bytes(length).decode("utf-8", "replace")

    def _int(self, form: str) -> int:
        return struct.unpack(f"<{form}", self._bytes(struct.calcsize(f"<{form}")))[0]

    def _bytes(self, count: int) -> bytes:
        if count > self._left:
            raise self._error("expected more data, found the end of the file: it is damaged or cut")
        self._left -= count
        return self._file.read(count)

    def _bounded(self, count: int, limit: int, what: str) -> int:
        if count > limit:
            raise self._error(f"expected at most {limit} {what}, found {count}")
        return count

    def _error(self, message: str) -> ModelLoadError:
        return ModelLoadError(f"{self._path}: {message}", hint="take the file from its source again")
