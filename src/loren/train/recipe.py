"""The recipe: check -> split -> render -> load -> attach -> train -> save -> metadata. Read `train` from top to bottom."""
# pyright: basic

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from loren.config import ResolvedConfig, RunConfig
from loren.data.load import LoadedRows, load_rows
from loren.data.rows import Row
from loren.data.split import Split, golden_leaks, split_rows
from loren.errors import ConfigError, DataContractError, Problem, RunFolderError, TrainingError
from loren.models.chat import ChatRenderer
from loren.models.generate import stop_token_ids
from loren.models.lengths import Dropped, RenderedRow, enforce_max_length, render_rows, token_statistics
from loren.models.loading import Fetching, LocalBase, load_model, load_tokenizer, locate_base
from loren.provenance.digests import sha256_json
from loren.provenance.machine import git_commit
from loren.provenance.manifest import verify_manifest
from loren.runs.files import Json, read_json, write_json
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.task.definition import Task, load_task
from loren.train.artifact import save_artifact, trainable_counts, trainable_digest
from loren.train.checkpoints import checkpoint_step, list_checkpoints
from loren.train.execution import Execution, activation_bytes_per_token, resolve_execution, stored_execution
from loren.train.metadata import DataFacts, base_facts, training_metadata
from loren.train.metrics import MetricsFile, read_metrics
from loren.train.preflight import require_room
from loren.train.progress import TrainingProgress
from loren.train.trackers import Trackers, require_packages, run_parameters
from loren.train.trainer import LorenTrainer, peft_config, sft_config

Say = Callable[[str], None]


class TrainResult(NamedTuple):
    """What a run came to."""

    run: RunFolder
    was_done: bool
    """The run was finished before; nothing was trained now."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rendered rows of a run and what the files say about them."""

    train: list[RenderedRow]
    validation: list[RenderedRow]
    loaded: LoadedRows
    split: Split
    ledger: list[Dropped]
    system_prompt: str
    language: str


def train(resolved: ResolvedConfig, *, resume: bool, command: Sequence[str], say: Say, fetching: Fetching) -> TrainResult:
    """Turn a configuration into a run folder with an adapter.

    Args:
        resolved: the validated configuration.
        resume: continue the run in output_dir, where there is one.
        command: the command line, for the record.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Raises:
        RunFolderError: the run exists (without ``resume``), or differs from what is to be resumed.
        DataContractError: the data breaks the contract, leaks golden questions, or does not fit max_length.
        TrainingError: training stopped itself.
    """
    config = resolved.config
    run = RunFolder(config.output_dir)
    refuse_existing(run, resume=resume)
    require_packages(config.train.report_to)
    task = load_task(config.task) if config.task else None
    loaded = load_rows(config.data.path, task)
    say(f"check  {len(loaded.rows)} rows keep the data contract")
    split = split_rows(loaded.rows, eval_ratio=config.data.eval_ratio, test_ratio=config.data.test_ratio, seed=config.seed)
    refuse_golden_leaks(split, task, config.data.path)
    say(f"split  {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test")
    if resume and is_finished(run, config, loaded.sha256):
        return TrainResult(run, was_done=True)

    base = locate_base(config.base_model, config.revision, trust_remote_code=config.trust_remote_code, fetching=fetching)
    tokenizer = load_tokenizer(base.folder, trust_remote_code=config.trust_remote_code)
    renderer = ChatRenderer(tokenizer, config.base_model)
    rows = _render(config, task, loaded, split, renderer)
    say(f"render {_token_line(rows.train)}")

    execution = _execution(config, run, base, rows, resume=resume)
    torch.set_num_threads(execution.threads)
    require_room(config, execution, base.folder, rows.train, run)
    _write_inputs(run, resolved, execution, rows)
    model = load_model(
        base.folder,
        dtype=execution.dtype,
        load_in_4bit=config.quantization.load_in_4bit,
        double_quant=config.quantization.double_quant,
        trust_remote_code=config.trust_remote_code,
    )
    _check_model(config, model, tokenizer, renderer)
    base_record = base_facts(base, trust_remote_code=config.trust_remote_code)
    lora = peft_config(config.lora, model, str(base_record["name_or_path"])) if config.train.method == "lora" else None
    trackers = Trackers(
        config.train.report_to,
        run,
        parameters=run_parameters(config, execution.to_json()),
        tags={
            "base_weights_sha256": base.weights_sha256,
            "data_sha256": loaded.sha256,
            "git_commit": git_commit(config.data.path.parent),
            "run": run.path.name,
        },
        say=say,
    )
    metrics = MetricsFile(run.metrics, trackers.step)
    trainer = LorenTrainer(
        model,
        tokenizer,
        sft_config(config, execution, run.checkpoints),
        train_rows=rows.train,
        eval_rows=rows.validation,
        lora=lora,
        save_total_limit=config.train.save_total_limit,
        outputs=(metrics, TrainingProgress(logging_steps=config.train.logging_steps)),
    )
    trainable, total = trainable_counts(trainer.model)
    say(f"attach {trainable:,} of {total:,} parameters are trained ({trainable / total:.3%})")

    with trackers:
        seconds = _fit(trainer, run, metrics, resume=resume, say=say)
    figures = _figures(run, trainer, seconds)

    record = training_metadata(
        config,
        base=base,
        data=_data_facts(rows),
        lora=_resolved_lora(trainer),
        parameters=(trainable, total),
        figures=figures,
        command=command,
    )
    save_artifact(run.adapter, model=trainer.model, tokenizer=tokenizer, metadata=record)
    run.record_stage("train", inputs=_stage_inputs(config, loaded.sha256), verdict="done")
    trackers.finish(figures)
    say(f"save   {run.adapter}")
    return TrainResult(run, was_done=False)


