"""Ship or do not ship: every comparison of two arms, the gates among them, one verdict, and whether a prompt would do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from loren.errors import ConfigError, Problem
from loren.runs.files import Json
from loren.scoring.score import Metric, Outcomes
from loren.scoring.stats.rows import pair_by_id
from loren.scoring.stats.verdict import Comparison, Goal, Plan, Verdict, compare_scores, compare_shares, settle
from loren.task.definition import Task
from loren.task.sections import Gate

FORMAT_MARGIN = 0.05
"""What a comparison of format may lose where no gate says otherwise. With less, a hundred situations could not show it even where
both arms are right on every row: 0 failures in n rows bound the share by 3.8 / (n + 3.8)."""

Arms: TypeAlias = Mapping[str, Mapping[str, Outcomes]]
"""Arm -> row id -> metric -> outcome. A row that an arm lacks counts as missing."""


class Pair(NamedTuple):
    """Two arms that are compared, and the comparison's metric."""

    before: str
    after: str
    metric: str


def gates_of(task: Task, names: Sequence[Metric]) -> tuple[Gate, ...]:
    """The task's gates; without any, better at what was trained for than the base, and no worse in format.

    Raises:
        ConfigError: a gate names a figure that this task does not have.
    """
    known = {metric.name for metric in names}
    if not task.evaluation.gates:
        best = "all_labels" if "all_labels" in known else next(metric.name for metric in names if metric.role == "target")
        kept = [name for name in ("schema_valid", "ended") if name in known]
        return (
            Gate(metric=best),
            *(Gate(metric=name, goal="non-inferiority", margin=FORMAT_MARGIN) for name in kept),
        )
    problems = [
        Problem(f"task.toml evaluation.gates.{place}.metric", f"expected one of {', '.join(sorted(known))}; got {gate.metric!r}")
        for place, gate in enumerate(task.evaluation.gates)
        if gate.metric not in known
    ]
    if problems:
        raise ConfigError(f"{len(problems)} gate(s) of the task can't be judged", problems=problems)
    return tuple(task.evaluation.gates)


def compare_arms(arms: Arms, situations: Mapping[str, str], names: Sequence[Metric], task: Task) -> dict[str, Json]:
    """All that the rows say about the arms.

    Args:
        arms: what each arm reached on each row.
        situations: row id -> situation, for every row that should have been judged.
        names: the figures.
        task: its gates.

    Returns:
        ``{"comparisons", "verdict", "prompt_is_enough"}`` as result.json holds them.

    Raises:
        ConfigError: a gate names a figure that this task does not have.
    """
    candidate = "adapter" if "adapter" in arms else "merged"
    gates = gates_of(task, names)
    gate_of = {Pair(gate.against, candidate, gate.metric): gate for gate in gates}
    kinds = {metric.name: metric for metric in names}
    plain: dict[Pair, Comparison] = {}
    judged: dict[Pair, Comparison] = {}
    for before, after in _pairs(arms, candidate):
        for metric in names:
            pair = Pair(before, after, metric.name)
            gate = gate_of.get(pair)
            found = _compare(arms[before], arms[after], situations, metric, _plan(gate, metric, after))
            (judged if gate else plain)[pair] = found
    settled = settle({"\n".join(pair): comparison for pair, comparison in judged.items()})
    judged = {pair: settled["\n".join(pair)] for pair in judged}
    every = {**judged, **plain}
    comparisons = [
        {
            **pair._asdict(),
            "kind": kinds[pair.metric].kind,
            "role": kinds[pair.metric].role,
            "gate": pair in judged,
            **comparison_json(seen),
        }
        for pair, seen in every.items()
    ]
    verdict = _verdict(candidate, [gate_of[pair] for pair in gate_of if pair not in judged], judged)
    return {
        "comparisons": comparisons,
        "verdict": {**verdict, "gates": [list(every).index(pair) for pair in gate_of if pair in judged]},
        "prompt_is_enough": _prompt_is_enough(arms, candidate, situations, names, task.evaluation.prompt_margin),
    }


def _pairs(arms: Arms, candidate: str) -> list[tuple[str, str]]:
    """What is worth comparing: each other way with the candidate, merged weights with the adapter, constrained with free."""
    pairs = [(arm, candidate) for arm in ("base", "fewshot", "http") if arm in arms and candidate in arms]
    pairs += [("base", "fewshot")] if {"base", "fewshot"} <= arms.keys() else []
    pairs += [("adapter", "merged")] if {"adapter", "merged"} <= arms.keys() else []
    return pairs + [(arm.removesuffix("-constrained"), arm) for arm in arms if arm.endswith("-constrained")]


