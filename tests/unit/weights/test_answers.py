"""The merged folder as a model: loaded from disk, it answers as base and adapter do, and a lost head is seen."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loren.models.protocol import Prompt
from loren.weights.answers import verify_answers
from loren.weights.merge import apply_merge
from loren.weights.plan import MergePlan, plan_merge
from merging import write_adapter, write_base

PROMPTS = [Prompt(str(number), (("user", f"Where is order {number}? đơn {number * 7}"),)) for number in range(64)]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def merge(root: Path, kind: str, dtype: str, **settings: Any) -> tuple[MergePlan, Path]:
    base = write_base(root / "base", kind, DTYPES[dtype])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapter = write_adapter(root / "adapter", base, **settings)
    plan = plan_merge(base, adapter)
    (root / "merged").mkdir()
    apply_merge(plan, root / "merged")
    return plan, root / "merged"


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize(("kind", "dtype", "settings"), [
    ("llama", "fp32", {}),
    ("llama", "bf16", {}),
    ("tied", "fp32", {"modules_to_save": ["lm_head"]}),
    ("gpt2", "bf16", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
])  # fmt: skip
def test_a_right_merge_answers_as_the_adapter_does(kind: str, dtype: str, settings: dict[str, Any], tmp_path: Path) -> None:
    plan, folder = merge(tmp_path, kind, dtype, **settings)
    proof = verify_answers(plan, folder, PROMPTS, batch_size=64)
    assert proof.failed == []
    figures: Any = proof.figures["answers"]
    assert figures["prompts"] == 64
    assert figures["base_to_adapter"]["largest"] > 10 * figures["adapter_to_merged"]["largest"]
    assert figures["dtype"] == {"fp32": "F32", "bf16": "BF16"}[dtype]


def test_too_few_prompts_prove_nothing(tmp_path: Path) -> None:
    plan, folder = merge(tmp_path, "llama", "fp32")
    assert verify_answers(plan, folder, PROMPTS[:5], batch_size=8).failed == ["prompts"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_answers_like_the_base_or_another_scale_is_rejected(dtype: str, tmp_path: Path) -> None:
    plan, folder = merge(tmp_path, "llama", dtype)
    base = load_file(plan.base / "model.safetensors")
    for scale, wanted in ((0.0, {"answers differ from the base's", "logits", "KL"}), (1.01, {"logits of PEFT's merge"})):
        spoilt = Path(shutil.copytree(folder, tmp_path / f"scaled-{scale}"))
        values = dict(base)
        for name, op in plan.ops.items():
            change = scale * op.scale * op.parts["B"].read().float() @ op.parts["A"].read().float()
            values[name] = (base[name].float() + change).to(DTYPES[dtype])
        save_file(values, spoilt / "model.safetensors", metadata={"format": "pt"})
        proof = verify_answers(plan, spoilt, PROMPTS, batch_size=64)
        assert {"PEFT's merge", "logits of PEFT's merge", *wanted} <= set(proof.failed), proof.to_json()


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_head_that_loading_ties_away_is_seen(dtype: str, tmp_path: Path) -> None:
    plan, folder = merge(tmp_path, "tied", dtype, modules_to_save=["lm_head"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    values = load_file(folder / "model.safetensors")
    del values["lm_head.weight"]
    save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
    assert {"reload", "logits"} <= set(verify_answers(plan, folder, PROMPTS, batch_size=64).failed)
