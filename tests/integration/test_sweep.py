"""`loren sweep` through the command line: one base for all runs, each the same bits as `loren train` alone gives."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_run_folder_page import PAGE as RUN_PAGE
from test_run_folder_page import keys

from asking import ask
from loren.config.sweep import SweepPlan, load_sweep
from loren.errors import ConfigError, RunFolderError
from loren.evaluate.predict import read_predictions
from loren.evaluate.subjects import open_run, open_trained, with_lead
from loren.models.protocol import Prompt
from loren.pipeline.sweep.search import pruning_problem
from loren.pipeline.sweep.story import Errand, SweepResult, sweep
from loren.report.schema import schema_text
from loren.report.write import write_report
from loren.runs.folder import RunFolder
from project import loren
from running import digests, train_here

HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"
TIMES = ("README.md", "training_metadata.json", "MANIFEST.json")
"""Files of an adapter that hold times and places."""
VARIANTS = """
[[sweep.variants]]
name = "small"
lora.r = 2
lora.target_modules = ["q_proj"]
[[sweep.variants]]
name = "wrong"
lora.target_modules = ["no_such_layer"]
[[sweep.variants]]
name = "large"
lora.r = 8
[[sweep.variants]]
name = "biased"
lora.r = 1
lora.bias = "lora_only"
"""


def make_helpdesk(folder: Path, base: Path, sweep_table: str, *, steps: int = 2, every: int = 1) -> Path:
    shutil.copytree(HELPDESK, folder, dirs_exist_ok=True)
    task = folder / "task" / "task.toml"
    task.write_text(task.read_text().replace("max_new_tokens = 96", "max_new_tokens = 6"))
    (folder / "run.toml").write_text(
        f'base_model = "{base}"\ntask = "task"\noutput_dir = "runs/a"\n[data]\ntest_ratio = 0.3\n'
        f"[train]\nmax_steps = {steps}\nlearning_rate = 1e-2\neval_steps = {every}\nsave_steps = {every}\n{sweep_table}"
    )
    return folder


def sweep_here(
    folder: Path, *, resume: bool = False, curve: tuple[int, ...] = (), seeds: int | None = None, said: list[str] | None = None
) -> SweepResult:
    plan = load_sweep(folder / "run.toml", environment={}, curve=curve, seeds=seeds)
    errand = Errand(
        resume=resume,
        ask_golden=False,
        batch_size=64,
        command=["loren", "sweep", "run.toml"],
        say=(said if said is not None else []).append,
        fetching=lambda: nullcontext(lambda *_: None),
    )
    return sweep(plan, errand)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Path, dict[str, Any]]:
    folder = make_helpdesk(tmp_path_factory.mktemp("sweep"), tiny_base, VARIANTS)
    done = loren("sweep", "run.toml", "--seeds", "2", "--format", "json", cwd=folder)
    assert done.returncode == 2, done.stderr  # of the variant that failed
    assert done.stderr.count("keep the data contract") == 1
    record = json.loads(done.stdout)
    written = json.loads((folder / "runs" / "a-sweep" / "sweep.json").read_text())
    assert record.pop("next") == "loren sanity runs/a-sweep/runs/small-s42"
    assert record == written
    return folder, record


def test_every_run_is_the_same_bits_as_one_trained_alone(swept: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Also the last ones, after the base in memory went through others, and those that change the base's own weights."""
    folder, _ = swept
    variants = {
        "small": ("lora.r=2", 'lora.target_modules=["q_proj"]'),
        "large": ("lora.r=8",),
        "biased": ("lora.r=1", 'lora.bias="lora_only"'),
    }
    for name, seed in itertools.product(variants, (42, 43)):
        alone = tmp_path / f"{name}-{seed}"
        train_here(folder, *variants[name], f"seed={seed}", "data.split_seed=42", f'output_dir="{alone}"')
        run = folder / "runs" / "a-sweep" / "runs" / f"{name}-s{seed}"
        assert digests(run / "adapter", without=TIMES) == digests(alone / "adapter", without=TIMES)
        assert (run / "data" / "split.json").read_bytes() == (alone / "data" / "split.json").read_bytes()


