"""Gates and verdicts over arms: what passes, what does not, what nobody can say."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loren.errors import ConfigError
from loren.runs.files import encode_json
from loren.scoring.gate import compare_arms, gates_of
from loren.scoring.score import Metric, Outcomes, metrics
from loren.task.definition import Task, load_task

COURIER = Path(__file__).parent / "courier"
ROWS = 300
SITUATIONS = {f"r{n}": f"s{n // 3}" for n in range(ROWS)}


def arm(task: Task, seed: int, **shares: float) -> dict[str, Outcomes]:
    """An arm whose rows reach a figure with the chance given, 1 where none is; wordings of a situation mostly agree."""
    rng = random.Random(seed)
    chances = {metric.name: shares.get(metric.name.replace(":", "_").replace("/", "_"), 1.0) for metric in metrics(task)}
    leanings = {name: {s: rng.random() for s in SITUATIONS.values()} for name in chances}

    def reached(name: str, situation: str) -> float:
        return float((leanings[name][situation] + 0.2 * rng.random()) / 1.2 < chances[name] or chances[name] == 1)

    return {row: {name: reached(name, situation) for name in chances} for row, situation in SITUATIONS.items()}


@pytest.fixture(name="task", scope="module")
def courier_task() -> Task:
    return load_task(COURIER)


def judged(task: Task, arms: Mapping[str, dict[str, Outcomes]], situations: Mapping[str, str] = SITUATIONS) -> dict[str, Any]:
    result: Any = compare_arms(arms, situations, metrics(task), task)
    encode_json(result)
    return result


def test_a_better_adapter_passes_and_names_its_gates(task: Task) -> None:
    result = judged(task, {"base": arm(task, 1, all_labels=0.5), "adapter": arm(task, 2, all_labels=0.9)})
    verdict = result["verdict"]
    assert (verdict["word"], verdict["passed"], verdict["candidate"]) == ("better", True, "adapter")
    gates = [result["comparisons"][place] for place in verdict["gates"]]
    assert [(gate["metric"], gate["goal"]) for gate in gates] == [
        ("all_labels", "superiority"), ("schema_valid", "non-inferiority"), ("ended", "non-inferiority"),
    ]  # fmt: skip
    assert all(gate["gate"] and gate["passed"] for gate in gates)
    assert gates[0]["adjusted_p"] >= gates[0]["p_value"]
    assert gates[0]["difference"] > 0.2
    assert 0 < gates[0]["detectable"] < 0.2


def test_a_worse_format_is_a_no_whatever_the_labels(task: Task) -> None:
    result = judged(task, {"base": arm(task, 1, all_labels=0.5), "adapter": arm(task, 2, all_labels=0.9, schema_valid=0.8)})
    assert (result["verdict"]["word"], result["verdict"]["passed"]) == ("worse", False)


def test_the_same_answers_twice_are_never_better(task: Task) -> None:
    same = arm(task, 1, all_labels=0.7, schema_valid=0.9)
    result = judged(task, {"base": same, "adapter": same})
    assert (result["verdict"]["word"], result["verdict"]["passed"]) == ("inconclusive", False)
    assert all(seen["difference"] == 0 and seen["fixed"] == seen["broken"] == 0 for seen in result["comparisons"])


def test_a_missing_row_is_no_verdict(task: Task) -> None:
    adapter = arm(task, 2, all_labels=0.9)
    del adapter["r7"]
    result = judged(task, {"base": arm(task, 1, all_labels=0.5), "adapter": adapter})
    assert (result["verdict"]["word"], result["verdict"]["passed"]) == ("abstain", False)
    assert {seen["missing"] for seen in result["comparisons"]} == {1}
    gone = {**SITUATIONS, "deleted": "s0"}
    assert judged(task, {"base": arm(task, 1), "adapter": arm(task, 2)}, gone)["verdict"]["word"] == "abstain"


def test_a_gate_against_a_variant_that_was_not_asked_is_no_verdict(task: Task) -> None:
    result = judged(task, {"adapter": arm(task, 2)})
    assert (result["verdict"]["word"], result["verdict"]["passed"], result["verdict"]["gates"]) == ("abstain", False, [])
    assert "all_labels against base: that variant was not asked" in result["verdict"]["reasons"]


@pytest.mark.parametrize(
    ("few", "adapter", "answer"),
    [(0.9, 0.9, "yes"), (0.97, 0.9, "yes"), (0.5, 0.9, "no"), (0.80, 0.84, "unclear")],
)
def test_is_a_prompt_enough(task: Task, few: float, adapter: float, answer: str) -> None:
    same = 3 if few == adapter else 4
    arms = {"fewshot": arm(task, 3, all_labels=few), "adapter": arm(task, same, all_labels=adapter)}
    told = judged(task, arms)["prompt_is_enough"]
    assert told["answer"] == answer
    assert told["margin"] == 0.05
    assert judged(task, {"base": arm(task, 1), "adapter": arm(task, 2)})["prompt_is_enough"]["answer"] == "not asked"


def test_a_prompt_with_a_worse_format_is_not_enough(task: Task) -> None:
    arms = {"fewshot": arm(task, 3, schema_valid=0.8), "adapter": arm(task, 4)}
    assert judged(task, arms)["prompt_is_enough"]["answer"] != "yes"


def test_merged_weights_and_constrained_decoding_are_held_against_the_adapter_and_the_free_one(task: Task) -> None:
    names = ("base", "adapter", "merged", "adapter-constrained")
    result = judged(task, {name: arm(task, 5) for name in names})
    pairs = {(seen["before"], seen["after"]) for seen in result["comparisons"]}
    assert pairs == {("base", "adapter"), ("adapter", "merged"), ("adapter", "adapter-constrained")}
    assert {seen["goal"] for seen in result["comparisons"] if seen["after"] == "merged"} == {"non-inferiority"}
    alone = judged(task, {name: arm(task, 5) for name in ("base", "merged")})
    assert alone["verdict"]["candidate"] == "merged"


def test_gates_of_the_task_are_taken_and_unknown_figures_named(tmp_path: Path) -> None:
    text = (COURIER / "task.toml").read_text() + (
        '\n[[evaluation.gates]]\nmetric = "wording"\ngoal = "non-inferiority"\nmargin = 0.1\n'
        '[[evaluation.gates]]\nmetric = "exact:/urgent"\nagainst = "fewshot"\n'
    )
    folder = tmp_path / "task"
    folder.mkdir()
    for path in COURIER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "task.toml").write_text(text)
    task = load_task(folder)
    assert [(gate.metric, gate.against) for gate in gates_of(task, metrics(task))] == [
        ("wording", "base"),
        ("exact:/urgent", "fewshot"),
    ]
    with pytest.raises(ConfigError, match="1 gate") as caught:
        gates_of(task, [Metric("wording", "share", "text")])
    assert "evaluation.gates.1.metric" in str(caught.value)
    (folder / "task.toml").write_text(text.replace('"fewshot"', '"fewshot"\nmargin = 0.1'))
    with pytest.raises(ConfigError, match="non-inferiority"):
        load_task(folder)
