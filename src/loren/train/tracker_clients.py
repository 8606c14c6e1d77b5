"""The three trackers through their own libraries. Imported only when one is asked for, after its telemetry was switched off."""
# pyright: basic

from __future__ import annotations

import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loren.train.trackers import TrackedRun

PROJECT = "loren"
"""MLflow experiment and W&B project, where the environment names none."""
_MLFLOW_KEY = re.compile(r"[^0-9A-Za-z_\-. :/]")


class MlflowTracker:
    """A run of an MLflow store: MLFLOW_TRACKING_URI, or MLflow's own default, `mlflow.db` in the working directory.

    The client is used without the fluent interface, which would add the user's name and the path of the program as tags.
    """

    def __init__(self, run: TrackedRun, run_id: str | None, last_line: int) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # each of fifty migrations of a new store is a line
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self.last_step = 0
        self.run_id = self._continued(run_id) or self._created(run)

    def _continued(self, run_id: str | None) -> str:
        from mlflow.exceptions import MlflowException

        if run_id is None:
            return ""
        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return ""  # deleted, or another store: a new run gets every step
            raise
        self.last_step = max((metric.step for metric in self._client.get_metric_history(run_id, "loss")), default=0)
        return run_id

    def _created(self, run: TrackedRun) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self._client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run_id = self._client.create_run(place, run_name=run.folder.name, tags=dict(run.tags)).info.run_id
        self._client.log_batch(run_id, params=[Param(key, str(value)) for key, value in run.parameters.items()])
        return run_id

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """One request with all figures of the step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            self.run_id, metrics=[Metric(_MLFLOW_KEY.sub("_", key), value, now, step) for key, value in figures.items()]
        )

    def finish(self, step: int, figures: Mapping[str, float]) -> None:
        """The final figures, at the last step; the run is FINISHED."""
        self.step(step, figures)
        self._client.set_terminated(self.run_id, "FINISHED")

    def abort(self) -> None:
        """The run is KILLED until it is resumed."""
        self._client.set_terminated(self.run_id, "KILLED")


class TensorBoardTracker:
    """Event files in the run folder's `tensorboard/`."""

    def __init__(self, run: TrackedRun, run_id: str | None, last_line: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        self.run_id = folder.name
        self.last_step = self._newest_step(str(folder)) if folder.is_dir() else 0
        self._writer = SummaryWriter(str(folder))
        if self.last_step == 0:
            for name, values in (("parameters", run.parameters), ("tags", run.tags)):
                self._writer.add_text(
                    name, "\n".join(["| key | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])
                )

    @staticmethod
    def _newest_step(folder: str) -> int:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        # A killed process leaves a torn last record, which the reader logs; it is sent again.
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        events = EventAccumulator(folder, size_guidance={"scalars": 1})  # the newest one of each figure
        events.Reload()
        return events.Scalars("loss")[-1].step if "loss" in events.scalars.Keys() else 0

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """One event a figure."""
        for key, value in figures.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def finish(self, step: int, figures: Mapping[str, float]) -> None:
        """The final figures as events of the last step."""
        self.step(step, figures)
        self._writer.close()

    def abort(self) -> None:
        """Close the file."""
        self._writer.close()


class WandbTracker:
    """A run of Weights & Biases: WANDB_PROJECT, WANDB_MODE and the login are W&B's own; its local files go to the run folder.

    What it would collect by itself (command line, host, user, packages, git remote, console, machine figures) is switched off.
    """

    def __init__(self, run: TrackedRun, run_id: str | None, last_line: int) -> None:
        import wandb

        is_offline = os.environ.get("WANDB_MODE") in {"offline", "dryrun"}
        if not is_offline and not wandb.login(prompt=False, verify=False):
            raise PermissionError("no login")  # rather than a question in the middle of a job
        self.run_id = run_id or uuid.uuid4().hex[:16]
        place = Path(os.environ.get("WANDB_DIR") or run.folder)
        was_sent = not is_offline or _supersede(place / "wandb", self.run_id)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=self.run_id,
            name=run.folder.name,
            dir=str(place),
            config={**run.parameters, **run.tags},
            resume=None if is_offline else "allow",
            settings=_private_settings(wandb),
        )
        known = last_line if is_offline else self._run.step - 1
        self.last_step = known if run_id and was_sent else 0

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """One line of the run's history."""
        self._run.log(dict(figures), step=step)

    def finish(self, step: int, figures: Mapping[str, float]) -> None:
        """The final figures as the run's summary."""
        self._run.summary.update(dict(figures))
        self._run.finish(exit_code=0)

    def abort(self) -> None:
        """The run counts as failed until it is resumed."""
        self._run.finish(exit_code=1)


def _supersede(folder: Path, run_id: str) -> bool:
    """Make room for an offline run that gets every step anew; True where the earlier process's steps are on a server already.

    A killed process leaves a local file that lacks its last seconds, and nothing says which steps those were.
    """
    earlier = list(folder.glob(f"offline-run-*-{run_id}"))
    if any(True for place in earlier for _ in place.glob("*.synced")):
        return True
    for place in earlier:
        shutil.rmtree(place, ignore_errors=True)
    return False


def _private_settings(wandb: Any) -> Any:
    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        host="",
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1.0,
        init_timeout=30,
        finish_timeout=60,
    )
