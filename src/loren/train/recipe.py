"""The recipe: check -> split -> render -> load -> attach -> train -> save -> metadata. Read `train`, then `train_prepared`."""
# pyright: basic

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from loren.config import ResolvedConfig, RunConfig
from loren.errors import ConfigError, Problem, TrainingError, TrainingInterrupted
from loren.models.chat import ChatRenderer
from loren.models.generate import plain_stop_ids, refuse_foreign_tokens, stop_token_ids
from loren.models.identity import decoder_config
from loren.models.lengths import token_statistics
from loren.models.loading import Dtype, Fetching, LocalBase, load_model
from loren.provenance.digests import sha256_json
from loren.provenance.machine import git_commit, without_secrets
from loren.runs.files import Json, read_json, write_json
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.train.artifact import save_artifact, trainable_counts, trainable_digest
from loren.train.checkpoints import checkpoint_step, list_checkpoints
from loren.train.execution import Execution, activation_bytes_per_token, resolve_execution, stored_execution
from loren.train.inputs import Prepared, Rows, Say, is_finished, prepare, read_data, refuse_existing
from loren.train.metadata import DataFacts, base_facts, training_metadata
from loren.train.metrics import MetricsFile, read_metrics
from loren.train.preflight import require_room
from loren.train.processes import Processes, is_lost_process, join_processes
from loren.train.progress import TrainingProgress
from loren.train.stopping import stop_on_signals
from loren.train.trackers import Trackers, require_packages, run_parameters
from loren.train.trainer import LorenTrainer, peft_config, sft_config

BaseLoader = Callable[[RunConfig, LocalBase, Dtype], PreTrainedModel]
"""Gives a run the base model in its precision, for the run to change."""


