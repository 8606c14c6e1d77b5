"""`loren sanity`: ask a run's adapter the task's unseen prompts, and judge the replies by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from loren.data.rows import Message, Row
from loren.evaluate.predict import predict, predictions_key
from loren.evaluate.prompts import load_prompts
from loren.evaluate.subjects import Fetching, identity, merged_folder, open_merged, open_run, open_trained, require_task
from loren.evaluate.training_rows import refuse_seen
from loren.models.protocol import Completion, Prompt
from loren.provenance.digests import sha256_json
from loren.runs.files import read_json, write_json
from loren.runs.folder import SCHEMA_VERSION, RunFolder
from loren.scoring.criteria import Reply
from loren.scoring.sanity import judge

Say = Callable[[str], None]


class SanityResult(NamedTuple):
    """What sanity.json holds, and whether it was there already."""

    record: dict[str, Any]
    was_done: bool


def check_sanity(
    run: RunFolder,
    *,
    batch_size: int,
    say: Say,
    fetching: Fetching,
    variant: Literal["adapter", "merged"] = "adapter",
) -> SanityResult:
    """Answer and judge the sanity prompts; write sanity.json, of the merged model merged-sanity.json.

    Args:
        run: a finished run with a task.
        batch_size: prompts answered together.
        say: takes one line for the user.
        fetching: shows the download of a base model.
        variant: who answers.

    Returns:
        The record; the stored one when adapter, prompts and task are the same.

    Raises:
        ConfigError: the run has no task, or the task no prompts.
        DataContractError: a sanity prompt was trained on, in the training file or among the general rows.
        IntegrityError: the adapter does not match its manifest.
    """
    trained = open_trained(run)
    task = require_task(trained)
    prompts = load_prompts(task.sanity_path)
    merged = merged_folder(trained)[1] if variant == "merged" else None
    asked = identity(trained, variant, trained.trained_lead, merged_digest=merged)
    path = run.merged_sanity if variant == "merged" else run.sanity
    key = sha256_json([predictions_key(asked, prompts, max_new_tokens=task.max_new_tokens), task.digest])
    if path.is_file() and (stored := dict(read_json(path))).get("key") == key:
        return SanityResult(stored, was_done=True)
    rows = [Row(line=number, messages=_messages(prompt)) for number, prompt in enumerate(prompts, start=1)]
    hint = "write other prompts, or train without these rows"
    compared = refuse_seen(trained, rows, file=task.sanity_path.name, what="sanity prompt(s)", hint=hint)
    if compared is None:
        say("warning: the training data is not known, so nobody can say whether a prompt was trained on")
    if variant == "merged":
        subject = open_merged(trained, batch_size=batch_size)
    else:
        subject = open_run(trained, "adapter", batch_size=batch_size, fetching=fetching)
    predictions = predict(subject, prompts, max_new_tokens=None, say=say)
    verdict = judge([_reply(p, c) for p, c in zip(prompts, predictions.completions, strict=True)], task)
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "prompts": [prompt.id for prompt in prompts],
        "compared_rows": compared,
        **verdict.as_json(),
        "answers": [completion.to_json() for completion in predictions.completions],
        "generation": predictions.sidecar,
    }
    write_json(path, record)
    run.record_stage(path.stem, inputs={"key": key}, verdict="passed" if verdict.passed else "failed")
    return SanityResult(record, was_done=False)


def _reply(prompt: Prompt, completion: Completion) -> Reply:
    asked = "\n".join(text for role, text in prompt.turns if role == "user")
    return Reply(prompt=asked, text=completion.text, finish_reason=completion.finish_reason)


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    return tuple(Message("system" if role == "system" else "user", text) for role, text in prompt.turns if role != "assistant")
