"""A run folder as training, sanity check and evaluation leave it: 300 golden rows, four arms, plausible numbers."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from loren.runs.files import write_json, write_text
from loren.scoring.stats.rows import PairedRows, pair_rows
from loren.scoring.stats.shares import share_interval, wilson_interval
from loren.scoring.stats.verdict import Comparison, Goal, Plan, compare_shares, settle

CANARY = "canary-7f3a"
"""Stands in every text that a customer or a model wrote."""
LABELS = [("billing", "high"), ("billing", "low"), ("shipping", "high"), ("account", "normal"), ("other", "low")]
METRICS: dict[str, tuple[str, str]] = {
    "parses": ("share", "format"),
    "schema_valid": ("share", "format"),
    "required": ("share", "format"),
    "enum": ("share", "format"),
    "exact:/category": ("share", "target"),
    "exact:/priority": ("share", "target"),
    "all_labels": ("share", "target"),
    "exact:/answer": ("share", "text"),
    "f1:/answer": ("mean", "text"),
    "edit:/answer": ("mean", "text"),
    "rule:high-needs-code": ("share", "format"),
    "wording": ("share", "text"),
    "no_invented_facts": ("share", "text"),
    "ended": ("share", "format"),
}
SKILL = {"base": 0.55, "fewshot": 0.80, "adapter": 0.88, "adapter-constrained": 0.885}
TOKENS = {"base": (312.4, 61.0), "fewshot": (1184.2, 58.3), "adapter": (96.8, 54.1), "adapter-constrained": (96.8, 53.0)}


def write_run(folder: Path, *, rows: int = 300, preview: bool = False, skill: dict[str, float] | None = None) -> Path:
    """Write the run and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_training(folder)
    write_sanity(folder)
    write_evaluation(folder / "eval" / "preview" if preview else folder / "eval", rows, skill or SKILL, is_preview=preview)
    return folder


