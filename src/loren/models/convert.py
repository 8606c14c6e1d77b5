"""GGUF -> a Hugging Face folder in the cache: once, as fp32 safetensors, tensor by tensor.

The weights are dequantised a slice at a time straight into the safetensors file: 0.6 GB of memory for a model of 2.5 GB, and a
quarter of the time that transformers' own GGUF load takes (whose weights are equal, bit by bit). The names of tensors, the model
classes and the tokenizer rules are data (gguf_layout.toml); what is not listed there is refused.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray
from tokenizers import Tokenizer

from loren.errors import IntegrityError, ModelLoadError, Problem
from loren.models.cache import Progress, exclusive, is_complete, remembered_sha256, remove_leftovers, require_space, say
from loren.models.embedded import find_embedded
from loren.models.gguf_file import GgufHeader, TensorEntry, read_header
from loren.models.gguf_tokenizer import build_tokenizer, special_ids, stop_ids, write_tokenizer
from loren.models.identity import WEIGHTS
from loren.models.source import BaseModel
from loren.models.tensor_header import Layout, write_header
from loren.provenance.manifest import write_manifest
from loren.runs.files import Json, staged_folder, write_json, write_text

_SLICE_VALUES = 8 * 1024 * 1024
"""Values dequantised at once: 32 MB as fp32, and a few times that inside the arithmetic."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One tensor of the Hugging Face folder and where it comes from."""

    name: str
    entry: TensorEntry
    rotary_heads: int
    """Heads whose rows must be put into transformers' order; 0 where the order is the same."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Everything about a converted folder but the weights' values."""

    header: GgufHeader
    config: dict[str, Json]
    generation_config: dict[str, Json]
    tensors: list[_Tensor]
    tokenizer: Tokenizer

    @property
    def weights_bytes(self) -> int:
        """Size of the weights as fp32."""
        return 4 * sum(_values(tensor.entry.shape) for tensor in self.tensors)


def prepare_folder(source: BaseModel, progress: Progress | None = None) -> Path:
    """The base model as a Hugging Face folder; converts a GGUF file into the cache the first time.

    Args:
        source: what :func:`loren.models.source.resolve_source` found.
        progress: hears how many bytes of weights are written.

    Returns:
        The source's own folder, or the converted one.

    Raises:
        ModelLoadError: the file's architecture or tokenizer is not supported, or the file is damaged.
        IntegrityError: the file is not the one that was promised, or holds weights that are not finite.
    """
    if source.folder is not None:
        return source.folder
    if source.gguf is None or source.converted is None or source.sha256 is None:
        raise ModelLoadError(f"{source.id}: expected a folder or a GGUF file, found neither")
    target = source.converted
    cache = target.parent.parent
    with exclusive(cache, target.name):
        if is_complete(target):
            return target
        if target.exists():
            say(progress, f"{target}: the converted copy is damaged; converting again")
        remove_leftovers(target)
        found = remembered_sha256(source.gguf, cache)
        if found != source.sha256:
            raise IntegrityError(
                f"{source.id}: the file is not the expected one",
                problems=[Problem(str(source.gguf), f"expected sha256 {source.sha256}, found {found}")],
                hint="delete the file; it will be fetched again",
            )
        plan = plan_conversion(source.gguf)
        require_space(target, plan.weights_bytes, f"converting {source.id}")
        with staged_folder(target) as stage:
            write_conversion(plan, stage, progress=progress)
            _write_terms(source, stage)
            write_manifest(stage)
    return target


def plan_conversion(gguf: Path) -> Conversion:
    """Read a GGUF file's header and decide everything about its Hugging Face folder; writes nothing.

    Raises:
        ModelLoadError: the architecture, a tensor or the tokenizer is not what gguf_layout.toml describes.
    """
    layout = tomllib.loads(resources.files("loren.models").joinpath("gguf_layout.toml").read_text(encoding="utf-8"))
    header = read_header(gguf)
    config = _model_config(header, layout)
    tensors = _plan_tensors(header, layout, config)
    config["tie_word_embeddings"] = all(tensor.name != "lm_head.weight" for tensor in tensors)
    ids = special_ids(header)
    config |= {f"{role}_token_id": ids[role] for role in ("bos", "eos", "pad") if role in ids}
    # Token ids only: sampling settings would change what greedy generation means.
    generation: dict[str, Json] = {f"{role}_token_id": ids[role] for role in ("bos", "pad") if role in ids}
    generation["eos_token_id"] = stop_ids(header, layout["stop"]["tokens"])
    return Conversion(header, config, generation, tensors, build_tokenizer(header, layout["pre_tokenizer"]))


