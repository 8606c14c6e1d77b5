"""The second half of the proof: the folder, loaded from disk as a model, answers as base and adapter do.

Weights are compared first (loren.weights.verify); what remains to be seen here is that PEFT itself merges to the same weights, that
transformers loads every one of them, and that logits, their distributions and greedy replies agree. All of it is computed in fp32.
In bf16 and fp16 the adapter's own logits can't be met, since rounding takes a part of it: there the logits are compared with PEFT's
merge rounded to the same type, and with the adapter only loosely (docs/decisions/0002-merge-thresholds.md).
"""
# pyright: basic

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from loren.data.rows import Message
from loren.errors import LorenError
from loren.models.chat import ChatRenderer
from loren.models.generate import HuggingFaceGenerator
from loren.models.loading import attach_adapter, load_model, load_tokenizer
from loren.models.protocol import Prompt
from loren.models.tensor_files import TORCH_DTYPES, StoredTensor, read_folder
from loren.runs.files import Json
from loren.weights.plan import MergePlan
from loren.weights.proof import Check, Proof, not_these
from loren.weights.quantized import dequantised

MIN_PROMPTS = 64
"""Fewer than these prove too little of answers."""
NEW_TOKENS = 16
"""Greedy tokens of each reply that are compared."""
POSITIONS = 4
"""Last positions of question and reply whose logits are compared."""


class Limits(NamedTuple):
    """What a right merge stays within, by the type of its weights."""

    relative: float
    """Largest difference of a logit to the adapter's, over the largest difference between adapter and base."""
    kl: float
    """Mean Kullback-Leibler divergence from the adapter's distribution, as a share of the base's."""
    top_1: float
    """Share of positions whose likeliest token is the same."""
    greedy: float
    """Share of replies that are the same."""
    peft_bits: float
    """Share of elements of a tensor that PEFT's merge may round to a neighbour."""


LIMITS = {
    "F32": Limits(relative=1e-4, kl=1e-4, top_1=0.99, greedy=0.95, peft_bits=1.0),
    "F16": Limits(relative=5e-2, kl=5e-3, top_1=0.97, greedy=0.85, peft_bits=5e-3),
    "BF16": Limits(relative=0.25, kl=5e-2, top_1=0.9, greedy=0.6, peft_bits=5e-3),
}
ROUNDED_RELATIVE = 1e-4
"""As ``relative``, but against PEFT's merge in the same type: the same for all of them."""


class Difference(NamedTuple):
    """How far apart two sets of logits are."""

    largest: float
    """Of any logit."""
    kl: float
    """Mean divergence of a position's distribution, nats."""
    top_1: float


def verify_answers(plan: MergePlan, folder: Path, prompts: Sequence[Prompt], *, batch_size: int) -> Proof:
    """Compare the merged model, loaded from ``folder``, with base and adapter.

    Memory: one model in fp32 at a time.

    Args:
        plan: what the folder was made by.
        folder: the merged model, on disk.
        prompts: at least 64, each with the turns that the adapter was trained with before it.
        batch_size: prompts answered together.
    """
    dtype = _narrowest(plan)
    reference = _Reference(plan, folder, prompts, batch_size)
    try:
        model: Any = load_model(folder, dtype="float32")
        tokenizer = load_tokenizer(folder)
    except LorenError as error:
        return Proof([Check("reload", False, error.summary, "a model that transformers loads")])
    odd = _differing_parameters(model, plan, read_folder(folder))
    replies = replies_of(model, tokenizer, prompts, batch_size)
    logits = logits_of(model, reference.rows)
    adapter, peft = difference(reference.adapter, logits), difference(reference.peft, logits)
    greedy = sum(a == b for a, b in zip(replies, reference.replies, strict=True)) / max(1, len(prompts))
    distance = reference.distance
    figures: dict[str, Json] = {
        "dtype": dtype,
        "prompts": len(prompts),
        "positions": POSITIONS,
        "base_to_adapter": dict(distance._asdict()),
        "adapter_to_merged": {**adapter._asdict(), "relative": _share(adapter.largest, distance.largest), "greedy": greedy},
        "peft_to_merged": {**peft._asdict(), "relative": _share(peft.largest, distance.largest), **reference.peft_figures},
    }
    counted = Check("prompts", len(prompts) >= MIN_PROMPTS, f"{len(prompts)}", f"at least {MIN_PROMPTS}")
    named = f"{len(plan.parameters) - len(odd)} of {len(plan.parameters)} parameters as in the files{not_these(odd)}"
    reload = Check("reload", not odd, named, "every parameter, after loading, as the files have it")
    moved = difference(reference.base, logits)
    alike = Check("answers differ from the base's", moved.largest > 0, f"largest difference of a logit {moved.largest:.2g}", "any")
    judged = _judge(adapter, peft, reference.distance, greedy, LIMITS[dtype])
    return Proof([counted, reference.check(LIMITS[dtype]), reload, alike, *judged], {"answers": figures})


