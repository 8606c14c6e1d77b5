"""`loren adopt`: a run folder around an adapter that was trained elsewhere. Read `adopt` from top to bottom.

The source folder is only read. Everything is checked on the copy, in a folder that appears as a run with one rename or not at all.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loren.data.check import check_file
from loren.data.load import refuse_golden_rows
from loren.data.report import CheckReport
from loren.data.rows import Row
from loren.errors import ConfigError, ModelLoadError, Problem, RunFolderError
from loren.models.adapter_config import AdapterConfig, read_config
from loren.models.cache import Progress
from loren.models.identity import TEMPLATE, TOKENIZER_FILES, chat_template, read_model_json, template_digest, tokenizer_digest
from loren.models.source import has_tokenizer
from loren.pipeline.adoption_record import CheckedAdapter, Stated, adopted_metadata, loren_record
from loren.pipeline.foreign_adapter import (
    FoundAdapter,
    find_adapter,
    portable_config,
    read_clues,
    refuse_unsafe,
)
from loren.provenance.digests import sha256_file
from loren.provenance.manifest import MANIFEST, verify_manifest
from loren.runs.files import MAX_JSON_BYTES, Json, encode_json, staged_folder, write_json, write_text
from loren.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, METADATA, SCHEMA_VERSION, RunFolder
from loren.task.definition import Task, load_task

if TYPE_CHECKING:
    from loren.models.loading import LocalBase

Say = Callable[[str], None]
Fetching = Callable[[], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for."""

    adapter: Path
    base_model: str
    task: Path | None
    data: Path | None
    out: Path | None


@dataclass(frozen=True, slots=True)
class Adopted:
    """The run folder and what its record says."""

    run: RunFolder
    metadata: dict[str, Any]


def adopt(wishes: Wishes, *, command: Sequence[str], say: Say, fetching: Fetching) -> Adopted:
    """Make a run folder around an adapter.

    Args:
        wishes: adapter, base, and what the user knows about its training.
        command: the command line, for the record.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Raises:
        RunFolderError: the run folder exists.
        ModelLoadError: the adapter is unsafe, no plain LoRA, or does not fit the base.
        IntegrityError: Loren trained the adapter, and it is not what its manifest says, or the base is another one.
        DataContractError: golden questions of the task are in the data.
    """
    found = find_adapter(wishes.adapter)
    run = RunFolder((wishes.out or _default_run(wishes.adapter)).absolute())
    _refuse_target(run.path, found)
    refuse_unsafe(found.folder)
    config = read_config(found.folder)
    trained = _own_record(found.folder)
    say(f"found  {found.folder.relative_to(found.root.parent)}: LoRA, r {config.r}")
    task = load_task(wishes.task) if wishes.task else None
    report = _check_data(wishes.data, task)

    from loren.models.loading import check_base, locate_base

    base = locate_base(wishes.base_model, None, trust_remote_code=False, fetching=fetching)
    if trained is not None:
        check_base(found.folder, trained, base)
        _refuse_other_data(trained, report)
    stated = Stated(run.path.name, task, report, wishes.data, command)
    with staged_folder(run.path) as stage:
        checked = _copy_and_check(found, config, base, stage / "adapter")
        metadata = adopted_metadata(checked, stated, trained)
        _seal(stage / "adapter", metadata)
        _write_run(RunFolder(stage), run.path, wishes, metadata, report)
    say(f"fits   {checked.parameters[0]:,} parameters on {', '.join(checked.targets)}")
    for warning in checked.warnings:
        say(f"warning: {warning}")
    return Adopted(run, metadata)


def _default_run(adapter: Path) -> Path:
    folder = adapter.resolve()
    while re.fullmatch(r"checkpoint-\d+|adapter", folder.name) and folder.parent != folder:
        folder = folder.parent
    return Path("runs") / (folder.name or "adopted")


def _refuse_target(path: Path, found: FoundAdapter) -> None:
    """A run folder is never overwritten, and the source never written to.

    Raises:
        RunFolderError: the folder exists and holds something.
        ConfigError: it would lie in the adapter's folder.
    """
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise RunFolderError(
            f"{path}: expected no folder yet, or an empty one; found something", hint="give another one with --out"
        )
    if path.resolve().is_relative_to(found.root.resolve()):
        raise ConfigError(f"--out: expected a place outside {found.root}, which is left as it is; found {path}")


def _own_record(folder: Path) -> dict[str, Json] | None:
    """Loren's record, if Loren trained the adapter; its manifest is verified first."""
    if not (folder / MANIFEST).exists() or not (folder / METADATA).exists():
        return None
    verify_manifest(folder)
    return loren_record(folder)


def _refuse_other_data(trained: dict[str, Any], report: CheckReport | None) -> None:
    """Loren's own record says which file was trained on.

    Raises:
        ConfigError: --data is another one.
    """
    expected = trained["dataset"].get("sha256")
    if report is not None and report.sha256 != expected:
        raise ConfigError(f"--data: expected the file that the adapter was trained on, sha256 {expected}; found {report.sha256}")


def _check_data(path: Path | None, task: Task | None) -> CheckReport | None:
    """What the contract says about the training file: a record, not a gate, since the adapter is trained already.

    Raises:
        DataContractError: golden questions are in it; a golden set that was trained on measures memory.
    """
    if path is None:
        return None
    rows: list[Row] = []
    report = check_file(path, task, on_row=rows.append)
    refuse_golden_rows(rows, task, path, hint="the adapter has seen them: take these questions out of the golden set")
    return report


