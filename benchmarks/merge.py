"""What merging costs, and how far a right merge is from wrong ones: the figures behind docs/decisions/0002-merge-thresholds.md.

    .venv/bin/python benchmarks/merge.py RUN [--types F32 BF16 F16] [--cases right ...] [--no-answers] [--json FILE]

RUN is a trained run with a LoRA adapter. Its base is written in each type, merged in a process of its own (whose peak memory is
read), and proven; then adapters of wrong scale, a module left out and the base itself are put through the same proof.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ALONE = """
import sys, time
from pathlib import Path
from loren.provenance.machine import forget_peak_memory, peak_memory_bytes
from loren.weights.merge import apply_merge
from loren.weights.plan import plan_merge
base, adapter, folder = map(Path, sys.argv[1:4])
plan = plan_merge(base, adapter)
forget_peak_memory()
before, started = peak_memory_bytes(), time.process_time()
apply_merge(plan, folder)
print(before, peak_memory_bytes(), plan.largest_bytes, plan.total_bytes, time.process_time() - started)
"""
"""Prints memory before and at its peak, the largest tensor and all of them in bytes, and CPU seconds."""


def write_as(base: Path, folder: Path, kind: str) -> Path:
    """The base's folder with its floats in another type."""
    from loren.models.tensor_files import TORCH_DTYPES, read_folder, write_file

    folder.mkdir()
    for path in base.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name not in {"MANIFEST.json", "model.safetensors.index.json"}:
            shutil.copy(path, folder / path.name)
    tensors = read_folder(base)

    def cast(tensor: Any) -> Any:
        return (tensor.read(start, stop).to(TORCH_DTYPES[kind]) for start, stop in tensor.slices())

    parts = {name: (tensor.layout._replace(dtype=kind), cast(tensor)) for name, tensor in tensors.items()}
    write_file(folder / "model.safetensors", parts)
    return folder


def merge_alone(base: Path, adapter: Path, folder: Path) -> dict[str, float]:
    folder.mkdir()
    command = [sys.executable, "-c", ALONE, str(base), str(adapter), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, peak, largest, total, seconds = done.stdout.split()
    return {
        "before_mb": int(before) / 1e6,
        "peak_mb": int(peak) / 1e6,
        "largest_tensor_mb": int(largest) / 1e6,
        "model_mb": int(total) / 1e6,
        "cpu_seconds": round(float(seconds), 2),
    }


def scaled(scale: float) -> Callable[[Any], Any]:
    return lambda plan: replace(plan, ops={n: replace(op, scale=op.scale * scale) for n, op in plan.ops.items()})


def left_out(plan: Any) -> Any:
    first = next(iter(plan.ops))
    return replace(plan, ops={name: op for name, op in plan.ops.items() if name != first})


CASES: dict[str, Callable[[Any], Any]] = {
    "right": lambda plan: plan,
    "x 1.0001": scaled(1.0001),
    "x 1.001": scaled(1.001),
    "x 1.01": scaled(1.01),
    "one module left out": left_out,
    "merged = base": lambda plan: replace(plan, ops={}),
}


def measure(run: Path, kind: str, folder: Path, cases: list[str], *, with_answers: bool) -> dict[str, Any]:
    from loren.cli.fetching import show_fetching
    from loren.evaluate.subjects import open_trained
    from loren.models.loading import locate_base
    from loren.pipeline.merge import proof_prompts
    from loren.runs.folder import RunFolder
    from loren.weights.answers import verify_answers
    from loren.weights.merge import apply_merge
    from loren.weights.plan import plan_merge
    from loren.weights.verify import verify_tensors

    trained = open_trained(RunFolder(run))
    source = locate_base(trained.values["base_model"], None, trust_remote_code=False, fetching=show_fetching)
    base = write_as(source.folder, folder / "base", kind)
    found: dict[str, Any] = {"type": kind, "merge": merge_alone(base, run / "adapter", folder / "right")}
    plan = plan_merge(base, run / "adapter")
    for name in cases:
        change = CASES[name]
        target = folder / name.replace(" ", "-")
        if name != "right":  # that one was merged above
            target.mkdir()
            apply_merge(change(plan), target)
        started = time.process_time()
        tensors = verify_tensors(plan, target)
        case: dict[str, Any] = {"failed": tensors.failed, "seconds": round(time.process_time() - started, 1), **tensors.figures}
        if with_answers:
            started = time.process_time()
            answers = verify_answers(plan, target, proof_prompts(trained), batch_size=64)
            case |= {"failed_answers": answers.failed, "answer_seconds": round(time.process_time() - started, 1), **answers.figures}
        found[name] = case
        print(f"{kind} {name}: {json.dumps(case)}", flush=True)
        shutil.rmtree(target)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--types", nargs="+", default=["F32", "BF16", "F16"], choices=["F32", "BF16", "F16"])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--no-answers", action="store_true", help="tensors only")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    for kind in arguments.types:
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(arguments.run, kind, Path(folder), arguments.cases, with_answers=not arguments.no_answers))
        print(f"{kind} merge: {json.dumps(results[-1]['merge'])}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
