"""The sums of memory and disk against peaks that were measured, and what moves them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loren.plan.requirements import DiskShape, MemoryShape, adapter_parameters, disk_parts, memory_parts, total_bytes

PROCESS_BYTES = 420_000_000
"""Python with torch, transformers, TRL and PEFT."""
SMOLLM2 = MemoryShape(
    parameters=134_515_008,
    linear_parameters=106_168_320,
    trained_parameters=1_843_200,
    is_full=False,
    load_in_4bit=False,
    value_bytes=4,
    micro_batch_tokens=182,
    activation_bytes_per_token=30 * (16 * 576 + 6 * 1536) * 4,
    layers=30,
    hidden_size=576,
    gradient_checkpointing=False,
    logit_rows=256,
    vocabulary=49_152,
)


QWEN = MemoryShape(
    parameters=630_167_424,
    linear_parameters=357_826_560,
    trained_parameters=2_162_688,
    is_full=False,
    load_in_4bit=False,
    value_bytes=4,
    micro_batch_tokens=22 + 4 * 116,
    activation_bytes_per_token=24 * (16 * 896 + 6 * 4864) * 4,
    layers=24,
    hidden_size=896,
    gradient_checkpointing=False,
    logit_rows=256,
    vocabulary=151_936,
)
"""The example's base model with a micro-batch of 4 rows of 138 tokens, 22 of them shared."""


@pytest.mark.parametrize(
    ("shape", "measured"),
    [
        (SMOLLM2, 1_400_000_000),
        (replace(SMOLLM2, micro_batch_tokens=2 * 230), 1_941_000_000),
        (replace(SMOLLM2, micro_batch_tokens=8 * 182), 4_300_000_000),
        (QWEN, 4_859_498_496),
    ],
    ids=["smollm2 1 row", "smollm2 2 rows", "smollm2 8 rows", "qwen 4 rows"],
)
def test_the_sum_is_near_the_measured_peak(shape: MemoryShape, measured: int) -> None:
    assert PROCESS_BYTES + total_bytes(memory_parts(shape)) == pytest.approx(measured, rel=0.15)


def test_the_disk_of_the_example_is_what_was_measured() -> None:
    checkpoint, adapter = disk_parts(DiskShape(trained_parameters=2_162_688, tokenizer_bytes=11_425_698, checkpoints=1))
    assert checkpoint.bytes == pytest.approx(36_732 * 1024, rel=0.02)
    assert adapter.bytes == pytest.approx(19_668 * 1024, rel=0.02)


def test_each_knob_moves_its_own_part() -> None:
    names = [part.name for part in memory_parts(SMOLLM2)]
    assert len(set(names)) == 4

    def moved(**changes: object) -> dict[int, int]:
        before, after = memory_parts(SMOLLM2), memory_parts(replace(SMOLLM2, **changes))  # pyright: ignore[reportArgumentType]
        return {index: after[index].bytes - before[index].bytes for index in range(4) if after[index].bytes != before[index].bytes}

    assert moved(load_in_4bit=True) == {0: int(106_168_320 * 0.56) - 106_168_320 * 4}
    assert moved(gradient_checkpointing=True)[2] < -0.9 * memory_parts(SMOLLM2)[2].bytes
    assert moved(micro_batch_tokens=364) == {2: memory_parts(SMOLLM2)[2].bytes}
    assert moved(vocabulary=2 * 49_152) == {3: memory_parts(SMOLLM2)[3].bytes}
    # All weights: 4 bytes each, the gradient and AdamW's two moments; 16 in all.
    full = memory_parts(replace(SMOLLM2, is_full=True, trained_parameters=SMOLLM2.parameters, value_bytes=2))
    assert full[0].bytes + full[1].bytes == 16 * SMOLLM2.parameters


def test_disk_counts_checkpoints_and_the_adapter() -> None:
    shape = DiskShape(trained_parameters=1000, tokenizer_bytes=50, checkpoints=3)
    assert [part.bytes for part in disk_parts(shape)] == [3 * (12_000 + 50), 4_000 + 50]


def test_adapter_parameters_are_two_factors_a_matrix() -> None:
    assert adapter_parameters([(576, 576), (192, 576)], r=8) == 8 * (1152 + 768)
