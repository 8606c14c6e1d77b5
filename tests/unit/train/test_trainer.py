"""The trainer on a tiny model: shapes of a batch change no loss, rows stay ours, and it stops when it must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.sft_trainer import SFTTrainer

from loren.config import RunConfig
from loren.config.lora import LoraConfig
from loren.config.train import TrainConfig
from loren.data.rows import Message, Row
from loren.errors import ConfigError, TrainingError
from loren.models.chat import ChatRenderer
from loren.models.lengths import RenderedRow, render_rows
from loren.models.loading import load_model, load_tokenizer
from loren.train.batches import StepSampler
from loren.train.execution import LOSS_PATH, Execution
from loren.train.metrics import MetricsFile, read_metrics
from loren.train.progress import TrainingProgress
from loren.train.trainer import LorenTrainer, as_dataset, peft_config, sft_config

WORDS = ["mình", "đã", "ghi", "nhận", "vấn", "đề", "bạn", "vui", "lòng", "cung", "cấp", "mã", "đơn", "hàng", "kiểm", "tra", "nhé"]


def conversation(index: int) -> Row:
    reply = " ".join(WORDS[(index * 7 + step) % len(WORDS)] for step in range(3 + index % 9))
    messages = (Message("user", f"câu hỏi {index} {WORDS[index % len(WORDS)]}"), Message("assistant", reply))
    return Row(line=index + 1, messages=messages)


def rendered(base: Path, count: int = 24) -> list[RenderedRow]:
    renderer = ChatRenderer(load_tokenizer(base), "tiny")
    return render_rows(renderer, [conversation(index) for index in range(count)], system_prompt="", file="t")


def build(
    base: Path,
    folder: Path,
    *,
    micro: int,
    accumulation: int,
    train: dict[str, Any] | None = None,
    lora: dict[str, Any] | None = None,
    rows: list[RenderedRow] | None = None,
) -> LorenTrainer:
    config = RunConfig(
        lora=LoraConfig(**{"lora_dropout": 0.0, **(lora or {})}),
        train=TrainConfig(**{"max_steps": 4, "learning_rate": 1e-3, "save_steps": 100, "eval_steps": 100, **(train or {})}),
    )
    execution = Execution("cpu", "float32", 1, micro, accumulation, 1, LOSS_PATH, torch.__version__, "any")
    model = load_model(base, dtype="float32")
    data = rows or rendered(base)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = MetricsFile(folder / "metrics.jsonl")
    metrics.start_after(0)
    full = config.train.method == "full"
    return LorenTrainer(
        model,
        load_tokenizer(base),
        sft_config(config, execution, folder / "checkpoints"),
        train_rows=data[:-4],
        eval_rows=data[-4:],
        lora=None if full else peft_config(config.lora, model, str(base)),
        save_total_limit=2,
        outputs=(metrics, TrainingProgress(logging_steps=100)),
    )


def losses(folder: Path) -> list[float]:
    return [float(line["loss"]) for line in read_metrics(folder / "metrics.jsonl")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lora", [{}, {"use_dora": True}, {"use_rslora": True, "target_modules": "all-linear"}, {"bias": "lora_only"}]
)
def test_eight_times_one_equals_one_times_eight(tiny_base: Path, tmp_path: Path, lora: dict[str, Any]) -> None:
    for name, micro, accumulation in (("8x1", 8, 1), ("1x8", 1, 8), ("2x4", 2, 4)):
        build(tiny_base, tmp_path / name, micro=micro, accumulation=accumulation, lora=lora).train()
    reference = losses(tmp_path / "8x1")
    assert len(reference) == 4
    for name in ("1x8", "2x4"):
        assert losses(tmp_path / name) == pytest.approx(reference, abs=1e-5)
    tokens = [[line["tokens"] for line in read_metrics(tmp_path / name / "metrics.jsonl")] for name in ("8x1", "1x8")]
    assert tokens[0] == tokens[1]


def test_gradients_agree_per_module_at_equal_weights(tiny_base: Path, tmp_path: Path) -> None:
    collected: list[dict[str, torch.Tensor]] = []
    for name, micro, accumulation in (("8x1", 8, 1), ("1x8", 1, 8)):
        trainer = build(tiny_base, tmp_path / name, micro=micro, accumulation=accumulation)
        model: Any = trainer.model
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():  # B is zero at the start, and so would A's gradient be
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
        batches = list(trainer.get_train_dataloader())[:accumulation]
        count = sum((batch["labels"][:, 1:] != -100).sum() for batch in batches)
        model.train()
        for batch in batches:
            trainer.compute_loss(model, batch, num_items_in_batch=count).backward()
        collected.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    joined, single = collected
    assert joined.keys() == single.keys()
    assert len(joined) == 16
    for name, gradient in joined.items():
        assert torch.linalg.norm(gradient) > 0
        assert torch.linalg.norm(gradient - single[name]) / torch.linalg.norm(gradient) < 1e-5


def test_full_fine_tuning_agrees_too(tiny_base: Path, tmp_path: Path) -> None:
    for name, micro, accumulation in (("4x1", 4, 1), ("1x4", 1, 4)):
        build(tiny_base, tmp_path / name, micro=micro, accumulation=accumulation, train={"method": "full"}).train()
    assert losses(tmp_path / "1x4") == pytest.approx(losses(tmp_path / "4x1"), abs=1e-5)


def test_checkpointing_of_activations_changes_no_loss(tiny_base: Path, tmp_path: Path) -> None:
    for name, on in (("off", False), ("on", True)):
        build(tiny_base, tmp_path / name, micro=4, accumulation=1, train={"gradient_checkpointing": on}).train()
    assert losses(tmp_path / "on") == pytest.approx(losses(tmp_path / "off"), abs=1e-6)


def test_trl_leaves_our_rows_alone(tiny_base: Path, tmp_path: Path) -> None:
    rows = rendered(tiny_base)
    long = Row(line=99, messages=(Message("user", "x"), Message("assistant", " ".join(WORDS * 90))))
    renderer = ChatRenderer(load_tokenizer(tiny_base), "tiny")
    rows = [*render_rows(renderer, [long], system_prompt="", file="t"), *rows]
    assert len(rows[0].rendered.input_ids) > 1500
    trainer = build(tiny_base, tmp_path / "a", micro=1, accumulation=1, rows=rows)
    seen = [(batch["input_ids"][0].tolist(), batch["labels"][0].tolist()) for batch in trainer.get_train_dataloader()]
    assert sorted(seen) == sorted((item.rendered.input_ids, item.rendered.labels) for item in rows[:-4])


def test_validation_loss_is_the_mean_over_label_tokens(tiny_base: Path, tmp_path: Path) -> None:
    values = []
    for micro in (1, 2, 8):
        trainer = build(tiny_base, tmp_path / str(micro), micro=micro, accumulation=1)
        values.append(trainer.evaluate()["eval_loss"])
    assert values[1:] == pytest.approx([values[0]] * 2, abs=1e-6)
    model: Any = trainer.model
    total, count = 0.0, 0
    for item in rendered(tiny_base)[-4:]:
        ids, labels = torch.tensor([item.rendered.input_ids]), torch.tensor([item.rendered.labels])
        tokens = int((labels[:, 1:] != -100).sum())
        total += float(model(input_ids=ids, labels=labels).loss.detach()) * tokens
        count += tokens
    assert values[0] == pytest.approx(total / count, abs=1e-5)


def test_metrics_have_a_line_a_step_with_the_validation_loss_of_the_last(tiny_base: Path, tmp_path: Path) -> None:
    build(tiny_base, tmp_path / "a", micro=2, accumulation=2, train={"eval_steps": 3}).train()
    lines = read_metrics(tmp_path / "a" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["eval_loss"] is not None for line in lines] == [False, False, True, True]
    keys = {
        "step", "loss", "eval_loss", "learning_rate", "grad_norm", "tokens", "label_tokens", "seconds", "cpu_seconds",
        "peak_memory_bytes", "peak_vram_bytes",
    }  # fmt: skip
    assert all(set(line) == keys for line in lines)
    total = sum(int(line["tokens"]) for line in lines)  # type: ignore[arg-type]
    order = [
        index
        for batch in build(tiny_base, tmp_path / "b", micro=2, accumulation=2).get_train_dataloader()
        for index in batch["lengths"]
    ]
    assert total == sum(int(length) for length in order[:16])


@pytest.mark.parametrize(
    ("train", "poison", "expected"),
    [({"learning_rate": 0.9}, "nan", "loss is nan"), ({}, "zero", "exactly 0")],
)
def test_training_stops_itself(tiny_base: Path, tmp_path: Path, train: dict[str, Any], poison: str, expected: str) -> None:
    trainer = build(tiny_base, tmp_path / "a", micro=2, accumulation=1, train=train)
    model: Any = trainer.model
    with torch.no_grad():
        head = model.get_base_model().lm_head.weight
        if poison == "nan":
            head[3] = float("nan")
        else:  # a model that is certain of the one right answer: every label is the same token
            head.zero_()
    if poison == "zero":
        only = rendered(tiny_base)[0]
        token = only.rendered.input_ids[-3]
        head[token] = 0
        model.get_base_model().lm_head.bias = torch.nn.Parameter(torch.full((head.shape[0],), -1e4), requires_grad=False)
        with torch.no_grad():
            model.get_base_model().lm_head.bias[token] = 1e4
        from datasets import Dataset

        trainer.train_dataset = Dataset.from_list([
            {**item, "labels": [token if label != -100 else -100 for label in item["labels"]]} for item in trainer.train_dataset
        ])
    with pytest.raises(TrainingError, match=expected) as caught:
        trainer.train()
    assert caught.value.exit_code == 6
    assert not list((tmp_path / "a").glob("checkpoints/checkpoint-*"))


def test_a_missing_target_module_lists_what_there_is(tiny_base: Path) -> None:
    model = load_model(tiny_base, dtype="float32")
    with pytest.raises(ConfigError) as caught:
        peft_config(LoraConfig(target_modules=("q_proj", "query", "lm_head")), model, "tiny")
    assert [problem.place for problem in caught.value.problems] == ["lora.target_modules"] * 2
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj; got 'query'" in str(caught.value)


def test_every_field_of_ours_reaches_trl_and_peft() -> None:
    """A knob that is validated and then ignored is a lie."""
    import inspect

    from loren.train import execution, recipe, trainer

    source = "".join(inspect.getsource(module) for module in (trainer, execution, recipe))
    fields = [f"train.{name}" for name in TrainConfig.model_fields]
    fields += [f"lora.{name}" for name in LoraConfig.model_fields if name != "preset"]
    assert [field for field in fields if field not in source] == []


def test_checkpoints_are_whole_and_the_arguments_are_no_pickle(tiny_base: Path, tmp_path: Path) -> None:
    build(tiny_base, tmp_path / "a", micro=2, accumulation=1, train={"save_steps": 1}).train()
    names = sorted(path.name for path in (tmp_path / "a" / "checkpoints").iterdir())
    assert names == ["checkpoint-3", "checkpoint-4"]
    files = {path.name for path in (tmp_path / "a" / "checkpoints" / "checkpoint-4").iterdir()}
    assert {"adapter_model.safetensors", "optimizer.pt", "trainer_state.json", "MANIFEST.json"} <= files
    assert "training_args.bin" not in files
    manifest = json.loads((tmp_path / "a" / "checkpoints" / "checkpoint-4" / "MANIFEST.json").read_text())
    assert set(manifest["files"]) == files - {"MANIFEST.json"}


class PlainTRL(SFTTrainer):
    """TRL as it is: its collator, its attention mask, its loss; only the order of rows is ours, so that steps can be compared."""

    lengths: tuple[int, ...] = ()

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return StepSampler(self.lengths, seed=42, rows_per_step=self.args.per_device_train_batch_size * 2)


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"target_modules": "all-linear"}])
def test_losses_equal_trls_own(tiny_base: Path, tmp_path: Path, lora: dict[str, Any]) -> None:
    ours = build(tiny_base, tmp_path / "ours", micro=4, accumulation=2, lora=lora, train={"max_steps": 6})
    ours.train()
    rows = rendered(tiny_base)[:-4]
    model = load_model(tiny_base, dtype="float32")
    config = RunConfig(
        lora=LoraConfig(**{"lora_dropout": 0.0, **lora}), train=TrainConfig(max_steps=6, learning_rate=1e-3, eval_steps=100)
    )
    args = sft_config(config, Execution("cpu", "float32", 1, 4, 2, 1, LOSS_PATH, torch.__version__, "any"), tmp_path / "theirs")
    args.save_strategy = "no"
    args.eval_strategy = "no"
    PlainTRL.lengths = tuple(len(item.rendered.input_ids) for item in rows)
    theirs = PlainTRL(
        model=model,
        args=args,
        processing_class=load_tokenizer(tiny_base),
        train_dataset=as_dataset(rows),
        peft_config=peft_config(config.lora, model, str(tiny_base)),
    )
    theirs.train()
    expected = [entry["loss"] for entry in theirs.state.log_history if "loss" in entry]
    assert len(expected) == 6
    assert losses(tmp_path / "ours") == pytest.approx(expected, abs=1e-5)


def test_a_gradient_that_overflows_in_fp16_is_no_end(tiny_base: Path, tmp_path: Path) -> None:
    trainer: Any = build(tiny_base, tmp_path / "a", micro=2, accumulation=1)
    with pytest.raises(TrainingError, match="gradient norm is inf"):
        trainer._finite_norm(float("inf"))
    trainer.args.fp16 = True
    assert trainer._finite_norm(float("inf")) is None
    assert trainer._finite_norm(0.5) == 0.5