def test_answers_are_those_of_the_adapter_loaded_alone(swept: tuple[Path, dict[str, Any]]) -> None:
    folder, record = swept
    run = RunFolder(folder / "runs" / "a-sweep" / "runs" / "large-s43")
    found = read_predictions(run.evaluation / "test" / "adapter.jsonl")
    assert len(found) == record["judged_on"]["rows"] == record["data"]["rows"]["test"] >= 8
    subject = open_run(open_trained(run), "adapter", batch_size=64, fetching=lambda: nullcontext(lambda *_: None))
    rows = [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]
    members = json.loads(run.split.read_text())["splits"]["test"]["members"]
    prompts = [
        with_lead(Prompt(each["id"], (("user", rows[each["line"] - 1]["messages"][0]["content"]),)), subject.lead)
        for each in members
    ]
    answers = ask(subject.generator, prompts, max_new_tokens=subject.max_new_tokens)
    assert [(each.id, each.text) for each in answers] == [(each.id, found[each.id].text) for each in answers]


def test_the_record_says_what_every_run_came_to(swept: tuple[Path, dict[str, Any]]) -> None:
    _, record = swept
    variants = {variant["name"]: variant for variant in record["variants"]}
    assert list(variants) == ["small", "wrong", "large", "biased"]
    assert (record["kind"], record["status"], record["seeds"]) == ("variants", "done", [42, 43])
    failed = variants["wrong"]["runs"][1]
    assert (failed["status"], failed["error"]["kind"], failed["error"]["exit_code"]) == ("failed", "ConfigError", 2)
    assert "figures" not in variants["wrong"]
    for name in ("small", "large", "biased"):
        variant = variants[name]
        assert [run["status"] for run in variant["runs"]] == ["judged", "judged"]
        assert variant["metrics"]["all_labels"]["of"] == 2 * record["judged_on"]["rows"]
        assert variant["format_20"]["metric"] == "schema_valid"
        figures = variant["figures"]
        assert figures["overfit_gap"]["value"] == pytest.approx(figures["eval_loss"]["value"] - figures["train_loss"]["value"])
        assert figures["eval_loss"]["low"] <= figures["eval_loss"]["value"] <= figures["eval_loss"]["high"]
        assert 10**8 < figures["peak_memory_bytes"] < 10**10
    assert variants["small"]["figures"]["trainable_parameters"] < variants["large"]["figures"]["trainable_parameters"]
    compared = {(each["before"], each["after"]) for each in record["comparisons"]}
    assert compared == {("small", "large"), ("small", "biased")}
    advice = record["recommendation"]
    assert (advice["variant"], advice["metric"]) == ("small", "all_labels")
    assert "wrong is left out: not all of its runs could be judged" in advice["evidence"]
    assert "golden" in record  # the helpdesk has golden questions: the winner alone was asked
    golden = [path for path in (Path(swept[0]) / "runs" / "a-sweep" / "runs").glob("*/eval/result.json")]
    assert [path.parents[1].name for path in golden] == ["small-s42"]


def test_the_page_names_every_key_of_the_record(swept: tuple[Path, dict[str, Any]]) -> None:
    page = RUN_PAGE.with_name("measured-files.md").read_text(encoding="utf-8")
    named = keys(closed(swept[1])) | keys([closed(variant) for variant in swept[1]["variants"][1:3]])
    assert len(named) >= 70
    assert sorted(name for name in named if f"`{name}`" not in page) == []


def closed(value: Any) -> Any:
    """Without the tables whose keys are names: of metrics, of configuration keys, of what a sentence is about."""
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: inner for name, inner in value.items() if name not in {"changes", "values"}}
    # One metric stands for all of them.
    return {name: closed(next(iter(inner.values())) if name == "metrics" else inner) for name, inner in kept.items()}


