"""`loren judge`: a model behind an endpoint reads stored predictions by the task's rubric; kept apart from every score and gate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from loren.data.rows import Row
from loren.errors import ConfigError, IntegrityError, Problem
from loren.evaluate.predict import is_current, predict, read_predictions, sidecar_path
from loren.evaluate.subjects import Arm, Subject, Variant, run_values
from loren.evaluate.yardstick import pinned, question_of, read_yardstick, situation
from loren.models.endpoint import Endpoint, require_consent
from loren.models.http import open_endpoint
from loren.models.protocol import Completion, Generator, Prompt
from loren.provenance.digests import sha256_text
from loren.runs.files import Json, read_json, write_json, write_text
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.scoring.criteria import Reply
from loren.scoring.judge import (
    VERDICT_SCHEMA,
    Agreement,
    Estimate,
    compare_with_labels,
    fill_rubric,
    read_verdict,
    rubric_problems,
)
from loren.scoring.score import score_prediction
from loren.task.definition import MAX_FILE_BYTES, Task, load_task

Say = Callable[[str], None]
RUBRIC = "judge.txt"
"""In a task folder: a prompt with ``{question}``, ``{target}`` and ``{reply}``."""
MAX_NEW_TOKENS = 512
NOTICE = (
    "A judge never decides a gate: its verdicts stand beside the scores, and are worth as much as they agree with the labels that "
    "people wrote."
)


class Judge(NamedTuple):
    """Whom to ask."""

    generator: Generator
    identity: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Stored:
    """One arm's predictions beside what they should have been; golden rows and completions in the same order."""

    arm: str
    rows: list[Row]
    completions: list[Completion]
    prompts: list[Prompt]
    """The filled rubric for each reply that says anything: nobody has to be asked about an endpoint's error or a blank text."""


@dataclass(frozen=True, slots=True)
class Judging:
    """Everything that a judge would be asked; reading it sends nothing."""

    run: RunFolder
    task: Task
    golden_sha256: str
    rubric_sha256: str
    arms: list[Stored]

    @property
    def rows(self) -> int:
        """Replies that would be sent, over all arms."""
        return sum(len(stored.prompts) for stored in self.arms)


class JudgeResult(NamedTuple):
    """Where judge.json lies and what it says."""

    path: Path
    result: dict[str, Json]


def judge_run(
    run: RunFolder,
    endpoint: Endpoint,
    *,
    arms: Sequence[str] = (),
    sent: bool,
    constrained: bool = False,
    keep_reasons: bool,
    say: Say,
) -> JudgeResult:
    """Let a model behind an endpoint judge a run's stored predictions.

    Args:
        run: a run that was evaluated.
        endpoint: where the judge answers.
        arms: which predictions; none for all that are stored.
        sent: whether the user agreed to sending questions, targets and replies there.
        constrained: hold the judge's answers to the schema of a verdict, where the endpoint can do that.
        keep_reasons: write the judge's reasons too; they may repeat what a customer wrote.
        say: takes one line for the user.

    Raises:
        ConfigError: there is no task, golden set, rubric or prediction; or nobody agreed to sending.
        IntegrityError: stored predictions are not those of the golden rows.
        PrerequisiteError: a package is missing, or the endpoint answers nothing.
    """
    judging = plan_judging(run, arms)
    require_consent(endpoint, judging.rows, sent=sent)
    generator = open_endpoint(endpoint, response_schema=VERDICT_SCHEMA if constrained else None)
    return judge_arms(judging, Judge(generator, generator.identity()), keep_reasons=keep_reasons, say=say)


def plan_judging(run: RunFolder, arms: Sequence[str] = ()) -> Judging:
    """Read rubric, golden rows and stored predictions, and fill the rubric for each.

    Raises:
        ConfigError: there is no task, golden set, rubric or prediction.
        IntegrityError: stored predictions are not those of the golden rows.
    """
    values = run_values(run.require())
    if not values["task"]:
        raise ConfigError(f"{run.path}: expected a run with a task, found none", hint="set task in the run's configuration")
    task = load_task(Path(values["task"]))
    rubric = read_rubric(task)
    golden, pin = read_yardstick(task), run.evaluation / "golden.json"
    golden = pinned(golden, pin, repin=False) if pin.is_file() else golden
    stored = [_stored(run, arm, golden.rows, rubric) for arm in _arms(run, arms)]
    return Judging(run, task, golden.sha256, sha256_text(rubric), stored)


