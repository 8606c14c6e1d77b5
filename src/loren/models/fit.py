"""Does an adapter fit a base? Judged by names and shapes on torch's meta device: no weight of the base is read.

PEFT itself says what the adapter's file must hold: it attaches the configuration to a base without storage, and the names and
shapes of that are compared with the header of the adapter's file.
"""
# pyright: basic

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from loren.data.rows import Message
from loren.errors import ChatTemplateError, ModelLoadError, Problem
from loren.models.chat import ChatRenderer
from loren.models.generate import stop_token_ids

PREFIX = "base_model.model."
"""What PEFT puts before every name in an adapter's file."""
MAX_PROBLEMS = 20
"""Named one by one; a wrong base makes hundreds of the same kind."""
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_LORA_PART = re.compile(r"\.(lora_[A-Za-z_]+)(?:\.weight|\.bias)?$")


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What is in adapter_model.safetensors."""

    shapes: dict[str, tuple[int, ...]]
    """Tensor name -> shape."""
    is_silent: bool
    """Every B is zero: the adapter changes nothing."""

    @property
    def modules(self) -> set[str]:
        """Names of the base's modules that have LoRA weights here."""
        return {_LORA_PART.sub("", name).removeprefix(PREFIX) for name in self.shapes if _LORA_PART.search(name)}

    @property
    def parameters(self) -> int:
        """How many numbers the adapter has."""
        return sum(torch.Size(shape).numel() for shape in self.shapes.values())


def read_adapter(path: Path) -> AdapterFile:
    """Read an adapter's weights, one tensor at a time.

    Raises:
        ModelLoadError: the file is damaged, or holds something else than finite floats; every tensor is named.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    problems: list[Problem] = []
    is_silent = True
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                if (kind := file.get_slice(name).get_dtype()) not in _FLOATS:
                    problems.append(Problem(_printable(name), f"expected floats, found {kind}"))
                    continue
                tensor = file.get_tensor(name)
                shapes[name] = tuple(tensor.shape)
                if not torch.isfinite(tensor).all():
                    problems.append(Problem(_printable(name), "expected finite numbers, found NaN or infinity"))
                is_silent = is_silent and ("lora_A" in name or "lora_embedding_A" in name or not tensor.any())
    except (SafetensorError, OSError) as error:
        raise ModelLoadError(f"{path}: expected a whole safetensors file, found a damaged one") from error
    if problems or not shapes:
        raise ModelLoadError(
            f"{path}: expected LoRA weights, found {'none' if not shapes else 'others'}",
            problems=_capped(problems),
            hint="take the adapter from its source again",
        )
    return AdapterFile(shapes, is_silent)


def meta_model(folder: Path) -> PreTrainedModel:
    """The base of ``folder`` without storage: its modules and shapes, and how it stops.

    Raises:
        ModelLoadError: transformers knows no causal language model of this config.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        vars(config).pop("quantization_config", None)  # the shapes of the weights that packed ones stand for
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        if (folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise ModelLoadError(f"{folder}: expected a causal language model's config, found {type(error).__name__}") from error
    return model


def check_fit(base: PreTrainedModel, config: Mapping[str, Any], file: AdapterFile, *, adapter: str) -> tuple[int, int]:
    """Compare an adapter with a base; attaches it to ``base``.

    Args:
        base: from :func:`meta_model`.
        config: adapter_config.json.
        file: the adapter's weights.
        adapter: its path, for the error.

    Returns:
        (parameters of the adapter, parameters of base and adapter).

    Raises:
        ModelLoadError: names every target that the base lacks, or every tensor with the shape expected and found.
    """
    problems = list(_missing_targets(base, config["target_modules"]))
    total = sum(parameter.numel() for parameter in base.parameters()) + file.parameters
    if not problems:
        embeddings = _embeddings(base)
        problems = list(_wrong_tensors(base, _expected(base, config), embeddings, file))
    if problems:
        raise ModelLoadError(
            f"{adapter}: the adapter does not fit {type(base).__name__} of the given base: {len(problems)} problem(s)",
            problems=_capped(problems),
            hint="give the base that it was trained on, with --base",
        )
    return file.parameters, total


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, base: PreTrainedTokenizerBase, model: PreTrainedModel, *, name: str
) -> None:
    """The adapter's tokenizer must be its base's, added tokens aside, and its template must end a turn where the model stops.

    Args:
        tokenizer: the adapter's.
        base: the base's.
        model: the base, weights or not.
        name: what errors call the tokenizer.

    Raises:
        ModelLoadError: the ids differ, an id has no embedding, or the template has no end of turn.
    """
    problems: list[Problem] = []
    ours, theirs = tokenizer.get_vocab(), base.get_vocab()
    moved = sum(ours.get(token) != number for token, number in theirs.items())
    if moved:
        problems.append(
            Problem("tokenizer", f"expected the base's {len(theirs)} tokens at their ids, found {moved} elsewhere or missing")
        )
    embeddings: Any = model.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    if (last := max(ours.values(), default=0)) >= rows:
        problems.append(Problem("tokenizer", f"expected ids below {rows}, the base's embeddings; found {last}"))
    problems += _template_problems(tokenizer, model, name)
    if problems:
        raise ModelLoadError(
            f"{name}: the tokenizer or its chat template can't be used",
            problems=problems,
            hint="give the base that the adapter was trained on; where tokens were added, they must be saved in that base",
        )


