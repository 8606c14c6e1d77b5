"""The names of everything in a run folder, and the record of its stages."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import filelock

from loren.errors import RunFolderError, StorageError
from loren.runs.files import Json, clear_leftovers, read_json, write_json

SCHEMA_VERSION = 1
"""Version of every JSON file in a run folder; a reader refuses a newer one."""

METADATA = "training_metadata.json"
"""Inside an artifact: how it came to be."""
MERGE_RECORD = "merge.json"
"""Inside a merged model: of which base and adapter it was made, and the proof."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
"""Inside an artifact that is an adapter, in PEFT's names."""

LOCK = ".lock"
"""Inside a run folder: an empty file that a process which trains or merges holds locked."""

Verdict: TypeAlias = Literal["done", "passed", "failed"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run: the paths of its files. Making one touches nothing on disk."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration with origins and `execution`."""
        return self.path / "config.json"

    @property
    def stages(self) -> Path:
        """Which stages ran, on which inputs, with what verdict."""
        return self.path / "stages.json"

    @property
    def data_report(self) -> Path:
        """What the data contract found; token statistics; the ledger of dropped rows."""
        return self.path / "data" / "report.json"

    @property
    def split(self) -> Path:
        """Row digests per split, seed and groups."""
        return self.path / "data" / "split.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of `checkpoint-N` folders."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON line an optimiser step."""
        return self.path / "metrics.jsonl"

    @property
    def trackers(self) -> Path:
        """Each experiment tracker's own id of this run."""
        return self.path / "trackers.json"

    @property
    def adapter(self) -> Path:
        """The artifact: what PEFT, vLLM or the Hub expect."""
        return self.path / "adapter"

    @property
    def sanity(self) -> Path:
        """A handful of prompts, pass or fail by criterion."""
        return self.path / "sanity.json"

    @property
    def evaluation(self) -> Path:
        """Predictions and results on the golden set."""
        return self.path / "eval"

    @property
    def merged(self) -> Path:
        """Where the adapter merged into its base is put, unless the user names another place."""
        return self.path / "merged"

    @property
    def merged_pointer(self) -> Path:
        """What merging came to, and where the merged model lies: ``path``, relative to the run."""
        return self.path / "merged.json"

    @property
    def merged_sanity(self) -> Path:
        """The sanity check of the merged model."""
        return self.path / "merged-sanity.json"

    def read_stages(self) -> dict[str, Json]:
        """The recorded stages by name; empty before the first."""
        if not self.stages.exists():
            return {}
        return dict(cast("dict[str, Json]", read_json(self.stages)["stages"]))

    def record_stage(self, name: str, *, inputs: dict[str, str], verdict: Verdict) -> None:
        """Add or replace the record of stage ``name``; ``inputs`` are digests by input name."""
        stages = self.read_stages()
        stages[name] = {"inputs": inputs, "verdict": verdict, "finished_at": utc_now()}
        write_json(self.stages, {"schema_version": SCHEMA_VERSION, "stages": stages})

    @contextmanager
    def held(self) -> Generator[list[str]]:
        """Hold the run against other processes, and put right what a killed one left.

        The operating system lets go of the lock when the process ends, however it ends.

        Yields:
            The names of what was cleared away.

        Raises:
            RunFolderError: another process holds it.
            StorageError: the folder can't be made or written.
        """
        lock = filelock.FileLock(self.path / LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            raise RunFolderError(f"{self.path}: another process is at work on this run", hint="wait for it, or stop it") from error
        except OSError as error:
            raise StorageError(
                f"{self.path}: expected a folder that can be written, found {error.strerror}", hint="choose another output_dir"
            ) from error
        try:
            yield clear_leftovers(self.path)
        finally:
            lock.release()

    def require(self) -> RunFolder:
        """This folder, if it is a run.

        Raises:
            RunFolderError: there is no run here.
        """
        if not self.config.is_file():
            raise RunFolderError(
                f"{self.path}: expected a run folder, found {'no config.json in it' if self.path.is_dir() else 'no folder'}",
                hint="`loren train CONFIG` makes one, its path is output_dir; `loren adopt` makes one around an adapter",
            )
        return self


def utc_now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
