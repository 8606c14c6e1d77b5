"""The real embedded models: fetched where they are missing, converted, and asked. Minutes and gigabytes: `make test-slow`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loren.models.cache import cache_folder
from loren.models.card import folder_facts
from loren.models.convert import plan_conversion, prepare_folder
from loren.models.embedded import EmbeddedModel, embedded_models, ensure_file, find_embedded
from loren.models.gguf_file import read_header
from loren.models.source import resolve_source
from loren.provenance.manifest import verify_manifest

pytestmark = [pytest.mark.slow, pytest.mark.network]

TEXTS = (
    "Đơn hàng của mình bị trễ 3 ngày rồi, shop kiểm tra giúp mình với ạ?",
    "Phí giao hàng là 1.250.000₫ — có đúng không? Mình không don't know.",
    "tai khoan cua toi bi khoa\n\n  mk quen roi :((",
    '{"a": [1, 22, 333], "b": "ừm… ½ Ⅷ 😀"}',
)
MEASURE = """
import json, re, sys, time
from pathlib import Path
from loren.models.convert import plan_conversion, write_conversion
started = time.process_time()
write_conversion(plan_conversion(Path(sys.argv[1])), Path(sys.argv[2]))
# VmHWM: ru_maxrss of a fresh process starts at its parent's.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({"cpu_s": time.process_time() - started, "peak_kib": int(peak.group(1))}))
"""


@pytest.fixture(scope="module", params=[model.name for model in embedded_models()])
def model(request: pytest.FixtureRequest) -> EmbeddedModel:
    return find_embedded(request.param)


@pytest.fixture(scope="module")
def folder(model: EmbeddedModel) -> Path:
    return prepare_folder(resolve_source(model.id))


def test_the_copy_is_whole_and_says_what_it_is(model: EmbeddedModel, folder: Path) -> None:
    assert verify_manifest(folder) == []
    source = resolve_source(model.id)
    assert (source.kind, source.folder, source.license) == ("embedded", folder, "apache-2.0")
    assert source.origin_note == f"the dequantised {model.quantization} of {model.origin}"
    assert resolve_source(str(folder)) == source  # as an adapter's base_model_name_or_path names it
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_the_tables_facts_are_the_folders(model: EmbeddedModel, folder: Path) -> None:
    facts = folder_facts(folder, id=model.id, kind="embedded")
    table = model.facts()
    assert facts.tokenizer == table.tokenizer
    assert (facts.license, facts.languages) == (table.license, table.languages)
    assert (facts.architecture, facts.context_length) == (table.architecture, table.context_length)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size == pytest.approx(model.converted_bytes, rel=0.01)


def test_the_tokenizer_is_the_files(model: EmbeddedModel, folder: Path) -> None:
    header = read_header(ensure_file(model, cache_folder()))
    tokens = header.array("tokenizer.ggml.tokens")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert [tokens[number] for number in ids] == tokenizer.convert_ids_to_tokens(ids)
    for token in ("<|im_start|>", "<|im_end|>"):
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == header.integer("tokenizer.ggml.eos_token_id")
    assert tokenizer.pad_token_id == header.integer("tokenizer.ggml.padding_token_id")
    assert tokenizer.chat_template == header.text("tokenizer.chat_template")
    generation = json.loads((folder / "generation_config.json").read_bytes())
    assert set(generation) == {"bos_token_id", "eos_token_id", "pad_token_id"}


def test_the_weights_are_those_that_transformers_dequantises(model: EmbeddedModel, folder: Path) -> None:
    file = ensure_file(model, cache_folder())
    theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).state_dict()
    ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_answers_and_stops(model: EmbeddedModel, folder: Path) -> None:
    prompt = "Xin chào, bạn khoẻ không?" if "vi" in model.languages else "What is the capital of France?"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    turns = [{"role": "user", "content": prompt}]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = loaded.generate(**inputs, max_new_tokens=80, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert int(answer[-1]) == tokenizer.eos_token_id
    text = tokenizer.decode(answer, skip_special_tokens=True)
    assert ("Paris" in text) if "vi" not in model.languages else any(letter in text.lower() for letter in "ăâđêôơưạảấốệ")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_conversion_is_cheap(model: EmbeddedModel, tmp_path: Path) -> None:
    file = ensure_file(model, cache_folder())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file), str(tmp_path)], capture_output=True, text=True, timeout=600, check=True
    )
    cost = json.loads(done.stdout)
    assert cost["cpu_s"] < 60
    assert cost["peak_kib"] < 1024 * 1024
    plan = plan_conversion(file)
    assert (tmp_path / "model.safetensors").stat().st_size >= plan.weights_bytes
