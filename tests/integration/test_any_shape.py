"""Base models of many shapes: each is trained through the recipe, saved, loaded by plain PEFT, and says a row by heart to its end.

Slow tokenizers: transformers 5 has no slow twin of a fast one any more. What is left are tokenizers written in Python (ByT5's
bytes, here) and those that call SentencePiece (GPT-SW3's, here over a unigram and over a BPE model); a `tokenizer.model` without
tokenizer.json is converted when it is loaded (Llama's class, here).
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, GPTSw3Tokenizer, LlamaTokenizer, PreTrainedTokenizerFast

from asking import ask
from families import FAMILIES, byte_level, family_tokenizer
from loren.config.load import load_config
from loren.data.rows import Message, Row
from loren.data.split import split_rows
from loren.errors import ModelLoadError
from loren.models.chat import ChatRenderer
from loren.models.generate import HuggingFaceGenerator
from loren.models.loading import attach_adapter, load_model, load_tokenizer
from loren.models.protocol import Prompt
from loren.train.recipe import train
from tiny import CHATML, SENTENCES, tiny_llama, train_tokenizer

QUESTION = "Đơn hàng số 3 của mình ở đâu?"
REPLY = "Mình đã ghi nhận , bạn nhé 😀"
NFD_REPLY = unicodedata.normalize("NFD", "Mình đã kiểm tra mã giao dịch.")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ADDED = "[[mã đơn]]"


class Shape(NamedTuple):
    """A base model's folder, a reply to learn, the text that generation then gives, and the steps that learning takes."""

    write: Callable[[Path], None]
    reply: str = REPLY
    expected: str = REPLY
    steps: int = 30


def write_base(
    folder: Path, tokenizer: Any, *, rows: int = 0, tied: bool = False, resize_from: int = 0, stops: Sequence[int] = ()
) -> None:
    """A tiny Llama beside ``tokenizer``, with ``rows`` embeddings, or as many as there are tokens; it ends at eos and ``stops``."""
    model = tiny_llama(resize_from or rows or len(tokenizer), tied=tied)
    if resize_from:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():  # under LoRA the head stays as it is: a random one must be able to tell tokens apart
        model.lm_head.weight.mul_(10 if tied else 25)
    model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, *stops})
    model.config.pad_token_id = model.generation_config.pad_token_id = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pad_is_eos(folder: Path) -> None:
    tokenizer = train_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    write_base(folder, tokenizer)


def pad_is_missing(folder: Path) -> None:
    tokenizer = train_tokenizer()
    tokenizer.pad_token = None
    write_base(folder, tokenizer)


def pad_without_an_embedding(folder: Path) -> None:
    """The classic: a [PAD] token is added, and the model never resized."""
    tokenizer = train_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    write_base(folder, tokenizer, rows=rows)


def added_token_resized(folder: Path) -> None:
    tokenizer = train_tokenizer()
    before = len(tokenizer)
    tokenizer.add_tokens([ADDED])
    write_base(folder, tokenizer, resize_from=before)


def added_token_unused(folder: Path) -> None:
    """The tokenizer has a token that the model has no embedding for, and no row needs it."""
    tokenizer = train_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_tokens([ADDED])
    write_base(folder, tokenizer, rows=rows)


def more_embeddings_than_tokens(folder: Path) -> None:
    tokenizer = train_tokenizer()
    write_base(folder, tokenizer, rows=len(tokenizer) + 64)


def tied_head(folder: Path) -> None:
    write_base(folder, train_tokenizer(), tied=True)


def untied_head(folder: Path) -> None:
    write_base(folder, train_tokenizer())


