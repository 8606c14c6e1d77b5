"""Our loss through the trainer against the model's own `labels=` loss, for the heads of nine architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)  # fmt: skip

from loren.config import RunConfig
from loren.config.lora import LoraConfig
from loren.config.train import TrainConfig
from loren.data.rows import Message, Row
from loren.models.chat import ChatRenderer
from loren.models.lengths import RenderedRow, render_rows
from loren.train.execution import LOSS_PATH, Execution
from loren.train.loss import head_scaling
from loren.train.metrics import MetricsFile
from loren.train.progress import TrainingProgress
from loren.train.trainer import LorenTrainer, peft_config, sft_config
from tiny import train_tokenizer

SIZE: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GEMMA = {**SIZE, "head_dim": 8}
MODELS: dict[str, Any] = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZE)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**GEMMA)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**GEMMA, final_logit_softcapping=0.5, sliding_window=8)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA, sliding_window=8)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZE, sliding_window=None)),
    "mistral, sliding window": lambda: MistralForCausalLM(MistralConfig(**SIZE, sliding_window=8)),
    "phi": lambda: PhiForCausalLM(PhiConfig(**SIZE)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SIZE)),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**SIZE, logit_scale=0.25)),
    "cohere2": lambda: Cohere2ForCausalLM(Cohere2Config(**SIZE, logit_scale=4.0, sliding_window=8)),
    "granite": lambda: GraniteForCausalLM(GraniteConfig(**SIZE, logits_scaling=8.0)),
}


def rows() -> list[RenderedRow]:
    """Twelve rows of several lengths with a prompt prefix that all share."""
    chat = ChatRenderer(train_tokenizer(), "tiny")
    made = [
        Row(index + 1, (Message("user", f"câu hỏi {index}"), Message("assistant", "mình đã ghi nhận " * (1 + index % 4) + "nhé")))
        for index in range(12)
    ]
    return render_rows(chat, made, system_prompt="", file="t")


def build_model(kind: str) -> Any:
    torch.manual_seed(0)
    model = MODELS[kind]()
    model.name_or_path = "tiny"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("lm_head") or "embed_tokens" in name:  # larger logits: capping, scale and bias then show
                parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_the_trainers_loss_equals_the_models_own(kind: str, tmp_path: Path) -> None:
    model, reference = build_model(kind), build_model(kind).eval()
    config = RunConfig(
        lora=LoraConfig(lora_dropout=0.0, target_modules="all-linear"),
        train=TrainConfig(max_steps=1, eval_steps=100, save_steps=100),
    )
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.start_after(0)
    data = rows()
    trainer = LorenTrainer(
        model,
        train_tokenizer(),
        sft_config(config, Execution("cpu", "float32", 1, 4, 1, 1, LOSS_PATH, torch.__version__, "any"), tmp_path / "checkpoints"),
        train_rows=data,
        eval_rows=data,
        lora=peft_config(config.lora, model, "tiny"),
        save_total_limit=1,
        outputs=(metrics, TrainingProgress(logging_steps=100)),
    )
    wrapped: Any = trainer.model
    wrapped.train()
    batches = list(trainer.get_train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        ours = trainer.compute_loss(wrapped, batch)
        ids, labels = batch["input_ids"], batch["labels"]
        with torch.no_grad():
            theirs = reference(input_ids=ids, labels=labels, attention_mask=torch.ones_like(ids)).loss
        assert float(ours.detach()) == pytest.approx(float(theirs), abs=1e-5)
        ours.backward()
    gradients = [parameter.grad for parameter in wrapped.parameters() if parameter.requires_grad]
    assert gradients
    assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_the_heads_are_not_all_plain() -> None:
    """Otherwise the comparison above would show nothing."""
    scalings = {kind: head_scaling(build_model(kind)) for kind in MODELS}
    assert scalings["gemma2"].softcap == 0.5
    assert {kind: scaling.scale for kind, scaling in scalings.items() if scaling.scale != 1.0} == {
        "cohere": 0.25,
        "cohere2": 4.0,
        "granite": 0.125,
    }
    assert build_model("phi").lm_head.bias.abs().max() > 0.5
