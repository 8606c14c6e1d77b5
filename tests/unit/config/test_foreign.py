"""Axolotl's and LLaMA-Factory's configurations in Loren's terms; every key of theirs is accounted for.

The files are written here, with the keys that examples in those projects' repositories use: `examples/llama-3/lora-1b.yml` and
`instruct-lora-8b.yml` of axolotl-ai-cloud/axolotl, `examples/train_lora/qwen3_lora_sft.yaml` and
`examples/train_qlora/qwen3_lora_sft_otfq.yaml` of hiyouga/LLaMA-Factory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from loren.config import load_config
from loren.config.foreign import _SPECIAL, Tool, Translation, run_toml, translate
from loren.config.load import known_keys
from loren.config.plain_yaml import read_yaml
from loren.errors import ConfigError

AXOLOTL = """\
base_model: NousResearch/Meta-Llama-3-8B-Instruct
model_type: LlamaForCausalLM
tokenizer_type: AutoTokenizer
trust_remote_code: false
adapter: lora
lora_model_dir:
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
lora_fan_in_fan_out:
load_in_8bit: true
load_in_4bit: false
strict: false
chat_template: llama3
datasets:
  - path: rows/train.jsonl
    type: chat_template
    field_messages: messages
    roles: {user: [user], assistant: [assistant]}
dataset_prepared_path:
val_set_size: 0.05
output_dir: ./outputs/lora-out
sequence_len: 4096
sample_packing: false
pad_to_sequence_len: true
wandb_project: customers-acme
wandb_entity:
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 4
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 2e-4
train_on_inputs: false
group_by_length: false
bf16: auto
fp16:
tf32: false
gradient_checkpointing: true
early_stopping_patience:
resume_from_checkpoint:
local_rank:
logging_steps: 1
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
debug:
deepspeed:
weight_decay: 0.0
fsdp:
fsdp_config:
special_tokens:
  pad_token: <|end_of_text|>
