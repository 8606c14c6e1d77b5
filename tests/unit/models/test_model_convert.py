"""GGUF -> Hugging Face folder: exact weights, exact tokens, once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from loren.errors import IntegrityError, ModelLoadError
from loren.models.cache import is_complete
from loren.models.convert import plan_conversion, prepare_folder, write_conversion
from loren.models.source import resolve_source
from loren.provenance.manifest import verify_manifest
from tiny import train_tokenizer
from tiny_gguf import Changes, tiny_model, write_gguf

TEXTS = (
    "Đơn hàng của mình bị trễ 2 ngày, mã 12345.",
    "<|im_start|>user\nxin chào<|im_end|>\n",
    "don't  stop\n\n — 1.250.000₫",
    "",
)
CONVERT = """
import sys
from pathlib import Path
from loren.models.convert import prepare_folder
from loren.models.source import resolve_source
started = []
def progress(what, done, total):
    started.append(what)
    if {kill} and len(started) == 3:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
folder = prepare_folder(resolve_source(sys.argv[1], cache=Path(sys.argv[2])), progress)
print(folder, "converted" if started else "found")
"""


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_weights_logits_and_tokens_are_the_models(tmp_path: Path, family: str) -> None:
    model = tiny_model(family)
    source = resolve_source(str(write_gguf(tmp_path / "tiny.gguf", model)), cache=tmp_path / "cache")
    folder = prepare_folder(source)
    assert (source.kind, source.license, source.origin_note) == ("gguf", "mit", "the dequantised F32 in tiny.gguf")
    assert folder == source.converted
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True).eval()
    expected, found = model.state_dict(), loaded.state_dict()
    assert set(expected) == set(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    ids = torch.tensor([[5, 9, 42, 7, 100, 3]])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)
    tokenizer, reference = AutoTokenizer.from_pretrained(folder), train_tokenizer()
    for text in TEXTS if family == "llama" else ():  # qwen2's class brings its own rules; the real model's test has them
        assert tokenizer(text)["input_ids"] == reference(text)["input_ids"]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.chat_template == reference.chat_template


def test_quantised_weights_are_dequantised_exactly(tmp_path: Path) -> None:
    model = tiny_model("qwen2")
    write_conversion(plan_conversion(write_gguf(tmp_path / "q8.gguf", model, Changes(quantized=True))), tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    kind = GGMLQuantizationType.Q8_0
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        expected = dequantize(quantize(values, kind), kind) if values.ndim == 2 else values
        assert torch.equal(found[name], torch.from_numpy(expected)), name


def test_config_and_generation_config(tmp_path: Path) -> None:
    write_conversion(plan_conversion(write_gguf(tmp_path / "tiny.gguf", tiny_model("qwen2"))), tmp_path)
    config = json.loads((tmp_path / "config.json").read_bytes())
    assert config["rms_norm_eps"] == 1e-6
    assert config["tie_word_embeddings"] is False
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    generation = json.loads((tmp_path / "generation_config.json").read_bytes())
    assert generation == {"eos_token_id": [2, 0], "pad_token_id": 0}  # token ids only; the file's own end token first


@pytest.mark.parametrize(
    ("pre", "text", "same_as"),
    [("qwen2", "tie\u0302\u0301ng Vie\u0323\u0302t", "tiếng Việt"), ("smollm", "12", None), ("gpt-2", "12", None)],
)
def test_pre_tokenizer_and_normaliser_come_from_the_table(tmp_path: Path, pre: str, text: str, same_as: str | None) -> None:
    write_conversion(plan_conversion(write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"), Changes(pre=pre))), tmp_path)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    if same_as is not None:
        assert text != same_as
        assert tokenizer.encode(text).ids == tokenizer.encode(same_as).ids
    else:
        pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        assert pieces == (["1", "2"] if pre == "smollm" else ["12"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (Changes(architecture="mamba"), "architectures llama, qwen2"),
        (Changes(pre="default"), "tokenizer.ggml.pre  expected one of"),
        (Changes(drop=("blk.1.ffn_up.weight", "blk.0.attn_q.weight")), "blk.0.attn_q.weight  expected this tensor"),
        (Changes(extra=("blk.0.attn_q.bias",)), "blk.0.attn_q.bias  expected no such tensor in llama"),
        (Changes(extra=("rope_freqs.weight",)), "no scaling of positions"),
        (Changes(metadata={"llama.rope.scaling.type": "yarn"}), "no scaling of positions"),
        (Changes(poison="blk.1.ffn_up.weight"), "expected finite weights"),
    ],
)
def test_what_can_not_be_converted_exactly_is_refused(tmp_path: Path, changes: Changes, words: str) -> None:
    model = tiny_model("llama")
    source = resolve_source(str(write_gguf(tmp_path / "tiny.gguf", model, changes)), cache=tmp_path / "cache")
    with pytest.raises(IntegrityError if changes.poison else ModelLoadError) as caught:
        prepare_folder(source)
    assert words in str(caught.value)
    assert not any((tmp_path / "cache").glob("models/*"))


def test_every_missing_tensor_is_named(tmp_path: Path) -> None:
    missing = ("blk.1.ffn_up.weight", "blk.0.attn_q.weight")
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"), Changes(drop=missing))
    with pytest.raises(ModelLoadError) as caught:
        plan_conversion(path)
    assert {problem.place for problem in caught.value.problems} == set(missing)


def test_a_file_that_is_cut_in_its_weights_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(ModelLoadError, match=r"found the file cut|damaged or cut"):
        plan_conversion(path)


def test_the_second_call_converts_nothing(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    folder = prepare_folder(resolve_source(str(path), cache=tmp_path / "cache"))
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    again = resolve_source(str(path), cache=tmp_path / "cache")
    assert again.folder == folder
    assert prepare_folder(again) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert verify_manifest(folder) == []


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest"])
def test_a_damaged_copy_is_converted_again(tmp_path: Path, damage: str) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    folder = prepare_folder(resolve_source(str(path), cache=tmp_path / "cache"))
    if damage == "cut":
        os.truncate(folder / "model.safetensors", 100)
    elif damage == "gone":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "MANIFEST.json").write_text("{}", encoding="utf-8")
    assert not is_complete(folder)
    said: list[str] = []
    mended = prepare_folder(resolve_source(str(path), cache=tmp_path / "cache"), lambda what, done, total: said.append(what))
    assert mended == folder
    assert verify_manifest(folder) == []
    assert any("damaged" in sentence for sentence in said)


def test_a_file_that_changed_after_it_was_resolved_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    source = resolve_source(str(path), cache=tmp_path / "cache")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    with pytest.raises(IntegrityError, match="expected sha256") as caught:
        prepare_folder(source)
    assert source.sha256 is not None
    assert source.sha256 in str(caught.value)


def test_two_processes_convert_once(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    command = [sys.executable, "-c", CONVERT.format(kill=False), str(path), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(process.communicate(timeout=900)[0].split() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert [answer[1] for answer in answers] == ["converted", "found"]
    assert answers[0][0] == answers[1][0]
    assert verify_manifest(Path(answers[0][0])) == []


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_kill_half_way_leaves_nothing_that_is_taken_for_a_model(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    cache = tmp_path / "cache"
    killed = subprocess.run([sys.executable, "-c", CONVERT.format(kill=True), str(path), str(cache)], timeout=900, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = list((cache / "models").iterdir())
    assert len(left) == 1
    assert left[0].name.endswith(".tmp")
    source = resolve_source(str(path), cache=cache)
    assert source.folder is None
    folder = prepare_folder(source)
    assert list((cache / "models").iterdir()) == [folder]
    assert verify_manifest(folder) == []
