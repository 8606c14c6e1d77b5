"""Rows leave a batch without moving the others, a full buffer grows, groups of other widths become one batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from asking import ask
from loren.data.rows import Message
from loren.models.chat import ChatRenderer
from loren.models.generate import HuggingFaceGenerator, group_rows
from loren.models.kv_cache import gather, keep_rows, remaining
from loren.models.loading import load_model, load_tokenizer
from loren.models.protocol import Prompt
from tiny import tiny_llama

SHARED, HEADS, SIZE = 3, 2, 4
CONFIG = tiny_llama(8).config


def states(rows: int, tokens: int) -> torch.Tensor:
    return torch.randn(rows, HEADS, tokens, SIZE)


@given(ended=st.lists(st.booleans(), min_size=1, max_size=12))
def test_whoever_goes_on_stays_or_moves_forward_into_a_gap(ended: list[bool]) -> None:
    keep = remaining(ended)
    assert sorted(keep) == [place for place, end in enumerate(ended) if not end]
    assert all(source >= place for place, source in enumerate(keep))
    assert all(source == place for place, source in enumerate(keep) if not ended[place])


@settings(deadline=None, max_examples=40)
@given(plan=st.lists(st.sampled_from([1, 40, "drop"]), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_a_roomy_cache_holds_what_a_plain_one_holds(plan: list[int | str], seed: int) -> None:
    torch.manual_seed(seed)
    config = CONFIG
    groups, rows = [(2, 4), (3, 6)], 5
    width = SHARED + 6
    caches, expected = [], torch.zeros(rows, HEADS, width, SIZE)
    prefix = states(1, SHARED)
    first = 0
    for count, own in groups:
        cache = DynamicCache(config=config)
        part = torch.cat([prefix.expand(count, -1, -1, -1), states(count, own)], dim=2)
        for layer in range(2):
            cache.update(part, -part, layer)
        expected[first : first + count, :, :SHARED] = prefix
        expected[first : first + count, :, width - own :] = part[:, :, SHARED:]
        caches.append(cache)
        first += count
    joint = gather(caches, config, shared=SHARED)
    for step in plan:
        if step == "drop" and len(expected) > 1:
            keep = remaining([place == 0 for place in range(len(expected))])
            keep_rows(joint, keep)
            expected = expected[keep]
        elif step != "drop":
            new = states(len(expected), int(step))
            expected = torch.cat([expected, new], dim=2)
            for layer in range(2):
                joint.update(new, -new, layer)
    for layer in joint.layers:
        keys, values = layer.keys, layer.values  # pyright: ignore[reportAttributeAccessIssue]
        assert torch.equal(keys, expected)
        assert torch.equal(values, -expected)
    assert joint.get_seq_length() == expected.shape[2]


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), most=st.integers(1, 80))
def test_groups_hold_every_row_once_in_order_and_stay_within_the_limit(lengths: list[int], most: int) -> None:
    rows = [[0] * length for length in sorted(lengths)]
    groups = group_rows(rows, most)
    assert [row for group in groups for row in group] == rows
    assert all(len(group) * len(group[-1]) <= most or len(group) == 1 for group in groups)


@pytest.mark.parametrize("system", [False, True])
def test_long_answers_of_many_groups_equal_transformers_generate(
    tiny_base: Path, system: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the room, in groups of few rows, with rows that leave on the way, over several batches with one prefix."""
    monkeypatch.setattr("loren.models.generate._GROUP_TOKENS", {True: 150, False: 150})
    tokenizer, model = load_tokenizer(tiny_base), load_model(tiny_base, dtype="float32")
    with torch.no_grad():
        model.lm_head.weight[2] *= 3
    renderer = ChatRenderer(tokenizer, "tiny")
    lead = (("system", "You answer questions about printers. "),) if system else ()
    asked = [Prompt(f"p{n}", (*lead, ("user", "máy in " * (n % 5) + f"hỏng {n}"))) for n in range(12)]
    passes: list[int] = []
    model.register_forward_pre_hook(lambda *seen: passes.append(seen[2]["input_ids"].shape[1]), with_kwargs=True)
    answers = ask(HuggingFaceGenerator(model, tokenizer, renderer, batch_size=8), asked, max_new_tokens=150)
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    ids = [renderer.prompt_ids([Message(role, text) for role, text in one.turns], place="p") for one in asked]  # pyright: ignore[reportArgumentType]
    assert len([width for width in passes if width > 1]) >= 4, "several groups"
    for row, answer in zip(ids, answers, strict=True):
        out = model.generate(
            torch.tensor([row]), attention_mask=torch.ones(1, len(row)), do_sample=False, max_new_tokens=150, pad_token_id=0
        )[0, len(row) :].tolist()
        assert (answer.completion_tokens, answer.text) == (len(out), tokenizer.decode(out, skip_special_tokens=True))
