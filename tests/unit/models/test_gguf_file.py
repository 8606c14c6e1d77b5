"""The header reader: what a file says, and that no damaged file does more than be refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import ModelLoadError
from loren.models.gguf_file import read_header
from tiny_gguf import Changes, tiny_model, write_gguf


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_model("llama"), Changes(quantized=True))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "damaged.gguf"


def test_metadata_and_tensors_are_read(tiny: Path) -> None:
    header = read_header(tiny)
    assert header.text("general.architecture") == "llama"
    assert header.integer("llama.block_count") == 2
    assert header.flag("tokenizer.ggml.add_bos_token") is False
    assert header.number("llama.rope.freq_base") == 10000.0
    assert header.quantization == "Q8_0"
    assert "<|im_end|>" in header.array("tokenizer.ggml.tokens")
    shapes = {entry.name: entry.shape for entry in header.tensors}
    assert shapes["blk.1.ffn_down.weight"] == (64, 96)  # row-major, as in torch
    assert len(shapes) == 2 + 2 * 9


def test_a_wrong_type_counts_as_missing(tiny: Path) -> None:
    header = read_header(tiny)
    assert header.integer("general.architecture") is None
    assert header.text("llama.block_count") == ""
    assert header.integer("tokenizer.ggml.add_bos_token") is None
    assert header.array("general.name") == ()


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_header_that_is_cut_is_refused(tiny: Path, scratch: Path, share: float) -> None:
    end = min(entry.offset for entry in read_header(tiny).tensors) - 32
    scratch.write_bytes(tiny.read_bytes()[: int(share * end)])
    with pytest.raises(ModelLoadError):
        read_header(scratch)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_is_read_or_refused_and_never_more(tiny: Path, scratch: Path, data: st.DataObject) -> None:
    content = bytearray(tiny.read_bytes())
    end = min(entry.offset for entry in read_header(tiny).tensors)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    scratch.write_bytes(content)
    with suppress(ModelLoadError):  # any other exception fails the test
        read_header(scratch)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "end of the file"),
        (b"PK\x03\x04" + b"\0" * 64, "another kind"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "at most"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "at most"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62), "at most"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 10, 2**21), "end of the file"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"k", 9, 9, 1), "nested"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q1sI", 1, b"k", 77), "known metadata type"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * struct.pack("<Q1sIB", 1, b"k", 0, 5), "twice"),
    ],
)
def test_lies_about_sizes_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "lie.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=words):
        read_header(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"none\.gguf"):
        read_header(tmp_path / "none.gguf")
