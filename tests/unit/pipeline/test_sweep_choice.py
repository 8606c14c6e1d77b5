"""Which variant a sweep recommends, and what a learning curve says: from outcomes alone, without a model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from loren.config import RunConfig
from loren.config.load import ResolvedConfig
from loren.config.sweep import Variant
from loren.pipeline.sweep.choice import Field, comparisons, in_english, nobody, recommend
from loren.pipeline.sweep.curve import MORE, STOP, UNCLEAR, learning_curve, verdict
from loren.pipeline.sweep.figures import contestants, metrics_entry, over_seeds
from loren.pipeline.sweep.record import Failure, SweepRun
from loren.report.figures import Said
from loren.scoring.score import Metric

NAMES = (Metric("schema_valid", "share", "format"), Metric("all_labels", "share", "target"))
SEEDS = (1, 2, 3)


def run_of(name: str, seed: int, parameters: int, right: Sequence[bool], **figures: float) -> SweepRun:
    config = ResolvedConfig(RunConfig(output_dir=Path(f"runs/{name}-s{seed}")), {}, None)
    found = SweepRun(Variant(name, {}), seed, config, status="judged")
    found.figures = {
        "trainable_parameters": parameters, "total_parameters": 10**6, "peak_memory_bytes": 10**9, "steps": 9, "tokens": 900,
        "train_seconds": 1.0, "train_cpu_seconds": 1.0, "train_loss": 1.0, "eval_loss": 1.1, "overfit_gap": 0.1, **figures,
    }  # fmt: skip
    found.scores = {f"r{row}": {"schema_valid": 1.0, "all_labels": float(is_right)} for row, is_right in enumerate(right)}
    return found


def field_of(shares: Mapping[str, tuple[int, float]], *, rows: int = 60, situations: int = 30) -> Field:
    """Variants by name: trained parameters and the share of rows that each seed has right; the same rows are hard for all."""
    rng = random.Random(7)
    hard = [rng.random() for _ in range(rows)]
    runs = [
        run_of(name, seed, parameters, [difficulty < share for difficulty in hard])
        for seed in SEEDS
        for name, (parameters, share) in shares.items()
    ]
    return Field(contestants(runs), {f"r{row}": f"s{row % situations}" for row in range(rows)}, NAMES, 0.05)


def test_the_simplest_is_taken_where_nothing_is_better() -> None:
    advice: Any = recommend(field_of({"c": (300, 0.7), "a": (100, 0.7), "b": (200, 0.7)}))
    assert (advice["answer"], advice["variant"], advice["simplest"], advice["run"]) == ("take", "a", "a", "runs/a-s1")
    assert "simplest variant" in advice["words"]


def test_a_dearer_one_is_taken_where_it_is_better_and_the_cheapest_of_the_best() -> None:
    advice: Any = recommend(field_of({"a": (100, 0.3), "b": (200, 0.9), "c": (300, 0.9)}))
    assert (advice["answer"], advice["variant"], advice["best"]) == ("take", "b", "b")
    assert any(
        sentence.startswith("b against a: all_labels +0.") and sentence.endswith("better") for sentence in advice["evidence"]
    )


def test_a_cheaper_one_within_the_margin_stands_in_for_the_best() -> None:
    advice: Any = recommend(field_of({"a": (100, 0.2), "b": (200, 0.89), "c": (300, 0.9)}, rows=600, situations=300))
    assert (advice["variant"], advice["best"]) == ("b", "c")
    assert "not worse than that of c, the best, by 0.05" in advice["words"]


def test_few_rows_are_inconclusive_and_the_cheapest_stands() -> None:
    for shares in ({"a": (100, 0.5), "b": (200, 0.9)}, {"a": (100, 0.9), "b": (200, 0.9)}):
        advice: Any = recommend(field_of(shares, rows=16, situations=8))
        assert (advice["answer"], advice["variant"]) == ("inconclusive", "a")
        assert "too few" in advice["words"]
    advice = recommend(field_of({"a": (100, 0.80), "b": (200, 0.86)}, rows=24, situations=24))
    assert (advice["answer"], advice["variant"]) == ("inconclusive", "a")


def test_what_costs_the_same_stands_in_the_order_of_the_list() -> None:
    advice: Any = recommend(field_of({"later": (100, 0.7), "first": (100, 0.7)}))
    assert advice["variant"] == "later"


def test_a_cheaper_one_that_breaks_the_format_does_not_stand_in() -> None:
    field = field_of({"a": (100, 0.9), "b": (200, 0.9)}, rows=600, situations=300)
    for run in field.variants[0].runs:
        run.scores = {row: {**scores, "schema_valid": float(int(row[1:]) % 3 > 0)} for row, scores in run.scores.items()}
        run.scores["r0"] = {"schema_valid": 1.0, "all_labels": 0.0}
        run.scores["r3"] = {"schema_valid": 1.0, "all_labels": 0.0}
    advice: Any = recommend(field)
    assert advice["best"] == "b"
    assert advice["answer"] == "inconclusive"  # b is not shown to have better labels, and a is not as good


def test_seeds_of_a_row_stand_in_its_situation() -> None:
    found: Any = comparisons(field_of({"a": (100, 0.3), "b": (200, 0.9)}))
    assert {entry["metric"] for entry in found} == {"schema_valid", "all_labels"}
    labels = next(entry for entry in found if entry["metric"] == "all_labels")
    assert (labels["rows"], labels["situations"], labels["missing"], labels["gate"]) == (180, 30, 0, True)
    assert labels["effective_rows"] <= 60  # three seeds that agree tell no more than one
    assert labels["low"] < labels["difference"] < labels["high"]


def test_a_variant_with_a_failed_run_does_not_compete_and_keeps_its_figures() -> None:
    runs = [run_of("a", 1, 10, [True] * 20), run_of("b", 1, 20, [True] * 20), run_of("b", 2, 20, [True] * 20)]
    runs[2].status, runs[2].failure = "failed", Failure("TrainingError", "stopped", 6)
    assert [variant.name for variant in contestants(runs)] == ["a"]
    said: Any = metrics_entry(runs[1:], {f"r{row}": str(row) for row in range(20)}, NAMES)
    assert said["metrics"]["all_labels"]["of"] == 20
    assert said["format_20"] == {"metric": "schema_valid", "count": 20, "of": 20}
    assert runs[2].to_json()["error"] == {"kind": "TrainingError", "message": "stopped", "exit_code": 6}


def test_intervals_over_seeds_are_those_of_a_t_test() -> None:
    assert over_seeds([2.0]) == {"value": 2.0}
    found: Any = over_seeds([1.0, 2.0, 3.0])
    assert found["value"] == pytest.approx(2.0)
    assert found["high"] - found["value"] == pytest.approx(4.3026527 / 3**0.5)


@pytest.mark.parametrize(
    ("difference", "low", "high", "answer"),
    [
        (0.20, 0.10, 0.30, MORE),
        (0.04, 0.01, 0.07, UNCLEAR),  # sure to have gained, less than the margin perhaps
        (0.01, -0.02, 0.04, STOP),
        (-0.10, -0.20, -0.01, STOP),
        (0.20, -0.05, 0.45, UNCLEAR),
        (0.00, -0.10, 0.10, UNCLEAR),
    ],
)
def test_the_verdict_on_the_last_doubling(difference: float, low: float, high: float, answer: str) -> None:
    assert verdict(difference, low, high, 0.05) == answer


def test_a_curve_compares_the_largest_with_about_half() -> None:
    field = field_of({"p100": (9, 0.9), "p25": (9, 0.3), "p50": (9, 0.5)})
    percents, rows = {"p25": 25, "p50": 50, "p100": 100}, {"p25": 30, "p50": 60, "p100": 121}
    curve: Any = learning_curve(field, percents, rows)
    assert [point["rows"] for point in curve["points"]] == [30, 60, 121]
    assert (curve["comparison"]["before"], curve["comparison"]["after"], curve["answer"]) == ("p50", "p100", MORE)
    flat: Any = learning_curve(field_of({"p50": (9, 0.9), "p100": (9, 0.9)}, rows=600, situations=300), percents, rows)
    assert flat["answer"] == STOP
    few: Any = learning_curve(field_of({"p50": (9, 0.1), "p100": (9, 0.9)}, rows=9, situations=9), percents, rows)
    assert few["answer"] == UNCLEAR
    alone: Any = learning_curve(field_of({"p50": (9, 0.1)}), percents, rows)
    assert alone["answer"] == UNCLEAR


def test_the_more_variants_there_are_the_more_each_has_to_show() -> None:
    shares = {"a": (100, 0.5), "b": (200, 0.72)}
    alone: Any = recommend(field_of(shares, rows=36, situations=36))
    assert (alone["answer"], alone["variant"]) == ("take", "b")
    crowd = {f"c{place}": (150 + place, 0.5) for place in range(12)}
    among: Any = recommend(field_of({**shares, **crowd}, rows=36, situations=36))
    assert (among["answer"], among["variant"]) == ("inconclusive", "a")
    found: Any = comparisons(field_of({**shares, **crowd}, rows=36, situations=36))
    labels = next(entry for entry in found if entry["metric"] == "all_labels" and entry["after"] == "b")
    assert labels["adjusted_p"] > labels["p_value"]


def test_what_is_said_is_said_by_key_too() -> None:
    """In the same words: every outcome that this file knows."""
    fields = [
        field_of({"a": (100, 0.7), "b": (200, 0.7)}),
        field_of({"a": (100, 0.3), "b": (200, 0.9), "c": (300, 0.9)}),
        field_of({"a": (100, 0.2), "b": (200, 0.89), "c": (300, 0.9)}, rows=600, situations=300),
        field_of({"a": (100, 0.5), "b": (200, 0.9)}, rows=16, situations=8),
        field_of({"a": (100, 0.80), "b": (200, 0.86)}, rows=24, situations=24),
        field_of({"a": (100, 0.895), "b": (200, 0.9)}, rows=600, situations=300),
    ]
    told: list[Any] = [*(recommend(field, left_out=["z"]) for field in fields), nobody(3)]
    assert {advice["said"]["key"] for advice in told} == {
        "take_simplest", "take_best", "take_near_better", "take_near", "few_situations", "not_seen", "nobody",
    }  # fmt: skip
    for advice in told:
        said = [advice["said"], *advice["evidence_said"]]
        assert [advice["words"], *advice["evidence"]] == [in_english(Said.model_validate(each)) for each in said]
    curve: Any = learning_curve(field_of({"p50": (9, 0.5), "p100": (9, 0.9)}), {"p50": 50, "p100": 100}, {"p50": 60, "p100": 121})
    assert curve["words"] == f"More rows would help: {in_english(Said.model_validate(curve['said']))}."
    assert "60 -> 121 rows: all_labels 0." in curve["words"]