def _copy_and_check(found: FoundAdapter, config: AdapterConfig, base: LocalBase, target: Path) -> CheckedAdapter:
    """Copy the adapter to ``target`` and check the copy against the base.

    Raises:
        ModelLoadError: it does not fit.
    """
    from loren.models.fit import check_fit, check_tokenizer, meta_model, read_adapter
    from loren.models.loading import load_tokenizer
    from loren.train.artifact import write_adapter_config
    from loren.train.metadata import base_facts

    target.mkdir()
    shutil.copyfile(found.folder / ADAPTER_WEIGHTS, target / ADAPTER_WEIGHTS)
    file = read_adapter(target / ADAPTER_WEIGHTS)
    facts = base_facts(base, trust_remote_code=False)
    copy = portable_config(config, file.modules, str(facts["name_or_path"]), base.source.revision if facts["hub_id"] else None)
    model = meta_model(base.folder)
    if config.base_class not in (None, type(model).__name__):
        raise ModelLoadError(
            f"{found.folder}: the adapter was trained on another architecture",
            problems=[Problem("auto_mapping", f"expected {type(model).__name__}, the base's; found {config.base_class!r:.80}")],
            hint="give the base that it was trained on, with --base",
        )
    parameters = check_fit(model, copy, file, adapter=str(found.folder))
    write_adapter_config(target / ADAPTER_CONFIG, copy)
    tokenizer = _copy_tokenizer(found.folder, target, base.folder)
    check_tokenizer(load_tokenizer(target), load_tokenizer(base.folder), model, name=str(found.folder))
    warnings = [f"{name} is newer, but not whole: passed over" for name in found.incomplete]
    if file.is_silent:
        warnings.append("all its B matrices are zero: it changes no answer")
    if tokenizer["template_sha256"] != facts["template_sha256"]:
        warnings.append("its chat template is not the base's: it is asked with its own")
    return CheckedAdapter(
        config=config,
        clues=read_clues(found),
        base=facts,
        tokenizer=tokenizer,
        parameters=parameters,
        targets=sorted({name.rpartition(".")[2] for name in file.modules}),
        files={
            ADAPTER_CONFIG: sha256_file(found.folder / ADAPTER_CONFIG),
            ADAPTER_WEIGHTS: sha256_file(target / ADAPTER_WEIGHTS),
        },
        checkpoint=found.folder.name if found.folder != found.root else None,
        warnings=warnings,
    )


def _copy_tokenizer(source: Path, target: Path, base: Path) -> dict[str, Json]:
    """The adapter's own tokenizer, or the base's where it has none; the base's chat template where its own has none.

    Returns:
        Digests, and where tokenizer and template are from.

    Raises:
        ModelLoadError: a file is too large.
    """
    own = has_tokenizer(source)
    own_template = own and bool(chat_template(source))
    if own:
        for name in (*TOKENIZER_FILES, TEMPLATE):
            if not (source / name).is_file():
                continue
            if (size := (source / name).stat().st_size) > MAX_JSON_BYTES:
                raise ModelLoadError(f"{source / name}: expected at most {MAX_JSON_BYTES} bytes, found {size}")
            shutil.copyfile(source / name, target / name)
        _drop_foreign_paths(target / "tokenizer_config.json")
        if not own_template:
            write_text(target / TEMPLATE, chat_template(base))
    else:
        from loren.models.loading import load_tokenizer

        load_tokenizer(base).save_pretrained(str(target))
    return {
        "from": "adapter" if own else "base",
        "template_from": "adapter" if own_template else "base",
        "sha256": tokenizer_digest(target),
        "template_sha256": template_digest(target),
    }


def _drop_foreign_paths(path: Path) -> None:
    """Take paths of the machine that trained out of tokenizer_config.json: transformers would read whatever lies there."""
    if not path.is_file():
        return
    values = read_model_json(path)
    kept = {key: value for key, value in values.items() if not (key.endswith("_file") and isinstance(value, str))}
    if kept != values:
        path.write_text(encode_json(kept), encoding="utf-8")


def _seal(folder: Path, metadata: dict[str, Json]) -> None:
    from loren.train.artifact import seal_artifact

    seal_artifact(folder, metadata)


def _write_run(stage: RunFolder, path: Path, wishes: Wishes, metadata: dict[str, Any], report: CheckReport | None) -> None:
    """config.json, data/report.json and stages.json; only what is known, so that nothing looks like a choice of the trainer's."""
    base = metadata["base_model"]
    values: dict[str, Json] = {
        "base_model": base["id"],
        "revision": base["revision"] if base["kind"] == "hub" else None,
        "trust_remote_code": False,
        "task": str(wishes.task.absolute()) if wishes.task else None,
        "output_dir": str(path),
        "data": {"path": str(wishes.data.absolute()) if wishes.data else None},
    }
    write_json(stage.config, {
        "schema_version": SCHEMA_VERSION,
        "adopted": True,
        "values": values,
        "origins": {"base_model": "--base", "task": "--task", "data.path": "--data", "output_dir": "--out"},
        "execution": None,
    })  # fmt: skip
    inputs = {"adapter": metadata["adopted"]["files"][ADAPTER_WEIGHTS], "base": base["weights_sha256"]}
    if report is not None:
        write_json(stage.data_report, report.to_json())
        inputs["data"] = report.sha256
    stage.record_stage("adopt", inputs=inputs, verdict="done")
