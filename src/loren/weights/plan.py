"""What a merge will do to each tensor, decided from names, shapes and the adapter's configuration; no weight is read.

`plan_merge` makes a small record for each tensor that changes and checks every shape and type before anything is read or written.
What is not known to merge exactly is refused by name.
"""
# pyright: basic

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from peft.utils.other import get_pattern_key
from torch.nn import Embedding, Linear
from transformers.pytorch_utils import Conv1D

from loren.errors import ModelLoadError, Problem
from loren.models.adapter_config import AdapterConfig, read_config
from loren.models.fit import PREFIX, meta_model
from loren.models.tensor_files import StoredTensor, read_file, read_folder
from loren.models.tensor_header import BYTES_OF, Layout
from loren.runs.folder import ADAPTER_WEIGHTS

Kind: TypeAlias = Literal["linear", "embedding", "bias", "replaced", "rows"]
FLOATS = frozenset({"F32", "F16", "BF16"})
_PARTS = {
    "lora_A.weight": "A", "lora_B.weight": "B", "lora_B.bias": "bias", "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude", "lora_embedding_A": "embedding_A", "lora_embedding_B": "embedding_B",
    "lora_embedding_magnitude_vector": "embedding_magnitude", "token_adapter.trainable_tokens_delta": "rows",
    "base_layer.weight": "own_weight", "base_layer.bias": "own_bias",
}  # fmt: skip
"""End of a name in the adapter's file -> what it is."""
_PART = re.compile(rf"(?P<module>.+)\.(?P<end>{'|'.join(re.escape(end) for end in sorted(_PARTS, key=len, reverse=True))})")
_MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class MergeOp:
    """What becomes of one tensor that does not stay as it is in the base."""

    tensor: str
    """Its name in the base's files and in the merged ones."""
    kind: Kind
    layout: Layout
    """Of the base's tensor, and so of the merged one."""
    parts: Mapping[str, StoredTensor]
    """A ``(R, in)``, B ``(out, R)``, for DoRA magnitude ``(out)``; of embeddings A ``(R, V)`` and B ``(D, R)``; else value."""
    scale: float = 1.0
    """lora_alpha / R, for rsLoRA lora_alpha / sqrt(R)."""
    is_transposed: bool = False
    """The base stores the module as ``(in, out)`` (Conv1D, PEFT's fan_in_fan_out)."""
    rows: tuple[int, ...] = ()
    """For kind "rows": which rows of the tensor ``value`` replaces."""


@dataclass(frozen=True, slots=True)
class MergePlan:
    """Every tensor of the merged model and where it comes from."""

    base: Path
    adapter: Path
    sources: Mapping[str, StoredTensor]
    """Tensor of the merged model -> tensor of the base that it starts from."""
    shards: Mapping[str, tuple[str, ...]]
    """File of the merged model -> its tensors, as the base has them."""
    ops: Mapping[str, MergeOp]
    """What changes; every other tensor is copied byte for byte."""
    is_tied: bool
    """Whether input embeddings and output head are one tensor in the merged model."""
    parameters: Mapping[str, str]
    """Parameter of the loaded model -> tensor of the merged files that it is read from."""
    nf4: frozenset[str] = field(default=frozenset())
    """Tensors that stand for their 4-bit selves: dequantised first, as the adapter saw them in training."""
    double_quant: bool = True

    @property
    def largest_bytes(self) -> int:
        """Size of the largest tensor."""
        return max(source.nbytes for source in self.sources.values())

    @property
    def total_bytes(self) -> int:
        """Size of all tensors of the merged model."""
        return sum(source.nbytes for source in self.sources.values())

    def on_nf4(self, names: Sequence[str], *, double_quant: bool) -> MergePlan:
        """The same merge onto what NF4 makes of the tensors ``names``."""
        return replace(self, nf4=frozenset(names), double_quant=double_quant)


