"""Refuse a run that memory or disk can't hold, before the weights are loaded and before the run folder exists."""
# pyright: basic

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from loren.config import RunConfig
from loren.errors import PrerequisiteError, Problem
from loren.models.identity import decoder_config, weight_files
from loren.models.lengths import RenderedRow
from loren.plan.requirements import (
    DiskShape,
    MemoryShape,
    Part,
    adapter_parameters,
    disk_parts,
    memory_parts,
    total_bytes,
)
from loren.provenance.machine import free_memory_bytes
from loren.runs.folder import RunFolder
from loren.train.execution import Execution, activation_bytes_per_token
from loren.train.loss import CHUNK_ROWS

_TOLERANCE = 1.25
"""Measured peaks are up to a seventh below the sum; only what can't fit is refused."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def require_room(config: RunConfig, execution: Execution, base: Path, rows: Sequence[RenderedRow], run: RunFolder) -> None:
    """Compare what the run needs with what is free.

    Args:
        config: the run's configuration.
        execution: how the run is carried out here.
        base: the base model's folder; only its headers are read.
        rows: the training rows.
        run: where the run folder is or will be.

    Raises:
        PrerequisiteError: memory or disk can't hold it; shows the sum, what is free, and the smallest change that fits.
    """
    matrices = _matrices(base)
    memory = _memory_shape(config, execution, base, rows, matrices)
    _require_memory(config, execution, memory, rows, is_resumed=run.config.is_file())
    _require_disk(config, _disk_shape(config, base, len(rows), memory.trained_parameters), run)


def _require_memory(
    config: RunConfig, execution: Execution, shape: MemoryShape, rows: Sequence[RenderedRow], *, is_resumed: bool
) -> None:
    parts = memory_parts(shape)
    on_gpu = execution.device == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else free_memory_bytes()
    if total_bytes(parts) <= free * _TOLERANCE:
        return
    hint = "close other programs, or resume on a machine with more memory"
    if not is_resumed:
        fitting = (
            words for words, changed in _smaller(config, execution, shape, rows) if total_bytes(memory_parts(changed)) <= free
        )
        change = next(fitting, 'base_model = "embedded:smollm2-135m", or another smaller base model')
        hint = f"the smallest change that fits: {change}"
    raise _refusal("the GPU's memory" if on_gpu else "memory", parts, free, hint)


def _require_disk(config: RunConfig, shape: DiskShape, run: RunFolder) -> None:
    place = run.path
    while not place.exists() and place != place.parent:
        place = place.parent
    # Checkpoints that are there already make room for the next ones.
    free = shutil.disk_usage(place).free + _size_below(run.checkpoints)
    parts = disk_parts(shape)
    if total_bytes(parts) <= free:
        return
    hint = f"free {_amount(total_bytes(parts) - free)} there, or put output_dir on another disk"
    if not run.config.is_file():
        for keep in range(config.train.save_total_limit - 1, 0, -1):
            if total_bytes(disk_parts(replace(shape, checkpoints=keep + 1))) <= free:
                hint = f"the smallest change that fits: train.save_total_limit = {keep}"
                break
    raise _refusal(f"the disk of {place}", parts, free, hint)


def _refusal(what: str, parts: Sequence[Part], free: int, hint: str) -> PrerequisiteError:
    return PrerequisiteError(
        f"{what} can't hold this run: it needs about {_amount(total_bytes(parts))}, and {_amount(free)} can be had",
        problems=[Problem(_amount(part.bytes), part.name) for part in parts],
        hint=hint,
    )


def _amount(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 100_000_000 else f"{count / 1e6:.1f} MB"


def _smaller(
    config: RunConfig, execution: Execution, shape: MemoryShape, rows: Sequence[RenderedRow]
) -> Iterator[tuple[str, MemoryShape]]:
    """Ways to need less memory, the least intrusive first."""
    effective = execution.micro_batch_size * execution.gradient_accumulation_steps
    one = replace(shape, micro_batch_tokens=_micro_batch_tokens(rows, 1, shares=False))
    words = f"train.exact_shape = true, train.per_device_train_batch_size = 1, train.gradient_accumulation_steps = {effective}"
    recomputed = "train.gradient_checkpointing = true"
    if execution.micro_batch_size > 1:
        yield words, one
    if not config.train.gradient_checkpointing:
        yield recomputed, replace(shape, gradient_checkpointing=True)
        yield f"{recomputed}, {words}", replace(one, gradient_checkpointing=True)
    if shape.is_full:
        adapter = replace(shape, is_full=False, trained_parameters=shape.parameters // 100)
        yield 'train.method = "lora"', adapter
        yield (
            f'train.method = "lora", {recomputed}, {words}',
            replace(adapter, micro_batch_tokens=one.micro_batch_tokens, gradient_checkpointing=True),
        )
    if not shape.load_in_4bit:
        four = replace(
            shape, is_full=False, load_in_4bit=True, trained_parameters=min(shape.trained_parameters, shape.parameters // 100)
        )
        lora = 'train.method = "lora", ' if shape.is_full else ""
        yield f"{lora}quantization.load_in_4bit = true (QLoRA)", four
        yield (
            f"{lora}quantization.load_in_4bit = true (QLoRA), {recomputed}, {words}",
            replace(four, micro_batch_tokens=one.micro_batch_tokens, gradient_checkpointing=True),
        )


def _memory_shape(
    config: RunConfig, execution: Execution, base: Path, rows: Sequence[RenderedRow], matrices: Mapping[str, tuple[int, ...]]
) -> MemoryShape:
    numbers = decoder_config(base)
    layers, hidden, intermediate, vocabulary = (
        _whole(numbers.get(key)) for key in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    )
    value_bytes = 4 if execution.dtype == "float32" else 2
    parameters = sum(math.prod(shape) for shape in matrices.values())
    linear = {name: shape for name, shape in matrices.items() if len(shape) == 2 and vocabulary not in shape}
    is_full = config.train.method == "full"
    wanted = config.lora.target_modules
    chosen = [shape for name, shape in linear.items() if wanted == "all-linear" or f".{name}".split(".")[-2] in wanted]
    checkpointing = config.train.gradient_checkpointing
    return MemoryShape(
        parameters=parameters,
        linear_parameters=sum(math.prod(shape) for shape in linear.values()),
        trained_parameters=parameters if is_full else adapter_parameters([(shape[0], shape[1]) for shape in chosen], config.lora.r),
        is_full=is_full,
        load_in_4bit=config.quantization.load_in_4bit,
        value_bytes=value_bytes,
        micro_batch_tokens=_micro_batch_tokens(rows, execution.micro_batch_size, shares=not checkpointing),
        activation_bytes_per_token=activation_bytes_per_token(layers, hidden, intermediate, bytes_per_value=value_bytes),
        layers=layers,
        hidden_size=hidden,
        gradient_checkpointing=checkpointing,
        logit_rows=min(
            CHUNK_ROWS, execution.micro_batch_size * max(sum(label != -100 for label in row.rendered.labels) for row in rows)
        ),
        vocabulary=vocabulary,
    )


def _disk_shape(config: RunConfig, base: Path, rows: int, trained_parameters: int) -> DiskShape:
    train = config.train
    steps = train.steps(rows)
    return DiskShape(
        trained_parameters=trained_parameters,
        tokenizer_bytes=sum((base / name).stat().st_size for name in _TOKENIZER_FILES if (base / name).is_file()),
        checkpoints=min(train.save_total_limit + 1, max(1, math.ceil(steps / train.save_steps))),
    )


def _matrices(base: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every weight, from the files' headers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in weight_files(base):
        with safe_open(base / name, framework="numpy") as file:
            shapes |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    return shapes


def _micro_batch_tokens(rows: Sequence[RenderedRow], size: int, *, shares: bool) -> int:
    """Tokens of the largest micro-batch; a prefix that all rows share is computed once."""
    longest = max(len(row.rendered.input_ids) for row in rows)
    size = min(size, len(rows))
    prefix = _shared_tokens(rows) if shares and size > 1 else 0
    return prefix + size * (longest - prefix)


def _shared_tokens(rows: Sequence[RenderedRow]) -> int:
    first, *others = (row.rendered.input_ids for row in rows)
    shared = min(next((place for place, label in enumerate(row.rendered.labels) if label != -100), 0) for row in rows)
    for ids in others:
        shared = next((place for place in range(min(shared, len(ids))) if ids[place] != first[place]), min(shared, len(ids)))
    return shared


def _size_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
