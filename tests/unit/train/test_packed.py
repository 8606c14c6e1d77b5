"""Rows as one line of tokens: the layout, the equality with padded rows, and the self-test that falls back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loss_families import MODELS, build_model
from test_trainer import build

from loren.models.chat import IGNORED
from loren.train.loss import attach_label_loss, path_difference
from loren.train.packed import can_pack, pack
from tiny import tiny_llama, write_tiny_base

UNPACKED = {"gemma2", "gemma3", "mistral, sliding window", "cohere2"}
"""Capped or windowed attention."""


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded rows: with or without a common start, one or several labelled stretches, or none at all."""
    prefix = draw(st.lists(st.integers(3, 59), max_size=12))
    rows: list[tuple[list[int], list[bool]]] = []
    for _ in range(draw(st.integers(1, 4))):
        own = draw(st.lists(st.tuples(st.integers(3, 59), st.booleans()), min_size=1, max_size=12))
        ids = prefix + [token for token, _ in own]
        trained = [False] * len(prefix) + [flag for _, flag in own]
        trained[0] = False  # nothing predicts the first token
        rows.append((ids, trained))
    width = max(len(ids) for ids, _ in rows) + draw(st.integers(0, 3))
    input_ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    labels = torch.full_like(input_ids, IGNORED)
    for row, (ids, trained) in enumerate(rows):
        for place, flag in enumerate(trained):
            if flag:
                labels[row, place] = ids[place]
    return input_ids, labels


@settings(max_examples=80, deadline=None)
@given(batches())
def test_packed_rows_have_the_losses_and_gradients_of_padded_rows(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = tiny_llama(60).eval()
    loss = attach_label_loss(model)
    assert loss.is_packed
    assert path_difference(loss, list(model.parameters()), *batch) < 1e-5


@settings(max_examples=80, deadline=None)
@given(batches())
def test_the_line_holds_each_needed_token_once(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    input_ids, labels = batch
    packed = pack(input_ids, labels)
    wanted = labels[:, 1:][labels[:, 1:] != IGNORED]
    assert packed.targets[packed.targets != IGNORED].tolist() == wanted.tolist()
    needed = int(sum(max([place for place, label in enumerate(row) if label != IGNORED], default=0) for row in labels.tolist()))
    assert 1 <= packed.input_ids.shape[1] <= max(needed, 1)
    # Spread again, every row is what it was up to its last label.
    width = len(packed.spread) // packed.rows
    spread = packed.input_ids[0][packed.spread].view(packed.rows, width)
    kept = [row for row in range(len(labels)) if bool((labels[row] != IGNORED).any())] or [0]
    for row, tokens in zip(kept, spread.tolist(), strict=True):
        last = max([place for place, label in enumerate(labels[row].tolist()) if label != IGNORED], default=1)
        assert tokens[:last] == input_ids[row, :last].tolist()


def test_a_shared_prefix_is_in_the_line_once() -> None:
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 11, 12]])
    labels = torch.tensor([[IGNORED] * 5 + [10], [IGNORED] * 5 + [12]])
    packed = pack(ids, labels)
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 9, 11]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 4]]
    assert packed.targets.tolist() == [IGNORED] * 4 + [10, 12]


@pytest.mark.parametrize("kind", MODELS)
def test_each_family_is_packed_or_known_not_to_be(kind: str) -> None:
    model = build_model(kind).eval()
    loss = attach_label_loss(model)
    assert loss.is_packed == can_pack(model) == (kind not in UNPACKED)
    if loss.is_packed:
        ids = torch.randint(3, 500, (3, 24), generator=torch.Generator().manual_seed(3))
        ids[:, :6] = ids[0, :6]
        labels = ids.clone()
        labels[:, :9] = IGNORED
        assert path_difference(loss, list(model.parameters()), ids, labels) < 1e-5


class UnplacedRotary(torch.nn.Module):
    """Counts places itself, as some models from elsewhere do, and so can't be told where a token stands."""

    def __init__(self, usual: torch.nn.Module) -> None:
        super().__init__()
        self.usual = usual

    def forward(self, hidden: torch.Tensor, position_ids: torch.Tensor) -> Any:
        return self.usual(hidden, position_ids=torch.arange(position_ids.shape[1])[None])


def test_a_model_that_packing_would_change_is_found_and_padded(tmp_path: Path) -> None:
    trainer = build(write_tiny_base(tmp_path / "base"), tmp_path / "run", micro=2, accumulation=1)
    with torch.no_grad():  # fresh weights hardly attend; trained ones do
        for name, parameter in trainer.model.named_parameters():
            parameter *= 40 if "q_proj.base" in name or "k_proj.base" in name else 1
    heard: list[str] = []
    trainer.check_loss_path(heard.append)
    assert trainer.label_loss.is_packed
    assert heard == []
    decoder: Any = trainer.model.get_base_model().model
    decoder.rotary_emb = UnplacedRotary(decoder.rotary_emb)
    trainer.check_loss_path(heard.append)
    assert not trainer.label_loss.is_packed
    assert "off" in heard[0]
    assert trainer.model.training  # type: ignore[union-attr]


def test_a_model_that_takes_no_further_argument_is_padded(tmp_path: Path) -> None:
    trainer = build(write_tiny_base(tmp_path / "base"), tmp_path / "run", micro=2, accumulation=1)
    decoder: Any = trainer.model.get_base_model().model
    usual = decoder.forward
    decoder.forward = lambda input_ids, use_cache=None: usual(input_ids=input_ids, use_cache=use_cache)
    heard: list[str] = []
    trainer.check_loss_path(heard.append)
    assert heard == ["warning: rows are padded, which is slower: the model can't take packed rows (TypeError)"]
    trainer.train()
    assert trainer.state.global_step == 4