def read_rubric(task: Task) -> str:
    """The task's rubric.

    Raises:
        ConfigError: there is none, or it can't be used.
    """
    path = task.folder / RUBRIC
    hint = (
        f"{RUBRIC} is a prompt with {{question}}, {{target}} and {{reply}} that asks for {{'verdict': ..., 'reason': ...}} as JSON"
    )
    try:
        text = path.read_bytes()[: MAX_FILE_BYTES + 1].decode()
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected the judge's rubric, found no file", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a UTF-8 file that can be read, found another", hint=hint) from error
    problems = rubric_problems(text) if len(text) <= MAX_FILE_BYTES else [f"expected at most {MAX_FILE_BYTES} bytes, found more"]
    if problems:
        raise ConfigError(
            f"{path}: {len(problems)} problem(s) in the rubric", problems=[Problem(RUBRIC, text) for text in problems], hint=hint
        )
    return text


def judge_arms(judging: Judging, judge: Judge, *, keep_reasons: bool, say: Say) -> JudgeResult:
    """Ask a judge about every stored prediction, keep its verdicts, and compare them with the labels.

    Verdicts that the same judge gave before about the same replies by the same rubric are taken from their file; a call that was
    killed is gone on with.

    Args:
        judging: what to ask; see ``plan_judging``.
        judge: whom to ask.
        keep_reasons: write reasons too.
        say: takes one line for the user.

    Raises:
        PrerequisiteError: the endpoint answers nothing.
        StorageError: the disk refused.
    """
    arms: dict[str, Json] = {}
    for stored in judging.arms:
        verdicts = _verdicts(judging.run, stored, judge, keep_reasons=keep_reasons, say=say)
        arms[stored.arm] = _figures(stored, verdicts, judging.task)
    path = judging.run.evaluation / "judge.json"
    result: dict[str, Json] = {
        "schema_version": SCHEMA_VERSION,
        "notice": NOTICE,
        "judge": judge.identity,
        "rubric_sha256": judging.rubric_sha256,
        "golden_sha256": judging.golden_sha256,
        "task": {"name": judging.task.name, "version": judging.task.version, "digest": judging.task.digest},
        "arms": arms,
    }
    write_json(path, result)
    inputs = {"golden": judging.golden_sha256, "rubric": judging.rubric_sha256}
    judging.run.record_stage("judge", inputs=inputs, verdict="done")
    return JudgeResult(path, result)


def verdicts_path(run: RunFolder, arm: str) -> Path:
    """Where an arm's verdicts lie: a line a golden row, ``{"id", "verdict"}``."""
    return run.evaluation / f"judge-{arm}.jsonl"


def _arms(run: RunFolder, wanted: Sequence[str]) -> list[str]:
    known = [Arm(variant, constrained).name for variant in get_args(Variant) for constrained in (False, True)]
    stored = [arm for arm in known if (run.evaluation / f"{arm}.jsonl").is_file()]
    missing = [arm for arm in wanted if arm not in stored]
    if missing or not stored:
        raise ConfigError(
            f"{run.path}: expected stored predictions, found none{f' of {len(missing)} arm(s)' if missing else ''}",
            problems=[Problem("arm", f"expected one of {', '.join(stored) or '(none)'}, found {arm!r}") for arm in missing],
            hint=f"loren evaluate {run.path}",
        )
    return [arm for arm in stored if not wanted or arm in wanted]


def _stored(run: RunFolder, arm: str, rows: Sequence[Row], rubric: str) -> Stored:
    path = run.evaluation / f"{arm}.jsonl"
    predictions = read_predictions(path)
    if set(predictions) != {row.id for row in rows}:
        raise IntegrityError(
            f"{path}: expected one prediction a golden row, found others",
            hint=f"loren evaluate {run.path} answers the questions anew",
        )
    completions = [predictions[row.id] for row in rows]
    prompts = [
        Prompt(row.id, (("user", fill_rubric(rubric, question=_question(row), target=_target(row), reply=completion.text)),))
        for row, completion in zip(rows, completions, strict=True)
        if completion.finish_reason != "error" and completion.text.strip()
    ]
    return Stored(arm, list(rows), completions, prompts)


