"""`loren train` refuses before the weights are loaded where memory or disk can't suffice; limits and disks are real ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from project import loren, make_project
from small_disk import SmallDisk

LIMITED = """
import resource, sys
import psutil
import loren.train.recipe
from loren.cli.main import run
room = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + room, resource.RLIM_INFINITY))
sys.exit(run(["train", "run.toml", *sys.argv[2:]]))
"""


def large_base(folder: Path, tiny_base: Path) -> Path:
    """67 million weights that take no room: a model's real header over a hole in the file."""
    shutil.copytree(tiny_base, folder)
    config = LlamaConfig(
        vocab_size=512, hidden_size=1024, intermediate_size=4096, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=8,
        max_position_embeddings=2048, tie_word_embeddings=False, bos_token_id=None, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    with torch.device("meta"):
        weights = LlamaForCausalLM(config).state_dict()
    entries, end = {}, 0
    for name, tensor in weights.items():
        size = tensor.numel() * 2
        entries[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(entries).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's memory is POSIX, its effect on what is free Linux's")
def test_too_little_memory_is_refused_with_the_sum_and_a_change_that_fits(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path / "project", large_base(tmp_path / "large", tiny_base))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "700000000", "--set", "train.method=full", "--set", "train.dtype=float32"],
        cwd=project, env={**os.environ, "NO_COLOR": "1", "LOREN_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    lines = done.stderr[done.stderr.index("error:") :].splitlines()
    assert lines[0].startswith("error: memory can't hold this run: it needs about 1.")
    assert "0.7 GB can be had" in lines[0] or "MB can be had" in lines[0]
    assert lines[1].strip() == "0.3 GB  the base model's weights"
    assert lines[2].strip() == "0.8 GB  trained parameters, gradients and AdamW's moments"
    assert "tokens)" in lines[3]
    assert lines[-1] == 'hint: the smallest change that fits: train.method = "lora"'
    assert [path.name for path in (project / "runs" / "a").iterdir()] == [".lock"]  # nothing that a new start would mind


def test_too_little_disk_is_refused_before_the_first_step(tmp_path: Path, tiny_base: Path, small_disk: SmallDisk) -> None:
    project = make_project(tmp_path, tiny_base)
    small_disk.resize("256k")
    (project / "runs").symlink_to(small_disk.path)
    done = loren("train", "run.toml", cwd=project, environment={"LOREN_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 4, done.stderr
    lines = done.stderr[done.stderr.index("error:") :].splitlines()
    assert lines[0].startswith(f"error: the disk of {project / 'runs' / 'a'} can't hold this run: it needs about ")
    assert lines[0].endswith(" and 0.3 MB can be had")
    assert lines[1].endswith("MB  3 checkpoint(s), the one being written included")
    assert lines[2].endswith("MB  the adapter")
    assert lines[-1].startswith("hint: free ")
    assert lines[-1].endswith(" MB there, or put output_dir on another disk")
    assert "step 1/9" not in done.stderr


def test_doctor_is_honest_without_disk_and_memory(tmp_path: Path, small_disk: SmallDisk) -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (5_500_000_000, resource.RLIM_INFINITY))\n"
        "sys.modules['torch'] = None\n"  # not the point here, and slow
        "from loren.cli.main import run\n"
        "sys.exit(run(['doctor']))\n"
    )
    cache = small_disk.path / "loren"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "NO_COLOR": "1", "LOREN_CACHE": str(cache)},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    lines = done.stderr.splitlines()
    assert "  memory  expected 6 GB, found 5.5 GB" in lines
    assert f"  cache  expected 3 GB free at {cache}, found 0.0 GB" in lines
    assert lines[0] == "error: 3 problem(s) on this machine stop training"  # torch is the third
    assert "set LOREN_CACHE to a folder on another disk" in done.stdout