def refuse_existing(run: RunFolder, *, resume: bool) -> None:
    """A run folder is never overwritten.

    Raises:
        RunFolderError: it exists and ``resume`` was not asked for, or it holds something else.
    """
    if not run.path.exists() or not any(run.path.iterdir()):
        return
    if not run.config.is_file():
        raise RunFolderError(f"{run.path}: expected an empty folder or a run, found other files", hint="choose another output_dir")
    if not resume:
        raise RunFolderError(f"{run.path}: the run exists", hint="--resume continues it; or choose another output_dir")


def refuse_golden_leaks(split: Split, task: Task | None, file: Path) -> None:
    """No golden question or situation may be trained on, nor choose a checkpoint.

    Raises:
        DataContractError: names every leaking row with both line numbers.
    """
    if task is None or not task.golden_path.is_file():
        return
    golden = load_rows(task.golden_path, task, minimum_rows=0)
    problems = golden_leaks([*split.train, *split.validation], golden.rows, file=file.name, golden_file=task.golden_path.name)
    if problems:
        raise DataContractError(
            f"{file}: {len(problems)} row(s) are golden questions or share their situation",
            problems=problems,
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
    before, now = _flat(stored.get("values")), _flat(config.model_dump(mode="json"))
    problems = [
        Problem(key, f"the run has {before.get(key)!r}, this command {now.get(key)!r}")
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if run.split.is_file() and read_json(run.split).get("source_sha256") != data_sha256:
        problems.append(Problem(str(config.data.path), "the run was started from a file with another sha256"))
    if problems:
        raise RunFolderError(
            f"{run.path}: can't resume with other inputs", problems=problems, hint="choose another output_dir for a new run"
        )


def _render(config: RunConfig, task: Task | None, loaded: LoadedRows, split: Split, renderer: ChatRenderer) -> _Rows:
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
    return _Rows(kept["train"], kept["validation"], loaded, split, ledger, system_prompt, task.language if task else "")


def _execution(config: RunConfig, run: RunFolder, base: LocalBase, rows: _Rows, *, resume: bool) -> Execution:
    if resume and run.config.is_file():
        stored = read_json(run.config)["execution"]
        return stored_execution(dict(stored))  # pyright: ignore[reportArgumentType, reportCallIssue]
    shape = read_json(base.folder / "config.json")
    numbers = [int(shape.get(key) or 0) for key in ("num_hidden_layers", "hidden_size", "intermediate_size")]  # pyright: ignore[reportArgumentType]
    longest = max(len(item.rendered.input_ids) for item in rows.train)
    return resolve_execution(
        config, longest_row=longest, activation_bytes_per_token=activation_bytes_per_token(*numbers, bytes_per_value=4)
    )


def _write_inputs(run: RunFolder, resolved: ResolvedConfig, execution: Execution, rows: _Rows) -> None:
    """config.json, data/report.json and data/split.json, before the first step."""
    values = resolved.config.model_dump(mode="json")
    write_json(run.config, {
        "schema_version": SCHEMA_VERSION,
        "values": values,
        "origins": dict(resolved.origins),
        "execution": execution.to_json(),
    })  # fmt: skip
    write_json(run.data_report, {
        **rows.loaded.report.to_json(),
        "tokens": {"train": token_statistics(rows.train), "validation": token_statistics(rows.validation)},
        "dropped": [entry.to_json() for entry in rows.ledger],
    })  # fmt: skip
    write_json(run.split, {**rows.split.to_json(), "source_sha256": rows.loaded.sha256})


def _check_model(config: RunConfig, model: Any, tokenizer: Any, renderer: ChatRenderer) -> None:
    """What can only be known once model and rows are there.

    Raises:
        ConfigError: max_length exceeds the model's context.
        TrainingError: the model would not stop at the template's end-of-turn token.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context and config.data.max_length > context:
        problem = Problem("data.max_length", f"expected at most {context}, the model's context; got {config.data.max_length}")
        raise ConfigError("configuration: 1 problem", problems=[problem])
    stops = stop_token_ids(model, tokenizer)
    if not renderer.stop_ids <= stops:
        wrong = ", ".join(repr(tokenizer.decode([token])) for token in sorted(renderer.stop_ids - stops))
        raise TrainingError(
            f"the chat template ends turns with {wrong}, at which the model does not stop",
            hint="set eos_token in the base model's generation_config.json to the template's end-of-turn token",
        )


def _fit(trainer: LorenTrainer, run: RunFolder, metrics: MetricsFile, *, resume: bool, say: Say) -> float:
    """Train, from the newest valid checkpoint where there is one.

    Returns:
        Seconds in this process.

    Raises:
        TrainingError: the trained weights did not change.
    """
    checkpoints = list_checkpoints(run.checkpoints) if resume else None
    latest = checkpoints.valid[-1] if checkpoints and checkpoints.valid else None
    for problem in checkpoints.corrupt if checkpoints else ():
        say(f"warning: skipped a corrupt checkpoint: {problem}")
    metrics.start_after(checkpoint_step(latest) if latest else 0)
    if resume:
        say(f"resume from {latest.name}" if latest else "resume: no checkpoint yet, starting at step 0")
    before = trainable_digest(trainer.model)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    if trainable_digest(trainer.model) == before:
        raise TrainingError("the trained weights did not change", hint="raise train.learning_rate or train.num_train_epochs")
    return time.perf_counter() - started


def _figures(run: RunFolder, trainer: LorenTrainer, seconds: float) -> dict[str, Json]:
    """Losses and time of the whole run, over all resumes, from metrics.jsonl."""
    lines: list[dict[str, Any]] = list(read_metrics(run.metrics))
    evaluated = [line["eval_loss"] for line in lines if line["eval_loss"] is not None]
    return {
        "steps": trainer.state.global_step,
        "loss": {
            "first": lines[0]["loss"],
            "last": lines[-1]["loss"],
            "best": min(line["loss"] for line in lines),
            "eval_last": evaluated[-1],
            "eval_best": min(evaluated),
        },
        "time": {
            "train_seconds": round(sum(line["seconds"] for line in lines), 3),
            "train_cpu_seconds": round(sum(line["cpu_seconds"] for line in lines), 3),
            "last_process_seconds": round(seconds, 3),
        },
    }


def _data_facts(rows: _Rows) -> DataFacts:
    return DataFacts(
        sha256=rows.loaded.sha256,
        split_sha256=sha256_json(rows.split.to_json()),
        rows={
            "train": len(rows.train),
            "validation": len(rows.validation),
            "test": len(rows.split.test),
            "dropped": len(rows.ledger),
        },
        tokens={
            "train": token_statistics(rows.train),
            "validation": token_statistics(rows.validation),
            "dropped": sum(entry.tokens for entry in rows.ledger),
        },
        system_prompt=rows.system_prompt,
        language=rows.language,
    )


def _resolved_lora(trainer: LorenTrainer) -> dict[str, Any] | None:
    configs = getattr(trainer.model, "peft_config", None)
    if configs is None:
        return None
    adapter = configs["default"]
    return {
        "r": adapter.r,
        "lora_alpha": adapter.lora_alpha,
        "lora_dropout": adapter.lora_dropout,
        "target_modules": sorted(adapter.target_modules),
        "bias": adapter.bias,
        "use_rslora": adapter.use_rslora,
        "use_dora": adapter.use_dora,
    }


def _stage_inputs(config: RunConfig, data_sha256: str) -> dict[str, str]:
    return {"data": data_sha256, "config": sha256_json(config.model_dump(mode="json"))}


def _token_line(rows: list[RenderedRow]) -> str:
    statistics: dict[str, Any] = token_statistics(rows)
    tokens, labels = statistics["tokens"], statistics["label_tokens"]
    return (
        f"{tokens['sum']:,} tokens in training rows, {labels['sum'] / tokens['sum']:.0%} of them labels; "
        f"a row has p50 {tokens['p50']}, p95 {tokens['p95']}, max {tokens['max']}"
    )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{prefix}{name}.").items()}
