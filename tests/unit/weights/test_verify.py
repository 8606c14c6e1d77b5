"""The proof accepts what the merge makes of every kind of adapter, and rejects each wrong merge by the check that should see it."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loren.weights.merge import apply_merge
from loren.weights.plan import MergePlan, plan_merge
from loren.weights.verify import verify_tensors
from merging import KINDS, write_adapter, write_base
from tiny import train_tokenizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Q = "model.layers.0.self_attn.q_proj.weight"


class Merged:
    """A base, an adapter and their merge; `copy` gives a merged folder to spoil."""

    def __init__(self, root: Path, kind: str, dtype: str, **settings: Any) -> None:
        self.dtype = DTYPES[dtype]
        self.base = write_base(root / "base", kind, self.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.adapter = write_adapter(root / "adapter", self.base, **settings)
        self.plan = plan_merge(self.base, self.adapter)
        self.folder = root / "merged"
        self.folder.mkdir()
        apply_merge(self.plan, self.folder)

    def copy(self, target: Path) -> Path:
        return Path(shutil.copytree(self.folder, target))

    def changes(self) -> dict[str, torch.Tensor]:
        """s·BA of each module, fp32, by tensor."""
        return {
            name: op.scale * op.parts["B"].read().float() @ op.parts["A"].read().float()
            for name, op in self.plan.ops.items()
            if op.kind == "linear"
        }


@pytest.fixture(scope="module", params=DTYPES)
def merged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    return Merged(tmp_path_factory.mktemp(request.param), "llama", request.param)


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    values = load_file(folder / "model.safetensors")
    change(values)
    save_file({name: value.contiguous() for name, value in values.items()}, folder / "model.safetensors", metadata={"format": "pt"})


def scaled(merged: Merged, folder: Path, scale: float) -> None:
    base = load_file(merged.base / "model.safetensors")
    changes = merged.changes()
    edit(folder, lambda v: v.update({n: (base[n].float() + scale * d).to(merged.dtype) for n, d in changes.items()}))


def other_base(merged: Merged, folder: Path) -> None:
    """The adapter merged into the same weights a little off, as another revision of the base has them."""
    base = load_file(merged.base / "model.safetensors")
    changes = merged.changes()
    noise = {name: 1 + 0.01 * torch.randn(value.shape) for name, value in base.items()}
    edit(folder, lambda v: v.update({n: (w.float() * noise[n] + changes.get(n, 0)).to(merged.dtype) for n, w in base.items()}))


def of_base(merged: Merged, folder: Path, *names: str) -> None:
    base = load_file(merged.base / "model.safetensors")
    edit(folder, lambda v: v.update({name: base[name] for name in names or base}))


def transposed(merged: Merged, folder: Path) -> None:
    base = load_file(merged.base / "model.safetensors")
    edit(folder, lambda v: v.update({Q: (base[Q].float() + merged.changes()[Q].T).to(merged.dtype)}))


def another_tokenizer(merged: Merged, folder: Path) -> None:
    train_tokenizer(vocab_size=400).save_pretrained(folder)


def another_template(merged: Merged, folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


def cut(merged: Merged, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-64])


def without_a_tensor(merged: Merged, folder: Path) -> None:
    edit(folder, lambda values: values.pop("model.norm.weight"))


def one_untouched_value(merged: Merged, folder: Path) -> None:
    edit(folder, lambda values: values["model.layers.1.mlp.up_proj.weight"][0, 0].mul_(1.01))


def not_a_number(merged: Merged, folder: Path) -> None:
    edit(folder, lambda values: values[Q][0, 0].fill_(torch.nan))


def one_merged_value(merged: Merged, folder: Path) -> None:
    """A few steps of the stored type."""
    edit(folder, lambda values: values[Q][3, 5].copy_(values[Q][3, 5] * (1 + 64 * torch.finfo(merged.dtype).eps)))


WRONG: dict[str, tuple[Callable[[Merged, Path], object], set[str]]] = {
    "adapter scaled by 1.01": (lambda m, f: scaled(m, f, 1.01), {"merged tensors", "slope"}),
    "adapter scaled by 1.001": (lambda m, f: scaled(m, f, 1.001), {"merged tensors", "slope"}),
    "adapter scaled by 0.99": (lambda m, f: scaled(m, f, 0.99), {"merged tensors", "slope"}),
    "wrong base": (other_base, {"merged tensors", "untouched tensors"}),
    "one module missing": (lambda m, f: of_base(m, f, Q), {"merged tensors", "slope"}),
    "transposed module": (transposed, {"merged tensors", "slope"}),
    "wrong tokenizer": (another_tokenizer, {"tokenizer"}),
    "wrong chat template": (another_template, {"tokenizer"}),
    "merged = base": (lambda m, f: of_base(m, f), {"merged tensors", "slope", "differs from the base"}),
    "truncated shard": (cut, {"files"}),
    "a tensor lost": (without_a_tensor, {"files"}),
    "one untouched value": (one_untouched_value, {"untouched tensors"}),
    "one merged value": (one_merged_value, {"merged tensors"}),
    "not a number": (not_a_number, {"merged tensors"}),
}


def test_a_right_merge_is_proven(merged: Merged) -> None:
    proof = verify_tensors(merged.plan, merged.folder)
    assert proof.failed == []
    assert proof.passed
    figures: Any = proof.figures["tensors"]
    assert (figures["merged"], figures["differing"], figures["elements"]) == (8, 0, 2 * (2 * 64 * 64 + 2 * 32 * 64))
    slope, low, high = figures["slope"]
    assert low <= 1 <= high < 1.01
    assert abs(slope - 1) < 1e-6
    assert 0.9 < figures["kept"] < 1.1


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_merge_is_rejected(case: str, merged: Merged, tmp_path: Path) -> None:
    change, wanted = WRONG[case]
    folder = merged.copy(tmp_path / "spoilt")
    torch.manual_seed(0)
    change(merged, folder)
    proof = verify_tensors(merged.plan, folder)
    assert not proof.passed
    assert wanted <= set(proof.failed), [check.to_json() for check in proof.checks]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_lost_head_is_rejected(dtype: str, tmp_path: Path) -> None:
    merged = Merged(tmp_path, "tied", dtype, modules_to_save=["lm_head"])
    assert verify_tensors(merged.plan, merged.folder).failed == []
    lost = merged.copy(tmp_path / "lost")
    edit(lost, lambda values: values.pop("lm_head.weight"))
    assert "files" in verify_tensors(merged.plan, lost).failed
    tied = merged.copy(tmp_path / "tied")
    config = json.loads((tied / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    (tied / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    assert verify_tensors(merged.plan, tied).failed == ["config"]


@pytest.mark.parametrize(("kind", "dtype"), [
    pytest.param(kind, dtype, marks=() if kind in {"DoRA", "Conv1D with DoRA", "embeddings"} else pytest.mark.slow)
    for kind in KINDS for dtype in DTYPES
])  # fmt: skip
def test_every_kind_is_proven(kind: str, dtype: str, tmp_path: Path) -> None:
    base, settings = KINDS[kind]
    merged = Merged(tmp_path, base, dtype, **settings)
    assert verify_tensors(merged.plan, merged.folder).failed == []


def test_an_adapter_that_changes_nothing_proves_nothing(merged: Merged, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(merged.adapter, tmp_path / "adapter"))
    path = adapter / "adapter_model.safetensors"
    save_file({name: value * ("lora_A" in name) for name, value in load_file(path).items()}, path)
    plan: MergePlan = plan_merge(merged.base, adapter)
    (tmp_path / "merged").mkdir()
    apply_merge(plan, tmp_path / "merged")
    assert set(verify_tensors(plan, tmp_path / "merged").failed) == {"slope", "differs from the base"}
