"""A project around the tiny model, and the command line as a user's shell calls it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path


def loren(
    *arguments: str | Path, cwd: Path, environment: dict[str, str] | None = None, timeout: int = 300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loren", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def write_rows(path: Path, count: int = 40) -> None:
    rng = random.Random(0)
    words = ["đơn", "hàng", "tài", "khoản", "thanh", "toán", "giao", "muộn", "mật", "khẩu", "kiểm", "tra", "mã"]
    lines = []
    for index in range(count):
        question = " ".join(rng.choice(words) for _ in range(6)) + f" {index}"
        reply = " ".join(rng.choice(words) for _ in range(5))
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        lines.append(json.dumps({"situation": f"s{index // 2}", "messages": messages}, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_project(folder: Path, base: Path) -> Path:
    write_rows(folder / "data" / "train.jsonl")
    (folder / "data" / "DATASET.toml").write_text('version = "2026.1"\n')
    (folder / "run.toml").write_text(
        f'base_model = "{base}"\noutput_dir = "runs/a"\nadapter_license = "Apache-2.0"\n'
        "[train]\nmax_steps = 9\nsave_steps = 3\neval_steps = 4\nlearning_rate = 1e-2\n[lora]\nlora_dropout = 0.1\n",
        encoding="utf-8",
    )
    return folder
