"""A merge holds some rows of one tensor at a time: its memory does not grow with the model."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from loren.models.loading import locate_base
from loren.models.tensor_files import read_folder
from tiny import train_tokenizer

pytestmark = pytest.mark.slow
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MERGE = """
import sys
from pathlib import Path
from loren.provenance.machine import forget_peak_memory, peak_memory_bytes
from loren.weights.merge import apply_merge
from loren.weights.plan import plan_merge
base, adapter, folder = map(Path, sys.argv[1:])
import loren.models.fit, loren.weights.verify
forget_peak_memory()
runtime = peak_memory_bytes()
plan = plan_merge(base, adapter)
apply_merge(plan, folder)
merged = peak_memory_bytes()
assert loren.weights.verify.verify_tensors(plan, folder).passed
print(runtime, merged, peak_memory_bytes(), plan.largest_bytes, plan.total_bytes)
"""


def write_adapter(folder: Path, base: Path) -> Path:
    """All projections, rank 8, without loading the base."""
    torch.manual_seed(0)
    values: dict[str, torch.Tensor] = {}
    for name, tensor in read_folder(base).items():
        module = name.removesuffix(".weight")
        if module.endswith(PROJECTIONS):
            rows, columns = tensor.layout.shape
            values[f"base_model.model.{module}.lora_A.weight"] = torch.randn(8, columns) / columns**0.5
            values[f"base_model.model.{module}.lora_B.weight"] = 0.005 * torch.randn(rows, 8)
    folder.mkdir()
    save_file(values, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "target_modules": list(PROJECTIONS)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    train_tokenizer().save_pretrained(folder)
    return folder


def measured(base: Path, folder: Path) -> tuple[int, ...]:
    """Bytes: before, peak of the merge, peak of both merge and proof of tensors, largest tensor, all tensors."""
    adapter = write_adapter(folder / "adapter", base)
    (folder / "merged").mkdir()
    command = [sys.executable, "-c", MERGE, str(base), str(adapter), str(folder / "merged")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(map(int, done.stdout.split()))


def test_memory_is_that_of_the_program_and_a_few_tensors(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=8000, hidden_size=1024, intermediate_size=2048, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    train_tokenizer().save_pretrained(tmp_path / "base")
    runtime, merged, proven, largest, total = measured(tmp_path / "base", tmp_path)
    assert total > 10 * largest
    assert merged <= runtime + 4 * largest
    assert proven <= runtime + 4 * largest


@pytest.mark.network
def test_the_embedded_qwen_is_merged_in_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    base = locate_base("embedded:qwen2.5-coder-0.5b", None, trust_remote_code=False, fetching=lambda: nullcontext(lambda *_: None))
    runtime, merged, _, largest, total = measured(base.folder, tmp_path)
    assert total > 2_000_000_000
    assert merged <= min(runtime + 4 * largest, 1_500_000_000)
