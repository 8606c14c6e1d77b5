"""The main job through the command line, as subprocesses, on a tiny model: check, train, resume, generate, and the artifact."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from project import loren, make_project, write_rows

PLAIN_PEFT = """
import json, sys, torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
assert not any(name.startswith("loren") for name in sys.modules)
model = AutoPeftModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
inputs = tokenizer.apply_chat_template(
    [{"role": "user", "content": sys.argv[2]}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)
out = model.generate(**inputs, do_sample=False, max_new_tokens=12, pad_token_id=0, eos_token_id=tokenizer.eos_token_id)
print(json.dumps(tokenizer.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)))
"""


class Trained(NamedTuple):
    """A project with a finished run, and what the command said."""

    folder: Path
    run: Path
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Trained:
    folder = make_project(tmp_path_factory.mktemp("trained"), tiny_base)
    said = loren("train", "run.toml", "--set", "train.warmup_ratio=0.2", cwd=folder, environment={"HF_TOKEN": "hf_secretsecret"})
    assert said.returncode == 0, said.stderr
    return Trained(folder, folder / "runs" / "a", said)


def unfinished_copy(trained: Trained, folder: Path) -> Path:
    """The project as it was after the last checkpoint: no adapter, no record of a finished stage."""
    shutil.copytree(trained.folder, folder, dirs_exist_ok=True)
    run = folder / "runs" / "a"
    config = json.loads((run / "config.json").read_text())
    for key, path in (("output_dir", run), ("path", folder / "data" / "train.jsonl")):
        (config["values"] if key == "output_dir" else config["values"]["data"])[key] = str(path)
    (run / "config.json").write_text(json.dumps(config))
    shutil.rmtree(run / "adapter")
    (run / "stages.json").unlink()
    return run


def test_train_leaves_a_run_folder_that_says_how_it_came_to_be(trained: Trained) -> None:
    assert trained.said.stdout.splitlines()[-1] == 'next: loren generate runs/a --prompt "..."'
    assert "parameters are trained (" in trained.said.stderr
    assert "validation loss" in trained.said.stderr
    run = trained.run
    config = json.loads((run / "config.json").read_text())
    assert config["origins"]["train.warmup_ratio"] == "--set"
    assert config["execution"]["loss_path"] == "packed_label_positions"
    metadata = json.loads((run / "adapter" / "training_metadata.json").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(1, 10))
    assert metadata["loss"] == {
        "first": metrics[0]["loss"], "last": metrics[-1]["loss"], "best": min(line["loss"] for line in metrics),
        "eval_last": metrics[-1]["eval_loss"], "eval_best": min(line["eval_loss"] for line in metrics if line["eval_loss"]),
    }  # fmt: skip
    assert metadata["dataset"]["version"] == "2026.1"
    assert metadata["rows"]["train"] + metadata["rows"]["validation"] == 40
    assert metadata["command"][:3] == ["loren", "train", "run.toml"]
    assert metadata["license"] == "Apache-2.0"
    assert "secretsecret" not in "".join(path.read_text(errors="replace") for path in run.rglob("*") if path.is_file())
    front = yaml.safe_load((run / "adapter" / "README.md").read_text().split("---")[1])
    assert front["library_name"] == "peft"
    assert front["license"] == "apache-2.0"
    assert not list(run.rglob("training_args.bin"))
    stages = json.loads((run / "stages.json").read_text())
    assert stages["stages"]["train"]["verdict"] == "done"


def test_training_twice_gives_the_same_bytes(trained: Trained, project: Path) -> None:
    again = loren("train", "run.toml", "--set", "train.warmup_ratio=0.2", cwd=project)
    assert again.returncode == 0, again.stderr
    assert_equal_runs(trained.run, project / "runs" / "a")


def test_resumed_equals_uninterrupted_past_a_corrupt_checkpoint(trained: Trained, tmp_path: Path) -> None:
    run = unfinished_copy(trained, tmp_path)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["checkpoint-6", "checkpoint-9"]
    weights = run / "checkpoints" / "checkpoint-9" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    resumed = loren("train", "run.toml", "--resume", "--set", "train.warmup_ratio=0.2", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "skipped a corrupt checkpoint: checkpoint-9  adapter_model.safetensors" in resumed.stderr
    assert "resume from checkpoint-6" in resumed.stderr
    assert_equal_runs(trained.run, run)


def assert_equal_runs(left: Path, right: Path) -> None:
    """Bit for bit: weights, their configuration, and every figure of every step that is not a time."""
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (left / "adapter" / file).read_bytes() == (right / "adapter" / file).read_bytes(), file
    keys = ("step", "loss", "eval_loss", "grad_norm", "learning_rate", "tokens", "label_tokens")
    steps = [
        [{key: line[key] for key in keys} for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]
        for run in (left, right)
    ]
    assert steps[0] == steps[1]


def test_a_run_is_never_overwritten_and_resuming_refuses_other_inputs(trained: Trained) -> None:
    same = ("--set", "train.warmup_ratio=0.2")
    again = loren("train", "run.toml", *same, cwd=trained.folder)
    assert (again.returncode, "--resume continues it" in again.stderr) == (2, True)
    done = loren("train", "run.toml", *same, "--resume", cwd=trained.folder)
    assert (done.returncode, "all is done" in done.stdout) == (0, True)
    other = loren("train", "run.toml", *same, "--resume", "--set", "seed=7", cwd=trained.folder)
    assert (other.returncode, "seed  the run has 42, this command 7" in other.stderr) == (2, True)
    path = trained.folder / "data" / "train.jsonl"
    before = path.read_bytes()
    write_rows(path, count=44)
    changed = loren("train", "run.toml", *same, "--resume", cwd=trained.folder)
    path.write_bytes(before)
    assert (changed.returncode, "another sha256" in changed.stderr) == (2, True)


def test_the_adapter_loads_in_plain_peft_by_the_base_that_it_names(trained: Trained, tiny_base: Path) -> None:
    project, adapter = trained.folder, trained.run / "adapter"
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert config["target_modules"] == sorted(config["target_modules"])
    plain = subprocess.run(
        [sys.executable, "-c", PLAIN_PEFT, str(adapter), "đơn hàng"],
        capture_output=True, text=True, timeout=900, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert plain.returncode == 0, plain.stderr
    ours = loren("generate", "runs/a", "--prompt", "đơn hàng", "--max-new-tokens", "12", "--format", "json", cwd=project)
    assert json.loads(ours.stdout)["answers"][0]["text"] == json.loads(plain.stdout)
    base = loren(
        "generate", "runs/a", "--prompt", "đơn hàng", "--max-new-tokens", "12", "--variant", "base", "--format", "json", cwd=project
    )
    assert json.loads(base.stdout)["answers"][0]["text"] != json.loads(plain.stdout)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("flip adapter_model.safetensors", "adapter_model.safetensors"),
        ("flip tokenizer.json", "tokenizer.json"),
        ("flip MANIFEST.json", "MANIFEST.json"),
        ("add evil.py", "evil.py"),
        ("remove chat_template.jinja", "chat_template.jinja"),
    ],
)
def test_a_damaged_adapter_is_refused_with_exit_5(trained: Trained, tmp_path: Path, damage: str, named: str) -> None:
    shutil.copytree(trained.run, tmp_path / "run")
    verb, name = damage.split()
    path = tmp_path / "run" / "adapter" / name
    if verb == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(bytes(data))
    elif verb == "add":
        path.write_text("print('boo')")
    else:
        path.unlink()
    done = loren("generate", tmp_path / "run", "--prompt", "x", "--max-new-tokens", "2", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert named in done.stderr


def test_an_edited_card_is_no_damage_and_another_base_is(trained: Trained, tmp_path: Path, tiny_base: Path) -> None:
    shutil.copytree(trained.run, tmp_path / "run")
    (tmp_path / "run" / "adapter" / "README.md").write_text("# my words")
    done = loren("generate", tmp_path / "run", "--prompt", "x", "--max-new-tokens", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    from tiny import tiny_llama

    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    tiny_llama(512, seed=9).save_pretrained(other)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["values"]["base_model"] = str(other)
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    done = loren("generate", tmp_path / "run", "--prompt", "x", "--max-new-tokens", "2", cwd=tmp_path)
    assert done.returncode == 5
    assert "not the one that the adapter was trained on" in done.stderr


def test_generate_answers_a_file_in_order_with_a_sidecar(trained: Trained, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "b", "prompt": "đơn hàng của mình ở đâu"},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "ignored"}]},
        {"id": 7, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "mật khẩu"}]},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    done = loren("generate", trained.run, "--prompts", "p.jsonl", "--out", "o.jsonl", "--max-new-tokens", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == ["b", "2", "7"]
    assert set(answers[0]) == {"id", "text", "finish_reason", "prompt_tokens", "completion_tokens", "latency_s", "requests"}
    sidecar = json.loads((tmp_path / "o.meta.json").read_text())
    assert sidecar["decoding"] == {"do_sample": False, "repetition_penalty": 1.0, "num_beams": 1}
    assert sidecar["cut"] == sum(answer["finish_reason"] == "length" for answer in answers)
    if sidecar["cut"]:
        assert "were cut at max_new_tokens" in done.stderr


def test_bad_prompts_are_all_named(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(
        '{"prompt": ""}\n[1]\n{"messages": []}\n{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n'
    )
    done = loren("generate", trained.run, "--prompts", "p.jsonl", "--out", "o.jsonl", cwd=tmp_path)
    assert done.returncode == 3
    assert all(place in done.stderr for place in ("p.jsonl:1", "p.jsonl:2", "p.jsonl:3", "more than once"))
    assert not (tmp_path / "o.jsonl").exists()
