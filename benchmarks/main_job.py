"""What the README says about speed and size, measured: tokens a CPU second against TRL on the same rows, and start-up times.

    .venv/bin/python benchmarks/main_job.py [--steps 6] [--json FILE]

One thread, SmolLM2-135M, r 16 on q/k/v/o, effective batch 8, no dropout, no gradient checkpointing; one side after the other,
medians of the steps after the first. Losses of both sides are compared: a speed that changes the loss is no speed. Shared machines
are noisy: read the ratio, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "examples" / "support-vi" / "data" / "train.jsonl"


def start_up(*arguments: str, runs: int = 5) -> float:
    """Median CPU seconds of a whole `loren` process."""
    seconds = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "loren", *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds)


def training(steps: int) -> dict[str, Any]:
    """Losses and tokens a CPU second of Loren and of TRL on the same rows, in the same process."""
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    from loren.cli.fetching import show_fetching
    from loren.config import RunConfig
    from loren.config.lora import LoraConfig
    from loren.config.train import TrainConfig
    from loren.data.load import load_rows
    from loren.models.chat import ChatRenderer
    from loren.models.lengths import render_rows
    from loren.models.loading import load_model, load_tokenizer, locate_base
    from loren.train.batches import StepSampler
    from loren.train.execution import LOSS_PATH, Execution
    from loren.train.metrics import MetricsFile, read_metrics
    from loren.train.progress import TrainingProgress
    from loren.train.trainer import LorenTrainer, as_dataset, peft_config, sft_config

    torch.set_num_threads(1)
    base = locate_base("embedded:smollm2-135m", None, trust_remote_code=False, fetching=show_fetching)
    tokenizer = load_tokenizer(base.folder)
    rows = render_rows(ChatRenderer(tokenizer, "smollm2"), load_rows(DATA).rows[: 8 * steps + 8], system_prompt="", file="train")
    config = RunConfig(
        lora=LoraConfig(lora_dropout=0.0), train=TrainConfig(max_steps=steps, eval_steps=10_000, save_steps=10_000, logging_steps=1)
    )
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:

        class Timed(SFTTrainer):
            """TRL as a notebook calls it, without gradient checkpointing; the order of rows is ours."""

            def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
                return StepSampler([len(item.rendered.input_ids) for item in rows], seed=42, rows_per_step=8)

        def run(name: str, micro: int) -> None:
            execution = Execution("cpu", "float32", 1, micro, 8 // micro, 1, LOSS_PATH, torch.__version__, "any")
            model = load_model(base.folder, dtype="float32")
            adapter = peft_config(config.lora, model, str(base.folder))
            args = sft_config(config, execution, Path(scratch) / name)
            args.eval_strategy = args.save_strategy = "no"
            if name == "loren":
                metrics = MetricsFile(Path(scratch) / "metrics.jsonl")
                metrics.start_after(0)
                LorenTrainer(
                    model, tokenizer, args, train_rows=rows, eval_rows=rows[:2], lora=adapter, save_total_limit=1,
                    outputs=(metrics, TrainingProgress(logging_steps=1000)),
                ).train()  # fmt: skip
                lines: list[Any] = read_metrics(Path(scratch) / "metrics.jsonl")
                results[name] = {
                    "losses": [line["loss"] for line in lines],
                    "tokens_per_cpu_s": statistics.median(line["tokens"] / line["cpu_seconds"] for line in lines[1:]),
                }
                return
            trainer = Timed(model=model, args=args, processing_class=tokenizer, train_dataset=as_dataset(rows), peft_config=adapter)
            marks: list[float] = []
            original = trainer.log

            def log(logs: dict[str, float], start_time: float | None = None) -> None:
                marks.append(time.process_time())
                original(logs, start_time)

            trainer.log = log
            trainer.train()
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            order = list(trainer._get_train_sampler())
            tokens = [sum(len(rows[i].rendered.input_ids) for i in order[8 * s : 8 * s + 8]) for s in range(steps)]
            rates = [tokens[s] / (marks[s] - marks[s - 1]) for s in range(1, steps)]
            results[name] = {"losses": losses, "tokens_per_cpu_s": statistics.median(rates)}

        run("trl", 1)
        run("loren", 8)
    pairs = zip(results["trl"]["losses"], results["loren"]["losses"], strict=True)
    results["largest_loss_difference"] = max(abs(one - other) for one, other in pairs)
    results["ratio"] = results["loren"]["tokens_per_cpu_s"] / results["trl"]["tokens_per_cpu_s"]
    return results


def main() -> None:
    """Measure and print; with --json also write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = {
        "help_cpu_s": start_up("--help"),
        "check_cpu_s": start_up("check", str(DATA)),
        "training": training(options.steps),
    }
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