def _template_problems(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> list[Problem]:
    renderer = ChatRenderer(tokenizer, name)
    try:
        renderer.render([Message("user", "Question"), Message("assistant", "Answer")], place="chat template")
    except ChatTemplateError as error:
        return list(error.problems)
    wrong = renderer.stop_ids - stop_token_ids(model, tokenizer)
    found = ", ".join(repr(tokenizer.decode([token])) for token in sorted(wrong))
    return [Problem("chat template", f"expected an end of turn at which the model stops, found {found}")] if wrong else []


def _missing_targets(base: PreTrainedModel, targets: list[str] | str) -> Iterator[Problem]:
    if isinstance(targets, str):
        return  # "all-linear"; patterns were turned into names
    names = [name for name, _ in base.named_modules()]
    linear = sorted({name.rpartition(".")[2] for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)})
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            yield Problem(
                "target_modules", f"expected modules of the base (it has {', '.join(linear)}), found {_printable(target)}"
            )


def _expected(base: PreTrainedModel, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """What PEFT would save for this configuration on this base.

    Raises:
        ModelLoadError: PEFT can't attach the configuration to the base.
    """
    values = {key: value for key, value in config.items() if key not in {"base_model_name_or_path", "peft_type", "peft_version"}}
    try:
        model = peft.get_peft_model(base, peft.LoraConfig(**values), low_cpu_mem_usage=True)
        saved = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    except Exception as error:  # PEFT raises what it likes; its words may hold anything of the configuration
        raise ModelLoadError(
            f"the adapter's configuration can't be attached to {type(base).__name__}: PEFT says {type(error).__name__}",
            hint="give the base that it was trained on, with --base",
        ) from error
    return {name: tuple(tensor.shape) for name, tensor in saved.items()}


def _embeddings(base: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the embeddings, which PEFT saves whole beside an adapter on them."""
    layers = {id(layer.weight) for layer in (base.get_input_embeddings(), base.get_output_embeddings()) if layer is not None}
    named = base.named_parameters(remove_duplicate=False)
    return {name: tuple(parameter.shape) for name, parameter in named if id(parameter) in layers}


def _wrong_tensors(
    base: PreTrainedModel, expected: dict[str, tuple[int, ...]], embeddings: dict[str, tuple[int, ...]], file: AdapterFile
) -> Iterator[Problem]:
    for name in sorted(expected.keys() | file.shapes.keys()):
        want, got = expected.get(name), file.shapes.get(name)
        if want == got:
            continue
        plain = name.removeprefix(PREFIX).replace(".base_layer.", ".")
        if want is None and embeddings.get(plain) == got:
            continue
        module, part = _split(name)
        if want is None and embeddings.get(plain) is None and not _has_module(base, module):
            yield Problem(_printable(module), f"{part}: expected a module of the base, found none of this name")
        else:
            yield Problem(_printable(module), f"{part}: expected {_shape(want or embeddings.get(plain))}, found {_shape(got)}")


def _split(name: str) -> tuple[str, str]:
    """Tensor name -> (module of the base, what of it)."""
    plain = name.removeprefix(PREFIX)
    if match := _LORA_PART.search(plain):
        return plain[: match.start()], match.group(1)
    module, _, part = plain.rpartition(".")
    return module, part


def _has_module(base: PreTrainedModel, name: str) -> bool:
    return any(module == name for module, _ in base.named_modules())


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no tensor" if shape is None else " x ".join(map(str, shape)) or "a single number"


def _capped(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - MAX_PROBLEMS
    return [*problems[:MAX_PROBLEMS], Problem("...", f"and {more} more")] if more > 0 else problems


def _printable(text: str) -> str:
    """A name from outside, short and without control characters."""
    return text[:200].encode("unicode_escape").decode()
