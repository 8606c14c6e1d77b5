"""One run in three trackers at once: killed, resumed, then read back with each tracker's own reader. Nothing leaves the machine."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from project import loren, make_project

REPORT_TO = 'train.report_to=["mlflow", "tensorboard", "wandb"]'
SECRET = "hf_abcdefghijklmnop"
WATCHED = """
import os, runpy, signal, sys
def hook(event, args):
    if event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        return
    if event == "socket.getaddrinfo" or not isinstance(args[-1], (str, bytes)):  # W&B's own process listens at a path
        print("CONNECTION", event, args, file=sys.stderr)
sys.addaudithook(hook)
from loren.__main__ import main
last = int(sys.argv.pop(1))
if last:
    from loren.train.trackers import Trackers
    send = Trackers.step
    def step(self, line):
        send(self, line)
        if line["step"] == last:
            os.kill(os.getpid(), signal.SIGKILL)
    Trackers.step = step
sys.argv[0] = "loren"
main()
"""
"""The command under an audit hook that shows every connection; killed after it sent step ``last``."""


class Tracked(NamedTuple):
    folder: Path
    run: Path
    store: str
    metrics: list[dict[str, Any]]
    said: list[str]


def watched(last: int, *arguments: str, cwd: Path, store: str) -> subprocess.CompletedProcess[str]:
    # In a test or on CI, MLflow keeps its telemetry to itself: as a user has it, it would speak.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PYTEST_", "CI", "GIT"))}
    return subprocess.run(
        [sys.executable, "-c", WATCHED, str(last), "train", "run.toml", "--set", REPORT_TO, *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=900, check=False,
        env={**environment, "NO_COLOR": "1", "MLFLOW_TRACKING_URI": store, "WANDB_MODE": "offline", "HF_TOKEN": SECRET},
    )  # fmt: skip


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Tracked:
    folder = make_project(tmp_path_factory.mktemp("private-folder"), tiny_base)
    store = f"sqlite:///{folder}/mlflow.db"
    killed = watched(5, cwd=folder, store=store)
    assert killed.returncode == -9, killed.stderr
    resumed = watched(0, "--resume", cwd=folder, store=store)
    assert resumed.returncode == 0, resumed.stderr
    assert "resume from checkpoint-3" in resumed.stderr
    run = folder / "runs" / "a"
    metrics = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(metrics) == 9
    return Tracked(folder, run, store, metrics, [killed.stderr, resumed.stderr])


def assert_every_step_once(found: list[tuple[int, float]], tracked: Tracked, name: str) -> None:
    expected = figures(tracked.metrics, name)
    assert [step for step, _ in found] == [step for step, _ in expected], name
    assert [value for _, value in found] == pytest.approx([value for _, value in expected]), name


def figures(metrics: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in metrics if entry[name] is not None]


def assert_mlflow_has_the_run(tracked: Tracked, store: str) -> str:
    """Returns its id."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    (experiment,) = client.search_experiments(filter_string="name = 'loren'")
    (found,) = client.search_runs([experiment.experiment_id])
    for name in ("loss", "eval_loss", "grad_norm", "learning_rate", "label_tokens"):
        history = sorted((metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, name))
        assert_every_step_once(history, tracked, name)
    metadata = json.loads((tracked.run / "adapter" / "training_metadata.json").read_text())
    assert found.data.params["train.learning_rate"] == "0.01"
    assert found.data.params["execution.device"] == metadata_device(tracked)
    assert found.data.tags["data_sha256"] == metadata["dataset"]["sha256"]
    assert found.data.tags["base_weights_sha256"] == metadata["base_model"]["weights_sha256"]
    assert found.data.tags["run"] == found.info.run_name == "a"
    assert found.data.metrics["final/loss.best"] == metadata["loss"]["best"]
    assert found.info.status == "FINISHED"
    return str(found.info.run_id)


def metadata_device(tracked: Tracked) -> str:
    return str(json.loads((tracked.run / "config.json").read_text())["execution"]["device"])


