"""`loren evaluate`: ask every arm the golden questions, score, compare, and say whether the adapter is better.

Predictions are files; scoring and comparing need no model and are done anew at each call, so that a changed scorer or task counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loren.errors import IntegrityError
from loren.evaluate.arms import Asking, LoadedWeights, OpenedArm, open_arms, require_consents
from loren.evaluate.findings import Scored, overfit, score_lines, weaknesses
from loren.evaluate.guard import measure_forgetting
from loren.evaluate.predict import is_current, predict_to_file, read_predictions, sidecar_path
from loren.evaluate.subjects import Arm, Fetching, TrainedRun, Variant, open_trained, require_task
from loren.evaluate.training_rows import refuse_seen
from loren.evaluate.yardstick import Yardstick, pinned, prompt_of, question_of, read_yardstick, sampled
from loren.models.protocol import Completion, FinishReason, Prompt
from loren.runs.files import Json, read_json, write_json, write_text
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.scoring.criteria import Reply
from loren.scoring.gate import compare_arms
from loren.scoring.score import Metric, Outcomes, metrics, score_prediction, scorer_digest, summarize
from loren.task.definition import Task

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be evaluated."""

    variants: tuple[Variant, ...] | None = None
    """None for base, adapter and, in a whole evaluation of a run whose training rows are known, fewshot."""
    constrained: tuple[Variant, ...] = ()
    """Variants that are also asked with their decoding held to the schema; the free ones are asked in any case."""
    limit: int | None = None
    """A fixed stratified sample of so many questions, written under eval/preview/; None for all of them."""
    guard: bool = True
    """A whole evaluation asks base and adapter general questions too, to see what was forgotten."""
    train_sample: bool = True
    """A whole evaluation asks the adapter some training rows too, to see what was learned by heart."""
    repin: bool = False
    """Take the golden file as it is now for the yardstick."""

    def arms(self, *, is_data_known: bool) -> tuple[Arm, ...]:
        """Those that share weights stand together, so that each is loaded once."""
        order: tuple[Variant, ...] = ("base", "fewshot", "adapter", "merged", "http")
        usual = ("base", "fewshot", "adapter") if is_data_known and self.limit is None else ("base", "adapter")
        asked: list[Variant] = [name for name in order if name in {*(self.variants or usual), *self.constrained}]
        return tuple(Arm(name, held) for name in asked for held in (False, True) if not held or name in self.constrained)


class Evaluation(NamedTuple):
    """Where the result lies and what it says."""

    path: Path
    result: dict[str, Any]

    @property
    def passed(self) -> bool:
        """The gates say yes; a preview has none, and asks for none."""
        return bool(self.result.get("verdict", {"passed": True})["passed"])


def evaluate_run(run: RunFolder, wishes: Wishes, asking: Asking, *, say: Say, fetching: Fetching) -> Evaluation:
    """Answer the golden questions, and judge the answers.

    Args:
        run: a finished run with a task that has golden questions.
        wishes: which variants, how many questions.
        asking: how they are asked.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Raises:
        ConfigError: there is no task or no golden set, or a gate can't be judged.
        DataContractError: the run was trained on golden questions or situations.
        PrerequisiteError: the training file is gone, so nobody can say whether it was.
        IntegrityError: the adapter does not match its manifest, or the training file is another one.
    """
    trained = open_trained(run)
    task = require_task(trained)
    golden = read_yardstick(task)
    is_data_known = _refuse_leaks(trained, task, golden, say)
    arms = wishes.arms(is_data_known=is_data_known)
    is_preview = wishes.limit is not None
    folder = run.evaluation / "preview" if is_preview else run.evaluation
    golden = sampled(golden, wishes.limit) if wishes.limit else pinned(golden, run.evaluation / "golden.json", repin=wishes.repin)
    if golden.missing:
        say(f"warning: {golden.missing} pinned questions are gone from the golden file: no verdict (--repin takes it as it is)")
    prompts = [prompt_of(row) for row in golden.rows]
    weights = LoadedWeights(trained, asking, fetching)
    _ask(open_arms(trained, arms, asking, weights), prompts, asking, folder, max_new_tokens=task.max_new_tokens, say=say)
    names = metrics(task)
    answers = {arm.name: read_predictions(folder / f"{arm.name}.jsonl") for arm in arms}
    outcomes = {arm: score_answers(found, golden, task) for arm, found in answers.items()}
    scored = Scored(golden, score_lines(golden, outcomes, task), names)
    lines = (json.dumps(line, ensure_ascii=False, allow_nan=False) for line in scored.lines)
    write_text(folder / "scores.jsonl", "".join(f"{line}\n" for line in lines))
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "golden": golden.to_json(),
        "training_data": "known" if is_data_known else "unknown",
        "task": {"name": task.name, "version": task.version, "digest": task.digest},
        "scorer": scorer_digest(),
        "arms": {
            arm.name: _arm_json(arm, answers[arm.name], outcomes[arm.name], golden, names, _sidecar(folder, arm)) for arm in arms
        },
    }
    if not is_preview:
        result |= compare_arms(_told(outcomes, answers), golden.situations, names, task)
        _add_tokens(result)
        result |= _findings(trained, wishes, scored, answers, weights, say)
    write_json(folder / "result.json", result)
    verdict: Literal["done", "passed", "failed"] = "done" if is_preview else "passed" if result["verdict"]["passed"] else "failed"
    run.record_stage("preview" if is_preview else "evaluate", inputs={"golden": golden.sha256}, verdict=verdict)
    return Evaluation(folder / "result.json", result)


