"""How fast evaluation asks a model: Loren's generator against transformers' `generate` one prompt at a time.

    .venv/bin/python benchmarks/evaluate.py [--models smollm2-135m,qwen2.5-coder-0.5b] [--prompts 64] [--tokens 48] [--json FILE]

Generated tokens a CPU second, prefill counted on both sides; one thread, one process, the same prompts, greedy, fp32. Each side
has a model of its own, so that the layout of one is not the other's. The sides take turns (all prompts by ours, then a slice of
them by `generate`), so that a busy machine slows both. "without prefix": every prompt begins with words of its own; "with prefix":
all begin with one system prompt of 230 tokens. Where texts differ, the gap between the two best logits at the first differing
token, read from a forward pass over that prompt alone, says why: rounding decides a near tie, and a large gap would be a bug.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parents[1]
TASK = ROOT / "examples" / "support-vi" / "task"
PREFIX_TOKENS = 230
TARGETS = {"smollm2-135m": (4.0, 7.0), "qwen2.5-coder-0.5b": (3.0, 4.0)}
"""Ratios without and with the prefix that the project promises."""


@dataclass
class Side:
    """What one way of asking cost, and what it answered."""

    cpu_s: list[float] = field(default_factory=list)
    tokens: int = 0
    answers: list[list[int]] = field(default_factory=list)


def main() -> None:
    """Measure each model, print a table, and with --json also write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(TARGETS), help="embedded models, with commas between")
    parser.add_argument("--prompts", type=int, default=64, help="questions of the golden set, spread over it")
    parser.add_argument("--tokens", type=int, default=48, help="longest answer")
    parser.add_argument("--rounds", type=int, default=2, help="how often our side answers them all")
    parser.add_argument("--alone", type=int, help="ask only so many of them one by one: for a glance")
    parser.add_argument("--cases", default="without,with", help="without and with a common prefix")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [measure(name, options) for name in options.models.split(",")]
    figures = [row for rows in results for row in rows]
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps({"command": sys.argv, "figures": figures}, indent=2) + "\n", encoding="utf-8")


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Both sides of one model, in each case."""
    import torch

    from loren.cli.fetching import show_fetching
    from loren.models.chat import ChatRenderer
    from loren.models.generate import HuggingFaceGenerator
    from loren.models.loading import load_model, load_tokenizer, locate_base

    torch.set_num_threads(1)
    base = locate_base(f"embedded:{name}", None, trust_remote_code=False, fetching=show_fetching)
    tokenizer = load_tokenizer(base.folder)

    class Recording(ChatRenderer):
        """Keeps the tokens of the replies that it is shown: a completion holds their text alone."""

        shown: ClassVar[list[list[int]]] = []

        def reply_text(self, tokens: Sequence[int]) -> str:
            self.shown.append(list(tokens))
            return super().reply_text(tokens)

    renderer = Recording(tokenizer, name)
    theirs_model = load_model(base.folder, dtype="float32").eval()
    ours_generator = HuggingFaceGenerator(load_model(base.folder, dtype="float32"), tokenizer, renderer, batch_size=64)
    rows = []
    for case in options.cases.split(","):
        prompts, shared = build_prompts(renderer, options.prompts, with_prefix=case == "with")
        ids = [prompt_ids(renderer, prompt) for prompt in prompts]
        asked = list(range(len(ids)))[:: max(1, len(ids) // options.alone)] if options.alone else list(range(len(ids)))
        ours, theirs = Side(), Side()
        ask_ours(ours_generator, renderer, prompts[:2], 2)  # what is made once, both sides
        ask_theirs(theirs_model, ours_generator._stop_ids, [ids[0]], 2)
        for number in range(options.rounds):
            seconds, ours.answers, ours.tokens = ask_ours(ours_generator, renderer, prompts, options.tokens)
            ours.cpu_s.append(seconds)
            part = [ids[place] for place in asked[number :: options.rounds]]
            seconds, answers, tokens = ask_theirs(theirs_model, ours_generator._stop_ids, part, options.tokens)
            theirs.cpu_s.append(seconds)
            theirs.tokens += tokens
            theirs.answers.extend(answers)
        order = [place for number in range(options.rounds) for place in asked[number :: options.rounds]]
        compared = [(ids[place], ours.answers[place], answer) for place, answer in zip(order, theirs.answers, strict=True)]
        gaps = [gap for gap in (first_gap(theirs_model, *one) for one in compared) if gap is not None]
        rate, their_rate = ours.tokens / statistics.median(ours.cpu_s), theirs.tokens / sum(theirs.cpu_s)
        rows.append({
            "model": name,
            "case": case,
            "prompts": len(prompts),
            "asked_alone": len(asked),
            "prompt_tokens": round(statistics.mean(map(len, ids)), 1),
            "shared_tokens": shared,
            "answer_tokens": round(ours.tokens / len(prompts), 1),
            "ours_tokens_a_cpu_s": round(rate, 2),
            "theirs_tokens_a_cpu_s": round(their_rate, 2),
            "ratio": round(rate / their_rate, 2),
            "target": TARGETS.get(name, (None, None))[case == "with"],
            "ours_cpu_s": [round(value, 2) for value in ours.cpu_s],
            "theirs_cpu_s": [round(value, 2) for value in theirs.cpu_s],
            "texts_differ": len(gaps),
            "texts_compared": len(compared),
            "largest_top2_gap": round(max(gaps, default=0.0), 6),
        })
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def build_prompts(renderer: Any, count: int, *, with_prefix: bool) -> tuple[list[Any], int]:
    """Golden questions as prompts, and how many tokens all of them begin with."""
    from loren.models.generate import common_prefix
    from loren.models.protocol import Prompt

    lines = (TASK / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    step = max(1, len(lines) // count)
    questions = [json.loads(line)["messages"][0]["content"] for line in lines[::step][:count]]
    words = ((TASK / "system.txt").read_text(encoding="utf-8") + " ").split() * 4

    def prompts(length: int) -> list[Any]:
        system = [" ".join(words[:length])] * count if with_prefix else [f"{place + 1}. customer." for place in range(count)]
        return [Prompt(str(n), (("system", system[n]), ("user", text))) for n, text in enumerate(questions)]

    length = 1
    while with_prefix and common_prefix([prompt_ids(renderer, one) for one in prompts(length)[:3]]) < PREFIX_TOKENS:
        length += 1
    built = prompts(length)
    return built, common_prefix([prompt_ids(renderer, one) for one in built])


def prompt_ids(renderer: Any, prompt: Any) -> list[int]:
    """A prompt's tokens."""
    from loren.data.rows import Message

    return renderer.prompt_ids([Message(role, text) for role, text in prompt.turns], place="prompt")


