"""Other ways to train, through the command line: environment names, QLoRA, all weights; and what stops it before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from project import loren, write_rows


def test_the_notebooks_names_work_without_a_config(tmp_path: Path, tiny_base: Path) -> None:
    write_rows(tmp_path / "data" / "train.jsonl", count=16)
    environment = {"MODEL_ID": str(tiny_base), "OUT_DIR": "run", "EPOCHS": "1", "LR": "0.01", "LORA_R": "4", "LORA_ALPHA": "8"}
    done = loren("train", cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())["r"] == 4


def test_broken_data_stops_training_before_anything_is_written(project: Path) -> None:
    path = project / "data" / "train.jsonl"
    path.write_text(path.read_text() + '{"messages": [{"role": "user", "content": "gọi 0912 345 678"}]}\n')
    done = loren("train", "run.toml", cwd=project)
    assert done.returncode == 3
    assert "train.jsonl:41" in done.stderr
    assert "0912" not in done.stderr
    assert not (project / "runs").exists()


def test_long_rows_are_an_error_or_a_ledger_never_a_cut(project: Path) -> None:
    path = project / "data" / "train.jsonl"
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "kiểm tra " * 200}]}
    path.write_text(path.read_text() + json.dumps(row, ensure_ascii=False) + "\n")
    done = loren("train", "run.toml", "--set", "data.max_length=300", cwd=project)
    assert done.returncode == 3
    assert "would fit all" in done.stderr
    done = loren("train", "run.toml", "--set", "data.max_length=300", "--set", "data.over_length=drop", cwd=project)
    assert done.returncode == 0, done.stderr
    report = json.loads((project / "runs" / "a" / "data" / "report.json").read_text())
    assert [(entry["line"], entry["tokens"] > 300) for entry in report["dropped"]] == [(41, True)]


def test_qlora_trains_for_real_on_the_cpu(project: Path) -> None:
    done = loren("train", "run.toml", "--set", "quantization.load_in_4bit=true", cwd=project)
    assert done.returncode == 0, done.stderr
    metadata = json.loads((project / "runs" / "a" / "adapter" / "training_metadata.json").read_text())
    assert (metadata["method"], metadata["quantization"]["type"]) == ("qlora", "nf4")
    assert metadata["loss"]["last"] < metadata["loss"]["first"]
    done = loren("generate", "runs/a", "--prompt", "x", "--max-new-tokens", "3", cwd=project)
    assert done.returncode == 0, done.stderr


def test_full_fine_tuning_saves_a_model_that_loads(project: Path) -> None:
    done = loren("train", "run.toml", "--set", "train.method=full", "--set", "train.learning_rate=1e-3", cwd=project)
    assert done.returncode == 0, done.stderr
    adapter = project / "runs" / "a" / "adapter"
    assert (adapter / "model.safetensors").is_file()
    assert json.loads((adapter / "training_metadata.json").read_text())["method"] == "full"
    done = loren("generate", "runs/a", "--prompt", "x", "--max-new-tokens", "3", cwd=project)
    assert done.returncode == 0, done.stderr


def test_no_connection_leaves_while_training(project: Path) -> None:
    """An audit hook sees every connect and name look-up of the whole process, TRL's and the hub client's too."""
    watcher = (
        "import sys, runpy\n"
        "def hook(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto') and 'AF_UNIX' not in str(args):\n"
        "        print('CONNECTION', event, args, file=sys.stderr)\n"
        "sys.addaudithook(hook)\n"
        "sys.argv = ['loren', 'train', 'run.toml', '--set', 'train.max_steps=2']\n"
        "runpy.run_module('loren', run_name='__main__')\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", watcher], cwd=project, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "CONNECTION" not in done.stderr
