"""The chunked label loss against torch's cross-entropy over full logits: value and every gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma2Config, Gemma2ForCausalLM

from loren.models.chat import IGNORED
from loren.train.loss import HeadScaling, attach_label_loss, head_scaling, label_loss_sum
from loren.train.packed import shared_prefix
from tiny import tiny_llama

PLAIN = HeadScaling(1.0, None)


def reference(
    hidden: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, scaling: HeadScaling
) -> torch.Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias) * scaling.scale
    if scaling.softcap is not None:
        logits = torch.tanh(logits / scaling.softcap) * scaling.softcap
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


@pytest.mark.parametrize("scaling", [PLAIN, HeadScaling(0.25, None), HeadScaling(1.0, 5.0), HeadScaling(2.0, 30.0)])
@pytest.mark.parametrize("trained_head", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_loss_and_gradients_equal_full_logits(scaling: HeadScaling, trained_head: bool, rows: int) -> None:
    torch.manual_seed(rows)
    labels = torch.randint(0, 50, (rows, 400))  # more label positions than one chunk holds
    labels[torch.rand(labels.shape) < 0.2] = IGNORED
    results: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
    for function in (label_loss_sum, reference):
        torch.manual_seed(7)
        hidden = torch.randn(rows, 400, 16, requires_grad=True)
        weight = torch.randn(50, 16, requires_grad=trained_head)
        bias = torch.randn(50, requires_grad=trained_head)
        loss = function(hidden, labels, weight, bias, scaling)
        (loss * 0.37).backward()
        results.append((loss, [tensor.grad for tensor in (hidden, weight, bias) if tensor.grad is not None]))
    (ours, our_grads), (theirs, their_grads) = results
    assert len(our_grads) == len(their_grads) == (3 if trained_head else 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-3)
    for mine, other in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "llama-tied", "gemma2"])
def test_the_patched_forward_equals_the_models_own_loss(kind: str) -> None:
    if kind == "gemma2":
        torch.manual_seed(0)
        model = Gemma2ForCausalLM(
            Gemma2Config(
                vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
                num_key_value_heads=1, head_dim=16, final_logit_softcapping=30.0, pad_token_id=0,
            )
        )  # fmt: skip
        assert head_scaling(model).softcap == 30.0
    else:
        model = tiny_llama(97, tied=kind == "llama-tied")
    ids = torch.randint(0, 97, (2, 20), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[:, :7] = IGNORED
    expected = model(input_ids=ids, labels=labels).loss * (labels[:, 1:] != IGNORED).sum()
    attach_label_loss(model)
    torch.testing.assert_close(model(input_ids=ids, loss_labels=labels), expected, rtol=1e-5, atol=1e-4)
    assert model(input_ids=ids).logits.shape == (2, 20, 97)


@settings(max_examples=60, deadline=None)
@given(
    prefix=st.integers(0, 20),
    own=st.lists(st.integers(2, 9), min_size=2, max_size=4),
    first_label=st.integers(1, 25),
    seed=st.integers(0, 5),
)
def test_a_shared_prefix_changes_neither_loss_nor_gradients(prefix: int, own: list[int], first_label: int, seed: int) -> None:
    """Rows with any common prefix, down to none, and labels that may begin inside it."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(3, 60, (prefix,), generator=generator).tolist()
    width = prefix + max(own)
    rows = [start + torch.randint(3, 60, (n,), generator=generator).tolist() + [0] * (width - prefix - n) for n in own]
    ids = torch.tensor(rows)
    labels = ids.clone()
    for row, n in enumerate(own):
        labels[row, : min(first_label, prefix + n - 1)] = IGNORED
        labels[row, prefix + n :] = IGNORED
    results = []
    for together in (True, False):
        model = tiny_llama(60)
        attach_label_loss(model)
        if together:
            loss = model(input_ids=ids, loss_labels=labels)
        else:
            loss = sum(model(input_ids=ids[row : row + 1], loss_labels=labels[row : row + 1]) for row in range(len(own)))
        loss.backward()
        results.append((loss.detach(), model.model.layers[0].self_attn.q_proj.weight.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-5)


def test_the_shared_prefix_ends_before_the_position_that_predicts_the_first_label() -> None:
    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 1]])
    labels = torch.full_like(ids, IGNORED)
    assert shared_prefix(ids, labels) == 4
    labels[1, 3] = 8
    assert shared_prefix(ids, labels) == 2
    assert shared_prefix(ids, ids) == 0
    assert shared_prefix(torch.tensor([[1, 2], [3, 2]]), torch.full((2, 2), IGNORED)) == 0