def write_conversion(plan: Conversion, folder: Path, *, progress: Progress | None = None) -> None:
    """Write config, tokenizer and fp32 weights into ``folder``.

    Raises:
        IntegrityError: a weight is not finite.
    """
    write_json(folder / "config.json", plan.config)
    write_json(folder / "generation_config.json", plan.generation_config)
    write_tokenizer(plan.header, plan.tokenizer, folder)
    _write_weights(plan.header, plan.tensors, folder / WEIGHTS, progress)


def _write_terms(source: BaseModel, folder: Path) -> None:
    """The licence and a card that says what these weights are: they are not the publisher's own."""
    card = f"---\nlicense: {json.dumps(source.license)}\nlibrary_name: transformers\n"
    if source.kind == "embedded":
        model = find_embedded(source.id)
        card += f"base_model: {model.origin}\nlanguage: {json.dumps(model.languages)}\n"
        write_text(folder / "LICENSE", model.license_body())
    card += f"---\n\nThese weights are {source.origin_note}, converted by Loren to fp32: not the publisher's own weights.\n"
    write_text(folder / "README.md", card)


def _model_config(header: GgufHeader, layout: dict[str, Any]) -> dict[str, Json]:
    architecture = header.text("general.architecture", "none")
    known = layout["architecture"].get(architecture)
    if known is None:
        raise ModelLoadError(
            f"{header.path}: expected one of the architectures {', '.join(layout['architecture'])}, found {architecture}",
            hint="take the model's Hugging Face folder (safetensors) instead of the GGUF file",
        )

    def integer(key: str) -> int:
        return header.integer(f"{architecture}.{key}") or 0

    heads = integer("attention.head_count")
    config: dict[str, Json] = {
        "architectures": [known["class"]],
        "model_type": architecture,
        "hidden_act": "silu",
        "hidden_size": integer("embedding_length"),
        "intermediate_size": integer("feed_forward_length"),
        "num_hidden_layers": integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": integer("attention.head_count_kv") or heads,
        "max_position_embeddings": integer("context_length"),
        # The file holds float32: 9.99999997e-07 was 1e-06 before it was stored.
        "rms_norm_eps": float(str(np.float32(header.number(f"{architecture}.attention.layer_norm_rms_epsilon") or 0))),
        "rope_theta": float(str(np.float32(header.number(f"{architecture}.rope.freq_base") or 10000.0))),
        "vocab_size": len(header.array("tokenizer.ggml.tokens")),
        "torch_dtype": "float32",
    }
    problems = [Problem(key, "expected a value, found none") for key, value in config.items() if not value]
    scaling = header.text(f"{architecture}.rope.scaling.type", "none")
    if scaling != "none" or any(entry.name == "rope_freqs.weight" for entry in header.tensors):
        problems.append(
            Problem(f"{architecture}.rope", "expected no scaling of positions, found some, which can't be converted exactly")
        )
    if problems:
        raise ModelLoadError(f"{header.path}: the model can't be converted", problems=problems)
    config["head_dim"] = integer("attention.key_length") or integer("embedding_length") // heads
    return config


def _plan_tensors(header: GgufHeader, layout: dict[str, Any], config: dict[str, Json]) -> list[_Tensor]:
    """Match the file's tensors with those of the architecture; none may be missing, left over or of another shape.

    Raises:
        ModelLoadError: they differ; every difference is named.
    """
    known = layout["architecture"][config["model_type"]]
    optional = {name for other in layout["architecture"].values() for name in other["optional"]} - set(known["optional"])
    shapes = _shapes(config)
    wanted: dict[str, str] = dict(layout["tensors"])
    for layer in range(cast("int", config["num_hidden_layers"])):
        for key, name in layout["layer"].items():
            if key not in optional:
                wanted[f"blk.{layer}.{key}"] = f"model.layers.{layer}.{name}"
    entries = {entry.name: entry for entry in header.tensors}
    problems = [
        Problem(name, "expected this tensor, found none") for name in wanted if name not in entries and name != "output.weight"
    ]
    problems += [Problem(name, f"expected no such tensor in {config['model_type']}") for name in entries if name not in wanted]
    size = header.path.stat().st_size
    plan: list[_Tensor] = []
    for name, target in wanted.items():
        entry = entries.get(name)
        if entry is None:
            continue
        kind = name.split(".", 2)[-1] if name.startswith("blk.") else name
        problems += _entry_problems(entry, shapes[kind], size)
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(kind.split(".", maxsplit=1)[0])
        plan.append(_Tensor(target, entry, cast("int", config[heads]) if heads and known["interleaved_rotary"] else 0))
    if problems:
        raise ModelLoadError(f"{header.path}: the tensors are not those of the architecture", problems=problems)
    return plan


