"""A merged folder against PEFT's own merge, tensor by tensor, for every kind of adapter; and what can't be merged, by name."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from loren.errors import IntegrityError, ModelLoadError
from loren.models.identity import template_digest, tokenizer_digest
from loren.models.tensor_files import SLICE_VALUES, StoredTensor
from loren.weights.merge import apply_merge
from loren.weights.plan import plan_merge
from loren.weights.verify import verify_tensors
from merging import KINDS, merged_by_peft, write_adapter, write_base

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    root = tmp_path_factory.mktemp("bases")

    def base(kind: str, dtype: str) -> Path:
        folder = root / f"{kind}-{dtype}"
        return folder if folder.exists() else write_base(folder, kind, DTYPES[dtype])

    return base


def make_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT says what it does with tied and saved embeddings
        return write_adapter(folder, base, **settings)


def peft_merge(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return merged_by_peft(base, adapter)


def cases() -> Iterator[Any]:
    """Each kind in fp32; those whose rounding is their own also in bf16, the others in the slow suite."""
    fast = {"plain", "DoRA", "a trained head, tied before", "embeddings", "Conv1D with DoRA"}
    for kind in KINDS:
        yield pytest.param(kind, "fp32")
        yield pytest.param(kind, "bf16", marks=() if kind in fast else pytest.mark.slow)


@pytest.mark.parametrize(("kind", "dtype"), list(cases()))
def test_reloaded_from_disk_it_is_what_peft_makes(kind: str, dtype: str, tmp_path: Path, bases: Callable[[str, str], Path]) -> None:
    name, settings = KINDS[kind]
    base = bases(name, dtype)
    adapter = make_adapter(tmp_path / "adapter", base, **settings)
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}
    merged = tmp_path / "merged"
    merged.mkdir()
    plan = plan_merge(base, adapter)
    apply_merge(plan, merged)
    wanted = peft_merge(base, adapter)
    model, loading = AutoModelForCausalLM.from_pretrained(merged, dtype="auto", output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    found = model.state_dict()
    assert found.keys() == wanted.keys()
    untouched = AutoModelForCausalLM.from_pretrained(base, dtype="auto").state_dict()
    for tensor, values in wanted.items():
        assert found[tensor].dtype == values.dtype == DTYPES[dtype], tensor
        if torch.equal(values, untouched[tensor]):
            assert torch.equal(found[tensor], values), tensor
        elif dtype == "fp32":
            torch.testing.assert_close(found[tensor], values, rtol=2e-6, atol=1e-7, msg=tensor)
        else:  # rounded sums: at most a rare neighbour
            assert (found[tensor] != values).float().mean() <= (2e-3 if "DoRA" in kind else 5e-4), tensor
    assert sum(not torch.equal(found[tensor], untouched[tensor]) for tensor in found) >= 1
    assert (tokenizer_digest(merged), template_digest(merged)) == (tokenizer_digest(adapter), template_digest(adapter))
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == before


def test_shards_stay_as_the_base_has_them(tmp_path: Path, bases: Callable[[str, str], Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(bases("tied", "fp32"))
    base = tmp_path / "base"
    model.save_pretrained(base, max_shard_size="150KB")
    shards = {path.name for path in base.glob("*.safetensors")}
    assert len(shards) >= 3
    adapter = make_adapter(tmp_path / "adapter", base, modules_to_save=["lm_head"])
    merged = tmp_path / "merged"
    merged.mkdir()
    apply_merge(plan_merge(base, adapter), merged)
    assert {path.name for path in merged.glob("*.safetensors")} == shards
    found = AutoModelForCausalLM.from_pretrained(merged).state_dict()
    for tensor, values in peft_merge(base, adapter).items():
        torch.testing.assert_close(found[tensor], values, rtol=2e-6, atol=1e-7, msg=tensor)


def edit_config(**changes: Any) -> Callable[[Path], None]:
    def change(adapter: Path) -> None:
        path = adapter / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(adapter: Path) -> None:
        values = load_file(adapter / "adapter_model.safetensors")
        change(values)
        save_file(values, adapter / "adapter_model.safetensors")

    return apply


Q = "base_model.model.model.layers.0.self_attn.q_proj"
REFUSED: dict[str, tuple[str, dict[str, Any], Callable[[Path], None] | None, str]] = {
    "embedding LoRA on tied weights": (
        "tied", {"target_modules": ["q_proj", "embed_tokens"]}, None,
        "model.embed_tokens  expected no LoRA on embeddings that are tied to the output head",
    ),
    "a bias where the base has none": ("llama", {"lora_bias": True}, None, "expected a bias in the base"),
    "DoRA on embeddings": (
        "llama", {"target_modules": ["embed_tokens"], "use_dora": True}, None, "expected A and B of a plain LoRA, found",
    ),
    "copied layers": ("llama", {}, edit_config(layer_replication=[[0, 2]]), "layer_replication  expected a plain LoRA"),
    "target parameters": ("llama", {}, edit_config(target_parameters=["x"]), "target_parameters  expected a plain LoRA"),
    "an activated LoRA": ("llama", {}, edit_config(alora_invocation_tokens=[1]), "alora_invocation_tokens"),
    "PiSSA": ("llama", {}, edit_config(init_lora_weights="pissa"), "init_lora_weights  expected an adapter for the base's own"),
    "another rank": ("llama", {}, edit_config(r=8), "expected rank 8, as adapter_config.json says, found weights of 4 x 64"),
    "DoRA that the configuration hides": ("llama", {"use_dora": True}, edit_config(use_dora=False), "expected no magnitude"),
    "no A": ("llama", {}, edit_tensors(lambda v: v.pop(f"{Q}.lora_A.weight")), "expected A and B of a plain LoRA, found B"),
    "B of another shape": (
        "llama", {}, edit_tensors(lambda v: v.update({f"{Q}.lora_B.weight": torch.zeros(3, 4)})), "B: expected 64 x 4, found 3 x 4",
    ),
    "an unknown module": (
        "llama", {}, edit_tensors(lambda v: v.update({"base_model.model.x.lora_A.weight": torch.zeros(4, 4)})),
        "x  expected a module of the base",
    ),
    "an unknown tensor": (
        "llama", {}, edit_tensors(lambda v: v.update({f"{Q}.lora_C": torch.zeros(4)})), "found no tensor of this name",
    ),
    "a token that is not there": (
        "llama", {"trainable_token_indices": [5]}, edit_config(trainable_token_indices=[99_999]), "trainable_token_indices below",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_merged_is_refused_by_name(case: str, tmp_path: Path, bases: Callable[[str, str], Path]) -> None:
    kind, settings, change, message = REFUSED[case]
    base = bases(kind, "fp32")
    adapter = make_adapter(tmp_path / "adapter", base, **settings)
    if change is not None:
        change(adapter)
    with pytest.raises(ModelLoadError) as caught:
        plan_merge(base, adapter)
    assert message in str(caught.value)


def test_a_sum_that_the_precision_can_not_hold_is_an_error(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base", "llama", torch.float16)
    adapter = make_adapter(tmp_path / "adapter", base)
    edit_tensors(lambda values: values[f"{Q}.lora_B.weight"].fill_(3e6))(adapter)
    (tmp_path / "merged").mkdir()
    with pytest.raises(IntegrityError, match="expected finite merged weights in F16"):
        apply_merge(plan_merge(base, adapter), tmp_path / "merged")


def test_no_more_than_a_slice_of_a_tensor_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps memory from growing with the model: embeddings of 2.5 million values, read, changed, copied and proven."""
    config = LlamaConfig(
        vocab_size=40_000, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    adapter = make_adapter(tmp_path / "adapter", tmp_path / "base", target_modules=["embed_tokens", "q_proj"], r=2)
    whole, asked = StoredTensor.read_bytes, list[int]()

    def counted(self: StoredTensor, start: int, stop: int) -> bytearray:
        raw = whole(self, start, stop)
        asked.append(len(raw))
        return raw

    monkeypatch.setattr(StoredTensor, "read_bytes", counted)
    (tmp_path / "merged").mkdir()
    plan = plan_merge(tmp_path / "base", adapter)
    apply_merge(plan, tmp_path / "merged")
    assert verify_tensors(plan, tmp_path / "merged").passed
    assert plan.largest_bytes == 4 * 40_000 * 64
    assert sum(asked) > 4 * plan.largest_bytes
    assert max(asked) <= 4 * SLICE_VALUES < plan.largest_bytes / 2