def ask_ours(generator: Any, renderer: Any, prompts: Sequence[Any], limit: int) -> tuple[float, list[list[int]], int]:
    """(CPU seconds, the tokens of each answer without the end of turn, how many were generated)."""
    renderer.shown.clear()
    started = time.process_time()
    order: list[int] = []
    tokens = 0
    for places in generator.batches(prompts):
        answers = generator.answer([prompts[place] for place in places], max_new_tokens=limit)
        order.extend(places)
        tokens += sum(answer.completion_tokens for answer in answers)
    seconds = time.process_time() - started
    return seconds, [answer for _, answer in sorted(zip(order, renderer.shown, strict=True))], tokens


def ask_theirs(model: Any, stop_ids: set[int], ids: Sequence[list[int]], limit: int) -> tuple[float, list[list[int]], int]:
    """The same, by transformers' own generate, one prompt at a time."""
    import torch

    answers, tokens = [], 0
    started = time.process_time()
    for row in ids:
        prompt = torch.tensor([row])
        out = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, num_beams=1, repetition_penalty=1.0,
            max_new_tokens=limit, eos_token_id=sorted(stop_ids), pad_token_id=min(stop_ids),
        )[0, len(row) :].tolist()  # fmt: skip
        tokens += len(out)
        answers.append(out[:-1] if out[-1] in stop_ids else out)
    return time.process_time() - started, answers, tokens


def first_gap(model: Any, prompt: list[int], ours: list[int], theirs: list[int]) -> float | None:
    """The distance of the two best logits where the answers part; None where they do not."""
    import torch

    if ours == theirs:
        return None
    place = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    with torch.inference_mode():
        best = model(input_ids=torch.tensor([prompt + ours[:place]]), logits_to_keep=1).logits[0, -1].topk(2).values
    return float(best[0] - best[1])


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """The figures that matter, a line a case."""
    heads = f"{'ours tok/CPU s':>15} {'one by one':>11} {'ratio':>6} {'target':>7} {'differ':>9} {'largest gap':>12}"
    print(f"{'model':<20} {'prefix':<8} {heads}")
    for row in rows:
        differ = f"{row['texts_differ']}/{row['texts_compared']}"
        print(
            f"{row['model']:<20} {row['case']:<8} {row['ours_tokens_a_cpu_s']:>15} {row['theirs_tokens_a_cpu_s']:>11} "
            f"{row['ratio']:>6} {row['target']!s:>7} {differ:>9} {row['largest_top2_gap']:>12}"
        )


if __name__ == "__main__":
    main()