def _judge(adapter: Difference, peft: Difference, distance: Difference, greedy: float, limits: Limits) -> list[Check]:
    way = "of the way from base to adapter"
    relative, rounded = _share(adapter.largest, distance.largest), _share(peft.largest, distance.largest)
    kl = _share(adapter.kl, distance.kl)
    return [
        Check("logits", relative <= limits.relative, f"{relative:.1e} {way}", f"<= {limits.relative:g}"),
        Check("logits of PEFT's merge", rounded <= ROUNDED_RELATIVE, f"{rounded:.1e} {way}", f"<= {ROUNDED_RELATIVE:g}"),
        Check("KL", kl <= limits.kl, f"{adapter.kl:.1e}, {kl:.1e} {way}", f"<= {limits.kl:g} {way}"),
        Check("top-1", adapter.top_1 >= limits.top_1, f"{adapter.top_1:.4f}", f">= {limits.top_1:g}"),
        Check("greedy", greedy >= limits.greedy, f"{greedy:.3f} of the replies are the same", f">= {limits.greedy:g}"),
    ]


def _share(part: float, whole: float) -> float:
    """0 where base and adapter say the same: then nothing can be told, and another check says no."""
    return part / whole if whole else 0.0


class _Reference:
    """What base and adapter say, and what PEFT makes of them; the model is let go of at the end."""

    def __init__(self, plan: MergePlan, folder: Path, prompts: Sequence[Prompt], batch_size: int) -> None:
        self._plan = plan
        model = load_base(plan)
        tokenizer = load_tokenizer(plan.adapter)
        tuned = attach_adapter(model, plan.adapter)
        self.replies = replies_of(tuned, tokenizer, prompts, batch_size)
        self.rows = token_rows(tokenizer, prompts, self.replies)
        self.adapter = logits_of(tuned, self.rows)
        with tuned.disable_adapter():
            self.base = logits_of(tuned, self.rows)
        self.distance = difference(self.adapter, self.base)
        merged = merge_by_peft(tuned)
        self._outside, self._bits = _against_peft(merged, plan, read_folder(folder))
        round_as_stored(merged, plan)
        self.peft = logits_of(merged, self.rows)

    @property
    def peft_figures(self) -> dict[str, Json]:
        """How PEFT's weights and ours differ."""
        return {"largest_share_of_bits": self._bits, "tensors_outside": len(self._outside)}

    def check(self, limits: Limits) -> Check:
        """Whether PEFT merges to the same weights."""
        passed = not self._outside and self._bits <= limits.peft_bits
        found = f"at most {self._bits:.1e} of a tensor's elements have other bits{not_these(self._outside)}"
        return Check("PEFT's merge", passed, found, f"neighbours at most, in <= {limits.peft_bits:g} of a tensor")


def load_base(plan: MergePlan) -> Any:
    """The base that a plan merges onto, in fp32: from its files, or with what NF4 makes of them."""
    model: Any = load_model(plan.base, dtype="float32")
    for name, parameter in model.named_parameters():
        stored = plan.parameters.get(name)
        if stored in plan.nf4:
            values = dequantised(plan.sources[stored], double_quant=plan.double_quant)
            parameter.data = values.to(parameter.device)
    return model


def merge_by_peft(tuned: Any) -> Any:
    """PEFT's own merge of an adapter that is attached, in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it unties a head, which is compared
        return tuned.merge_and_unload()


def round_as_stored(model: Any, plan: MergePlan) -> None:
    """Give every fp32 parameter the value that it has in the merged files' type."""
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(_stored_type(plan, name)).float()


