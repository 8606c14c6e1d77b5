"""Forgetting: general questions, asked of a run's base and of its adapter, without a word of the task before them.

Both are asked with an empty lead, for what is measured is the model beside its task; where the chat template puts a system turn of
its own, both get that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from loren.evaluate.predict import is_current, predict_to_file, read_predictions
from loren.evaluate.subjects import Subject, TrainedRun, identity
from loren.models.protocol import Completion, Generator, Prompt
from loren.runs.files import Json
from loren.scoring.gate import comparison_json
from loren.scoring.guard import GuardSet, load_guard, score_guard, summarize_guard
from loren.scoring.stats.rows import pair_by_id
from loren.scoring.stats.verdict import Comparison, Goal, Plan, Verdict, compare_shares

Say = Callable[[str], None]
GuardVariant: TypeAlias = Literal["base", "adapter"]
VARIANTS: tuple[GuardVariant, ...] = ("adapter", "base")
"""In the order in which they are asked: after an evaluation the adapter is what is in memory."""
MARGIN = 0.1
"""The share of general questions that an adapter may lose: with the questions that there are, a smaller loss is hardly seen."""
MAX_NEW_TOKENS = 160
"""Every question asks for a short reply."""
METRIC = "guard"


def measure_forgetting(
    trained: TrainedRun,
    *,
    generators: Callable[[GuardVariant], Generator],
    say: Say,
    folder: Path,
) -> dict[str, Json]:
    """Ask base and adapter the general questions, and compare.

    Args:
        trained: the run.
        generators: gives the generator of a variant; it is called only where a variant still has to be asked.
        say: takes one line for the user.
        folder: takes ``guard-base.jsonl`` and ``guard-adapter.jsonl``, which are gone on with where they are not whole.

    Returns:
        What ``result.json`` says under ``forgetting``: the questions, shares of each variant by language and kind, the
        comparison, and a sentence.

    Raises:
        IntegrityError: a predictions file is damaged, or the base is not the one that the adapter was trained on.
    """
    guard = load_guard()
    outcomes: dict[GuardVariant, dict[str, int]] = {}
    result: dict[str, Json] = {"guard": {"sha256": guard.sha256, "questions": len(guard.questions)}}
    for variant in VARIANTS:
        path = folder / f"guard-{variant}.jsonl"
        _ask(trained, variant, guard, path, generators=generators, say=say)
        replies = read_predictions(path)
        outcomes[variant] = score_replies(guard, replies)
        cut = sum(reply.finish_reason == "length" for reply in replies.values())
        result[variant] = {**summarize_guard(guard.questions, outcomes[variant]), "cut": cut}
    comparison = compare_outcomes(outcomes["base"], outcomes["adapter"])
    pair: dict[str, Json] = {
        "before": "base",
        "after": "adapter",
        "metric": METRIC,
        "kind": "share",
        "role": "general",
        "gate": False,
    }
    return {**result, "comparison": {**pair, **comparison_json(comparison)}, "words": sentence(comparison, guard, outcomes)}


def _ask(
    trained: TrainedRun,
    variant: GuardVariant,
    guard: GuardSet,
    path: Path,
    *,
    generators: Callable[[GuardVariant], Generator],
    say: Say,
) -> None:
    """Answers in ``path`` that were given by the same weights to the same questions stand."""
    prompts = [Prompt(question.id, (("user", question.text),)) for question in guard.questions]
    what = identity(trained, variant, ())
    if is_current(path, what, prompts, max_new_tokens=MAX_NEW_TOKENS):
        say(f"{path.stem}: all {len(prompts)} general questions were answered before")
        return
    predict_to_file(Subject(path.stem, generators(variant), (), MAX_NEW_TOKENS, what), prompts, path, say=say)


def score_replies(guard: GuardSet, replies: Mapping[str, Completion]) -> dict[str, int]:
    """Question id -> 1 or 0; a question without a reply is 0."""
    return {
        question.id: score_guard(question, replies[question.id].text, replies[question.id].finish_reason)
        if question.id in replies
        else 0
        for question in guard.questions
    }


def compare_outcomes(base: Mapping[str, int], adapter: Mapping[str, int]) -> Comparison:
    """Is the adapter not worse than its base by ``MARGIN``?

    Each question is a situation of its own: none is another's wording or translation. Kinds and languages are not situations: they
    were fixed, not drawn from a population of kinds, so that a comparison need not hold for kinds that nobody asked.
    """
    plan = Plan(goal=Goal.NON_INFERIORITY, margin=MARGIN)
    return compare_shares(pair_by_id(base, adapter, {name: name for name in base}), plan)


_MEANINGS = {
    Verdict.NOT_WORSE: "no more than {margin:.0%} of the questions are lost",
    Verdict.WORSE: "general ability was lost; data.replay mixes general rows into training",
    Verdict.INCONCLUSIVE: "so few questions don't tell whether more than {margin:.0%} was forgotten",
}


def sentence(seen: Comparison, guard: GuardSet, outcomes: Mapping[GuardVariant, Mapping[str, int]]) -> str:
    """The comparison for people, with the kinds in which most was lost."""
    rows = seen.rows
    right = [round(share * rows) for share in (seen.before, seen.after)]
    text = (
        f"Of {rows} general questions the base gets {right[0]} right and the adapter {right[1]} "
        f"({seen.difference:+.1%}, 95 % interval {seen.interval.low:+.1%} to {seen.interval.high:+.1%}): "
        + _MEANINGS.get(seen.verdict, "no verdict").format(margin=seen.plan.margin)
    )
    lost: dict[str, int] = {}
    for question in guard.questions:
        name = f"{question.language}/{question.kind}"
        lost[name] = lost.get(name, 0) + outcomes["base"][question.id] - outcomes["adapter"][question.id]
    worst = sorted((name for name, count in lost.items() if count > 0), key=lambda name: (-lost[name], name))[:3]
    if seen.verdict is not Verdict.WORSE:  # what is within chance has no place
        return f"{text}."
    return text + (f". Most was lost in {', '.join(f'{name} (-{lost[name]})' for name in worst)}." if worst else ".")