def test_mlflow_has_every_step_once_in_one_run(tracked: Tracked) -> None:
    run_id = assert_mlflow_has_the_run(tracked, tracked.store)
    assert json.loads((tracked.run / "trackers.json").read_text())["run_ids"]["mlflow"] == run_id


def test_tensorboard_reads_every_step_once(tracked: Tracked) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked.run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    for name in ("loss", "eval_loss", "grad_norm", "learning_rate"):
        assert_every_step_once([(event.step, event.value) for event in events.Scalars(name)], tracked, name)
    (parameters,) = events.Tensors("parameters/text_summary")
    assert b"| train.learning_rate | 0.01 |" in parameters.tensor_proto.string_val[0]
    assert events.Scalars("final/steps")[-1].value == 9


def test_wandb_offline_has_every_step_once_under_one_id(tracked: Tracked) -> None:
    run_id = json.loads((tracked.run / "trackers.json").read_text())["run_ids"]["wandb"]
    (file,) = tracked.run.glob("wandb/offline-run-*/*.wandb")
    assert file.stem == f"run-{run_id}"
    history = list(wandb_history(file))
    assert_every_step_once([(step["_step"], step["loss"]) for step in history], tracked, "loss")
    assert_every_step_once([(step["_step"], step["eval_loss"]) for step in history if "eval_loss" in step], tracked, "eval_loss")


def wandb_history(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's local file, which is a log of protocol buffers in LevelDB's format."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768  # a block's tail that is too short for a header
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:  # a full record, or the last part of one
            record = wandb_internal_pb2.Record.FromString(whole)
            whole = b""
            if record.WhichOneof("record_type") == "history":
                line = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                yield {**line, "_step": record.history.step.num}


def test_nothing_private_is_in_what_a_tracker_would_share(tracked: Tracked) -> None:
    rows = (tracked.folder / "data" / "train.jsonl").read_text().splitlines()
    text = json.loads(rows[0])["messages"][0]["content"]
    shared = [tracked.folder / "mlflow.db", *tracked.run.glob("tensorboard/events*"), *tracked.run.glob("wandb/*/*.wandb")]
    assert len(shared) >= 4
    for file in shared:
        content = file.read_bytes()
        for private in (SECRET, text, str(tracked.run), "private-folder", socket.gethostname()):
            if file.name == "mlflow.db" and private == "private-folder":
                continue  # MLflow itself notes where artifacts of an experiment would go: the user's own store
            assert private.encode() not in content, (file.name, private)


def test_nothing_leaves_the_machine(tracked: Tracked) -> None:
    assert [said for said in tracked.said if "CONNECTION" in said] == []
    assert [said for said in tracked.said if "warning" in said] == []


@pytest.mark.slow
def test_a_real_mlflow_server_gets_the_run(tmp_path: Path, tiny_base: Path) -> None:
    """`mlflow server` over loopback; a second run finds it gone, and ends all the same."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--default-artifact-root", str(tmp_path / "artifacts")],
        cwd=tmp_path, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(120):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(1)
        address = f"http://127.0.0.1:{port}"
        project = make_project(tmp_path / "project", tiny_base)
        environment = {"MLFLOW_TRACKING_URI": address}
        done = loren("train", "run.toml", "--set", 'train.report_to=["mlflow"]', cwd=project, environment=environment)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
        metrics = [json.loads(text) for text in (project / "runs" / "a" / "metrics.jsonl").read_text().splitlines()]
        assert_mlflow_has_the_run(Tracked(project, project / "runs" / "a", address, metrics, []), address)
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)
    lonely = loren(
        "train",
        "run.toml",
        "--set",
        'train.report_to=["mlflow"]',
        "--set",
        "output_dir=runs/b",
        cwd=project,
        environment=environment,
    )
    assert lonely.returncode == 0, lonely.stderr
    assert lonely.stderr.count("warning: mlflow failed") == 1
