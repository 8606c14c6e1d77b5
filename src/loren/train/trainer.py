"""The only file that speaks TRL: our rows, batches and loss inside the Trainer's optimiser, schedule and accumulation.

TRL gets finished ``input_ids`` and ``labels`` and leaves them alone: preparation is skipped, nothing is truncated or packed. What
it would do by itself and must not (telemetry, pickled arguments, model cards, half-written checkpoints) is switched off here.
"""
# pyright: basic

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, TrainerState
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from loren.config import RunConfig
from loren.config.lora import LoraConfig
from loren.errors import ConfigError, Problem, TrainingError
from loren.models.chat import IGNORED
from loren.models.generate import filler_id
from loren.models.lengths import RenderedRow
from loren.provenance.manifest import write_manifest
from loren.runs.files import staged_folder
from loren.train.batches import RightPadCollator, StepSampler
from loren.train.checkpoints import TRAINER_STATE, Fingerprint, rotate_checkpoints, storage_errors
from loren.train.execution import Execution
from loren.train.loss import attach_label_loss, path_difference
from loren.train.metrics import MetricsFile, StepMeter, require_finite
from loren.train.processes import Processes
from loren.train.progress import TrainingProgress
from loren.train.stopping import StopRequest

_UNWANTED = frozenset({"training_args.bin", "README.md"})
"""What the Trainer leaves in a checkpoint and nobody needs: a pickle, and a card with PEFT's placeholders."""


def sft_config(config: RunConfig, execution: Execution, checkpoints: Path) -> SFTConfig:
    """Our configuration in TRL's terms. Every value that TRL would choose differently is set on purpose."""
    train = config.train
    arguments = SFTConfig(
        output_dir=str(checkpoints),
        seed=config.seed,
        data_seed=config.seed,
        num_train_epochs=train.num_train_epochs,
        max_steps=train.max_steps,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.lr_scheduler_type,
        warmup_steps=train.warmup_ratio,  # transformers 5: below 1 it is a share of all steps
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        per_device_train_batch_size=execution.micro_batch_size,
        per_device_eval_batch_size=execution.micro_batch_size,
        gradient_accumulation_steps=execution.gradient_accumulation_steps,
        activation_checkpointing=train.gradient_checkpointing,  # transformers' new name of gradient_checkpointing
        use_cpu=execution.device == "cpu",
        bf16=execution.dtype == "bfloat16",
        fp16=execution.dtype == "float16",
        # A line a step: coarser logging misreports the line that straddles a resume. What is printed is ours to thin out.
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=train.eval_steps,
        save_strategy="steps",
        save_steps=train.save_steps,
        save_total_limit=None,  # rotation is ours: it never deletes the only valid checkpoint
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        padding_free=False,
        disable_tqdm=True,
        report_to="none",
        push_to_hub=False,
        dataloader_pin_memory=execution.device == "cuda",
        ddp_find_unused_parameters=False,
        ddp_backend=None if execution.processes == 1 else "nccl" if execution.device == "cuda" else "gloo",
    )
    # A process with several GPUs in sight would spread each batch over them (DataParallel), which our loss does not know.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def peft_config(lora: LoraConfig, model: PreTrainedModel, base_name: str) -> peft.LoraConfig:
    """Our adapter section in PEFT's terms, checked against the model.

    Raises:
        ConfigError: a target module does not exist in the model; lists those that do.
    """
    head = model.get_output_embeddings()
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    if lora.target_modules != "all-linear":
        missing = [name for name in lora.target_modules if name not in linear]
        if missing:
            known = ", ".join(sorted(linear))
            raise ConfigError(
                f"the model has no linear layer of {len(missing)} name(s) in lora.target_modules",
                problems=[Problem("lora.target_modules", f"expected one of {known}; got {name!r}") for name in missing],
                hint='target_modules = "all-linear" takes them all',
            )
    return peft.LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_name,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules),
        bias=lora.bias,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
    )


def as_dataset(rows: list[RenderedRow], *, blank_token: int | None = None) -> Dataset:
    """Rendered rows as TRL takes them, and a row without labels at the end where ``blank_token`` says so."""
    items = [{"input_ids": item.rendered.input_ids, "labels": item.rendered.labels} for item in rows]
    if blank_token is not None:
        items.append({"input_ids": [blank_token], "labels": [IGNORED]})
    return Dataset.from_list(items)


_COMPARED_PARAMETERS = 8
"""Trained tensors, from the first to the last, whose gradients the self-test compares."""
_EXACT_DIFFERENCE, _ROUNDED_DIFFERENCE = 1e-4, 5e-2
"""Relative differences that rounding explains, in fp32 and in 16 bits; a wrong mask or position makes one of tens of per cent."""


