"""The tokenizer inside a GGUF file, as a Hugging Face tokenizer.

GGUF holds tokens and merges but only the *name* of the pre-tokenizer and normaliser; those rules come from gguf_layout.toml, so
that text becomes the same tokens as with the publisher's own tokenizer. (transformers' own GGUF load drops SmolLM2's digits rule
and Qwen2's NFC normaliser.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors

from loren.errors import ModelLoadError, Problem
from loren.models.gguf_file import GgufHeader
from loren.runs.files import Json, write_json, write_text

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 3, 4, 5, 6
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""Role of a special token in transformers -> in ``tokenizer.ggml.*_token_id``."""


def build_tokenizer(header: GgufHeader, rules: dict[str, dict[str, Json]]) -> Tokenizer:
    """The file's tokenizer, with its publisher's normaliser and pre-tokenizer.

    Args:
        header: a GGUF file's header.
        rules: pre-tokenizer name -> its rules (gguf_layout.toml).

    Raises:
        ModelLoadError: the tokenizer is of a kind that can't be rebuilt faithfully, or is damaged.
    """
    rule = _rule(header, rules)
    tokenizer = _build(header, rule)
    bos = special_tokens(header).get("bos")
    adds_bos = header.flag("tokenizer.ggml.add_bos_token")
    if bos is not None and (bool(rule["add_bos"]) if adds_bos is None else adds_bos):
        tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, cast("int", tokenizer.token_to_id(bos)))]
        )
    return tokenizer


def write_tokenizer(header: GgufHeader, tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into ``folder``."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Json] = {f"{role}_token": text for role, text in special_tokens(header).items()}
    config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "add_prefix_space": False}
    config["model_max_length"] = header.integer(f"{header.text('general.architecture')}.context_length")
    write_json(folder / "tokenizer_config.json", config)
    template = header.text("tokenizer.chat_template")
    if template:
        write_text(folder / "chat_template.jinja", template)


def special_ids(header: GgufHeader) -> dict[str, int]:
    """Role (bos, eos, unk, pad) -> token id, for the roles that the file fills."""
    found = {role: header.integer(f"tokenizer.ggml.{name}_token_id") for role, name in _ROLES.items()}
    count = len(header.array("tokenizer.ggml.tokens"))
    return {role: number for role, number in found.items() if number is not None and 0 <= number < count}


def special_tokens(header: GgufHeader) -> dict[str, str]:
    """Role (bos, eos, unk, pad) -> token, for the roles that the file fills."""
    tokens = header.array("tokenizer.ggml.tokens")
    return {role: str(tokens[number]) for role, number in special_ids(header).items()}


def stop_ids(header: GgufHeader, stop_texts: Sequence[str]) -> list[int]:
    """Ids that end a generation: the file's end-of-sequence token first, then its control tokens that mean the same."""
    first = special_ids(header).get("eos")
    tokens, types = header.array("tokenizer.ggml.tokens"), header.array("tokenizer.ggml.token_type")
    others = [
        number
        for number, (text, kind) in enumerate(zip(tokens, types, strict=False))
        if kind == _CONTROL and text in stop_texts and number != first
    ]
    return ([] if first is None else [first]) + others


def _rule(header: GgufHeader, rules: dict[str, dict[str, Json]]) -> dict[str, Json]:
    model, name = header.text("tokenizer.ggml.model", "none"), header.text("tokenizer.ggml.pre", "none")
    problems: list[Problem] = []
    if model != "gpt2":
        problems.append(Problem("tokenizer.ggml.model", f"expected gpt2 (byte-level BPE), found {model}"))
    elif name not in rules:
        problems.append(Problem("tokenizer.ggml.pre", f"expected one of {', '.join(sorted(rules))}, found {name}"))
    if problems:
        raise ModelLoadError(
            f"{header.path}: the tokenizer can't be rebuilt faithfully",
            problems=problems,
            hint="take the model's Hugging Face folder (safetensors) instead of the GGUF file",
        )
    return rules[name]


def _build(header: GgufHeader, rule: dict[str, Json]) -> Tokenizer:
    tokens = [str(token) for token in header.array("tokenizer.ggml.tokens")]
    types = list(header.array("tokenizer.ggml.token_type"))
    if len(types) != len(tokens) or not tokens:
        raise ModelLoadError(f"{header.path}: expected as many token types as tokens, found {len(types)} and {len(tokens)}")
    # Unused entries pad the embedding to a round number; the publisher's tokenizer does not know them.
    vocabulary = {token: number for number, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind != _UNUSED}
    merges = [tuple(str(merge).split(" ", 1)) for merge in header.array("tokenizer.ggml.merges")]
    if any(len(pair) != 2 or pair[0] + pair[1] not in vocabulary for pair in merges):
        raise ModelLoadError(f"{header.path}: expected merges of two known tokens, found another: the file is damaged")
    model = tokenizers.models.BPE(
        vocab=vocabulary, merges=cast("list[tuple[str, str]]", merges), ignore_merges=bool(rule["ignore_merges"])
    )
    tokenizer = Tokenizer(model)
    if rule["normalizer"] == "NFC":
        tokenizer.normalizer = normalizers.NFC()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = _pre_tokenizer(rule)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    for token, kind in zip(tokens, types, strict=True):
        if kind in {_CONTROL, _USER_DEFINED}:
            tokenizer.add_tokens([AddedToken(token, special=kind == _CONTROL, normalized=False)])
    return tokenizer


def _pre_tokenizer(rule: dict[str, Json]) -> pre_tokenizers.PreTokenizer:
    steps: list[pre_tokenizers.PreTokenizer] = []
    if rule["digits"]:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if rule["split"]:
        steps.append(pre_tokenizers.Split(Regex(str(rule["split"])), behavior="isolated", invert=False))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not rule["split"]))
    return pre_tokenizers.Sequence(steps)