def write_evaluation(folder: Path, rows: int, skill: dict[str, float], *, is_preview: bool) -> None:
    scores = make_scores(rows, skill)
    result: dict[str, Any] = {
        "schema_version": 1,
        "golden": {"sha256": "ab" * 32, "rows": 300, "asked": rows, "situations": len({row["situation"] for row in scores}),
                   "ids_sha256": "cd" * 32, "missing": 0},
        "training_data": "known",
        "task": {"name": "support-vi", "version": "1.2.0", "digest": "ef" * 32},
        "scorer": "0a" * 32,
        "arms": {arm: make_arm(arm, scores) for arm in skill},
    }  # fmt: skip
    if not is_preview:
        result |= make_verdict(scores)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "result.json", result)
    write_text(folder / "scores.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in scores))
    for arm in skill:
        lines = [
            {"id": row["id"], "text": f'{{"category": "billing", "answer": "{CANARY} {arm} xin chào"}}', "finish_reason": "stop",
             "prompt_tokens": 90, "completion_tokens": 50, "latency_s": 0.5, "requests": 1}
            for row in scores
        ]  # fmt: skip
        write_text(folder / f"{arm}.jsonl", "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def make_scores(rows: int, skill: dict[str, float]) -> list[dict[str, Any]]:
    rng = random.Random(7)
    found: list[dict[str, Any]] = []
    for index in range(rows):
        label = LABELS[index // 3 % len(LABELS)]
        situation = f"{label[0]}-situation-{index // 3}"
        hard = rng.random()
        arms = {arm: _outcomes(level - 0.25 * (hard > 0.8) - 0.2 * (label[0] == "other"), rng) for arm, level in skill.items()}
        found.append({
            "id": f"{situation}-{index % 3 + 1}",
            "situation": situation,
            "line": index + 1,
            "slices": {"label": " / ".join(label), "situation": situation, "length": ("short", "medium", "long")[index % 3],
                       "diacritics": "without" if index % 7 == 0 else "with"},
            "arms": arms,
        })  # fmt: skip
    return found


def _outcomes(level: float, rng: random.Random) -> dict[str, float]:
    parses = rng.random() < min(1.0, level + 0.25)
    category, priority = parses and rng.random() < level + 0.08, parses and rng.random() < level
    likeness = round(max(0.0, min(1.0, rng.gauss(level * 0.7, 0.15))), 4) if parses else 0.0
    flags = {
        "parses": parses, "schema_valid": parses and rng.random() < level + 0.3, "required": parses, "enum": parses,
        "exact:/category": category, "exact:/priority": priority, "all_labels": category and priority, "exact:/answer": False,
    }  # fmt: skip
    late = {
        "rule:high-needs-code": parses and rng.random() < level + 0.1, "wording": rng.random() < level + 0.05,
        "no_invented_facts": rng.random() < level + 0.1, "ended": rng.random() < level + 0.4,
    }  # fmt: skip
    return {
        **{name: float(value) for name, value in flags.items()}, "f1:/answer": likeness, "edit:/answer": round(likeness * 0.9, 4),
        **{name: float(value) for name, value in late.items()},
    }  # fmt: skip


def paired(scores: list[dict[str, Any]], before: str, after: str, metric: str) -> PairedRows:
    def of(arm: str) -> list[float]:
        return [row["arms"][arm][metric] for row in scores]

    return pair_rows(of(before), of(after), [row["situation"] for row in scores])


def make_arm(arm: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for name, (kind, role) in METRICS.items():
        values = [row["arms"][arm][name] for row in scores]
        mean = sum(values) / len(values)
        if kind == "share":
            rows = paired(scores, arm, arm, name)
            interval = share_interval(rows.before, rows, confidence=0.95)
            low, high = interval.low, interval.high
        else:
            error = 1.96 * math.sqrt(sum((value - mean) ** 2 for value in values)) / len(values)
            low, high = mean - error, mean + error
        metrics[name] = {"kind": kind, "role": role, "value": mean, "low": low, "high": high, "of": len(values)}
        if kind == "share":
            metrics[name]["count"] = int(sum(values))
    prompt, completion = TOKENS[arm]
    return {
        "variant": arm.removesuffix("-constrained"), "constrained": arm.endswith("-constrained"), "key": "12" * 32,
        "metrics": metrics, "requests": len(scores) + (17 if arm == "fewshot" else 0), "prompt_tokens_a_request": prompt,
        "completion_tokens_a_request": completion, "seconds": 412.5 if arm == "fewshot" else 180.25, "cut": 2, "errors": 0,
        "retried": 17 if arm == "fewshot" else 0,
    }  # fmt: skip


def make_verdict(scores: list[dict[str, Any]]) -> dict[str, Any]:
    plans = {"all_labels": Plan(), "schema_valid": Plan(Goal.NON_INFERIORITY, margin=0.02)}
    gates = settle({name: compare_shares(paired(scores, "base", "adapter", name), plan) for name, plan in plans.items()})
    comparisons = [
        comparison_entry(gates[name], before, name, is_gate=True)
        if before == "base" and name in gates
        else comparison_entry(compare_shares(paired(scores, before, "adapter", name)), before, name, is_gate=False)
        for before in ("base", "fewshot")
        for name, (kind, _) in METRICS.items()
        if kind == "share"
    ]
    places = [place for place, entry in enumerate(comparisons) if entry["gate"]]
    passed = all(gate.passed for gate in gates.values())
    return {
        "comparisons": comparisons,
        "verdict": {"passed": passed, "word": "better" if passed else "inconclusive", "candidate": "adapter",
                    "reasons": [f"{name} against base: {gate.words}" for name, gate in gates.items()], "gates": places},
        "prompt_is_enough": {"answer": "no", "words": "the adapter is better than a prompt with examples", "margin": 0.05,
                             "tokens_a_request": {"fewshot": 1242.5, "adapter": 150.9}},
        "weak_slices": {"adapter": [
            {"slice": "label", "value": "other / low", "metric": "all_labels", "rows": 60, "right": 31, "share": 0.5167,
             "rest_share": 0.8, "low": 0.38, "high": 0.65, "p_value": 0.0001, "adjusted_p": 0.0008},
            {"slice": "diacritics", "value": "without", "metric": "all_labels", "rows": 43, "right": 27, "share": 0.6279,
             "rest_share": 0.76, "low": 0.46, "high": 0.77, "p_value": 0.06, "adjusted_p": 0.24},
        ]},
        "shared_words": {"adapter": [
            {"word": f"{CANARY}-hoàn", "failing": 21, "of_failing": 70, "passing": 12, "of_passing": 230, "ratio": 5.75},
            {"word": f"{CANARY}-tiền", "failing": 30, "of_failing": 70, "passing": 41, "of_passing": 230, "ratio": 2.4},
        ]},
        "overfit": {
            "all_labels": {"train": 0.93, "golden": 0.78, "gap": 0.15, "low": 0.08, "high": 0.22},
            "schema_valid": {"train": 1.0, "golden": 0.99, "gap": 0.01, "low": -0.005, "high": 0.03},
            "verbatim": {"replies": 300, "reused": 4, "share": 0.0133},
        },
        "forgetting": {
            "guard": {"sha256": "21" * 32, "questions": 40},
            "base": {"all": _guard(22, 40), "languages": {"en": _guard(14, 20), "vi": _guard(8, 20)},
                     "kinds": {"facts": _guard(22, 40)}, "cut": 0},
            "adapter": {"all": _guard(21, 40), "languages": {"en": _guard(14, 20), "vi": _guard(7, 20)},
                        "kinds": {"facts": _guard(21, 40)}, "cut": 1},
            "words": "not shown",
            "comparison": comparison_entry(
                compare_shares(pair_rows([1.0] * 22 + [0.0] * 18, [1.0] * 21 + [0.0] * 19)), "base", "guard", is_gate=False
            ),
        },
    }  # fmt: skip


def _guard(count: int, of: int) -> dict[str, Any]:
    low, high = wilson_interval(count, of)
    return {"count": count, "of": of, "value": count / of, "low": low, "high": high}


def comparison_entry(seen: Comparison, before: str, metric: str, *, is_gate: bool, after: str = "adapter") -> dict[str, Any]:
    kind, role = METRICS.get(metric, ("share", "target"))
    return {
        "before": before, "after": after, "metric": metric, "kind": kind, "role": role, "verdict": str(seen.verdict),
        "words": seen.words, "reason": str(seen.reason), "goal": str(seen.plan.goal), "margin": seen.plan.margin,
        "alpha": seen.plan.alpha, "rows": seen.rows, "situations": seen.situations, "missing": seen.missing,
        "effective_rows": seen.effective_rows, "before_value": seen.before, "after_value": seen.after,
        "difference": seen.difference, "low": seen.interval.low, "high": seen.interval.high, "p_value": seen.p_value,
        "adjusted_p": seen.adjusted_p, "detectable": seen.detectable, "fixed": seen.fixed, "broken": seen.broken,
        "test": seen.methods.test, "interval_method": seen.methods.interval, "gate": is_gate,
        "passed": seen.passed,
    }  # fmt: skip


def write_sanity(folder: Path) -> None:
    names = {"parses": 5, "schema": 5, "ended": 5, "no_invented_policy": 4, "wording": 5}
    write_json(folder / "sanity.json", {
        "schema_version": 1, "key": "34" * 32, "passed": False, "prompts": [f"sanity-{n}" for n in range(1, 6)],
        "compared_rows": 264,
        "criteria": [{"name": name, "met": met, "needed": 5, "total": 5, "passed": met >= 5} for name, met in names.items()],
        "not_applicable": ["next_step"],
        "rows": [{"parses": {"passed": True, "reason": ""}}],
        "answers": [{"id": f"sanity-{n}", "text": f"{CANARY} sanity", "finish_reason": "stop"} for n in range(1, 6)],
        "generation": {},
    })  # fmt: skip


def write_training(folder: Path) -> None:
    (folder / "adapter").mkdir(exist_ok=True)
    write_json(folder / "config.json", {
        "schema_version": 1,
        "values": {"base_model": "embedded:qwen2.5-coder-0.5b", "task": str(folder.parent / "task"), "seed": 42,
                   "data": {"path": str(folder.parent / "data" / "train.jsonl"), "max_length": 1024}},
        "origins": {"train.learning_rate": "file", "seed": "--set"},
        "execution": {"device": "cpu", "dtype": "float32", "threads": 2, "micro_batch_size": 4, "processes": 1},
    })  # fmt: skip
    stages = {"train": "done", "sanity": "failed", "evaluate": "passed"}
    write_json(folder / "stages.json", {"schema_version": 1, "stages": {
        name: {"inputs": {"data": "56" * 32}, "verdict": verdict, "finished_at": "2026-03-02T10:15:00Z"}
        for name, verdict in stages.items()
    }})  # fmt: skip
    tokens = {name: _tokens(rows) for name, rows in (("train", 264), ("validation", 30))}
    write_json(folder / "data" / "report.json", {
        "schema_version": 1, "file": "/home/someone/data/train.jsonl", "sha256": "78" * 32, "rows": 294, "blank_lines": 0,
        "read_as": {"rows": "messages", "file": "jsonl", "compression": None}, "errors": 0, "warnings": 3, "approved": 1,
        "rules": [{"rule": "D301", "name": "near-duplicate", "severity": "warning", "issues": 3}],
        "labels": {"/category": {'"billing"': 120, '"shipping"': 90, '"account"': 54, '"other"': 30},
                   "/priority": {'"high"': 110, '"normal"': 100, '"low"': 84}},
        "dropped": [], "issues": [], "tokens": tokens,
    })  # fmt: skip
    write_json(folder / "data" / "split.json", {"schema_version": 1, "seed": 42, "splits": {
        "train": {"rows": 264, "groups": 132}, "validation": {"rows": 30, "groups": 15}, "test": {"rows": 0, "groups": 0},
    }})  # fmt: skip
    write_text(folder / "metrics.jsonl", "".join(json.dumps(step) + "\n" for step in _steps()))
    write_json(folder / "adapter" / "MANIFEST.json", {"schema_version": 1, "digest": "9a" * 32, "files": {}})
    write_json(folder / "adapter" / "training_metadata.json", {
        "schema_version": 1, "name": folder.name, "created_at": "2026-03-02T09:58:11Z", "method": "lora", "license": "Apache-2.0",
        "base_model": {"id": "embedded:qwen2.5-coder-0.5b", "kind": "embedded", "revision": "ebb2015119c9", "license": "Apache-2.0",
                       "weights_sha256": "bc" * 32, "tokenizer_sha256": "de" * 32, "template_sha256": "f0" * 32},
        "dataset": {"file": "train.jsonl", "sha256": "78" * 32, "split_sha256": "13" * 32, "version": "2026.2", "card": None},
        "rows": {"train": 264, "validation": 30, "test": 0, "dropped": 0}, "tokens": tokens,
        "system_prompt": f"{CANARY} Bạn là trợ lý.", "system_prompt_sha256": None,
        "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": ["k_proj", "o_proj", "q_proj", "v_proj"]},
        "quantization": None,
        "train": {"learning_rate": 5e-4, "num_train_epochs": 1.0, "max_steps": -1, "per_device_train_batch_size": 1,
                  "gradient_accumulation_steps": 8, "lr_scheduler_type": "linear", "warmup_ratio": 0.05, "report_to": []},
        "seeds": {"seed": 42, "split": 42, "batches": 42},
        "parameters": {"trainable": 2162688, "total": 496195456, "share": 0.00435855},
        "steps": 66, "loss": {"first": 2.41, "last": 0.72, "best": 0.69, "eval_last": 0.81, "eval_best": 0.79},
        "time": {"train_seconds": 598.2, "train_cpu_seconds": 1171.9, "last_process_seconds": 640.0},
        "peak_memory_bytes": 4_120_000_000, "peak_vram_bytes": None,
        "packages": {"python": "3.11.7", "torch": "2.13.0+cpu", "transformers": "5.23.0", "peft": "0.21.2", "bitsandbytes": None},
        "git_commit": "83c27ca0d1e2f3-dirty", "command": ["loren", "train", "run.toml"],
        "hardware": {"platform": "Linux x86_64", "cpu": "AMD EPYC", "cores": 2, "memory_bytes": 25276063744, "gpu": None},
        "artifact": {"weights_bytes": 8_670_000, "files_bytes": 20_100_000},
    })  # fmt: skip


def _tokens(rows: int) -> dict[str, Any]:
    return {
        "rows": rows, "label_share": 0.2804, "tokens": {"sum": rows * 131, "p50": 128, "p95": 171, "p99": 188, "max": 204},
        "label_tokens": {"sum": rows * 52, "p50": 50, "p95": 74, "p99": 81, "max": 92},
    }  # fmt: skip


def _steps() -> list[dict[str, Any]]:
    rng = random.Random(3)
    return [
        {"step": step, "loss": 0.7 + 1.7 * math.exp(-step / 12) + rng.gauss(0, 0.05),
         "eval_loss": 0.8 + 1.5 * math.exp(-step / 11) if step % 11 == 0 else None,
         "learning_rate": 5e-4 * (step / 4 if step < 4 else (66 - step) / 62), "grad_norm": 0.8, "tokens": 1048,
         "label_tokens": 420, "seconds": 9.06, "cpu_seconds": 17.8, "peak_memory_bytes": 4_120_000_000, "peak_vram_bytes": None}
        for step in range(1, 67)
    ]  # fmt: skip
