"""Tiny bases and adapters of every kind, and what PEFT itself makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from tiny import tiny_llama, train_tokenizer

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {}),
    "every linear module": ("llama", {"target_modules": "all-linear"}),
    "rsLoRA": ("llama", {"use_rslora": True}),
    "DoRA": ("llama", {"use_dora": True}),
    "DoRA with rsLoRA": ("llama", {"use_dora": True, "use_rslora": True}),
    "patterns": ("llama", {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 3}, "alpha_pattern": {"v_proj": 5}}),
    "one layer": ("llama", {"layers_to_transform": [1], "layers_pattern": "layers"}),
    "a trained head": ("llama", {"modules_to_save": ["lm_head"]}),
    "a trained head, tied before": ("tied", {"modules_to_save": ["lm_head"]}),
    "trained embeddings, tied before": ("tied", {"modules_to_save": ["embed_tokens"]}),
    "tied": ("tied", {}),
    "trained tokens, tied": ("tied", {"trainable_token_indices": [1, 5, 300]}),
    "trained tokens": ("llama", {"trainable_token_indices": {"embed_tokens": [7]}}),
    "embeddings": ("llama", {"target_modules": [*ATTENTION, "embed_tokens"]}),
    "biases": ("qwen", {"bias": "lora_only"}),
    "a bias of its own": ("qwen", {"target_modules": ["q_proj"], "lora_bias": True}),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "Conv1D with DoRA": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
}
"""Kind of adapter -> (base, PEFT's settings)."""


def write_base(folder: Path, kind: str, dtype: torch.dtype) -> Path:
    """A tiny base with its tokenizer, saved in ``dtype``."""
    tokenizer = train_tokenizer()
    size = len(tokenizer)
    ids: dict[str, Any] = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    if kind == "gpt2":
        model: PreTrainedModel = GPT2LMHeadModel(
            GPT2Config(vocab_size=size, n_embd=64, n_layer=2, n_head=4, n_positions=256, **ids)
        )
    elif kind == "qwen":
        shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=size, num_key_value_heads=2, tie_word_embeddings=False, **shape, **ids))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.02)
    else:
        model = tiny_llama(size, tied=kind == "tied")
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """What PEFT saves for ``base``, with weights as if trained, and the tokenizer as Loren saves it beside them."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION, "task_type": "CAUSAL_LM", **settings}
    torch.manual_seed(1)
    trained = peft.get_peft_model(model, peft.LoraConfig(**lora))
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    trained.save_pretrained(folder)
    train_tokenizer().save_pretrained(folder)
    return folder


def merged_by_peft(base: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """Every tensor of PEFT's own merge in fp32, rounded to the base's precision."""
    dtype = AutoModelForCausalLM.from_pretrained(base, dtype="auto").dtype
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().to(dtype).state_dict()