def load_base(config: RunConfig, base: LocalBase, dtype: Dtype) -> PreTrainedModel:
    """Load the base model from disk.

    Raises:
        ModelLoadError: transformers can't read it.
        PrerequisiteError: 4-bit weights were asked for without bitsandbytes.
    """
    return load_model(
        base.folder,
        dtype=dtype,
        load_in_4bit=config.quantization.load_in_4bit,
        double_quant=config.quantization.double_quant,
        trust_remote_code=config.trust_remote_code,
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Who trains a run, for whom, and from which base in memory."""

    processes: Processes
    command: Sequence[str]
    """The command line, for the record."""
    say: Say
    load_base: BaseLoader = load_base
    watch: Callable[[int, float], None] | None = None
    """Gets step and loss of every validation; what it raises ends the training there."""


class TrainResult(NamedTuple):
    """What a run came to."""

    run: RunFolder
    was_done: bool
    """The run was finished before; nothing was trained now."""
    is_main: bool
    """Whether this process is the one that speaks."""


def train(resolved: ResolvedConfig, *, resume: bool, command: Sequence[str], say: Say, fetching: Fetching) -> TrainResult:
    """Turn a configuration into a run folder with an adapter.

    Args:
        resolved: the validated configuration.
        resume: continue the run in output_dir, where there is one.
        command: the command line, for the record.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Raises:
        RunFolderError: the run exists (without ``resume``), differs from what is to be resumed, or another process trains it.
        DataContractError: the data breaks the contract, leaks golden questions, or does not fit max_length.
        TrainingError: training stopped itself, or the disk refused.
        TrainingInterrupted: a signal ended it; what was trained is saved.
    """
    config = resolved.config
    run = RunFolder(config.output_dir)
    processes = join_processes()
    say = say if processes.is_main else _say_nothing
    processes.on_main(lambda: refuse_existing(run, resume=resume))
    require_packages(config.train.report_to)
    data = read_data(config, say=say)
    if resume and processes.on_main(lambda: is_finished(run, config, data.loaded.sha256)):
        return TrainResult(run, was_done=True, is_main=processes.is_main)
    prepared = prepare(config, data, fetching=fetching)
    train_prepared(prepared, resolved, Surroundings(processes=processes, command=command, say=say), resume=resume)
    return TrainResult(run, was_done=False, is_main=processes.is_main)


def train_prepared(prepared: Prepared, resolved: ResolvedConfig, around: Surroundings, *, resume: bool) -> None:
    """Load, attach, train and save: what of a run is not shared with runs that differ in how they train.

    Args:
        prepared: check, split, base and rendered rows.
        resolved: the validated configuration; its base and data are those of ``prepared``.
        around: who trains, and for whom.
        resume: continue the run in output_dir, where there is one.

    Raises:
        RunFolderError: another process trains the run, or it can't be resumed here.
        TrainingError: training stopped itself, or the disk refused.
        TrainingInterrupted: a signal ended it; what was trained is saved.
    """
    config, processes, say = resolved.config, around.processes, around.say
    run, base, tokenizer = RunFolder(config.output_dir), prepared.base, prepared.tokenizer
    rows = prepared.rows_of(config)
    say(f"render {_token_line(rows)}")
    with processes.holding(run, say):
        execution = processes.on_main(lambda: _settle(resolved, run, base, rows, processes, resume=resume, say=say))
        torch.set_num_threads(execution.threads)
        model = around.load_base(config, base, execution.dtype)
        _check_model(config, model, tokenizer, prepared.renderer, say=say)
        base_record = base_facts(base, trust_remote_code=config.trust_remote_code)
        lora = peft_config(config.lora, model, str(base_record["name_or_path"])) if config.train.method == "lora" else None
        trackers = _trackers(config, run, base, rows.loaded.sha256, execution, processes, say)
        metrics = MetricsFile(run.metrics, trackers.step, is_writer=processes.is_main)
        trainer = LorenTrainer(
            model,
            tokenizer,
            sft_config(config, execution, run.checkpoints),
            train_rows=rows.train,
            eval_rows=rows.validation,
            lora=lora,
            save_total_limit=config.train.save_total_limit,
            outputs=(metrics, TrainingProgress(logging_steps=config.train.logging_steps, is_shown=processes.is_main)),
        )
        trainer.watch = around.watch
        trainable, total = trainable_counts(trainer.model)
        say(f"attach {trainable:,} of {total:,} parameters are trained ({trainable / total:.3%})")

        with trackers:
            seconds = _fit(trainer, run, metrics, resume=resume, say=say, command=around.command)
            if processes.is_main:
                figures = _figures(run, trainer, seconds)
                record = training_metadata(
                    config,
                    base=base,
                    data=_data_facts(rows),
                    lora=_resolved_lora(trainer),
                    parameters=(trainable, total),
                    figures=figures,
                    command=around.command,
                )
                save_artifact(run.adapter, model=trainer.model, tokenizer=tokenizer, metadata=record)
                run.record_stage("train", inputs=_stage_inputs(config, rows.loaded.sha256), verdict="done")
                trackers.finish(figures)
                say(f"save   {run.adapter}")


def _settle(
    resolved: ResolvedConfig, run: RunFolder, base: LocalBase, rows: Rows, processes: Processes, *, resume: bool, say: Say
) -> Execution:
    """Choose how the run is carried out here, see that there is room for it, and write down what it starts from."""
    execution = _execution(resolved.config, run, base, rows, processes, resume=resume, say=say)
    require_room(resolved.config, execution, base.folder, rows.train, run)
    _write_inputs(run, resolved, execution, rows)
    return execution


def _execution(
    config: RunConfig, run: RunFolder, base: LocalBase, rows: Rows, processes: Processes, *, resume: bool, say: Say
) -> Execution:
    if resume and run.config.is_file():
        stored = read_json(run.config)["execution"]
        return stored_execution(dict(stored), processes, say=say)  # pyright: ignore[reportArgumentType, reportCallIssue]
    shape = decoder_config(base.folder)
    numbers = [int(shape.get(key) or 0) for key in ("num_hidden_layers", "hidden_size", "intermediate_size")]  # pyright: ignore[reportArgumentType]
    longest = max(len(item.rendered.input_ids) for item in rows.train)
    return resolve_execution(
        config, processes, longest_row=longest, activation_bytes_per_token=activation_bytes_per_token(*numbers, bytes_per_value=4)
    )


def _write_inputs(run: RunFolder, resolved: ResolvedConfig, execution: Execution, rows: Rows) -> None:
    """config.json, data/report.json and data/split.json, before the first step."""
    values = resolved.config.model_dump(mode="json")
    replay: dict[str, Json] = {"replay": rows.replay.to_json()} if rows.replay else {}
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
        **replay,
    })  # fmt: skip
    write_json(run.split, {**rows.split.to_json(), "source_sha256": rows.loaded.sha256, **replay})


def _trackers(
    config: RunConfig,
    run: RunFolder,
    base: LocalBase,
    data_sha256: str,
    execution: Execution,
    processes: Processes,
    say: Say,
) -> Trackers:
    """The trackers that the configuration names; none in a process that does not speak for the run."""
    tags = {
        "base_weights_sha256": base.weights_sha256,
        "data_sha256": data_sha256,
        "git_commit": git_commit(config.data.path.parent),
        "run": run.path.name,
    }
    names = config.train.report_to if processes.is_main else ()
    return Trackers(names, run, parameters=run_parameters(config, execution.to_json()), tags=tags, say=say)


def _check_model(config: RunConfig, model: Any, tokenizer: Any, renderer: ChatRenderer, *, say: Say) -> None:
    """What can only be known once model and rows are there.

    Raises:
        ConfigError: max_length exceeds the model's context.
        ModelLoadError: the rows have a token that the model has no embedding for.
        TrainingError: the model would not stop at the template's end-of-turn token.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context and config.data.max_length > context:
        problem = Problem("data.max_length", f"expected at most {context}, the model's context; got {config.data.max_length}")
        raise ConfigError("configuration: 1 problem", problems=[problem])
    refuse_foreign_tokens(model, tokenizer, renderer.highest_id)
    stops = stop_token_ids(model, tokenizer)
    if not renderer.stop_ids <= stops:
        wrong = ", ".join(repr(tokenizer.decode([token])) for token in sorted(renderer.stop_ids - stops))
        raise TrainingError(
            f"the chat template ends turns with {wrong}, at which the model does not stop",
            hint="set eos_token in the base model's generation_config.json to the template's end-of-turn token",
        )
    # Loren also stops at the tokenizer's eos; plain transformers and PEFT do not, and would run on.
    if missing := renderer.stop_ids - plain_stop_ids(model):
        names = ", ".join(repr(tokenizer.decode([token])) for token in sorted(missing))
        say(f"warning: outside Loren pass eos_token_id={sorted(missing)} ({names}): the base's generation_config.json lacks it")


def _fit(trainer: LorenTrainer, run: RunFolder, metrics: MetricsFile, *, resume: bool, say: Say, command: Sequence[str]) -> float:
    """Train, from the newest valid checkpoint where there is one, until the end or a signal.

    Returns:
        Seconds in this process.

    Raises:
        TrainingError: the trained weights did not change, or another process of this training is gone.
        TrainingInterrupted: a signal ended the training.
        RuntimeError: whatever else torch meets.
    """
    processes = trainer.processes
    checkpoints = processes.on_main(lambda: list_checkpoints(run.checkpoints)) if resume else None
    latest = checkpoints.valid[-1] if checkpoints and checkpoints.valid else None
    for problem in checkpoints.corrupt if checkpoints else ():
        say(f"warning: skipped a corrupt checkpoint: {problem}")
    metrics.start_after(checkpoint_step(latest) if latest else 0)
    if resume:
        say(f"resume from {latest.name}" if latest else "resume: no checkpoint yet, starting at step 0")
    trainer.check_loss_path(say)
    before = trainable_digest(trainer.model)
    started = time.perf_counter()
    with stop_on_signals() as trainer.stop:
        try:
            if latest is None or not trainer.restore_finished(latest):
                trainer.train(resume_from_checkpoint=str(latest) if latest else None)
        except RuntimeError as error:
            if processes.count == 1 or not is_lost_process(error):
                raise
            raise TrainingError(
                "another process of this training is gone", hint="its own message says why; start all of them again with --resume"
            ) from error
        finally:
            trainer.leave_display()
    state = trainer.state
    if trainer.stop.requested and state.global_step < state.max_steps:
        again = shlex.join([*without_secrets(command), *(() if "--resume" in command else ("--resume",))])
        launcher = " (by the same launcher)" if processes.count > 1 else ""
        raise TrainingInterrupted(
            f"stopped by a signal after step {state.global_step} of {state.max_steps}, which is saved", hint=f"{again}{launcher}"
        )
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


def _data_facts(rows: Rows) -> DataFacts:
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
        replay=rows.replay.to_json() if rows.replay else None,
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


def _token_line(rows: Rows) -> str:
    statistics: dict[str, Any] = token_statistics(rows.train)
    general = f"; {len(rows.replay.chosen)} of {len(rows.train)} rows are general ones" if rows.replay else ""
    tokens, labels = statistics["tokens"], statistics["label_tokens"]
    return (
        f"{tokens['sum']:,} tokens in training rows, {labels['sum'] / tokens['sum']:.0%} of them labels; "
        f"a row has p50 {tokens['p50']}, p95 {tokens['p95']}, max {tokens['max']}{general}"
    )


def _say_nothing(text: str) -> None:
    """What the other processes of a training have to say."""