def _shapes(config: dict[str, Json]) -> dict[str, tuple[int, ...]]:
    """Expected shape by GGUF name, without "blk.N."."""

    def size(key: str) -> int:
        return cast("int", config[key])

    hidden, inner, vocabulary, head = size("hidden_size"), size("intermediate_size"), size("vocab_size"), size("head_dim")
    query, key_value = size("num_attention_heads") * head, size("num_key_value_heads") * head
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, hidden),
        "output.weight": (vocabulary, hidden),
        "attn_q.weight": (query, hidden),
        "attn_k.weight": (key_value, hidden),
        "attn_v.weight": (key_value, hidden),
        "attn_output.weight": (hidden, query),
        "ffn_gate.weight": (inner, hidden),
        "ffn_up.weight": (inner, hidden),
        "ffn_down.weight": (hidden, inner),
        "attn_q.bias": (query,),
        "attn_k.bias": (key_value,),
        "attn_v.bias": (key_value,),
    }
    shapes |= dict.fromkeys(("output_norm.weight", "attn_norm.weight", "ffn_norm.weight"), (hidden,))
    return shapes | dict.fromkeys(("attn_q_norm.weight", "attn_k_norm.weight"), (head,))


def _entry_problems(entry: TensorEntry, shape: tuple[int, ...], file_size: int) -> Iterator[Problem]:
    if entry.shape != shape:
        yield Problem(entry.name, f"expected the shape {shape}, found {entry.shape}")
    elif entry.ggml_type not in {kind.value for kind in GGML_QUANT_SIZES}:
        yield Problem(entry.name, f"expected a known quantisation, found type {entry.ggml_type}")
    else:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(entry.ggml_type)]
        if shape[-1] % block:
            yield Problem(entry.name, f"expected rows of whole blocks of {block}, found {shape[-1]} columns")
        elif entry.offset + _values(shape) // block * block_bytes > file_size:
            yield Problem(entry.name, "expected its data inside the file, found the file cut")


def _write_weights(header: GgufHeader, tensors: list[_Tensor], path: Path, progress: Progress | None) -> None:
    layouts = {tensor.name: Layout("F32", tensor.entry.shape) for tensor in tensors}
    data = np.memmap(header.path, mode="r", dtype=np.uint8)
    written = 0
    with path.open("wb") as file:
        total = write_header(file, layouts)
        for tensor in tensors:
            for part in _slices(data, tensor):
                written += file.write(part.astype("<f4", copy=False).tobytes())
                if progress is not None:
                    progress("converting the weights", written, total)


def _slices(data: NDArray[np.uint8], tensor: _Tensor) -> Iterator[NDArray[np.float32]]:
    """The tensor's rows as fp32, some megabytes at a time, in transformers' order.

    Raises:
        IntegrityError: a weight is not finite.
    """
    entry = tensor.entry
    kind = GGMLQuantizationType(entry.ggml_type)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    columns = entry.shape[-1]
    rows = _values(entry.shape) // columns
    row_bytes = columns // block * block_bytes
    raw = data[entry.offset : entry.offset + rows * row_bytes].reshape(rows, row_bytes)
    order = _row_order(rows, tensor.rotary_heads)
    step = max(1, _SLICE_VALUES // columns)
    for start in range(0, rows, step):
        chosen = raw[order[start : start + step]]
        values = dequantize(chosen, kind)
        if not np.isfinite(values).all():
            raise IntegrityError(f"{entry.name}: expected finite weights, found others: the file is damaged")
        yield values


def _row_order(rows: int, heads: int) -> NDArray[np.int64]:
    """Which row of the file each row of the result is.

    llama.cpp stores each head's rows as (half, 2) transposed, so that rotary pairs are neighbours; transformers has the two halves
    one after the other. Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute (this is its inverse).
    """
    order = np.arange(rows)
    return order.reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1) if heads else order


def _values(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