@dataclass(frozen=True, slots=True)
class _Base:
    """The base as names, shapes and kinds of modules."""

    tensors: Mapping[str, StoredTensor]
    modules: Mapping[str, Any]
    prefix: str
    embedding: str
    """Names of the modules of input embeddings and output head; "" where there is none."""
    head: str
    is_tied: bool

    def find(self, parameter: str) -> str | None:
        """The name that the files give a parameter: some leave out the model's prefix, some carry it where the class does not."""
        if parameter in self.tensors:
            return parameter
        short = parameter.removeprefix(f"{self.prefix}.")
        if self.is_tied and self.embedding and parameter == f"{self.head}.weight":
            return self.find(f"{self.embedding}.weight")
        return short if short != parameter and short in self.tensors else None


def plan_merge(base: Path, adapter: Path) -> MergePlan:
    """Decide what becomes of each tensor.

    Args:
        base: folder of the base model, in its original precision.
        adapter: folder of the adapter.

    Raises:
        ModelLoadError: the adapter is of a kind that can't be merged exactly, or does not fit; every problem is named.
    """
    config = read_config(adapter)
    model: Any = meta_model(base)
    modules = dict(model.named_modules())
    names = {id(module): name for name, module in modules.items()}
    head = model.get_output_embeddings()
    text_config = model.config.get_text_config()
    known = _Base(
        tensors=read_folder(base),
        modules=modules,
        prefix=model.base_model_prefix,
        embedding=names.get(id(model.get_input_embeddings()), ""),
        head=names.get(id(head), "") if head is not None else "",
        is_tied=bool(getattr(text_config, "tie_word_embeddings", False)) and head is not None,
    )
    problems = [
        Problem(_printable(name), f"expected a type that can be copied, found {tensor.layout.dtype}")
        for name, tensor in known.tensors.items()
        if tensor.layout.dtype not in BYTES_OF
    ]
    ops = list(_plan_ops(config, known, read_file(adapter / ADAPTER_WEIGHTS), problems))
    problems += [problem for op in ops for problem in _wrong_shapes(op)]
    seen: set[str] = set()
    for op in ops:
        if op.tensor in seen:
            problems.append(Problem(op.tensor, "expected one change of this tensor, found several, as of modules that share it"))
        seen.add(op.tensor)
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        shown = [*problems[:_MAX_PROBLEMS], *([Problem("...", f"and {more} more")] if more > 0 else [])]
        raise ModelLoadError(
            f"{adapter}: the adapter can't be merged into its base: {len(problems)} problem(s)",
            problems=shown,
            hint="serve it as an adapter, beside its base: it is unchanged",
        )
    return _with_ties(known, (base, adapter), ops, list(model.state_dict()))


def _plan_ops(config: AdapterConfig, base: _Base, stored: Mapping[str, StoredTensor], problems: list[Problem]) -> Iterator[MergeOp]:
    """One record a tensor; what can't be placed becomes a problem."""
    grouped: defaultdict[str, dict[str, StoredTensor]] = defaultdict(dict)
    for name, tensor in sorted(stored.items()):
        plain = name.removeprefix(PREFIX)
        if tensor.layout.dtype not in FLOATS:
            problems.append(Problem(_printable(name), f"expected F32, F16 or BF16, found {tensor.layout.dtype}"))
        elif plain == name:
            problems.append(Problem(_printable(name), f"expected a name that begins with {PREFIX}"))
        elif match := _PART.fullmatch(plain):
            grouped[match["module"]][_PARTS[match["end"]]] = tensor
        else:
            module, _, parameter = plain.rpartition(".")
            grouped[module][f"own_{parameter}"] = tensor
    for module, parts in grouped.items():
        if module not in base.modules:
            problems.append(Problem(_printable(module), "expected a module of the base, found none of this name"))
            continue
        try:
            yield from _module_ops(config, base, module, parts)
        except _Refused as refused:
            problems.append(Problem(_printable(module), str(refused)))


