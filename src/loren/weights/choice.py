"""Onto which base a QLoRA adapter is merged: the original weights, or what NF4 made of them, which it was trained on.

Both are measured, and the better one is taken.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch

from loren.models.loading import attach_adapter, choose_dtype, load_model, load_tokenizer
from loren.models.protocol import Prompt
from loren.runs.files import Json
from loren.weights.answers import (
    Difference,
    difference,
    load_base,
    logits_of,
    merge_by_peft,
    replies_of,
    round_as_stored,
    token_rows,
)
from loren.weights.plan import MergePlan

BaseWeights: TypeAlias = Literal["nf4", "original"]


def choose_base(
    plan: MergePlan, prompts: Sequence[Prompt], *, double_quant: bool, batch_size: int
) -> tuple[MergePlan, dict[str, Json]]:
    """Take the base onto which the merged model is nearer to the adapter on its 4-bit base, by mean KL divergence.

    Args:
        plan: the merge onto the original weights.
        prompts: questions, each with the turns that the adapter was trained with before it.
        double_quant: as in training.
        batch_size: prompts answered together.

    Returns:
        The plan of the better one, and the figures of both.
    """
    model: Any = load_model(plan.base, dtype=choose_dtype("auto"), load_in_4bit=True, double_quant=double_quant)
    packed = [name for name, parameter in model.named_parameters() if getattr(parameter, "quant_state", None) is not None]
    tokenizer = load_tokenizer(plan.adapter)
    tuned = attach_adapter(model, plan.adapter)
    rows = token_rows(tokenizer, prompts, replies_of(tuned, tokenizer, prompts, batch_size))
    asked = logits_of(tuned, rows)
    del model, tuned
    plans: dict[BaseWeights, MergePlan] = {
        "nf4": plan.on_nf4([plan.parameters[name] for name in packed], double_quant=double_quant),
        "original": plan,
    }
    found = {name: _measured(candidate, asked, rows) for name, candidate in plans.items()}
    taken: BaseWeights = "nf4" if found["nf4"].kl <= found["original"].kl else "original"
    figures: dict[str, Json] = {name: dict(seen._asdict()) for name, seen in found.items()}
    return plans[taken], {"taken": taken, "adapter_to_merged": figures}


def _measured(plan: MergePlan, asked: Sequence[torch.Tensor], rows: Sequence[Sequence[int]]) -> Difference:
    merged = merge_by_peft(attach_adapter(load_base(plan), plan.adapter))
    round_as_stored(merged, plan)
    return difference(asked, logits_of(merged, rows))
