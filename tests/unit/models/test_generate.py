"""Batched generation equals one prompt at a time, with and without a shared prefix; order, ends and decoding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asking import ask
from loren.data.rows import Message
from loren.models.chat import ChatRenderer
from loren.models.generate import HuggingFaceGenerator, common_prefix, stop_token_ids
from loren.models.loading import load_model, load_tokenizer
from loren.models.protocol import Prompt
from tiny import CHATML

SYSTEM = "You answer questions about printers, laptops and the VPN. " * 3
QUESTIONS = [
    "a",
    "Where is the printer?",
    "My laptop is slow since this morning.",
    "VPN?",
    "Khách bị tính phí hai lần.",
    "hi there",
]


def generator(base: Path, **arguments: int) -> HuggingFaceGenerator:
    tokenizer = load_tokenizer(base)
    model = load_model(base, dtype="float32")
    with torch.no_grad():  # a random model never ends by itself: push the end-of-turn token now and then
        model.lm_head.weight[2] *= 3
    return HuggingFaceGenerator(model, tokenizer, ChatRenderer(tokenizer, "tiny"), **arguments)


def prompts(*, system: bool) -> list[Prompt]:
    first = (("system", SYSTEM),) if system else ()
    return [Prompt(f"p{i}", (*first, ("user", text))) for i, text in enumerate(QUESTIONS)]


@pytest.mark.parametrize("system", [False, True])
def test_a_batch_equals_one_by_one(tiny_base: Path, system: bool) -> None:
    together = ask(generator(tiny_base, batch_size=4), prompts(system=system), max_new_tokens=24)
    alone = ask(generator(tiny_base, batch_size=1), prompts(system=system), max_new_tokens=24)
    for one, other in zip(together, alone, strict=True):
        assert (one.id, one.text, one.finish_reason, one.prompt_tokens, one.completion_tokens) == (
            other.id, other.text, other.finish_reason, other.prompt_tokens, other.completion_tokens,
        )  # fmt: skip
    assert [one.id for one in together] == [f"p{i}" for i in range(len(QUESTIONS))]
    if not system:  # the random model ends some answers and runs on in others
        assert {one.finish_reason for one in together} == {"stop", "length"}
    for one in together:
        assert one.completion_tokens == 24 if one.finish_reason == "length" else one.completion_tokens <= 24
        assert one.latency_s > 0


@pytest.mark.parametrize("system", [False, True])
def test_the_loop_equals_transformers_generate(tiny_base: Path, system: bool) -> None:
    ours = ask(generator(tiny_base, batch_size=6), prompts(system=system), max_new_tokens=24)
    tokenizer, model = load_tokenizer(tiny_base), load_model(tiny_base, dtype="float32")
    with torch.no_grad():
        model.lm_head.weight[2] *= 3
    renderer = ChatRenderer(tokenizer, "tiny")
    for prompt, answer in zip(prompts(system=system), ours, strict=True):
        ids = renderer.prompt_ids([Message(role, text) for role, text in prompt.turns], place="p")
        out = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, max_new_tokens=24, pad_token_id=0
        )[0, len(ids) :].tolist()
        assert answer.text == tokenizer.decode(out, skip_special_tokens=True)
        assert answer.completion_tokens == len(out)


def test_decoding_is_greedy_whatever_generation_config_says(tiny_base: Path, tmp_path: Path) -> None:
    plain = [one.text for one in ask(generator(tiny_base), prompts(system=False), max_new_tokens=12)]
    tokenizer, model = load_tokenizer(tiny_base), load_model(tiny_base, dtype="float32")
    with torch.no_grad():
        model.lm_head.weight[2] *= 3
    model.generation_config.do_sample = True
    model.generation_config.temperature = 5.0
    model.generation_config.repetition_penalty = 7.0
    model.generation_config.min_new_tokens = 12
    model.save_pretrained(tmp_path / "wild")
    tokenizer.save_pretrained(tmp_path / "wild")
    wild = load_model(tmp_path / "wild", dtype="float32")
    assert wild.generation_config.repetition_penalty == 7.0
    asked = HuggingFaceGenerator(wild, tokenizer, ChatRenderer(tokenizer, "tiny"))
    answers = ask(asked, prompts(system=False), max_new_tokens=12)
    assert [one.text for one in answers] == plain


def test_every_kind_of_stop_token_counts(tiny_base: Path) -> None:
    tokenizer, model = load_tokenizer(tiny_base), load_model(tiny_base, dtype="float32")
    model.generation_config.eos_token_id = [5, 6]
    model.config.eos_token_id = 7
    assert stop_token_ids(model, tokenizer) == {5, 6, 7, tokenizer.eos_token_id}
    assert "<|im_end|>" in CHATML


@given(rows=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=5))
def test_common_prefix_leaves_each_row_a_token(rows: list[list[int]]) -> None:
    length = common_prefix(rows)
    assert all(row[:length] == rows[0][:length] and len(row) > length for row in rows)
    if all(len(row) > length + 1 for row in rows):
        assert len({row[length] for row in rows}) > 1