def _question(row: Row) -> str:
    """The user's words; of a longer conversation every turn before the target, with who said it."""
    turns = [message for message in row.messages[:-1] if message.role != "system"]
    return turns[0].content if len(turns) == 1 else "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def _target(row: Row) -> str:
    return row.messages[-1].content


def _verdicts(run: RunFolder, stored: Stored, judge: Judge, *, keep_reasons: bool, say: Say) -> dict[str, str]:
    """Row id -> good, bad, none (no verdict), failed (the endpoint) or unasked."""
    path = verdicts_path(run, stored.arm)
    subject = Subject(f"judge of {stored.arm}", judge.generator, (), MAX_NEW_TOKENS, judge.identity)
    is_known = is_current(path, subject.identity, stored.prompts, max_new_tokens=MAX_NEW_TOKENS)
    before = _read_verdicts(path, with_reasons=keep_reasons) if is_known else {}
    if set(before) == {row.id for row in stored.rows}:
        say(f"{subject.name}: all {len(stored.prompts)} replies were judged before")
        return before
    journal = path.with_name(f"{path.stem}.partial.jsonl")
    predictions = predict(subject, stored.prompts, max_new_tokens=None, say=say, journal=journal)
    said = {completion.id: completion for completion in predictions.completions}
    lines = [_line(row.id, said.get(row.id), keep_reasons=keep_reasons) for row in stored.rows]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_json(sidecar_path(path), {**predictions.sidecar, "reasons": keep_reasons})
    journal.unlink(missing_ok=True)
    return {line["id"]: line["verdict"] for line in lines}


def _read_verdicts(path: Path, *, with_reasons: bool) -> dict[str, str]:
    """Verdicts by row id; none where they lack the reasons that are wanted now."""
    if with_reasons and not read_json(sidecar_path(path)).get("reasons"):
        return {}
    return {line["id"]: line["verdict"] for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def _line(row: str, said: Completion | None, *, keep_reasons: bool) -> dict[str, str]:
    if said is None or said.finish_reason == "error":
        return {"id": row, "verdict": "unasked" if said is None else "failed"}
    verdict = read_verdict(said.text)
    if verdict is None:
        return {"id": row, "verdict": "none"}
    line = {"id": row, "verdict": "good" if verdict.good else "bad"}
    return {**line, "reason": verdict.reason} if keep_reasons else line


def _figures(stored: Stored, verdicts: dict[str, str], task: Task) -> dict[str, Json]:
    counts = Counter(verdicts.values())
    figures: dict[str, Json] = {
        "rows": len(stored.rows),
        "good": counts["good"],
        "bad": counts["bad"],
        "no_verdict": counts["none"],
        "failed": counts["failed"],
        "unasked": counts["unasked"],
    }
    pairs = [
        (row, completion, verdicts[row.id] == "good")
        for row, completion in zip(stored.rows, stored.completions, strict=True)
        if verdicts[row.id] in {"good", "bad"}
    ]
    if not task.labels or not pairs:
        return figures
    right = [
        score_prediction(_target(row), Reply(question_of(row), said.text, said.finish_reason), task)["all_labels"] == 1
        for row, said, _ in pairs
    ]
    agreement = compare_with_labels([good for *_, good in pairs], right, [situation(row) for row, *_ in pairs])
    return figures if agreement is None else {**figures, "labels": _agreement(agreement)}


def _agreement(found: Agreement) -> dict[str, Json]:
    figures: dict[str, Json] = {
        "compared": found.rows,
        "situations": found.situations,
        "good_right": found.good_right,
        "good_wrong": found.good_wrong,
        "bad_right": found.bad_right,
        "bad_wrong": found.bad_wrong,
    }
    estimates = {"agreement": found.agreement, "kappa": found.kappa, "alpha": found.alpha}
    return figures | {name: _estimate(estimate) for name, estimate in estimates.items() if estimate is not None}


def _estimate(estimate: Estimate) -> dict[str, Json]:
    return {"value": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}
