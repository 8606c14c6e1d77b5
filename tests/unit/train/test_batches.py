"""Order and padding of rows."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.train.batches import RightPadCollator, StepSampler
from loren.train.loss import attach_label_loss
from tiny import tiny_llama


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
    rows=st.integers(1, 9),
)
def test_each_epoch_is_a_permutation_that_only_seed_and_epoch_decide(lengths: list[int], seed: int, epoch: int, rows: int) -> None:
    sampler = StepSampler(lengths, seed=seed, rows_per_step=rows)
    sampler.set_epoch(epoch)
    order = list(sampler)
    again = StepSampler(lengths, seed=seed, rows_per_step=rows)
    again.set_epoch(epoch)
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(again)
    # The rows of a step do not depend on how steps are sorted inside.
    steps = [set(order[start : start + rows]) for start in range(0, len(order), rows)]
    other = StepSampler([1] * len(lengths), seed=seed, rows_per_step=rows)
    other.set_epoch(epoch)
    flat = list(other)
    assert steps == [set(flat[start : start + rows]) for start in range(0, len(flat), rows)]
    for start in range(0, len(order), rows):
        assert [lengths[i] for i in order[start : start + rows]] == sorted(lengths[i] for i in order[start : start + rows])


def test_seeds_and_epochs_differ_and_nothing_else_counts() -> None:
    orders: list[list[int]] = []
    for seed, epoch in ((1, 0), (1, 1), (2, 0), (2, 1)):
        sampler = StepSampler([1] * 29, seed=seed, rows_per_step=1)
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert list(sampler) == orders[-1]  # reading it twice draws nothing
        torch.manual_seed(epoch)
    assert len({tuple(order) for order in orders}) == 4
    assert len(sampler) == 29


def test_padding_on_the_right_without_a_mask_changes_no_loss() -> None:
    model = tiny_llama(60)
    attach_label_loss(model)
    generator = torch.Generator().manual_seed(3)
    rows = []
    for length in (5, 11, 8):
        ids = torch.randint(1, 60, (length,), generator=generator).tolist()
        rows.append({"input_ids": ids, "labels": [-100, -100, *ids[2:]]})
    batch = RightPadCollator(0)(rows)
    assert batch["lengths"].tolist() == [5, 11, 8]
    joined = model(input_ids=batch["input_ids"], loss_labels=batch["labels"])
    single = sum(model(input_ids=torch.tensor([row["input_ids"]]), loss_labels=torch.tensor([row["labels"]])) for row in rows)
    torch.testing.assert_close(joined, single, rtol=1e-6, atol=1e-5)
