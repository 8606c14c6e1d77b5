"""A sweep's folder: three variants under three seeds, one of whose runs failed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from loren.runs.files import write_json
from loren.scoring.stats.rows import pair_rows
from loren.scoring.stats.shares import share_interval
from loren.scoring.stats.verdict import compare_shares
from report_run import comparison_entry

SEEDS = (42, 43, 44)
VARIANTS = {"a": (8, 0.70, 1_081_344), "b": (16, 0.81, 2_162_688), "c": (32, 0.82, 8_650_752)}


def write_sweep(folder: Path, *, kind: str = "variants") -> Path:
    rng = random.Random(5)
    situations = [index // 3 for index in range(60)] * len(SEEDS)
    outcomes = {name: [float(rng.random() < level) for _ in situations] for name, (_, level, _) in VARIANTS.items()}
    record: dict[str, Any] = {
        "schema_version": 1, "kind": kind, "status": "done", "task": {"name": "helpdesk", "version": "1.0.0", "digest": "ef" * 32},
        "base_model": {"id": "embedded:smollm2-135m", "weights_sha256": "bc" * 32},
        "data": {"file": "train.jsonl", "sha256": "78" * 32, "split_sha256": "13" * 32,
                 "rows": {"train": 90, "validation": 12, "test": 60}},
        "seeds": list(SEEDS), "judged_on": {"part": "test", "rows": 60, "situations": 20, "ids_sha256": "aa" * 32},
        "scorer": "0a" * 32, "variants": [_variant(name, outcomes[name], situations) for name in VARIANTS],
    }  # fmt: skip
    if kind == "curve":
        record["curve"] = _curve(outcomes, situations)
    else:
        record |= {
            "comparisons": [
                comparison_entry(compare_shares(pair_rows(outcomes["a"], outcomes[name], situations)), "a", "all_labels",
                                 is_gate=True, after=name)
                for name in ("b", "c")
            ],
            "recommendation": {
                "answer": "take", "variant": "b", "run": "runs/b-s42", "best": "c", "simplest": "a", "metric": "all_labels",
                "margin": 0.05, "words": "Take b: its all_labels is not worse than that of c, the best, by 0.05; it costs less.",
                "evidence": ["a: all_labels 0.694, 1,081,344 trained parameters", "b against a: all_labels +0.111, better"],
            },
            "golden": {"run": "runs/b-s42", "result": "runs/b-s42/eval/result.json",
                       "verdict": {"passed": True, "word": "better", "candidate": "adapter", "reasons": ["x"], "gates": []}},
        }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "sweep.json", record)
    return folder


def _measure(values: list[float], situations: list[int], role: str) -> dict[str, Any]:
    alone = pair_rows(values, values, situations)
    low, high = share_interval(alone.before, alone)
    return {"kind": "share", "role": role, "value": sum(values) / len(values), "low": low, "high": high,
            "count": int(sum(values)), "of": len(values)}  # fmt: skip


def _variant(name: str, values: list[float], situations: list[int]) -> dict[str, Any]:
    r, _level, parameters = VARIANTS[name]
    failed = {"status": "failed", "error": {"kind": "TrainingError", "message": "step 7: loss is nan", "exit_code": 6}}
    return {
        "name": name, "changes": {"lora.r": r, "lora.target_modules": ["q_proj", "v_proj"]},
        "runs": [
            {"path": f"runs/{name}-s{seed}", "seed": seed, **(failed if name == "c" and seed == 44 else {"status": "judged"})}
            for seed in SEEDS
        ],
        "figures": {
            "trainable_parameters": parameters, "peak_memory_bytes": 1_400_000_000, "train_seconds": 81.2 + r,
            "train_cpu_seconds": 80.0, "tokens": 21_000.0, "train_loss": {"value": 0.62, "low": 0.55, "high": 0.69},
            "eval_loss": {"value": 0.81, "low": 0.78, "high": 0.84}, "overfit_gap": {"value": 0.19, "low": 0.1, "high": 0.28},
        },
        "metrics": {"all_labels": _measure(values, situations, "target"),
                    "exact:/ticket/team": _measure(values, situations, "target"),
                    "schema_valid": _measure([1.0] * len(values), situations, "format"),
                    "wording": _measure(values, situations, "text")},
        "format_20": {"metric": "schema_valid", "count": 58, "of": 60},
    }  # fmt: skip


def _curve(outcomes: dict[str, list[float]], situations: list[int]) -> dict[str, Any]:
    sizes = {"a": (25, 22), "b": (50, 45), "c": (100, 90)}
    return {
        "metric": "all_labels", "margin": 0.05, "answer": "more rows would help",
        "words": "More rows would help: 45 -> 90 rows: all_labels 0.700 -> 0.810.",
        "points": [
            {"variant": name, "percent": percent, "rows": rows, "score": _measure(outcomes[name], situations, "target"),
             "eval_loss": {"value": 0.9 - percent / 500}}
            for name, (percent, rows) in sizes.items()
        ],
    }  # fmt: skip
