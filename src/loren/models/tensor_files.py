"""safetensors files of a model folder, read and written some rows at a time, so that memory does not grow with the model.

safetensors itself maps whole files into memory, whose pages count as the process's own; positional reads take what is asked for.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open

from loren.errors import ModelLoadError, Problem
from loren.models.identity import weight_files
from loren.models.tensor_header import Layout, write_header

TORCH_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""safetensors' name of a type -> torch's; others are copied but never computed with."""
SLICE_VALUES = 1024 * 1024
"""Values read at once: 4 MB as fp32, and a few times that inside the arithmetic."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor in a file."""

    path: Path
    layout: Layout
    offset: int
    """Where its bytes begin in the file."""
    nbytes: int

    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Rows ``start`` to ``stop`` of the first dimension, in the stored type."""
        stop = self.layout.rows if stop is None else min(stop, self.layout.rows)
        shape = (stop - start, *self.layout.shape[1:]) if self.layout.shape else ()
        raw = self.read_bytes(start, stop)
        return torch.frombuffer(raw, dtype=TORCH_DTYPES[self.layout.dtype]).reshape(shape) if raw else torch.empty(shape)

    def read_bytes(self, start: int, stop: int) -> bytearray:
        """The bytes of rows ``start`` to ``stop``.

        Raises:
            ModelLoadError: the file ends before them.
        """
        row = self.nbytes // self.layout.rows if self.layout.rows else 0
        raw = bytearray((stop - start) * row)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset + start * row)
            if file.readinto(raw) != len(raw):
                raise ModelLoadError(f"{self.path}: expected a whole safetensors file, found it cut short")
        return raw

    def slices(self, values: int = SLICE_VALUES) -> Iterator[tuple[int, int]]:
        """(start, stop) of row slices of about ``values`` numbers each."""
        return self.layout.slices(values)


def read_file(path: Path) -> dict[str, StoredTensor]:
    """Where the tensors of one safetensors file lie.

    Raises:
        ModelLoadError: the file is damaged or cut short.
    """
    try:
        with safe_open(path, framework="pt"):  # checks header, offsets and length
            pass
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = cast("dict[str, dict[str, Any]]", json.loads(file.read(length)))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelLoadError(f"{path}: expected a whole safetensors file, found a damaged one") from error
    found: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            found[name] = StoredTensor(path, Layout(entry["dtype"], tuple(entry["shape"])), 8 + length + begin, end - begin)
    return found


def read_folder(folder: Path) -> dict[str, StoredTensor]:
    """Where the tensors of a model folder lie, over all its shards.

    Raises:
        ModelLoadError: there are none, a shard is damaged, or two shards hold a tensor of the same name.
    """
    found: dict[str, StoredTensor] = {}
    twice: list[Problem] = []
    for name in weight_files(folder):
        entries = read_file(folder / name)
        twice += [Problem(key, f"expected it in one shard, found it in {name} too") for key in found.keys() & entries.keys()]
        found |= entries
    if twice or not found:
        raise ModelLoadError(f"{folder}: expected safetensors weights, each once; found {'some twice' if twice else 'none'}",
                             problems=twice)  # fmt: skip
    return found


def write_file(path: Path, tensors: Mapping[str, tuple[Layout, Iterable[torch.Tensor]]]) -> None:
    """Write a safetensors file while its tensors are being made.

    Args:
        path: the file.
        tensors: name -> (layout, its rows in slices, already of the layout's type).
    """
    with path.open("wb") as file:
        write_header(file, {name: layout for name, (layout, _) in tensors.items()})
        for _, parts in tensors.values():
            for part in parts:
                file.write(part.contiguous().reshape(-1).view(torch.uint8).numpy().data)