class _Refused(Exception):
    """A module that can't be merged, and why."""


def _module_ops(config: AdapterConfig, base: _Base, module: str, parts: dict[str, StoredTensor]) -> Iterator[MergeOp]:
    """The records of one module.

    Raises:
        _Refused: it is of a kind that can't be merged exactly.
    """
    kinds = {part for part in parts if not part.startswith("own_")}
    is_shared = base.is_tied and module in {base.embedding, base.head}
    if is_shared and kinds - {"rows"}:
        raise _Refused("expected no LoRA on embeddings that are tied to the output head: a merge would change both; found one")
    weight = _tensor(base, f"{module}.weight") if kinds or "own_weight" in parts else ""
    if {"A", "B"} <= kinds <= {"A", "B", "magnitude", "bias"}:
        yield _linear(config, base, module, weight, parts)
        if "bias" in kinds:
            yield _lora_bias(config, base, module, parts)
    elif kinds == {"embedding_A", "embedding_B"}:
        yield _embedding(config, base, module, weight, parts)
        return  # PEFT saves the base's own embeddings beside them, unchanged
    elif kinds == {"rows"}:
        yield _token_rows(config, base, module, weight, parts["rows"])
    elif kinds:
        raise _Refused(f"expected A and B of a plain LoRA, found {', '.join(sorted(kinds))}")
    for part in sorted(parts.keys() - kinds):
        name = _tensor(base, f"{module}.{part.removeprefix('own_')}")
        own = f"{module}.weight" if is_shared and module == base.head else name
        yield MergeOp(own, "replaced", base.tensors[name].layout, {"value": parts[part]})


def _embedding(config: AdapterConfig, base: _Base, module: str, weight: str, parts: dict[str, StoredTensor]) -> MergeOp:
    if not isinstance(base.modules[module], Embedding):
        raise _Refused(f"expected embeddings, found {type(base.modules[module]).__name__}")
    layout = base.tensors[weight].layout
    if "own_weight" in parts and parts["own_weight"].layout.shape != layout.shape:
        raise _Refused(f"expected embeddings of {_shape(layout.shape)}, found the adapter's own, resized")
    used = {"A": parts["embedding_A"], "B": parts["embedding_B"]}
    return MergeOp(weight, "embedding", layout, used, _scale(config, module, used["A"].layout.shape))


def _linear(config: AdapterConfig, base: _Base, module: str, weight: str, parts: dict[str, StoredTensor]) -> MergeOp:
    if not isinstance(base.modules[module], Linear | Conv1D):
        raise _Refused(f"expected a linear module, found {type(base.modules[module]).__name__}")
    used = {part: parts[part] for part in ("A", "B", "magnitude") if part in parts}
    if config.use_dora != ("magnitude" in used):
        raise _Refused(f"expected {'a' if config.use_dora else 'no'} magnitude, as use_dora says")
    is_transposed = isinstance(base.modules[module], Conv1D)
    scale = _scale(config, module, used["A"].layout.shape)
    return MergeOp(weight, "linear", base.tensors[weight].layout, used, scale, is_transposed)


def _lora_bias(config: AdapterConfig, base: _Base, module: str, parts: dict[str, StoredTensor]) -> MergeOp:
    name = base.find(f"{module}.bias")
    if name is None or getattr(base.modules[module], "bias", None) is None:
        raise _Refused("expected a bias in the base to merge the adapter's own into (lora_bias), found none")
    scale = _scale(config, module, parts["A"].layout.shape)
    return MergeOp(name, "bias", base.tensors[name].layout, {"value": parts["bias"]}, scale)


