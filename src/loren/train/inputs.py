"""What a run is made of, before a model is loaded: the folder, the rows, and what forbids to start or to resume."""
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from loren.config import RunConfig, flatten
from loren.data.approvals import load_approvals
from loren.data.load import LoadedRows, load_rows, refuse_golden_rows
from loren.data.replay import REPLAY_FILE, Replay, choose_replay
from loren.data.rows import Row
from loren.data.split import Split, split_rows, thin_training
from loren.errors import DataContractError, Problem, RunFolderError
from loren.models.chat import ChatRenderer
from loren.models.lengths import Dropped, RenderedRow, enforce_max_length, render_rows
from loren.models.loading import Fetching, LocalBase, load_tokenizer, locate_base
from loren.provenance.manifest import verify_manifest
from loren.runs.files import Json, is_leftover, read_json
from loren.runs.folder import LOCK, RunFolder
from loren.task.definition import Task, load_task

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Data:
    """The training file, checked and split; its training rows are those of ``train_share = 1``."""

    task: Task | None
    loaded: LoadedRows
    split: Split


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that trainings have in common when they differ only in how they train: check, split, base and rendered rows."""

    data: Data
    base: LocalBase
    tokenizer: PreTrainedTokenizerBase
    renderer: ChatRenderer
    rows: Rows

    def rows_of(self, config: RunConfig) -> Rows:
        """The rows that ``config`` trains on: its share of the training groups, and as many general rows as it asks for.

        Raises:
            ConfigError: more general rows are asked for than there are.
            DataContractError: no row of the file fits max_length, a general one does not, or shares something with golden rows.
        """
        split = thin_training(self.rows.split, config.data.train_share)
        lines = {row.line for row in split.train}
        train = [item for item in self.rows.train if item.row.line in lines]
        if not train:
            raise DataContractError(f"{config.data.path.name}: no train row is left", hint="raise data.train_share")
        replay = choose_replay(len(split.train), share=config.data.replay, seed=config.seed)
        if replay is not None:
            train += _mixed_in(replay, self.data.task, self.renderer, config.data.max_length)
        return replace(self.rows, train=train, split=split, replay=replay)


def read_data(config: RunConfig, *, say: Say) -> Data:
    """Check the training file and split it.

    Raises:
        ConfigError: the task folder is wrong.
        DataContractError: the file breaks the contract, can't be split, or shares something with golden rows.
    """
    task = load_task(config.task) if config.task else None
    loaded = load_rows(
        config.data.path,
        task,
        approvals=config.data.approvals and load_approvals(config.data.approvals),
        format_in=config.data.format,
    )
    say(f"check  {len(loaded.rows)} rows keep the data contract")
    split = split_rows(loaded.rows, eval_ratio=config.data.eval_ratio, test_ratio=config.data.test_ratio, seed=config.split_seed)
    refuse_golden_leaks(split, task, config.data.path)
    say(f"split  {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test")
    return Data(task, loaded, split)


def prepare(config: RunConfig, data: Data, *, fetching: Fetching) -> Prepared:
    """Find the base model and render the rows with its template; no weights are loaded.

    Raises:
        ModelLoadError: the base model, or a tokenizer in it, can't be found.
        DataContractError: a row does not fit max_length, or can't be rendered exactly.
    """
    base = locate_base(config.base_model, config.revision, trust_remote_code=config.trust_remote_code, fetching=fetching)
    tokenizer = load_tokenizer(base.folder, trust_remote_code=config.trust_remote_code)
    renderer = ChatRenderer(tokenizer, config.base_model)
    return Prepared(data, base, tokenizer, renderer, render(config, data.task, data.loaded, data.split, renderer))


@dataclass(frozen=True, slots=True)
class Rows:
    """The rendered rows of a run and what the files say about them."""

    train: list[RenderedRow]
    """Those of the file, then the general ones of ``replay``."""
    validation: list[RenderedRow]
    loaded: LoadedRows
    split: Split
    ledger: list[Dropped]
    system_prompt: str
    language: str
    replay: Replay | None = None


def refuse_existing(run: RunFolder, *, resume: bool) -> None:
    """A run folder is never overwritten.

    Raises:
        RunFolderError: it exists and ``resume`` was not asked for, or it holds something else.
    """
    names = [path.name for path in run.path.iterdir()] if run.path.exists() else []
    if all(name == LOCK or is_leftover(name) for name in names):  # a process that was killed before it wrote a word
        return
    if not run.config.is_file():
        raise RunFolderError(f"{run.path}: expected an empty folder or a run, found other files", hint="choose another output_dir")
    if read_json(run.config).get("adopted"):
        raise RunFolderError(
            f"{run.path}: expected a run that Loren trained, found an adopted adapter: there is no training to continue",
            hint="choose another output_dir to train one",
        )
    if not resume:
        raise RunFolderError(f"{run.path}: the run exists", hint="--resume continues it; or choose another output_dir")


def refuse_golden_leaks(split: Split, task: Task | None, file: Path) -> None:
    """No golden question or situation may be trained on, nor choose a checkpoint.

    Raises:
        DataContractError: names every leaking row with both line numbers.
    """
    refuse_golden_rows(
        [*split.train, *split.validation],
        task,
        file,
        hint="take these rows out of the training file: a golden set that was trained on measures memory",
    )


def is_finished(run: RunFolder, config: RunConfig, data_sha256: str) -> bool:
    """Whether the run was trained to its end from the same configuration and data; its artifact is verified.

    Raises:
        RunFolderError: it was made from another configuration or other data.
        IntegrityError: the artifact does not match its manifest.
    """
    if not run.config.is_file():
        return False
    refuse_changes(run, config, data_sha256)
    if "train" not in run.read_stages() or not run.adapter.is_dir():
        return False
    verify_manifest(run.adapter)
    return True


def refuse_changes(run: RunFolder, config: RunConfig, data_sha256: str) -> None:
    """Resuming is only meant for the same configuration on the same bytes.

    Raises:
        RunFolderError: names every key that differs.
    """
    stored = read_json(run.config)
    values = stored.get("values")
    # A run that was started before a key existed has its default.
    before = {**_flat(RunConfig().model_dump(mode="json")), **_flat(values if isinstance(values, dict) else {})}
    now = _flat(config.model_dump(mode="json"))
    problems = [
        Problem(key, f"the run has {before.get(key)!r}, this command {now.get(key)!r}")
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if run.split.is_file():
        split: Any = read_json(run.split)
        if split.get("source_sha256") != data_sha256:
            problems.append(Problem(str(config.data.path), "the run was started from a file with another sha256"))
        elif not problems and split.get("replay") != _replay_as_of(split, config):
            problems.append(Problem("data.replay", "the run was started with other general rows: this version of Loren has others"))
    if problems:
        raise RunFolderError(
            f"{run.path}: can't resume with other inputs", problems=problems, hint="choose another output_dir for a new run"
        )


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    return dict(flatten(values))


def _replay_as_of(split: dict[str, Any], config: RunConfig) -> Json:
    """The record of the general rows that would be mixed into a split's training rows today."""
    replay = choose_replay(split["splits"]["train"]["rows"], share=config.data.replay, seed=config.seed)
    return None if replay is None else replay.to_json()