def _plan(gate: Gate | None, metric: Metric, after: str) -> Plan:
    if gate is not None:
        return Plan(Goal(gate.goal), gate.margin)
    must_not_break = metric.role == "format" or after == "merged"
    return Plan(Goal.NON_INFERIORITY, FORMAT_MARGIN) if must_not_break else Plan()


def _compare(
    before: Mapping[str, Outcomes], after: Mapping[str, Outcomes], situations: Mapping[str, str], metric: Metric, plan: Plan
) -> Comparison:
    paired = pair_by_id(
        {row: outcomes[metric.name] for row, outcomes in before.items()},
        {row: outcomes[metric.name] for row, outcomes in after.items()},
        situations,
    )
    return compare_shares(paired, plan) if metric.kind == "share" else compare_scores(paired, plan)


def comparison_json(seen: Comparison) -> dict[str, Json]:
    """A comparison as result files hold it, without the names of what was compared."""
    return {
        "verdict": str(seen.verdict),
        "words": seen.words,
        "reason": str(seen.reason),
        "goal": str(seen.plan.goal),
        "margin": seen.plan.margin,
        "alpha": seen.plan.alpha,
        "rows": seen.rows,
        "situations": seen.situations,
        "missing": seen.missing,
        "effective_rows": round(seen.effective_rows, 1),
        "before_value": seen.before,
        "after_value": seen.after,
        "difference": seen.difference,
        "low": seen.interval.low,
        "high": seen.interval.high,
        "p_value": seen.p_value,
        "adjusted_p": seen.adjusted_p,
        "detectable": seen.detectable,
        "fixed": seen.fixed,
        "broken": seen.broken,
        "test": seen.methods.test,
        "interval_method": seen.methods.interval,
        "passed": seen.passed,
    }


def _verdict(candidate: str, not_asked: Sequence[Gate], judged: Mapping[Pair, Comparison]) -> dict[str, Json]:
    reasons = [
        f"{pair.metric} against {pair.before}: {seen.words}{f' ({seen.reason})' if seen.reason else ''}"
        for pair, seen in judged.items()
    ]
    reasons += [f"{gate.metric} against {gate.against}: that variant was not asked" for gate in not_asked]
    words = [seen.verdict for seen in judged.values()]
    if not_asked or Verdict.ABSTAIN in words:
        word = "abstain"
    elif Verdict.WORSE in words:
        word = "worse"
    elif all(seen.passed for seen in judged.values()):
        word = "better" if Verdict.BETTER in words else "not worse"
    else:
        word = "inconclusive"
    return {
        "passed": word in {"better", "not worse"},
        "word": word,
        "candidate": candidate,
        "reasons": reasons,
        "not_asked": [{"metric": gate.metric, "against": gate.against} for gate in not_asked],
    }


def _prompt_is_enough(
    arms: Arms, candidate: str, situations: Mapping[str, str], names: Sequence[Metric], margin: float
) -> dict[str, Json]:
    """Is few-shot not worse than the candidate in any target figure, nor in its format?

    All of them must pass, so each is tested at alpha: the intersection of tests needs no correction (Berger 1982, Technometrics
    24, 295-300). That the candidate is better needs one of several, and is corrected.
    """
    if "fewshot" not in arms or candidate not in arms:
        return {"answer": "not asked", "words": "few-shot was not asked: add it to --variants", "margin": margin}
    wanted = [metric for metric in names if metric.role == "target" or metric.name == "schema_valid"]
    plan = Plan(Goal.NON_INFERIORITY, margin)
    kept = {m.name: _compare(arms[candidate], arms["fewshot"], situations, m, plan) for m in wanted}
    targets = [metric for metric in wanted if metric.role == "target"]
    gained = settle({m.name: _compare(arms["fewshot"], arms[candidate], situations, m, Plan()) for m in targets})
    if any(seen.verdict is Verdict.ABSTAIN for seen in kept.values()):
        answer, words = "unclear", "rows are missing, so nobody can say whether a prompt would do"
    elif all(seen.passed for seen in kept.values()):
        answer, words = "yes", f"a prompt is enough: few-shot is not worse than the {candidate} by {margin:g} in any target"
    elif better := [name for name, seen in gained.items() if seen.verdict is Verdict.BETTER]:
        answer, words = "no", f"a prompt is not enough: the {candidate} is better than few-shot in {', '.join(better)}"
    else:
        answer, words = "unclear", f"these rows don't tell whether a prompt would do within {margin:g}"
    return {"answer": answer, "words": words, "margin": margin}
