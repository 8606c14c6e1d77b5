"""GGUF files small enough for unit tests, written with the `gguf` package from a tiny random model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import quantize
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from tiny import CHATML, train_tokenizer

LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
}
TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


@dataclass
class Changes:
    """What a test wants to be wrong or different in the file."""

    pre: str = "gpt-2"
    architecture: str | None = None
    drop: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    poison: str = ""
    quantized: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


def tiny_model(family: str) -> PreTrainedModel:
    """A random 2-layer model: "llama" (tied head) or "qwen2" (biases, an output head of its own)."""
    torch.manual_seed(3)
    sizes: dict[str, Any] = {
        "vocab_size": len(train_tokenizer()), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
    }  # fmt: skip
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=True)).eval()
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=False)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zero at the start, which would hide a bias in the wrong place
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def write_gguf(path: Path, model: PreTrainedModel, changes: Changes | None = None) -> Path:
    """Write ``model`` as llama.cpp's converter would, with the tiny tokenizer."""
    changes = changes or Changes()
    config = model.config
    architecture = changes.architecture or config.model_type
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_file_type(7 if changes.quantized else 0)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    for key, value in changes.metadata.items():
        writer.add_string(key, value)
    _add_tokenizer(writer, changes.pre)
    for name, tensor in model.state_dict().items():
        target = _name(name)
        if target in changes.drop or (name == "lm_head.weight" and config.tie_word_embeddings):
            continue
        values = tensor.detach().numpy().copy()
        if architecture == "llama" and target.rsplit(".", 2)[-2] in {"attn_q", "attn_k"}:
            heads = config.num_attention_heads if "attn_q" in target else config.num_key_value_heads
            values = values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)
        if target == changes.poison:
            values[0, 0] = np.nan
        if changes.quantized and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(target, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(target, values)
    for name in changes.extra:
        writer.add_tensor(name, np.zeros((64,), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, pre: str) -> None:
    body = json.loads(train_tokenizer().backend_tokenizer.to_str())
    vocabulary: dict[str, int] = body["model"]["vocab"]
    special = {entry["content"] for entry in body["added_tokens"]}
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in body["model"]["merges"]])
    writer.add_eos_token_id(vocabulary["<|im_end|>"])
    writer.add_pad_token_id(vocabulary["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def _name(name: str) -> str:
    if name in TOP:
        return TOP[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER[rest]}"