def replies_of(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], batch_size: int) -> list[str]:
    """The first greedy tokens of the reply to each prompt, as text."""
    generator = HuggingFaceGenerator(model, tokenizer, ChatRenderer(tokenizer, "the tokenizer"), batch_size=batch_size)
    found: dict[int, str] = {}
    for places in generator.batches(prompts):
        answers = generator.answer([prompts[place] for place in places], max_new_tokens=NEW_TOKENS)
        found.update({place: answer.text for place, answer in zip(places, answers, strict=True)})
    return [found[place] for place in range(len(prompts))]


def token_rows(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[list[int]]:
    """Tokens of each question with the adapter's reply behind it."""
    renderer = ChatRenderer(tokenizer, "the tokenizer")
    rows: list[list[int]] = []
    for prompt, reply in zip(prompts, replies, strict=True):
        turns: Any = [Message(role, text) for role, text in prompt.turns]  # pyright: ignore[reportArgumentType]
        ids = renderer.prompt_ids(turns, place=f"prompt {prompt.id}")
        rows.append([*ids, *tokenizer.encode(renderer.neutralise(reply), add_special_tokens=False)])
    return rows


def logits_of(model: Any, rows: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """fp32 ``(POSITIONS, V)`` of each row's last positions."""
    found: list[torch.Tensor] = []
    model.eval()
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([row], device=model.device)
            found.append(model(input_ids=ids, use_cache=False, logits_to_keep=POSITIONS).logits[0, -POSITIONS:].float().cpu())
    return found


def difference(reference: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> Difference:
    """How far ``other`` is from ``reference``, position by position."""
    largest = divergence = same = positions = 0.0
    for left, right in zip(reference, other, strict=True):
        largest = max(largest, float((left - right).abs().max()))
        first, second = left.double().log_softmax(-1), right.double().log_softmax(-1)
        divergence += float((first.exp() * (first - second)).sum())
        same += int((left.argmax(-1) == right.argmax(-1)).sum())
        positions += len(left)
    return Difference(largest, max(0.0, divergence) / max(1, positions), same / max(1, positions))


def _against_peft(model: Any, plan: MergePlan, stored: dict[str, StoredTensor]) -> tuple[list[str], float]:
    """(tensors of PEFT's merge with an element that is no neighbour of ours, largest share of elements with other bits)."""
    outside: list[str] = []
    largest = 0.0
    for name, parameter in model.named_parameters():
        tensor = stored.get(plan.parameters.get(name, ""))
        if tensor is None:
            outside.append(name)
            continue
        dtype = TORCH_DTYPES[tensor.layout.dtype]
        size = float(parameter.data.abs().max())
        wrong = other = 0
        for start, stop in tensor.slices():
            ours = tensor.read(start, stop).float()
            theirs = parameter.data[start:stop].cpu().to(dtype).float()
            step = torch.finfo(dtype).eps * torch.maximum(ours.abs(), theirs.abs()) + 2.0**-22 * size
            wrong += int(((ours - theirs).abs() > step).sum())
            other += int((ours != theirs).sum())
        if wrong:
            outside.append(name)
        largest = max(largest, other / max(1, tensor.layout.values))
    return outside, largest


def _differing_parameters(model: Any, plan: MergePlan, stored: dict[str, StoredTensor]) -> list[str]:
    """Parameters of the loaded model that are not what the files hold: a head that was tied away, or never read."""
    state = model.state_dict()
    return [
        name
        for name, tensor in plan.parameters.items()
        if name not in state
        or tensor not in stored
        or any(
            not torch.equal(state[name][start:stop].cpu(), stored[tensor].read(start, stop).float())
            for start, stop in stored[tensor].slices()
        )
    ]


def _narrowest(plan: MergePlan) -> str:
    """The type with the fewest bits among the tensors that change."""
    kinds = [plan.sources[name].layout.dtype for name in plan.ops]
    return next((kind for kind in ("BF16", "F16") if kind in kinds), "F32")


def _stored_type(plan: MergePlan, parameter: str) -> torch.dtype:
    source = plan.sources.get(plan.parameters.get(parameter, ""))
    return TORCH_DTYPES[source.layout.dtype] if source is not None else torch.float32
