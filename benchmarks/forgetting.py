"""What `data.replay` changes: small runs without and with general rows, and the general questions before and after.

    .venv/bin/python benchmarks/forgetting.py [--replay 0 0.1 0.3] [--epochs 3] [--base NAME] [--project DIR] [--bare] [--json FILE]

Each run is trained from the same base, seed and task; only the general rows differ. By default: SmolLM2-135M and the English task
under tests/tasks/helpdesk, whose system prompt is in training; with --bare it is not, so that a general question looks like one of
the task. SmolLM2 knows no Vietnamese: read its English figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parents[1]


def measure(folder: Path, replay: float, arguments: argparse.Namespace) -> dict[str, Any]:
    from loren.cli.fetching import show_fetching
    from loren.config import load_config
    from loren.evaluate.arms import Asking, LoadedWeights
    from loren.evaluate.guard import measure_forgetting
    from loren.evaluate.subjects import open_trained
    from loren.train.recipe import train

    output = folder / "runs" / f"replay-{replay:g}"
    overrides = (
        f'base_model="{arguments.base}"',
        f'output_dir="{output}"',
        f"data.replay={replay}",
        f"train.num_train_epochs={float(arguments.epochs)}",
        f"train.learning_rate={arguments.lr}",
        "train.gradient_accumulation_steps=4",
        "train.eval_steps=10000",
        "train.save_steps=10000",
    )
    resolved = load_config(folder / "run.toml", environment={}, overrides=overrides)
    started = time.process_time()
    result = train(resolved, resume=False, command=["benchmarks/forgetting.py"], say=lambda text: None, fetching=show_fetching)
    trained_s = time.process_time() - started
    # The base is the same in all runs: its answers are taken from the first.
    shared = folder / "guard"
    evaluation = output / "eval"
    evaluation.mkdir(parents=True, exist_ok=True)
    for name in ("guard-base.jsonl", "guard-base.meta.json"):
        if (shared / name).is_file():
            shutil.copy(shared / name, evaluation / name)
    trained = open_trained(result.run)
    started = time.process_time()
    found: dict[str, Any] = measure_forgetting(
        trained,
        generators=LoadedWeights(trained, Asking(), lambda: nullcontext(lambda *_: None)).get,
        say=lambda text: None,
        folder=evaluation,
    )
    shared.mkdir(exist_ok=True)
    for name in ("guard-base.jsonl", "guard-base.meta.json"):
        shutil.copy(evaluation / name, shared / name)
    metadata = json.loads((result.run.adapter / "training_metadata.json").read_text(encoding="utf-8"))
    return {
        "replay": replay,
        "rows": metadata["rows"]["train"],
        "general_rows": metadata["replay"]["rows"] if metadata["replay"] else 0,
        "steps": metadata["steps"],
        "validation_loss": metadata["loss"]["eval_last"],
        "training_cpu_seconds": round(trained_s, 1),
        "asking_cpu_seconds": round(time.process_time() - started, 1),
        "forgetting": found,
    }


def table(runs: list[dict[str, Any]]) -> str:
    def share(of: dict[str, Any]) -> str:
        return f"{of['count']:>2} of {of['of']}"

    base = runs[0]["forgetting"]["base"]
    lines = [
        f"{'':<12}{'rows':>6}{'general':>9}{'val. loss':>11}{'English':>12}{'Vietnamese':>12}   against the base",
        f"{'base':<12}{'':>6}{'':>9}{'':>11}{share(base['languages']['en']):>12}{share(base['languages']['vi']):>12}",
    ]
    for run in runs:
        adapter, seen = run["forgetting"]["adapter"], run["forgetting"]["comparison"]
        name = f"replay {run['replay']:g}"
        lines.append(
            f"{name:<12}{run['rows']:>6}{run['general_rows']:>9}{run['validation_loss']:>11.4f}"
            f"{share(adapter['languages']['en']):>12}{share(adapter['languages']['vi']):>12}   "
            f"{seen['difference']:+.1%} ({seen['low']:+.1%} to {seen['high']:+.1%}): {seen['words']}"
        )
    kinds = list(base["kinds"])
    lines += ["", f"{'English':<12}" + "".join(f"{kind:>13}" for kind in kinds)]
    for name, part in (("base", base), *((f"replay {run['replay']:g}", run["forgetting"]["adapter"]) for run in runs)):
        lines.append(f"{name:<12}" + "".join(f"{part['groups'][f'en/{kind}']['count']:>13}" for kind in kinds))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replay", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--base", default="embedded:smollm2-135m")
    parser.add_argument("--project", type=Path, default=ROOT / "tests" / "tasks" / "helpdesk")
    parser.add_argument("--bare", action="store_true", help="train without the task's system prompt")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(arguments.project, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("runs"))
        if arguments.bare:
            settings = folder / "task" / "task.toml"
            settings.write_text(settings.read_text(encoding="utf-8").replace("system_in_training = true", ""), encoding="utf-8")
        (folder / "run.toml").write_text('task = "task"\n', encoding="utf-8")
        runs = [measure(folder, replay, arguments) for replay in arguments.replay]
    print(table(runs))
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