def without_normalizer(folder: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(SPECIAL), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHATML
    write_base(folder, tokenizer)


def unigram(folder: Path) -> None:
    """SentencePiece's unigram model in the form of `tokenizers`."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Replace("\n", "␤")
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="never"), decoders.Replace("␤", "\n")])
    alphabet = sorted({*"".join(SENTENCES), *REPLY, *QUESTION, *"0123456789▁␤"} - {" ", "\n"})
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", *SPECIAL], unk_token="<unk>", initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHATML
    write_base(folder, tokenizer)


def python_bytes(folder: Path) -> None:
    tokenizer = ByT5Tokenizer(extra_ids=0, extra_special_tokens=["<|im_start|>", "<|im_end|>"])
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = CHATML
    write_base(folder, tokenizer)


def sentencepiece_model(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_prefix=str(folder / "spiece"), model_type=kind, vocab_size=420,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, hard_vocab_limit=False,
        pad_id=3, user_defined_symbols=["\n"], minloglevel=2,
    )  # fmt: skip
    return folder / "spiece.model"


def python_sentencepiece(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        model = sentencepiece_model(folder.with_name(f"{folder.name}-spm"), kind)
        tokenizer = GPTSw3Tokenizer(str(model), name_or_path="tiny", eos_token="</s>", extra_special_tokens=SPECIAL)
        tokenizer.eos_token = "<|im_end|>"
        tokenizer.chat_template = CHATML
        write_base(folder, tokenizer)

    return write


def converted_sentencepiece(folder: Path) -> None:
    """Only a `tokenizer.model`, as Llama 2 was published: transformers converts it at every load."""
    model = sentencepiece_model(folder.with_name(f"{folder.name}-spm"), "bpe")
    source = model.rename(model.with_name("tokenizer.model"))
    write_base(folder, LlamaTokenizer.from_pretrained(source.parent, extra_special_tokens=SPECIAL, eos_token="<|im_end|>"))
    for path in folder.glob("*token*"):
        path.unlink()
    source.rename(folder / "tokenizer.model")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "LlamaTokenizer", "eos_token": "<|im_end|>", "unk_token": "<unk>", "pad_token": "<pad>",
        "extra_special_tokens": SPECIAL, "chat_template": CHATML,
    }))  # fmt: skip


def family(name: str) -> Callable[[Path], None]:
    tokenizer = copy.deepcopy(family_tokenizer(name))
    stop = tokenizer.convert_tokens_to_ids(FAMILIES[name].end_of_turn)
    return lambda folder: write_base(folder, tokenizer, stops=[stop])


SHAPES = {
    "pad is eos": Shape(pad_is_eos),
    "pad is missing": Shape(pad_is_missing),
    "pad without an embedding": Shape(pad_without_an_embedding),
    "added token, resized": Shape(added_token_resized, f"Gửi {ADDED} nhé", f"Gửi {ADDED} nhé"),
    "added token, unused": Shape(added_token_unused),
    "more embeddings than tokens": Shape(more_embeddings_than_tokens),
    "tied head": Shape(tied_head, steps=90),
    "untied head": Shape(untied_head),
    "NFD text, NFC tokenizer": Shape(untied_head, NFD_REPLY, unicodedata.normalize("NFC", NFD_REPLY)),
    "NFD text, no normalizer": Shape(without_normalizer, NFD_REPLY, NFD_REPLY),
    "unigram": Shape(unigram),
    "Python bytes": Shape(python_bytes, "Mình ghi nhận 😀", "Mình ghi nhận 😀"),
    "Python SentencePiece, unigram": Shape(python_sentencepiece("unigram")),
    "Python SentencePiece, BPE": Shape(python_sentencepiece("bpe")),
    "converted SentencePiece": Shape(converted_sentencepiece),
    **{name: Shape(family(name)) for name in ("llama", "gemma2", "mistral", "phi")},
}

PLAIN_PEFT = """
import json, sys, torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
torch.set_num_threads(1)
answers = {}
for name, adapter in json.load(sys.stdin).items():
    model = AutoPeftModelForCausalLM.from_pretrained(adapter)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    turns = [{"role": "user", "content": sys.argv[1]}]
    inputs = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, date_string="26 Jul 2024"
    )
    length = inputs["input_ids"].shape[1]
    out = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], do_sample=False, max_new_tokens=150, pad_token_id=0
    )[0, length:].tolist()
    stops = model.generation_config.eos_token_id
    answers[name] = {
        "text": tokenizer.decode(out, skip_special_tokens=True), "ended": out[-1] in stops, "pad": tokenizer.pad_token_id
    }
