"""Weights and tokenizers into memory: precision, 4-bit base, adapter. Digests are checked before anything is loaded."""
# pyright: basic

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from loren.errors import IntegrityError, ModelLoadError, PrerequisiteError, Problem
from loren.models.cache import Progress
from loren.models.convert import prepare_folder
from loren.models.source import BaseModel, resolve_source, weights_digest
from loren.runs.files import Json

# PEFT 0.21 still asks for the old name (transformers 5.23); drop this when PEFT has the new one.
warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)

Fetching = Callable[[], AbstractContextManager[Progress]]
"""Opens a display for a download or conversion, for as long as it lasts."""
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class LocalBase:
    """A base model on this disk, in Hugging Face's layout."""

    source: BaseModel
    folder: Path
    weights_sha256: str


def locate_base(base_model: str, revision: str | None, *, trust_remote_code: bool, fetching: Fetching) -> LocalBase:
    """Find, fetch or convert a base model; nothing is loaded into memory yet.

    Args:
        base_model: a directory, a .gguf file, a hub id or embedded:NAME.
        revision: of a hub id.
        trust_remote_code: accept code that the model carries.
        fetching: shows a download or conversion while it lasts.
    """
    with fetching() as progress:
        source = resolve_source(base_model, revision, trust_remote_code=trust_remote_code, progress=progress)
        folder = prepare_folder(source, progress=progress)
    return LocalBase(source, folder, weights_digest(folder))


def choose_dtype(wanted: Literal["auto", "float32", "bfloat16", "float16"]) -> Dtype:
    """The compute precision for this machine.

    bf16 on a CPU without AVX512-BF16 or AMX is about sixteen times slower than fp32, so "auto" looks at the CPU's flags.
    """
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return "bfloat16"
    return "float32"


def choose_device() -> Literal["cuda", "mps", "cpu"]:
    """Where training and generation run."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder; never from the network.

    Raises:
        ModelLoadError: the folder holds none that transformers can read.
    """
    transformers_logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise ModelLoadError(
            f"{folder}: expected a tokenizer, found {type(error).__name__}",
            hint="it needs tokenizer.json and its config; with only a SentencePiece file: pip install sentencepiece protobuf",
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # our batches mask by position, so pad = eos hides no label
    return tokenizer


def load_model(
    folder: Path, *, dtype: Dtype, load_in_4bit: bool = False, double_quant: bool = True, trust_remote_code: bool = False
) -> PreTrainedModel:
    """Load base weights, frozen, on this machine's device.

    Raises:
        ModelLoadError: transformers can't read the folder.
        PrerequisiteError: 4-bit weights were asked for without bitsandbytes.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    arguments: dict[str, Any] = {"dtype": getattr(torch, dtype), "attn_implementation": "sdpa"}
    if load_in_4bit:
        arguments["quantization_config"] = _nf4(dtype, double_quant=double_quant)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=trust_remote_code, **arguments
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelLoadError(
            f"{folder}: expected a causal language model, found {type(error).__name__}",
            hint="`loren models show` tells what is there",
        ) from error
    if not load_in_4bit:
        model = model.to(torch.device(choose_device()))  # pyright: ignore[reportArgumentType] - a decorator hides the signature
    model.requires_grad_(False)
    return model


def _nf4(dtype: Dtype, *, double_quant: bool) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise PrerequisiteError("4-bit weights need bitsandbytes", hint="pip install 'loren[quantization]'")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def check_base(artifact: Path, metadata: dict[str, Json], base: LocalBase) -> None:
    """Refuse a base whose weights are not those that the adapter was trained on.

    Raises:
        IntegrityError: the digests differ.
    """
    recorded = metadata.get("base_model")
    expected = recorded.get("weights_sha256") if isinstance(recorded, dict) else None
    if expected != base.weights_sha256:
        raise IntegrityError(
            f"{artifact}: the base model is not the one that the adapter was trained on",
            problems=[Problem(str(base.folder), f"expected weights sha256 {expected}, found {base.weights_sha256}")],
            hint="load the adapter with its own base (training_metadata.json, base_model)",
        )


def attach_adapter(model: PreTrainedModel, artifact: Path) -> Any:
    """Load a verified LoRA adapter onto its base, for inference.

    Raises:
        ModelLoadError: PEFT can't read it.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(artifact), is_trainable=False).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelLoadError(f"{artifact}: expected a LoRA adapter for this base, found {type(error).__name__}") from error
