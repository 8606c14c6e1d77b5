"""What a sweep costs: CPU seconds of `loren sweep` against its parts, each measured in processes of their own.

    .venv/bin/python benchmarks/sweep.py [--base tiny|embedded:smollm2-135m] [--steps 8] [--json FILE]

The bound is the sum of the trainings and of the adapters' answers, plus one of everything shared (imports, check, split, rendering,
base), plus 5 %. A training alone is `loren train` less what is shared; answers alone are a process that loads the adapter and
answers the test rows, less one that only loads it. Shared machines are noisy: read the ratio, and measure again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HELPDESK = ROOT / "tests" / "tasks" / "helpdesk"
PRESETS = ("a", "b", "c")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "NO_COLOR": "1"}

SHARED = """
import sys
from loren.cli.fetching import show_fetching
from loren.config import load_config
from pathlib import Path
config = load_config(Path("run.toml"), environment={}).config
from loren.train import recipe
from loren.train.inputs import prepare, read_data
prepared = prepare(config, read_data(config, say=print), fetching=show_fetching)
recipe.load_base(config, prepared.base, "float32")
"""
ANSWERS = """
import sys
from pathlib import Path
from loren.cli.fetching import show_fetching
from loren.evaluate.predict import predict
from loren.evaluate.subjects import open_run, open_trained, require_task
from loren.evaluate.training_rows import training_rows
from loren.evaluate.yardstick import prompt_of
from loren.runs.folder import RunFolder
trained = open_trained(RunFolder(Path(sys.argv[1])))
rows = training_rows(trained.run, trained.values, require_task(trained))
subject = open_run(trained, "adapter", batch_size=64, fetching=show_fetching)
if sys.argv[2] == "ask":
    predict(subject, [prompt_of(row) for row in rows.test], max_new_tokens=None, say=print)
"""


def cpu_seconds(*command: str, cwd: Path) -> float:
    """User and system seconds of a whole process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=cwd, env=ENVIRONMENT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def make_project(folder: Path, base: str, steps: int) -> None:
    """The English task with a third of its rows for the comparison."""
    shutil.copytree(HELPDESK, folder, dirs_exist_ok=True)
    if base == "tiny":
        sys.path.insert(0, str(ROOT / "tests"))
        from tiny import write_tiny_base

        base = str(write_tiny_base(folder / "base"))
    (folder / "run.toml").write_text(
        f'base_model = "{base}"\ntask = "task"\noutput_dir = "runs/a"\n[data]\ntest_ratio = 0.3\n'
        f"[train]\nmax_steps = {steps}\nlearning_rate = 1e-3\neval_steps = 1000\nsave_steps = 1000\n",
        encoding="utf-8",
    )


def measure(folder: Path) -> dict[str, Any]:
    """The sweep, then its parts."""
    sweep = cpu_seconds("-m", "loren", "sweep", "run.toml", "--no-golden", cwd=folder)
    shared = cpu_seconds("-c", SHARED, cwd=folder)
    trainings: dict[str, float] = {}
    answers: dict[str, float] = {}
    opening: dict[str, float] = {}
    for name in PRESETS:
        run = f"runs/alone-{name}"
        overrides = [f"lora.preset={name}", f"output_dir={run}"]
        trainings[name] = cpu_seconds("-m", "loren", "train", "run.toml", *(f"--set={each}" for each in overrides), cwd=folder)
        opening[name] = cpu_seconds("-c", ANSWERS, run, "open", cwd=folder)
        answers[name] = cpu_seconds("-c", ANSWERS, run, "ask", cwd=folder)
    trained, answered = sum(trainings.values()) - 3 * shared, sum(answers.values()) - sum(opening.values())
    bound = trained + answered + shared
    return {
        "sweep_cpu_s": sweep,
        "shared_cpu_s": shared,
        "trainings_cpu_s": trainings,
        "answers_cpu_s": answers,
        "opening_cpu_s": opening,
        "separately_cpu_s": sum(trainings.values()) + sum(answers.values()),
        "bound_cpu_s": bound,
        "ratio_to_bound": sweep / bound,
        "target": 1.05,
    }


def main() -> None:
    """Measure and print; with --json also write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_project(Path(scratch), options.base, options.steps)
        figures = {"base": options.base, "steps": options.steps, **measure(Path(scratch))}
    print(json.dumps(figures, indent=2))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