def test_the_report_of_a_sweep_tells_its_table(swept: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, record = swept
    written: Any = write_report(folder / "runs" / "a-sweep", out=tmp_path, language="en", show_text=False).data
    jsonschema.validate(written, json.loads(schema_text()))
    assert written["recommendation"] == record["recommendation"]
    assert len(written["comparisons"]) == len(record["comparisons"])
    for told, known in zip(written["variants"], record["variants"], strict=True):
        assert told.get("figures") == known.get("figures")
        assert told.get("metrics", {}) == known.get("metrics", {})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Take small." in page or "small is the cheapest" in page
    assert "runs/wrong-s43: ConfigError" in page


def test_a_sweep_is_not_overwritten_and_resumed_only_as_it_was(swept: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = swept
    with pytest.raises(RunFolderError, match="the sweep exists"):
        sweep_here(folder)
    text = (folder / "run.toml").read_text()
    try:
        (folder / "run.toml").write_text(text.replace("lora.r = 8", "lora.r = 4"))
        with pytest.raises(RunFolderError) as caught:
            sweep_here(folder, resume=True)
        assert {problem.place for problem in caught.value.problems} == {"large-s42: lora.r"}
    finally:
        (folder / "run.toml").write_text(text)


@pytest.mark.slow
def test_killed_and_resumed_nothing_is_trained_or_asked_twice(tiny_base: Path, tmp_path: Path) -> None:
    folder = make_helpdesk(
        tmp_path, tiny_base, '[[sweep.variants]]\nname="x"\n[[sweep.variants]]\nname="y"\nlora.r=4\n', steps=12, every=3
    )
    command = [sys.executable, "-m", "loren", "sweep", "run.toml", "--no-golden"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("y-s42: training"):
                break
        for line in process.stderr:
            if line.startswith("step 5/"):
                break
        process.send_signal(signal.SIGKILL)
    record = folder / "runs" / "a-sweep" / "sweep.json"
    assert json.loads(record.read_text())["status"] == "running"
    weights = folder / "runs" / "a-sweep" / "runs" / "x-s42" / "adapter" / "adapter_model.safetensors"
    before = weights.stat().st_mtime_ns
    done = loren("sweep", "run.toml", "--no-golden", "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "x-s42: was trained before" in done.stderr
    assert "resume from checkpoint-3" in done.stderr
    assert weights.stat().st_mtime_ns == before
    train_here(folder, "lora.r=4", "data.split_seed=42", 'output_dir="runs/alone"')
    run, alone = (folder / "runs" / name / "adapter" for name in ("a-sweep/runs/y-s42", "alone"))
    assert digests(run, without=TIMES) == digests(alone, without=TIMES)
    final = json.loads(record.read_text())
    said: list[str] = []
    assert sweep_here(folder, resume=True, said=said).record == final
    assert sum("answered before" in line for line in said) == 2
    # Further seeds may come; what is there stays.
    assert sweep_here(folder, resume=True, seeds=2, said=said).record["seeds"] == [42, 43]


def test_a_curve_trains_on_parts_that_lie_in_each_other(tiny_base: Path, tmp_path: Path) -> None:
    folder = make_helpdesk(tmp_path, tiny_base, "")
    result = sweep_here(folder, curve=(100, 50))
    assert (result.path, result.exit_code) == (folder / "runs" / "a-curve" / "sweep.json", 0)
    curve = result.record["curve"]
    assert [point["percent"] for point in curve["points"]] == [50, 100]
    lines: list[set[int]] = []
    for point in curve["points"]:
        split = json.loads((folder / "runs" / "a-curve" / "runs" / f"p{point['percent']}-s42" / "data" / "split.json").read_text())
        lines.append({member["line"] for member in split["splits"]["train"]["members"]})
        assert len(lines[-1]) == point["rows"]
    assert lines[0] < lines[1]
    assert curve["answer"] == "can't tell"  # of ten situations at most, with answers of noise
    assert "recommendation" not in result.record
    told: Any = write_report(result.path.parent, out=tmp_path / "report", language="en", show_text=False).data
    jsonschema.validate(told, json.loads(schema_text()))
    assert told["curve"]["answer"] == "can't tell"
    assert "Can&#39;t tell." in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_ranges_are_searched_and_resumed_at_the_same_points(tiny_base: Path, tmp_path: Path) -> None:
    table = "[sweep]\ntrials = 6\n[sweep.ranges]\ntrain.learning_rate = { low = 1e-6, high = 3e-2, log = true }\n"
    folder = make_helpdesk(tmp_path, tiny_base, table)
    record = sweep_here(folder, seeds=2).record
    found = record["search"]
    assert (found["trials"], found["failed"], len(found["finalists"])) == (6, 0, 3)
    by_name = {variant["name"]: variant for variant in record["variants"]}
    losses = {name: variant["runs"][0].get("eval_loss") for name, variant in by_name.items()}
    trained = sorted((loss, name) for name, loss in losses.items() if loss is not None)
    assert found["finalists"] == [name for _, name in trained[:3]]
    assert found["pruned"] == sum(variant["runs"][0]["status"] == "pruned" for variant in by_name.values())
    assert all(len(by_name[name]["runs"]) == 2 for name in found["finalists"])
    assert record["recommendation"]["variant"] in found["finalists"]
    said: list[str] = []
    again = sweep_here(folder, resume=True, seeds=2, said=said).record
    assert again == record
    assert not any(line.endswith(": training") for line in said)


@pytest.mark.slow
def test_a_search_without_a_loss_before_the_end_says_that_nothing_can_be_broken_off(tiny_base: Path, tmp_path: Path) -> None:
    table = "[sweep]\ntrials = 7\n[sweep.ranges]\ntrain.learning_rate = { low = 1e-6, high = 3e-2, log = true }\n"
    for steps, every, warned in ((2, 2, 1), (2, 1, 0)):
        folder = make_helpdesk(tmp_path / f"every-{every}", tiny_base, table, steps=steps, every=every)
        said: list[str] = []
        record = sweep_here(folder, said=said).record
        warnings = [line for line in said if line.startswith("warning: train.eval_steps is")]
        assert len(warnings) == warned, said
        assert (record["search"]["pruned"] > 0) == (not warned)
    assert "2 and the longest run has 2 steps" in pruning_problem(planned(tmp_path / "every-2"), lambda config: 2)


def planned(folder: Path) -> SweepPlan:
    return load_sweep(folder / "run.toml", environment={})


def test_general_rows_can_be_what_variants_differ_in(tiny_base: Path, tmp_path: Path) -> None:
    """Each is the same bits as trained alone, and all are judged by the same rows."""
    table = '[[sweep.variants]]\nname = "none"\n[[sweep.variants]]\nname = "some"\ndata.replay = 0.2\n'
    folder = make_helpdesk(tmp_path, tiny_base, table)
    text = (folder / "run.toml").read_text(encoding="utf-8").replace("[data]\n", "[data]\nmax_length = 2048\n")
    (folder / "run.toml").write_text(text, encoding="utf-8")
    record = sweep_here(folder).record
    runs = folder / "runs" / "a-sweep" / "runs"
    splits = [json.loads((runs / f"{name}-s42" / "data" / "split.json").read_text()) for name in ("none", "some")]
    assert [split.get("replay", {}).get("share") for split in splits] == [None, 0.2]
    assert splits[0]["splits"] == splits[1]["splits"]
    assert [[run["status"] for run in variant["runs"]] for variant in record["variants"]] == [["judged"], ["judged"]]
    assert {variant["metrics"]["all_labels"]["of"] for variant in record["variants"]} == {record["judged_on"]["rows"]}
    train_here(folder, "data.replay=0.2", "data.split_seed=42", 'output_dir="runs/alone"')
    assert digests(runs / "some-s42" / "adapter", without=TIMES) == digests(folder / "runs" / "alone" / "adapter", without=TIMES)


def test_a_sweep_needs_a_task_and_one_process(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_helpdesk(tmp_path, tiny_base, "")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        sweep_here(folder)
    monkeypatch.delenv("WORLD_SIZE")
    (folder / "run.toml").write_text((folder / "run.toml").read_text().replace('task = "task"\n', ""))
    done = loren("sweep", "run.toml", cwd=folder)
    assert (done.returncode, "task  expected a task folder" in done.stderr) == (2, True)
    assert not (folder / "runs").exists()
