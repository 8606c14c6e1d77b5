"""Tokenizers of six model families, small and trained here, with the families' real chat templates (tests/templates)."""

from __future__ import annotations

import functools
import json
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiny import SENTENCES

TEMPLATES = Path(__file__).parent / "templates"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How Llama 3 and Qwen2 cut a text before BPE; it joins line ends with what stands before them."""


class Family(BaseModel):
    """A row of families.toml."""

    model_config = ConfigDict(extra="forbid")

    template: str
    kind: Literal["bytes", "pieces"]
    special: list[str]
    bos: str
    eos: str
    end_of_turn: str
    system: Literal["accepted", "merged", "refused", "dropped"]
    trims: Literal["nobody", "assistant", "all"]
    prefix: bool = False
    swallows: list[str] = []
    lead: str = ""

    def written(self, reply: str) -> str:
        """A reply as the template writes it, without what it puts before it."""
        return reply if self.trims == "nobody" else reply.strip()


FAMILIES = {name: Family(**row) for name, row in tomllib.loads((TEMPLATES / "families.toml").read_text(encoding="utf-8")).items()}


@functools.cache
def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The family's tokenizer; shared, so do not change it."""
    family = FAMILIES[name]
    backend = byte_level(family.special) if family.kind == "bytes" else sentence_pieces(family.special, prefix=family.prefix)
    backend.add_special_tokens([AddedToken(token, rstrip=token in family.swallows, normalized=False) for token in family.special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=family.bos or None,
        eos_token=family.eos,
        pad_token=family.special[0],
        unk_token="<unk>" if "<unk>" in family.special else None,
    )
    tokenizer.chat_template = (TEMPLATES / family.template).read_text(encoding="utf-8")
    return tokenizer


def byte_level(special: list[str], *, normalizer: normalizers.Normalizer | None = None, vocab_size: int = 512) -> Tokenizer:
    """Byte-level BPE, as GPT-2 and all that followed it."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def sentence_pieces(special: list[str], *, prefix: bool) -> Tokenizer:
    """SentencePiece's BPE as its conversions to `tokenizers` look: blanks are pieces, unknown characters fall back to bytes.

    Args:
        special: special tokens, the first of which have the lowest ids.
        prefix: put a blank before every text between special tokens, as Llama 2, Mistral and Phi-3 do; Gemma does not.
    """
    draft = Tokenizer(models.BPE())
    draft.train_from_iterator(
        [sentence.replace(" ", "▁") for sentence in SENTENCES], trainers.BpeTrainer(vocab_size=300, show_progress=False)
    )
    learned = json.loads(draft.to_str())["model"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    merges = [tuple(merge) for merge in learned["merges"]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    blanks = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks]) if prefix else blanks
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    return tokenizer