"""
QLORA = """\
base_model: ./mini
adapter: qlora
load_in_4bit: true
datasets:
  - path: hub-owner/rows
    type: alpaca
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj, v_proj]
sample_packing: true
optimizer: paged_adamw_32bit
lr_scheduler: rex
learning_rate: 0.0001
micro_batch_size: 1
bf16: true
save_steps: 0.25
excess_length_strategy: truncate
hub_token: hf_secretsecret
made_up_key: 1
"""
LLAMAFACTORY = """\
model_name_or_path: Qwen/Qwen3-4B-Instruct-2507
trust_remote_code: true
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 12
lora_target: all
dataset: identity
template: qwen3_nothink
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4
output_dir: saves/qwen3-4b/lora/sft
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
per_device_train_batch_size: 1
learning_rate: 1.0e-4
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""
BITS = LLAMAFACTORY + "quantization_bit: 4\nquantization_method: bnb\nlora_alpha: 20\nneat_packing: true\nlora_dropout: '0.1'\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "theirs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(result: Translation, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    path = folder / "run.toml"
    path.write_text(run_toml(result, "theirs.yaml"), encoding="utf-8")
    return load_config(path, environment={}).config


@pytest.mark.parametrize(
    ("tool", "text"), [("axolotl", AXOLOTL), ("axolotl", QLORA), ("llamafactory", LLAMAFACTORY), ("llamafactory", BITS)]
)
def test_every_key_is_accounted_for_once_and_the_result_loads(tool: Tool, text: str, tmp_path: Path) -> None:
    result = translate(write(tmp_path, text), tool, tmp_path / "project")
    loaded(result, tmp_path / "project")
    told = [entry.key for entry in (*result.translated, *result.without, *result.unset) if "[" not in entry.key]
    keys = list(yaml.safe_load(text))
    assert len(keys) >= 17
    assert sorted(told) == sorted(keys)
    assert all(entry.note for entry in (*result.translated, *result.without, *result.defaults))
    assert set(result.values) <= set(known_keys())


def test_axolotls_values_and_defaults_become_lorens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = translate(write(tmp_path, AXOLOTL), "axolotl", tmp_path / "project")
    config = loaded(result, tmp_path / "project")
    assert config.base_model == "NousResearch/Meta-Llama-3-8B-Instruct"
    assert (config.lora.r, config.lora.lora_alpha, config.lora.lora_dropout, config.lora.target_modules) == (
        32,
        16,
        0.05,
        "all-linear",
    )
    assert (config.data.max_length, config.data.eval_ratio, config.data.over_length) == (4096, 0.05, "drop")
    assert config.data.path.resolve() == tmp_path / "rows" / "train.jsonl"
    assert config.output_dir.resolve() == tmp_path / "outputs" / "lora-out"
    train = config.train
    assert (train.learning_rate, train.num_train_epochs, train.lr_scheduler_type) == (2e-4, 4.0, "cosine")
    assert (train.per_device_train_batch_size, train.gradient_accumulation_steps, train.gradient_checkpointing) == (2, 4, True)
    assert (train.dtype, train.method, train.logging_steps) == ("auto", "lora", 1)
    reasons = dict(result.without)
    assert reasons["load_in_8bit"].startswith("not offered")
    assert reasons["optimizer"] == "the optimiser is torch's AdamW with its state in 32 bits"
    assert reasons["wandb_project"].startswith("trackers are chosen")
    assert {"datasets[0].type", "datasets[0].field_messages", "datasets[0].roles"} <= reasons.keys()
    assert dict(result.defaults)["data.over_length"] == 'Axolotl\'s default "drop" is written; Loren\'s is "error"'
    assert {entry.key for entry in result.unset} >= {"lora_model_dir", "fp16", "deepspeed"}


def test_what_loren_does_not_offer_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    result = translate(write(tmp_path, QLORA), "axolotl", tmp_path / "project")
    config = loaded(result, tmp_path / "project")
    assert config.quantization.load_in_4bit
    assert config.train.dtype == "bfloat16"
    assert config.lora.lora_dropout == 0.0
    assert config.data.max_length == 512
    reasons = dict(result.without)
    assert {
        "sample_packing",
        "lr_scheduler",
        "save_steps",
        "excess_length_strategy",
        "datasets",
        "hub_token",
        "made_up_key",
    } <= reasons.keys()
    assert "'linear', 'cosine'" in reasons["lr_scheduler"]
    assert reasons["made_up_key"] == "Loren's table of Axolotl's keys does not know it"
    assert "data set of the hub" in reasons["datasets"]
    assert "secretsecret" not in run_toml(result, "theirs.yaml") + repr(result)


def test_axolotl_without_an_adapter_trains_all_weights(tmp_path: Path) -> None:
    text = QLORA.replace("adapter: qlora\nload_in_4bit: true\n", "adapter:\n")
    result = translate(write(tmp_path, text), "axolotl", tmp_path / "project")
    assert loaded(result, tmp_path / "project").train.method == "full"
    assert "train.method" in dict(result.defaults)


def test_llamafactorys_values_and_defaults_become_lorens(tmp_path: Path) -> None:
    result = translate(write(tmp_path, LLAMAFACTORY), "llamafactory", tmp_path / "project")
    config = loaded(result, tmp_path / "project")
    assert config.trust_remote_code
    assert (config.lora.r, config.lora.lora_alpha, config.lora.lora_dropout, config.lora.target_modules) == (
        12,
        24,
        0.0,
        "all-linear",
    )
    train = config.train
    assert (train.learning_rate, train.num_train_epochs, train.warmup_ratio, train.dtype) == (1e-4, 3.0, 0.1, "bfloat16")
    assert (train.per_device_train_batch_size, train.gradient_accumulation_steps, train.save_steps) == (1, 1, 500)
    assert train.gradient_checkpointing
    assert (config.data.max_length, config.data.eval_ratio) == (2048, 0.1)
    assert "dataset_info.json" in dict(result.without)["dataset"]
    assert "cuts rows at cutoff_len" in dict(result.defaults)["data.over_length"]
    bits = translate(write(tmp_path, BITS), "llamafactory", tmp_path / "project")
    config = loaded(bits, tmp_path / "project")
    assert (config.quantization.load_in_4bit, config.lora.lora_alpha, config.lora.lora_dropout) == (True, 20, 0.1)
    assert "neat_packing" in dict(bits.without)


HOSTILE = {
    "aliases": ("a: &a [1, 2]\nb: [*a, *a]\n", "expected YAML without aliases, found one at line 2"),
    "a merge": ("a: &a {x: 1}\n<<: *a\n", "without aliases"),
    "a tag": ("a: !!python/object/apply:os.system ['true']\n", "expected plain YAML"),
    "deep": ("a: " + "[" * 40 + "]" * 40, "found more"),
    "wide": ("a: [" + "1, " * 20_000 + "1]", "found more"),
    "a key twice": ("lora_r: 8\nlora_r: 16\n", "without repeated keys, found something else at line 1"),
    "no keys": ("- 1\n", "expected YAML with keys, found list"),
    "keys of another kind": ("1: 2\n", "expected keys of text"),
    "not YAML": ("a: [\n", "expected plain YAML"),
    "too large": ("# " + "x" * 1_100_000, "expected at most 1048576 bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused(case: str, tmp_path: Path) -> None:
    text, words = HOSTILE[case]
    with pytest.raises(ConfigError) as caught:
        read_yaml(write(tmp_path, text))
    assert words in str(caught.value)


def test_a_key_or_value_cannot_write_toml(tmp_path: Path) -> None:
    text = 'output_dir: "a\\"\\nseed = 7\\n#"\n"x\\nseed = 8": 1\nlearning_rate: 0.1\n'
    result = translate(write(tmp_path, text), "axolotl", tmp_path / "project")
    assert loaded(result, tmp_path / "project").seed == 42


def test_the_tables_name_only_what_exists() -> None:
    tables = tomllib.loads(resources.files("loren.config").joinpath("foreign.toml").read_text(encoding="utf-8"))
    assert set(tables) == {"axolotl", "llamafactory"}
    used: set[str] = set()
    for table in tables.values():
        known = set(known_keys())
        assert {*table["same"].values(), *table["defaults"], *table["noted"]} <= known
        assert len({*table["same"], *table["special"], *table["without"]}) == sum(
            len(table[part]) for part in ("same", "special", "without")
        )
        used.update(table["special"].values())
    assert used == set(_SPECIAL)


def init(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", "init", *arguments],
        cwd=cwd, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


def test_the_command_writes_run_toml_and_tells_every_key(tmp_path: Path) -> None:
    write(tmp_path, AXOLOTL)
    done = init("mine", "--from-axolotl", "theirs.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["run.toml"]
    assert load_config(tmp_path / "mine" / "run.toml", environment={}).config.lora.r == 32
    assert done.stdout.splitlines()[-1] == "next: cd mine && loren check ../rows/train.jsonl && loren train run.toml"
    for key in yaml.safe_load(AXOLOTL):
        assert f"  {key} " in done.stdout, key
    machine = init("also", "--from-axolotl", "theirs.yaml", "--format", "json", cwd=tmp_path)
    data = json.loads(machine.stdout)
    assert {"translated", "without_a_counterpart", "default_that_differs", "without_a_value", "next"} <= data.keys()
    again = init("mine", "--from-axolotl", "theirs.yaml", cwd=tmp_path)
    assert (again.returncode, "holds 'run.toml'" in again.stderr) == (2, True)
    both = init("x", "--from-axolotl", "theirs.yaml", "--from-llamafactory", "theirs.yaml", cwd=tmp_path)
    assert (both.returncode, "not both" in both.stderr) == (2, True)
    gone = init("x", "--from-llamafactory", "gone.yaml", cwd=tmp_path)
    assert (gone.returncode, "gone.yaml: expected a YAML file" in gone.stderr, (tmp_path / "x").exists()) == (2, True, False)