def _refuse_leaks(trained: TrainedRun, task: Task, golden: Yardstick, say: Say) -> bool:
    """Whether the training data is known; where it is, nothing of the golden file was trained on."""
    compared = refuse_seen(
        trained,
        golden.rows,
        file=task.golden_path.name,
        what="golden question(s) or situation(s)",
        hint="take these rows out of the golden file, or out of the training file and train again",
    )
    if compared is None:
        say("warning: the training data is not known, so nobody can say whether a golden question was trained on")
    return compared is not None


def _ask(
    arms: Sequence[OpenedArm], prompts: Sequence[Prompt], asking: Asking, folder: Path, *, max_new_tokens: int, say: Say
) -> None:
    """Ask every arm that did not answer these very prompts before."""
    waiting: list[OpenedArm] = []
    for opened in arms:
        if is_current(folder / f"{opened.arm.name}.jsonl", opened.identity, prompts, max_new_tokens=max_new_tokens):
            say(f"{opened.arm.name}: all {len(prompts)} questions were answered before")
        else:
            waiting.append(opened)
    require_consents(waiting, asking, rows=len(prompts))
    for opened in waiting:
        predict_to_file(opened.open(), prompts, folder / f"{opened.arm.name}.jsonl", say=say)


def score_answers(answers: Mapping[str, Completion], golden: Yardstick, task: Task) -> dict[str, Outcomes]:
    """Score answers against their rows, paired by id; needs no model, so it can be repeated.

    Raises:
        IntegrityError: there is not one answer for each row.
    """
    if set(answers) != {row.id for row in golden.rows}:
        raise IntegrityError("expected one prediction a golden row, found others", hint="delete the file and evaluate again")
    return {
        row.id: score_prediction(
            row.messages[-1].content, Reply(question_of(row), answers[row.id].text, answers[row.id].finish_reason), task
        )
        for row in golden.rows
    }


def _told(
    outcomes: Mapping[str, Mapping[str, Outcomes]], answers: Mapping[str, Mapping[str, Completion]]
) -> dict[str, dict[str, Outcomes]]:
    """What a verdict rests on: where an endpoint gave no answer, the row is missing."""
    return {
        arm: {row: reached for row, reached in found.items() if answers[arm][row].finish_reason != "error"}
        for arm, found in outcomes.items()
    }


def _arm_json(
    arm: Arm,
    answers: Mapping[str, Completion],
    outcomes: Mapping[str, Outcomes],
    golden: Yardstick,
    names: Sequence[Metric],
    sidecar: Mapping[str, Any],
) -> dict[str, Json]:
    ends: list[FinishReason] = [answer.finish_reason for answer in answers.values()]
    ids = [row.id for row in golden.rows]
    return {
        "variant": arm.variant,
        "constrained": arm.constrained,
        "key": sidecar["key"],
        "metrics": summarize([outcomes[row] for row in ids], names, [golden.situations[row] for row in ids]),
        "requests": sidecar["requests"],
        "prompt_tokens_a_request": round(sidecar["prompt_tokens"] / max(1, len(answers)), 1),
        "completion_tokens_a_request": round(sidecar["completion_tokens"] / max(1, len(answers)), 1),
        "seconds": sidecar["seconds"],
        "cut": ends.count("length"),
        "errors": ends.count("error"),
        "retried": sum(answer.requests > 1 for answer in answers.values()),
    }


def _sidecar(folder: Path, arm: Arm) -> dict[str, Any]:
    return dict(read_json(sidecar_path(folder / f"{arm.name}.jsonl")))


def _findings(
    trained: TrainedRun,
    wishes: Wishes,
    scored: Scored,
    answers: Mapping[str, Mapping[str, Completion]],
    weights: LoadedWeights,
    say: Say,
) -> dict[str, Any]:
    """What is found beside the verdict; the adapter is asked first, for it is what was loaded last."""
    folder = trained.run.evaluation
    found: dict[str, Any] = dict(weaknesses(scored))
    if wishes.train_sample and "adapter" in answers:
        found["overfit"] = overfit(trained, scored, weights, replies=answers["adapter"], folder=folder, say=say)
    if wishes.guard and {"base", "adapter"} <= answers.keys():
        found["forgetting"] = measure_forgetting(trained, generators=weights.get, say=say, folder=folder)
    return found


def _add_tokens(result: dict[str, Any]) -> None:
    """What a request costs with each: half of the answer to whether a prompt is enough."""
    arms: dict[str, Any] = result["arms"]
    result["prompt_is_enough"]["tokens_a_request"] = {
        name: round(arms[name]["prompt_tokens_a_request"] + arms[name]["completion_tokens_a_request"], 1)
        for name in ("fewshot", result["verdict"]["candidate"])
        if name in arms
    }
