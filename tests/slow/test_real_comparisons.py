"""Comparisons of real trainings by the real path: shuffled labels are worse, right ones better, and the same twice is neither."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from keyword_task import make_project, shuffled
from loren.evaluate.arms import Asking
from loren.evaluate.golden import Wishes, evaluate_run, score_answers
from loren.evaluate.predict import read_predictions
from loren.evaluate.yardstick import read_yardstick
from loren.models.loading import load_model
from loren.pipeline.adopt import Wishes as Adopting
from loren.pipeline.adopt import adopt
from loren.runs.folder import RunFolder
from loren.scoring.gate import compare_arms
from loren.scoring.score import metrics
from loren.task.definition import load_task
from project import loren
from running import train_here

pytestmark = pytest.mark.slow

RUNS = 20
GOLDEN = 120
STEPS = "max_steps = {steps}\neval_steps = {steps}\nsave_steps = {steps}\n"
FULL = f'[train]\nmethod = "full"\nlearning_rate = 3e-3\n{STEPS.format(steps=60)}'
LORA = (
    f'[train]\nlearning_rate = 1e-2\n{STEPS}[lora]\nr = 16\nlora_alpha = 32\nlora_dropout = 0.05\ntarget_modules = "all-linear"\n'
)


class Bases(NamedTuple):
    """Two models that answer in the form of the task."""

    knowing: Path
    """It was taught the right labels."""
    unsure: Path
    """It was taught labels that were dealt out anew."""


def quiet(*_: object) -> None:
    """Says and shows nothing."""


FETCHING: Any = lambda: nullcontext(quiet)  # noqa: E731 - a factory of contexts


def evaluated(run: RunFolder, *, batch_size: int = 64) -> dict[str, Any]:
    wishes = Wishes(("base", "adapter"), guard=False, train_sample=False)
    return evaluate_run(run, wishes, Asking(batch_size), say=quiet, fetching=FETCHING).result


def compared(before: Path, after: Path, task_folder: Path) -> dict[str, Any]:
    """The verdict on two stored predictions files, as `evaluate` would give it."""
    task = load_task(task_folder)
    golden = read_yardstick(task)
    arms = {"base": before, "adapter": after}
    outcomes = {name: score_answers(read_predictions(path), golden, task) for name, path in arms.items()}
    return compare_arms(outcomes, golden.situations, metrics(task), task)


def right(result: dict[str, Any], arm: str = "adapter") -> float:
    return float(result["arms"][arm]["metrics"]["all_labels"]["value"])


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bases:
    folder = tmp_path_factory.mktemp("bases")
    runs = [
        train_here(make_project(folder / "knowing", tiny_base, settings=FULL, golden=GOLDEN)),
        train_here(make_project(folder / "unsure", tiny_base, settings=FULL, golden=GOLDEN, relabel=shuffled)),
    ]
    return Bases(*(found.run.adapter for found in runs))


def test_an_adapter_of_shuffled_labels_is_worse_than_a_base_that_knows(bases: Bases, tmp_path: Path) -> None:
    folder = make_project(tmp_path, bases.knowing, settings=LORA.format(steps=40), golden=GOLDEN, relabel=shuffled)
    train_here(folder)
    done = loren("evaluate", "runs/a", "--variants", "base,adapter", "--no-guard", "--no-train-sample", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "verdict: adapter is worse" in done.stdout
    result = json.loads((folder / "runs" / "a" / "eval" / "result.json").read_text(encoding="utf-8"))
    gates = {seen["metric"]: seen["verdict"] for seen in result["comparisons"] if seen["gate"]}
    assert (result["verdict"]["word"], gates["all_labels"]) == ("worse", "worse")
    assert right(result, "base") > 0.95
    assert 0.35 < right(result) < 0.8


def test_right_labels_are_better_than_the_base_and_than_shuffled_ones(bases: Bases, tmp_path: Path) -> None:
    """The same settings, so that the shuffled labels alone are what is worse."""
    taught, dealt = (
        make_project(tmp_path / name, bases.unsure, settings=LORA.format(steps=40), golden=GOLDEN, relabel=relabel)
        for name, relabel in (("taught", list), ("dealt", shuffled))
    )
    runs = [train_here(folder).run for folder in (taught, dealt)]
    results = [evaluated(run) for run in runs]
    assert right(results[0], "base") < 0.7
    assert results[0]["verdict"]["word"] == "better"
    assert results[1]["verdict"]["word"] not in {"better", "not worse"}
    answers = [run.evaluation / "adapter.jsonl" for run in runs]
    assert compared(*answers, taught / "task")["verdict"]["word"] == "worse"
    assert compared(*reversed(answers), taught / "task")["verdict"]["word"] == "better"


def test_a_base_is_never_better_than_itself(bases: Bases, tmp_path: Path) -> None:
    """Adapters that change nothing, as PEFT initialises them, go through adopt and evaluate."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    task = make_project(tmp_path, bases.unsure, settings="", golden=GOLDEN) / "task"
    words: list[str] = []
    for seed in range(RUNS):
        set_seed(seed)
        model: Any = load_model(bases.unsure, dtype="float32")
        settings = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
        get_peft_model(model, settings).save_pretrained(tmp_path / f"zero-{seed}")
        wishes = Adopting(
            tmp_path / f"zero-{seed}", str(bases.unsure), task, tmp_path / "data" / "train.jsonl", tmp_path / f"run-{seed}"
        )
        run = adopt(wishes, command=["loren", "adopt"], say=quiet, fetching=FETCHING).run
        result = evaluated(run)
        assert right(result, "base") == right(result)
        words.append(result["verdict"]["word"])
        assert {seen["verdict"] for seen in result["comparisons"]} <= {"inconclusive", "not worse"}
    assert words == ["inconclusive"] * RUNS


def test_an_adapter_is_never_better_than_itself(bases: Bases, tmp_path: Path) -> None:
    """Twenty adapters, each asked twice: all questions at once, and seven at a time."""
    answers: list[Path] = []
    shares: list[float] = []
    folder = make_project(tmp_path, bases.unsure, settings=LORA.format(steps=24), golden=GOLDEN)
    for seed in range(RUNS):
        run = train_here(folder, f"seed={seed}", "data.split_seed=1", f'output_dir="{tmp_path}/runs/s{seed}"').run
        result = evaluated(run)
        shares.append(right(result))
        first = run.evaluation / "first.jsonl"
        shutil.move(run.evaluation / "adapter.jsonl", first)
        again = evaluated(run, batch_size=7)
        assert again["arms"]["adapter"]["key"] == result["arms"]["adapter"]["key"]
        verdict = compared(first, run.evaluation / "adapter.jsonl", folder / "task")
        assert verdict["verdict"]["word"] == "inconclusive"
        assert {seen["verdict"] for seen in verdict["comparisons"]} <= {"inconclusive", "not worse"}
        answers.append(first)
    assert 0.5 < sorted(shares)[RUNS // 2] < 1, "adapters without errors would prove nothing"
    assert len({path.read_bytes() for path in answers}) > RUNS // 2, "seeds that change nothing would prove nothing"