assert not any(module.startswith("loren") for module in sys.modules)
print(json.dumps(answers))
"""


class Trained(NamedTuple):
    """Folders of all shapes, and what plain PEFT answered for each."""

    bases: dict[str, Path]
    adapters: dict[str, Path]
    plain: dict[str, dict[str, Any]]


def is_validated(copies: list[str], other: str, reply: str) -> bool:
    """Whether the split of these questions puts the other one, and it alone, into validation."""
    rows = [Row(line, (Message("user", text), Message("assistant", reply))) for line, text in enumerate([*copies, other], start=1)]
    return [row.messages[0].content for row in split_rows(rows, eval_ratio=0.1, test_ratio=0.0, seed=42).validation] == [other]


def train_shape(folder: Path, shape: Shape) -> tuple[Path, Path]:
    """Rows that all have the one reply, through the recipe: (base, adapter)."""
    base = folder / "base"
    shape.write(base)
    # Copies of one question are one group; the other question is the group that goes to validation.
    copies = [QUESTION, *(QUESTION.replace("3", str(number)) for number in range(10, 20))]
    words = QUESTION.rstrip("?").split()
    others = (" ".join(order) for order in permutations(words, 3))
    questions = [*copies, next(other for other in others if is_validated(copies, other, shape.reply))]
    rows = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": shape.reply}]}
        for question in questions
    ]
    (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    settings = {
        "base_model": base, "data.path": folder / "train.jsonl", "output_dir": folder / "run", "data.max_length": 512,
        "lora.r": 32, "lora.target_modules": "all-linear", "lora.lora_dropout": 0.0, "train.learning_rate": 8e-3,
        "train.max_steps": shape.steps, "train.gradient_accumulation_steps": 4, "train.eval_steps": 100, "train.save_steps": 200,
        "train.dtype": "float32",
    }  # fmt: skip
    resolved = load_config(None, environment={}, overrides=[f"{key}={value}" for key, value in settings.items()])
    done = train(resolved, resume=False, command=["loren"], say=lambda line: None, fetching=contextlib.nullcontext)
    return base, done.run.adapter


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("shapes")
    bases, adapters = {}, {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        (root / str(number)).mkdir()
        bases[name], adapters[name] = train_shape(root / str(number), shape)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_PEFT, QUESTION],
        input=json.dumps({name: str(path) for name, path in adapters.items()}),
        capture_output=True, text=True, timeout=900, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Trained(bases, adapters, json.loads(done.stdout))


@pytest.mark.parametrize("name", SHAPES)
def test_plain_peft_says_the_row_by_heart_and_ends_by_itself(trained: Trained, name: str) -> None:
    answer = trained.plain[name]
    assert answer["ended"]
    assert answer["text"].removeprefix(FAMILIES[name].lead if name in FAMILIES else "") == SHAPES[name].expected


@pytest.mark.parametrize("name", SHAPES)
def test_so_does_our_generator_in_a_batch(trained: Trained, name: str) -> None:
    base, adapter = trained.bases[name], trained.adapters[name]
    tokenizer = load_tokenizer(adapter)
    model = attach_adapter(load_model(base, dtype="float32"), adapter)
    generator = HuggingFaceGenerator(model, tokenizer, ChatRenderer(tokenizer, name))
    prompts = [Prompt(text, [("user", text)]) for text in (QUESTION, QUESTION.replace("3", "12"))]
    answers = ask(generator, prompts, max_new_tokens=150)
    assert [(answer.text, answer.finish_reason) for answer in answers] == [(SHAPES[name].expected, "stop")] * 2


def test_a_missing_pad_is_saved_as_eos(trained: Trained) -> None:
    tokenizer = load_tokenizer(trained.adapters["pad is missing"])
    assert trained.plain["pad is missing"]["pad"] == tokenizer.eos_token_id


def test_a_token_that_the_model_has_no_embedding_for_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        train_shape(tmp_path, Shape(added_token_unused, f"Gửi {ADDED} nhé"))
    rows = len(train_tokenizer())
    for part in (f"embeddings for {rows} tokens", f"token {rows}", ADDED, "resize_token_embeddings"):
        assert part in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_so_is_a_prompt_that_holds_one(trained: Trained) -> None:
    name = "added token, unused"
    tokenizer = load_tokenizer(trained.bases[name])
    generator = HuggingFaceGenerator(load_model(trained.bases[name], dtype="float32"), tokenizer, ChatRenderer(tokenizer, name))
    with pytest.raises(ModelLoadError, match="added later"):
        ask(generator, [Prompt("1", [("user", f"Gửi {ADDED}")])], max_new_tokens=2)


def test_the_kinds_of_tokenizers_are_what_they_are_called(trained: Trained) -> None:
    kinds = {name: type(load_tokenizer(trained.adapters[name])).__name__ for name in SHAPES if "Piece" in name or "Python" in name}
    assert kinds == {
        "Python bytes": "ByT5Tokenizer",
        "Python SentencePiece, unigram": "GPTSw3Tokenizer",
        "Python SentencePiece, BPE": "GPTSw3Tokenizer",
        "converted SentencePiece": "LlamaTokenizer",
    }
    row = [Message("user", QUESTION), Message("assistant", REPLY)]
    for name in kinds:
        tokenizer = load_tokenizer(trained.adapters[name])
        assert tokenizer.is_fast == (name == "converted SentencePiece")
        assert ChatRenderer(tokenizer, name).render(row, place="f:1").label_tokens > 5
