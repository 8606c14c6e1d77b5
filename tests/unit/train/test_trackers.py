"""The guard around trackers, what they are told, and who speaks; the trackers are real, their stores are local."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from loren.cli import doctor
from loren.cli.main import run as run_command
from loren.config import RunConfig, load_config
from loren.config.train import Tracker, TrainConfig
from loren.errors import ConfigError, PrerequisiteError, StorageError
from loren.runs.folder import RunFolder
from loren.train import recipe
from loren.train.trackers import Trackers, require_packages, run_parameters
from project import make_project
from running import train_here


def trackers(run: RunFolder, said: list[str], *names: str) -> Trackers:
    return Trackers(names, run, parameters={"seed": 42}, tags={"run": run.path.name, "git_commit": None}, say=said.append)


def line(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1.0 / step, "eval_loss": None, "peak_vram_bytes": None, "tokens": 7}


def write_lines(run: RunFolder, *steps: int) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    run.metrics.write_text("".join(json.dumps(line(step)) + "\n" for step in steps))


def tensorboard_steps(run: RunFolder, figure: str = "loss") -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(figure)]


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: MLflow's migrations of a new database take seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").create_experiment("loren")
    return path


@pytest.fixture
def store(new_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mlflow.db"
    shutil.copy(new_store, path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return path


def test_a_missing_package_is_an_error_with_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(PrerequisiteError) as caught:
        require_packages(["wandb", "tensorboard", "mlflow"])
    assert [problem.place for problem in caught.value.problems] == ["wandb", "mlflow"]
    assert caught.value.hint == "pip install 'loren[wandb,mlflow]'"
    assert caught.value.exit_code == 4


def test_the_command_stops_before_the_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    (tmp_path / "run.toml").write_text('[data]\npath = "none.jsonl"\n[train]\nreport_to = ["wandb"]\n')
    assert run_command(["train", str(tmp_path / "run.toml")]) == 4
    assert capsys.readouterr().err.splitlines() == [
        "error: train.report_to: 1 tracker(s) can't be used",
        "  wandb  expected the package wandb, found none",
        "hint: pip install 'loren[wandb]'",
    ]


def test_every_tracker_has_an_extra_and_a_line_in_doctor() -> None:
    names = get_args(Tracker)
    assert len(names) == 3
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for name in names:
        assert (f'train.report_to = ["{name}"]', f"pip install 'loren[{name}]'") in doctor.OPTIONAL.values()
        assert extras[name]


def test_the_key_takes_known_names_once(tmp_path: Path) -> None:
    config = load_config(None, environment={}, overrides=['train.report_to=["wandb", "mlflow", "wandb"]']).config
    assert config.train.report_to == ("wandb", "mlflow")
    with pytest.raises(ConfigError, match=r"train\.report_to"):
        load_config(None, environment={}, overrides=['train.report_to=["comet"]'])


def test_parameters_are_flat_and_hold_no_path_of_this_machine_and_no_secret(tmp_path: Path) -> None:
    config = RunConfig(
        base_model=str(tmp_path / "models" / "tiny"), output_dir=tmp_path / "runs" / "a", revision="hf_abcdefghijkl",
        train=TrainConfig(report_to=("mlflow",)),
    )  # fmt: skip
    flat = run_parameters(config, {"device": "cpu", "threads": 1})
    assert (flat["base_model"], flat["output_dir"], flat["revision"]) == ("tiny", "a", "***")
    assert (flat["execution.threads"], flat["lora.target_modules"]) == (1, "q_proj, k_proj, v_proj, o_proj")
    assert "task" not in flat
    assert not [value for value in flat.values() if str(tmp_path) in str(value)]


def test_a_store_that_breaks_is_named_once_and_the_others_go_on(tmp_path: Path, store: Path) -> None:
    run, said = RunFolder(tmp_path / "runs" / "a"), []
    write_lines(run)
    with trackers(run, said, "mlflow", "tensorboard") as both:
        both.step(line(1))
        store.write_bytes(b"not a database" * 1000)
        for path in store.parent.glob("mlflow.db-*"):
            path.unlink()
        both.step(line(2))
        both.step(line(3))
    both.finish({"steps": 3, "loss": {"last": 0.25}})
    assert len(said) == 1
    assert said[0].startswith("warning: mlflow failed (")
    assert str(tmp_path) not in said[0]
    assert [step for step, _ in tensorboard_steps(run)] == [1, 2, 3]
    assert tensorboard_steps(run, "final/loss.last") == [(3, 0.25)]


def test_a_server_that_is_not_there_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:pa55word@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run, said = RunFolder(tmp_path), []
    with trackers(run, said, "mlflow") as one:
        one.step(line(1))
    assert said == ["warning: mlflow failed (MlflowException): nothing more is sent to it, training goes on"]


def test_what_a_tracker_missed_is_sent_when_the_run_is_opened_again(tmp_path: Path) -> None:
    run, said = RunFolder(tmp_path), []
    with trackers(run, said, "tensorboard") as first:
        first.step(line(1))
    write_lines(run, 1, 2, 3)
    with trackers(run, said, "tensorboard") as second:
        second.step(line(3))
        second.step(line(4))
    second.finish({"steps": 4})
    assert [step for step, _ in tensorboard_steps(run)] == [1, 2, 3, 4]
    assert json.loads(run.trackers.read_text()) == {"schema_version": 1, "run_ids": {"tensorboard": "tensorboard"}}
    assert said == []


def test_a_run_that_was_deleted_in_the_store_starts_anew_with_every_step(tmp_path: Path, store: Path) -> None:
    from mlflow import MlflowClient

    run, said = RunFolder(tmp_path / "a"), []
    write_lines(run, 1, 2)
    run.trackers.write_text(json.dumps({"schema_version": 1, "run_ids": {"mlflow": "0" * 32}}))
    with trackers(run, said, "mlflow") as only:
        only.step(line(3))
    run_id = json.loads(run.trackers.read_text())["run_ids"]["mlflow"]
    assert run_id != "0" * 32
    assert [metric.step for metric in MlflowClient().get_metric_history(run_id, "loss")] == [1, 2, 3]
    assert said == []


def test_a_failing_run_is_closed_as_killed(tmp_path: Path, store: Path) -> None:
    from mlflow import MlflowClient

    run = RunFolder(tmp_path / "a")
    write_lines(run)

    def fail() -> None:
        with trackers(run, [], "mlflow") as only:
            only.step(line(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    run_id = json.loads(run.trackers.read_text())["run_ids"]["mlflow"]
    assert MlflowClient().get_run(run_id).info.status == "KILLED"


def test_a_run_whose_adapter_could_not_be_saved_is_closed_as_killed(
    tiny_base: Path, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk refused")

    monkeypatch.setattr(recipe, "save_artifact", refuse)
    make_project(tmp_path, tiny_base)
    with pytest.raises(StorageError):
        train_here(tmp_path, 'train.report_to=["mlflow"]', "train.max_steps=2")
    run_id = json.loads((tmp_path / "runs" / "a" / "trackers.json").read_text())["run_ids"]["mlflow"]
    assert MlflowClient().get_run(run_id).info.status == "KILLED"


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    with trackers(RunFolder(tmp_path / "none"), []) as none:
        none.step(line(1))
    assert list(tmp_path.iterdir()) == []