class LorenTrainer(SFTTrainer):
    """TRL's trainer with our batches, our loss, our metrics and whole checkpoints."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the label tokens of the whole step

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        args: SFTConfig,
        *,
        train_rows: list[RenderedRow],
        eval_rows: list[RenderedRow],
        lora: peft.LoraConfig | None,
        save_total_limit: int,
        outputs: tuple[MetricsFile, TrainingProgress],
    ) -> None:
        self._lengths = [len(item.rendered.input_ids) for item in train_rows]
        self._save_total_limit = save_total_limit
        self._whole_checkpoints: dict[str, Fingerprint] = {}
        self._metrics_file, self._progress = outputs
        self._meter = StepMeter()
        self._stage: Path | None = None
        self.processes = Processes(args.process_index, args.world_size)
        self.stop = StopRequest()
        self.eval_losses: list[tuple[int, float]] = []
        self.watch: Callable[[int, float], None] | None = None
        pad = filler_id(model, tokenizer)
        if lora is None:
            model.requires_grad_(True)
        super().__init__(
            model=model,
            args=args,
            processing_class=tokenizer,
            train_dataset=as_dataset(train_rows, blank_token=pad if args.world_size > 1 else None),
            eval_dataset=as_dataset(eval_rows),
            data_collator=RightPadCollator(pad),
            peft_config=lora,
            callbacks=[_StepClock(self)],
        )
        self.remove_callback(PrinterCallback)
        # TRL casts QLoRA adapters to bf16, and a resume reloads them as fp32: only fp32 throughout resumes bit for bit.
        for parameter in self.model.parameters():  # pyright: ignore[reportOptionalMemberAccess]
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        self.label_loss = attach_label_loss(self.model.get_base_model() if lora is not None else self.model)  # pyright: ignore[reportArgumentType, reportOptionalMemberAccess, reportCallIssue, reportAttributeAccessIssue]

    def check_loss_path(self, say: Callable[[str], None]) -> None:
        """Compare the packed decoder with the plain one on the first rows, and fall back to the plain one where they differ.

        Args:
            say: takes the warning.
        """
        if self.label_loss.is_packed and (reason := self._packing_fault()):
            self.label_loss.is_packed = False
            say(f"warning: rows are padded, which is slower: {reason}")

    def _packing_fault(self) -> str | None:
        model: Any = self.model
        rows: Any = self.train_dataset
        batch = self.data_collator([rows[index] for index in range(min(2, len(self._lengths)))])
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        sample = parameters[:: max(1, len(parameters) // _COMPARED_PARAMETERS)]
        ids, labels = (batch[name].to(self.args.device) for name in ("input_ids", "labels"))
        was_training = model.training
        model.eval()
        try:
            with self.compute_loss_context_manager():
                difference = path_difference(self.label_loss, sample, ids, labels)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            return f"the model can't take packed rows ({type(error).__name__})"
        finally:
            model.train(was_training)
        allowed = _ROUNDED_DIFFERENCE if self.args.bf16 or self.args.fp16 else _EXACT_DIFFERENCE
        return None if difference < allowed else f"losses or gradients of packed rows are {difference:.1e} off"

    def _run_epoch(self, model: Any, epoch: int, *args: Any, **kwargs: Any) -> None:
        # With several processes and a resume, accelerate's wrappers hide the sampler from the Trainer's own call.
        self._sampler.set_epoch(epoch)
        super()._run_epoch(model, epoch, *args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        at_once = self.args.per_device_train_batch_size * self.args.world_size
        self._sampler = StepSampler(
            self._lengths,
            seed=self.args.seed,
            rows_per_step=at_once * self.args.gradient_accumulation_steps,
            # One process may end with a smaller batch; several must all have their share of the last one.
            multiple_of=at_once if self.args.world_size > 1 else 1,
        )
        return self._sampler

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Sum of the label losses over the label tokens of the whole optimiser step.

        Args:
            model: the model, wrapped or not.
            inputs: a collated batch; ``lengths`` is for the meter.
            return_outputs: not offered; there are no outputs beside the loss.
            num_items_in_batch: label tokens of the step, over all processes.

        Raises:
            TrainingError: the loss is not finite, or exactly 0.
        """
        labels = inputs["labels"]
        total = model(input_ids=inputs["input_ids"], loss_labels=labels)
        count = num_items_in_batch if num_items_in_batch is not None else (labels[:, 1:] != IGNORED).sum()
        loss = total / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        if self.model.training:  # pyright: ignore[reportOptionalMemberAccess]
            trained = (labels != IGNORED).sum(dim=1)
            self._meter.tokens += int(inputs["lengths"][trained > 0].sum())
            self._meter.label_tokens += int(trained.sum())
            value = require_finite("the training loss", float(loss.detach()), self.state.global_step + 1)
            if value == 0.0 and bool(trained.any()):  # a batch of blank rows evens out the last step of several processes
                raise TrainingError(
                    f"step {self.state.global_step + 1}: the loss is exactly 0, so nothing is learned",
                    hint="look at the labels: loren check FILE --tokens CONFIG --show-row 1",
                )
        return (loss, None) if return_outputs else loss

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Validation loss: the mean over all label tokens of the validation rows, whatever the batches."""
        wall, cpu = time.perf_counter(), time.process_time()
        model: Any = self.model
        model.eval()
        total, count = 0.0, 0
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in self._own_share(eval_dataset or self.eval_dataset):
                labels = batch["labels"].to(self.args.device)
                total += float(model(input_ids=batch["input_ids"].to(self.args.device), loss_labels=labels))
                count += int((labels[:, 1:] != IGNORED).sum())
        model.train()
        step = self.state.global_step
        total, count = self.processes.sum([total, count])
        loss = require_finite("the validation loss", total / count, step)
        self.eval_losses.append((step, loss))
        self._metrics_file.set_eval_loss(loss)
        self._progress.evaluation(step, loss)
        self._meter.pause(time.perf_counter() - wall, time.process_time() - cpu)
        metrics = {f"{metric_key_prefix}_loss": loss}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.watch is not None:
            self.watch(step, loss)
        return metrics

    def leave_display(self) -> None:
        """End what a person sees, also where the training was broken off: another one may follow in this process."""
        self._progress.stop()

    def _own_share(self, dataset: Any) -> DataLoader[Any]:
        """Every n-th row for each of n processes. The Trainer's own loader would repeat rows to even out the last batch."""
        share = dataset.select(range(self.processes.rank, len(dataset), self.processes.count))
        return DataLoader(share, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Take the Trainer's figures of one step into metrics.jsonl; its closing summary is not of the whole run, so it is left."""
        if "loss" not in logs:
            return
        step = self.state.global_step
        amounts: dict[str, Any] = self._meter.take()
        tokens, label_tokens, cpu_seconds = self.processes.sum([
            float(amounts[name]) for name in ("tokens", "label_tokens", "cpu_seconds")
        ])
        amounts |= {"tokens": int(tokens), "label_tokens": int(label_tokens), "cpu_seconds": round(cpu_seconds, 6)}
        line = {
            "step": step,
            "loss": require_finite("the training loss", logs["loss"], step),
            "eval_loss": None,
            "learning_rate": logs["learning_rate"],
            "grad_norm": self._finite_norm(logs.get("grad_norm", 0.0)),
            **amounts,
            "peak_vram_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        }
        self._metrics_file.hold(line)
        self._progress.step(step, loss=line["loss"], tokens=line["tokens"], seconds=line["seconds"])

    def _finite_norm(self, norm: float) -> float | None:
        # In fp16 the first gradients may overflow: the loss scaler then skips the step and halves its scale.
        if self.args.fp16 and not math.isfinite(norm):
            return None
        return require_finite("the gradient norm", norm, self.state.global_step)

    def restore_finished(self, checkpoint: Path) -> bool:
        """Take over weights and state of a checkpoint after the last step; the Trainer would train one step more.

        Returns:
            Whether it is such a checkpoint; if not, nothing was done.
        """
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE))
        if state.global_step < state.max_steps:
            return False
        self._load_from_checkpoint(str(checkpoint))
        self.state = state
        return True

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._stage or self.args.output_dir)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Fill a staging folder, write its manifest, put it in place with one rename, then rotate."""
        self._metrics_file.flush(durable=True)
        folder = Path(str(self.args.output_dir))
        with storage_errors(folder), self._checkpoint_stage(folder / f"checkpoint-{self.state.global_step}") as stage:
            self._stage = stage
            try:
                Trainer._save_checkpoint(self, model, trial)  # past TRL's, which writes a model card
            finally:
                self._stage = None
        if self.processes.is_main:
            rotate_checkpoints(folder, keep=self._save_total_limit, whole=self._whole_checkpoints)

    @contextmanager
    def _checkpoint_stage(self, target: Path) -> Generator[Path]:
        """One staging folder for all processes: each adds its random state, rank 0 the rest, the manifest and the rename."""
        if not self.processes.is_main:
            yield Path(self.processes.on_main(lambda: ""))
            self.processes.barrier()
            return
        with staged_folder(target) as stage:
            self.processes.on_main(lambda: str(stage))
            yield stage
            self.processes.barrier()
            inner = stage / target.name
            for path in list(inner.iterdir()):
                if path.name in _UNWANTED:
                    path.unlink()
                else:
                    path.rename(stage / path.name)
            inner.rmdir()
            write_manifest(stage)


class _StepClock(TrainerCallback):
    """Starts and stops the display, asks for a validation loss after the last step, and ends the training where that was asked."""

    def __init__(self, trainer: LorenTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer._meter.take()
        self._trainer._progress.start(step=state.global_step, total=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
        # Every process must stop after the same step, whichever of them got the signal.
        self._trainer.stop.requested = self._trainer.processes.any(self._trainer.stop.requested)
        if self._trainer.stop.requested:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer._metrics_file.flush()
        self._trainer._progress.stop()
