"""`data.replay`: general rows are trained on, without the task's system prompt, and the run says so; 0 changes nothing."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from loren.config import load_config
from loren.data.replay import choose_replay, load_replay
from loren.errors import ConfigError, DataContractError, RunFolderError
from loren.evaluate import guard
from loren.evaluate.arms import Asking, LoadedWeights
from loren.evaluate.subjects import open_trained
from loren.models.chat import IGNORED
from loren.models.loading import load_tokenizer
from loren.runs.folder import RunFolder
from loren.train.inputs import Rows, prepare, read_data
from project import loren
from running import digests, rewind, state_of, steps_of, train_here, weights_of

HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"
STEPS = 3
SHAPE = (f"train.max_steps={STEPS}", "train.save_steps=1", "train.save_total_limit=9", "train.gradient_accumulation_steps=16")


def helpdesk(folder: Path, base: Path) -> Path:
    shutil.copytree(HELPDESK, folder, dirs_exist_ok=True)
    (folder / "run.toml").write_text(
        f'base_model = "{base}"\ntask = "task"\noutput_dir = "runs/a"\n[train]\nlearning_rate = 1e-2\n[data]\nmax_length = 2048\n'
    )
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = helpdesk(tmp_path_factory.mktemp("mixed"), tiny_base)
    said: list[str] = []
    train_here(folder, *SHAPE, "data.replay=0.3", said=said)
    assert next(line for line in said if line.startswith("render")).endswith("; 10 of 44 rows are general ones")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(folder: Path, *overrides: str) -> Rows:
    config = load_config(folder / "run.toml", environment={}, overrides=overrides).config
    prepared = prepare(config, read_data(config, say=lambda text: None), fetching=lambda: nullcontext(lambda *_: None))
    return prepared.rows_of(config)


def test_the_run_says_what_was_mixed_in(mixed: Path) -> None:
    run = RunFolder(mixed / "runs" / "a")
    expected = choose_replay(34, share=0.3, seed=42)
    assert expected is not None
    record = expected.to_json()
    assert record["rows"] == 10
    metadata = read(run.adapter / "training_metadata.json")
    assert read(run.split)["replay"] == read(run.data_report)["replay"] == metadata["replay"] == record
    assert (metadata["rows"]["train"], metadata["rows"]["validation"]) == (44, 11)
    assert read(run.data_report)["tokens"]["train"]["rows"] == 44
    assert read(run.split)["splits"]["train"]["rows"] == 34  # the file's own
    assert "| training rows | 44, of them 10 general ones (" in (run.adapter / "README.md").read_text(encoding="utf-8")
    # An epoch is made of all of them: 44 rows at 16 a step are the 3 steps of this run.
    tokens = sum(line["tokens"] for line in steps_of(run.path))
    assert tokens == read(run.data_report)["tokens"]["train"]["tokens"]["sum"]


def test_general_rows_are_in_train_only_and_never_behind_the_tasks_system_prompt(tmp_path: Path, tiny_base: Path) -> None:
    folder = helpdesk(tmp_path, tiny_base)
    rows = rows_of(folder, "data.replay=0.3")
    tokenizer = load_tokenizer(tiny_base)
    texts = [tokenizer.decode(item.rendered.input_ids) for item in rows.train]
    system = (folder / "task" / "system.txt").read_text(encoding="utf-8").strip()
    assert [system in text for text in texts] == [True] * 34 + [False] * 10
    known = {each.row.id: each.row for each in load_replay()}
    for item in rows.train[34:]:
        labels = [label for label in item.rendered.labels if label != IGNORED]
        assert tokenizer.decode(labels) == f"{known[item.row.id].messages[1].content}<|im_end|>"
    assert not known.keys() & {item.row.id for item in [*rows.validation, *rows.train[:34]]}


def test_a_run_that_was_stopped_goes_on_in_the_same_bits(mixed: Path, tmp_path: Path) -> None:
    run = mixed / "runs" / "a"
    expected, steps = state_of(run, STEPS), steps_of(run)
    full = tmp_path / "full"
    shutil.copytree(run, full)
    try:
        rewind(full, run, step=2)
        train_here(mixed, *SHAPE, "data.replay=0.3", resume=True)
        assert (steps_of(run), state_of(run, STEPS)) == (steps, expected)
    finally:
        shutil.rmtree(run)
        shutil.copytree(full, run)


def test_resuming_refuses_another_replay(mixed: Path) -> None:
    run = mixed / "runs" / "a"
    assert train_here(mixed, *SHAPE, "data.replay=0.3", resume=True).was_done
    for other in ("0.0", "0.1"):
        with pytest.raises(RunFolderError, match=r"data\.replay  the run has 0\.3"):
            train_here(mixed, *SHAPE, f"data.replay={other}", resume=True)
    split = read(run / "data" / "split.json")
    original = (run / "data" / "split.json").read_text(encoding="utf-8")
    split["replay"]["sha256"] = "0" * 64
    try:
        (run / "data" / "split.json").write_text(json.dumps(split), encoding="utf-8")
        with pytest.raises(RunFolderError, match="other general rows"):
            train_here(mixed, *SHAPE, "data.replay=0.3", resume=True)
    finally:
        (run / "data" / "split.json").write_text(original, encoding="utf-8")


def test_none_is_what_it_was(tmp_path: Path, tiny_base: Path) -> None:
    """Without the key, with 0, and in a run that was started before the key existed."""
    runs: list[Path] = []
    for name, overrides in (("without", ()), ("zero", ("data.replay=0.0",))):
        runs.append(train_here(helpdesk(tmp_path / name, tiny_base), *SHAPE, *overrides).run.path)
    first, second = runs
    assert (steps_of(first), weights_of(first)) == (steps_of(second), weights_of(second))
    assert digests(first / "data") != {}
    for name in ("split.json", "report.json"):
        assert "replay" not in read(first / "data" / name)
    assert read(first / "adapter" / "training_metadata.json")["replay"] is None
    config = read(first / "config.json")
    del config["values"]["data"]["replay"]
    (first / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert train_here(tmp_path / "without", *SHAPE, resume=True).was_done
    with pytest.raises(RunFolderError, match=r"data\.replay  the run has 0\.0, this command 0\.5"):
        train_here(tmp_path / "without", *SHAPE, "data.replay=0.5", resume=True)


def test_what_can_not_be_mixed_in_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    folder = helpdesk(tmp_path, tiny_base)
    with pytest.raises(ConfigError, match=r"data\.replay"):
        load_config(folder / "run.toml", environment={}, overrides=("data.replay=1.0",))
    settings = folder / "task" / "task.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("system_in_training = true", ""), encoding="utf-8")
    lengths = [len(item.rendered.input_ids) for item in rows_of(folder, "data.replay=0.9").train]
    assert max(lengths[34:]) > max(lengths[:34])  # Vietnamese is long in a tokenizer that knows little of it
    with pytest.raises(DataContractError, match=r"replay\.jsonl:") as caught:
        rows_of(folder, "data.replay=0.9", f"data.max_length={max(lengths) - 1}", 'data.over_length="drop"')
    assert "data.replay = 0" in caught.value.hint
    chosen = choose_replay(34, share=0.5, seed=42)
    assert chosen is not None
    question, line = chosen.rows[0].messages[0].content, chosen.rows[0].line
    golden = folder / "task" / "golden.jsonl"
    row = json.loads(golden.read_text(encoding="utf-8").splitlines()[0])
    row |= {"id": "x", "situation": "x"}
    row["messages"][0]["content"] = question
    golden.write_text(json.dumps(row) + "\n", encoding="utf-8")
    rows_of(folder)
    with pytest.raises(DataContractError, match=rf"replay\.jsonl:{line} ") as caught:
        rows_of(folder, "data.replay=0.5")
    assert question not in str(caught.value)


def test_check_counts_them(mixed: Path) -> None:
    (mixed / "replay.toml").write_text((mixed / "run.toml").read_text() + "replay = 0.3\n")
    counts = []
    for config in ("run.toml", "replay.toml"):
        done = loren("check", "data/train.jsonl", "--task", "task", "--tokens", config, "--format", "json", cwd=mixed)
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout)["tokens"]["training"]["train_rows"])
    assert counts == [34, 44]


def test_forgetting_is_measured_on_a_real_run(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_NEW_TOKENS", 6)
    trained = open_trained(RunFolder(mixed / "runs" / "a"))
    result: dict[str, Any] = guard.measure_forgetting(
        trained,
        generators=LoadedWeights(trained, Asking(), lambda: nullcontext(lambda *_: None)).get,
        say=lambda text: None,
        folder=tmp_path,
    )
    assert result["base"]["all"]["of"] == result["adapter"]["all"]["of"] == 98
    assert result["base"]["cut"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {
        f"guard-{name}.{end}" for name in ("base", "adapter") for end in ("jsonl", "meta.json")
    }
