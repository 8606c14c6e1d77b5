"""[sweep]: presets, lists, grids and ranges, and all mistakes at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from loren.config import load_config
from loren.config.sweep import MAX_VARIANTS, SweepPlan, load_sweep
from loren.errors import ConfigError


def plan_of(folder: Path, text: str, *, seeds: int | None = None, curve: Sequence[int] = (), task: bool = True) -> SweepPlan:
    (folder / "run.toml").write_text(('task = "task"\n' if task else "") + text, encoding="utf-8")
    return load_sweep(folder / "run.toml", environment={}, seeds=seeds, curve=curve)


def mistakes(folder: Path, text: str, *, curve: Sequence[int] = (), task: bool = True) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        plan_of(folder, text, curve=curve, task=task)
    return {problem.place: problem.message for problem in caught.value.problems}


def test_without_a_section_the_presets_are_compared_and_win_over_the_files_keys(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "[lora]\nr = 4\nlora_dropout = 0.2\n", seeds=2)
    assert [variant.name for variant in plan.variants] == ["a", "b", "c"]
    assert (plan.kind, plan.seeds, plan.folder) == ("variants", (42, 43), tmp_path / "runs" / "first-sweep")
    runs = [plan.run(variant, 43) for variant in plan.variants]
    assert [run.config.lora.r for run in runs] == [8, 16, 32]
    assert {run.config.lora.lora_dropout for run in runs} == {0.2}
    assert {(run.config.seed, run.config.split_seed) for run in runs} == {(43, 42)}
    assert runs[0].config.output_dir == tmp_path / "runs" / "first-sweep" / "runs" / "a-s43"
    assert runs[0].origins["lora.r"] == "sweep"


def test_lists_grids_and_presets_stand_together(tmp_path: Path) -> None:
    text = (
        '[sweep]\npresets = ["b"]\nseeds = 3\noutput_dir = "elsewhere"\n'
        '[[sweep.variants]]\nname = "long"\ntrain.num_train_epochs = 3.0\n'
        '[sweep.grid]\n"lora.r" = [4, 8]\ntrain.learning_rate = [1e-4, 2e-4]\nlora.target_modules = [["q_proj"]]\n'
    )
    plan = plan_of(tmp_path, text)
    grid = [f"r{r}-learning_rate{rate}-target_modules1" for r in (4, 8) for rate in (0.0001, 0.0002)]
    assert [variant.name for variant in plan.variants] == ["b", "long", *grid]
    assert (plan.seeds, plan.folder) == ((42, 43, 44), tmp_path / "elsewhere")
    last = plan.run(plan.variants[-1], 42).config
    assert (last.lora.r, last.train.learning_rate, last.lora.target_modules) == (8, 2e-4, ("q_proj",))


def test_train_reads_a_file_with_a_sweep_in_it(tmp_path: Path) -> None:
    plan_of(tmp_path, '[sweep]\npresets = ["a", "b"]\n')
    resolved = load_config(tmp_path / "run.toml", environment={})
    assert not any(key.startswith("sweep") for key in resolved.origins)


def test_all_mistakes_are_said_at_once_each_with_its_variant(tmp_path: Path) -> None:
    text = (
        '[sweep]\nseds = 3\n[[sweep.variants]]\nname = "x"\ndata.max_length = 64\nlora.rr = 3\n[[sweep.variants]]\nname = "y"\n'
        'lora.r = "eight"\ntrain.learning_rate = 5\n[[sweep.variants]]\nname = "X"\n[[sweep.variants]]\nname = "../up"\n'
        "[sweep.grid]\nlora.lora_alpha = 8\n"
    )
    found = mistakes(tmp_path, text, task=False)
    assert found["sweep.seds"].endswith("did you mean 'seeds'?")
    assert "share base, data, split, lengths" in found["x: data.max_length"]
    assert found["x: lora.rr"].endswith("did you mean 'lora.r'?")
    assert {
        "y: lora.r",
        "y: train.learning_rate",
        "sweep: X",
        "sweep.variants.3.name",
        "sweep.grid.lora.lora_alpha",
        "task",
    } <= set(found)


def test_the_configurations_own_mistakes_stand_beside_them(tmp_path: Path) -> None:
    found = mistakes(tmp_path, 'outputdir = "x"\n[sweep]\ntrials = 0\n')
    assert set(found) == {"outputdir", "sweep.trials"}


@pytest.mark.parametrize("key", ["seed", "output_dir", "base_model", "data.eval_ratio", "data.train_share", "task"])
def test_what_is_shared_can_not_differ(tmp_path: Path, key: str) -> None:
    found = mistakes(tmp_path, f'[[sweep.variants]]\nname = "x"\n{key} = 1\n[[sweep.variants]]\nname = "y"\n')
    assert list(found) == [f"x: {key}"]


def test_one_variant_or_too_many_are_no_comparison(tmp_path: Path) -> None:
    assert "alone" in mistakes(tmp_path, '[sweep]\npresets = ["a"]\n')["sweep"]
    grid = f"[sweep.grid]\nlora.r = {list(range(1, 22))}\nlora.lora_alpha = {list(range(1, 12))}\n"
    assert f"at most {MAX_VARIANTS}" in mistakes(tmp_path, grid)["sweep.grid"]


def test_ranges_are_whole_numbers_or_not_and_need_test_rows(tmp_path: Path) -> None:
    ranges = (
        '[sweep]\ntrials = 7\n[sweep.ranges]\n"lora.r" = { low = 4, high = 32 }\n'
        "train.learning_rate = { low = 1e-5, high = 1e-3, log = true }\n"
    )
    plan = plan_of(tmp_path, f"{ranges}[data]\ntest_ratio = 0.2\n")
    assert (plan.kind, plan.trials, plan.variants) == ("search", 7, ())
    assert isinstance(plan.ranges["lora.r"].low, int)
    assert plan.ranges["train.learning_rate"].log
    assert set(mistakes(tmp_path, ranges)) == {"data.test_ratio"}
    wrong = (
        '[sweep]\npresets = ["a"]\n[sweep.ranges]\n"lora.r" = { low = 4, high = 2, lg = 1 }\n'
        "lora.lora_alpha = { low = 0, high = 9 }\n"
    )
    found = mistakes(tmp_path, f"{wrong}[data]\ntest_ratio = 0.2\n")
    assert {"sweep.ranges", "sweep.ranges.lora.r.lg", "ranges.low: lora.lora_alpha"} <= set(found)


def test_a_curve_is_of_shares_of_the_training_rows(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, '[sweep]\npresets = ["a", "b"]\noutput_dir = "elsewhere"\n', curve=(100, 25, 50, 50))
    assert (plan.kind, plan.folder.name) == ("curve", "first-curve")
    assert [plan.run(variant, 42).config.data.train_share for variant in plan.variants] == [0.25, 0.5, 1.0]
    for curve in ((50,), (0, 50), (50, 101)):
        assert set(mistakes(tmp_path, "", curve=curve)) == {"--curve"}


def test_general_rows_may_differ_in_lists_grids_and_ranges(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "[sweep.grid]\ndata.replay = [0.0, 0.1, 0.3]\n")
    assert [plan.run(variant, 42).config.data.replay for variant in plan.variants] == [0.0, 0.1, 0.3]
    ranges = "[sweep.ranges]\ndata.replay = { low = 0.0, high = 0.5 }\n[data]\ntest_ratio = 0.2\n"
    assert plan_of(tmp_path, ranges).ranges["data.replay"].high == 0.5
    assert list(mistakes(tmp_path, "[sweep.grid]\ndata.replay = [0.0, 1.5]\n")) == ["replay1.5: data.replay"]