def _token_rows(config: AdapterConfig, base: _Base, module: str, weight: str, value: StoredTensor) -> MergeOp:
    chosen = config.trainable_token_indices
    if isinstance(chosen, dict):
        chosen = next((rows for name, rows in chosen.items() if module == name or module.endswith(f".{name}")), None)
    layout = base.tensors[weight].layout
    if not chosen or not all(0 <= row < layout.rows for row in chosen):
        raise _Refused(f"expected trainable_token_indices below {layout.rows} for it")
    return MergeOp(weight, "rows", layout, {"value": value}, rows=tuple(chosen))


def _scale(config: AdapterConfig, module: str, shape: tuple[int, ...]) -> float:
    """PEFT's scaling of a module: patterns first, then the adapter's own r and lora_alpha.

    Raises:
        _Refused: the rank of the weights is another one.
    """
    rank = config.rank_pattern.get(get_pattern_key(list(config.rank_pattern), module), config.r)
    alpha = config.alpha_pattern.get(get_pattern_key(list(config.alpha_pattern), module), config.lora_alpha)
    if not shape or shape[0] != rank:
        raise _Refused(f"expected rank {rank}, as adapter_config.json says, found weights of {_shape(shape)}")
    return alpha / (math.sqrt(rank) if config.use_rslora else rank)


def _tensor(base: _Base, parameter: str) -> str:
    name = base.find(parameter)
    if name is None:
        raise _Refused(f"expected the base's files to hold {parameter.rpartition('.')[2]}, found no tensor of this name")
    return name


def _wrong_shapes(op: MergeOp) -> Iterator[Problem]:
    """Every part of a record against the tensor that it changes."""
    shape = op.layout.shape
    if op.layout.dtype not in FLOATS:
        yield Problem(op.tensor, f"expected F32, F16 or BF16 weights of the base, found {op.layout.dtype} (quantised?)")
        return
    wanted: dict[str, tuple[int, ...]] = {"value": shape}
    if op.kind == "rows":
        wanted = {"value": (len(op.rows), *shape[1:])}
    elif op.kind in {"linear", "embedding"} and len(shape) == 2:
        rank = op.parts["A"].layout.shape[0]
        rows, columns = shape if op.kind == "linear" and not op.is_transposed else shape[::-1]
        wanted = {"A": (rank, columns), "B": (rows, rank), "magnitude": (rows,)}
    for part, tensor in op.parts.items():
        if (found := tensor.layout.shape) != wanted.get(part):
            yield Problem(op.tensor, f"{part}: expected {_shape(wanted.get(part, ()))}, found {_shape(found)}")


def _with_ties(known: _Base, folders: tuple[Path, Path], ops: Sequence[MergeOp], parameters: Sequence[str]) -> MergePlan:
    """Which tensors the merged files hold: a head or embedding that was trained alone is tied no more."""
    embedding, head = (known.find(f"{name}.weight") or "" for name in (known.embedding, known.head))
    own_head = f"{known.head}.weight"
    is_untied = known.is_tied and any(op.kind == "replaced" and op.tensor in {embedding, own_head, head} for op in ops)
    is_tied = known.is_tied and not is_untied
    sources = dict(known.tensors)
    if known.is_tied:
        sources.pop(own_head, None)  # a copy that some savers write; loading ties it
    if is_untied:
        sources[own_head] = known.tensors[embedding]
    shards: defaultdict[str, list[str]] = defaultdict(list)
    for name, source in sources.items():
        shards[source.path.name].append(name)
    read_from = {parameter: name for parameter in parameters if (name := known.find(parameter)) is not None}
    if is_untied:
        read_from[own_head] = own_head
    elif known.is_tied:
        read_from[own_head] = embedding
    return MergePlan(
        base=folders[0],
        adapter=folders[1],
        sources=sources,
        shards={shard: tuple(names) for shard, names in shards.items()},
        ops={op.tensor: op for op in ops},
        is_tied=is_tied,
        parameters=read_from,
    )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "no such tensor"


def _printable(text: str) -> str:
    """A name from outside, short and without control characters."""
    return text[:200].encode("unicode_escape").decode()