def render(config: RunConfig, task: Task | None, loaded: LoadedRows, split: Split, renderer: ChatRenderer) -> Rows:
    """Rows of the split -> token ids and labels, those that are too long left out or refused.

    Raises:
        DataContractError: a row does not fit max_length, or no row of a split is left.
        ChatTemplateError: the template can't render a row faithfully.
    """
    system_prompt = task.system_prompt if task and task.system_in_training else ""
    file = config.data.path.name
    kept: dict[str, list[RenderedRow]] = {}
    ledger: list[Dropped] = []
    rendered = render_rows(renderer, [*split.train, *split.validation], system_prompt=system_prompt, file=file)
    fitting, ledger = enforce_max_length(rendered, config.data.max_length, over_length=config.data.over_length, file=file)
    names: dict[str, list[Row]] = {"train": split.train, "validation": split.validation}
    for name, rows in names.items():
        lines = {row.line for row in rows}
        kept[name] = [item for item in fitting if item.row.line in lines]
        if not kept[name]:
            raise DataContractError(f"{file}: no {name} row is left", hint="raise data.max_length or data.eval_ratio")
    return Rows(kept["train"], kept["validation"], loaded, split, ledger, system_prompt, task.language if task else "")


def _mixed_in(replay: Replay, task: Task | None, renderer: ChatRenderer, max_length: int) -> list[RenderedRow]:
    """General rows as tokens. They get no system turn: they are not the task's, and its prompt would be wrong for them.

    None is ever dropped: what the run's record says was mixed in, was.

    Raises:
        DataContractError: one shares something with a golden row of the task, or is longer than ``max_length``.
    """
    without = "train with data.replay = 0"
    refuse_golden_rows(replay.rows, task, Path(REPLAY_FILE), hint=f"write other golden questions, or {without}")
    rendered = render_rows(renderer, replay.rows, system_prompt="", file=REPLAY_FILE)
    try:
        return enforce_max_length(rendered, max_length, over_length="error", file=REPLAY_FILE)[0]
    except DataContractError as error:
        hint = f"raise data.max_length, or {without}"
        raise DataContractError(error.summary, problems=error.problems, hint=hint) from error
