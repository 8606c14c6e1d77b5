"""Prompts -> predictions file: asks a subject batch by batch, and keeps each batch on disk before the next one begins."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loren.errors import IntegrityError
from loren.evaluate.subjects import Subject, with_lead
from loren.models.protocol import Completion, Prompt
from loren.provenance.digests import sha256_json
from loren.runs.files import Json, append_text, read_json, write_bytes, write_json, write_text
from loren.runs.folder import SCHEMA_VERSION

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a subject answered, in the order of the prompts."""

    completions: list[Completion]
    sidecar: dict[str, Json]
    """Subject, decoding parameters, counts: beside the predictions as ``NAME.meta.json``."""

    @property
    def cut(self) -> int:
        """Answers that did not end by themselves."""
        return sum(completion.finish_reason == "length" for completion in self.completions)

    def write(self, path: Path) -> None:
        """Write predictions and sidecar atomically; the sidecar last, so that it vouches for a complete file."""
        lines = [json.dumps(completion.to_json(), ensure_ascii=False, allow_nan=False) for completion in self.completions]
        write_text(path, "".join(f"{line}\n" for line in lines))
        write_json(sidecar_path(path), self.sidecar)


def predict(
    subject: Subject, prompts: Sequence[Prompt], *, max_new_tokens: int | None, say: Say, journal: Path | None = None
) -> Predictions:
    """Ask every prompt.

    Args:
        subject: whom to ask.
        prompts: what to ask; ids differ.
        max_new_tokens: the longest answer; None for the subject's own limit.
        say: takes one line for the user.
        journal: a file that holds the batches that were answered, so that whoever is killed goes on with the next one.

    Returns:
        The completions in order, with the sidecar.
    """
    limit = max_new_tokens or subject.max_new_tokens
    asked = [with_lead(prompt, subject.lead) for prompt in prompts]
    key = predictions_key(subject.identity, prompts, max_new_tokens=limit)
    batches = subject.generator.batches(asked)
    kept = _Journal(journal, sha256_json([key, batches])) if journal else None
    done = kept.read(batches) if kept else {}
    if done:
        say(f"{subject.name}: {sum(len(answers) for answers, _ in done.values())} of {len(asked)} were answered before")
    completions: list[Completion | None] = [None] * len(asked)
    total_s, shown = 0.0, 0
    for number, places in enumerate(batches):
        if number in done:
            answers, seconds = done[number]
        else:
            started = time.perf_counter()
            answers = subject.generator.answer([asked[place] for place in places], max_new_tokens=limit)
            seconds = round(time.perf_counter() - started, 3)
            if kept:
                kept.add(number, answers, seconds)
        for place, answer in zip(places, answers, strict=True):
            completions[place] = answer
        total_s += seconds
        answered = sum(completion is not None for completion in completions)
        if number not in done and len(asked) >= 10 and (answered - shown >= len(asked) // 10 or answered == len(asked)):
            say(f"{subject.name}: {answered} of {len(asked)} answered")
            shown = answered
    finished = [completion for completion in completions if completion is not None]
    return Predictions(finished, _sidecar(subject, key, finished, limit, total_s))


def predict_to_file(subject: Subject, prompts: Sequence[Prompt], path: Path, *, say: Say) -> Predictions:
    """Ask every prompt and write ``path``; a call that was killed is gone on with, and leaves no journal when it is done."""
    journal = path.with_name(f"{path.stem}.partial.jsonl")
    predictions = predict(subject, prompts, max_new_tokens=None, say=say, journal=journal)
    predictions.write(path)
    journal.unlink(missing_ok=True)
    return predictions


class _Plan(msgspec.Struct, frozen=True):
    """The first line of a journal: of what its batches are."""

    plan: str


class _Batch(msgspec.Struct, frozen=True):
    """Any other line of a journal."""

    batch: int
    seconds: float
    answers: list[Completion]


class _Journal:
    """Batches that were answered, a line each, behind a line that says of what."""

    def __init__(self, path: Path, plan: str) -> None:
        self._path = path
        self._plan = plan

    def read(self, batches: Sequence[Sequence[int]]) -> dict[int, tuple[list[Completion], float]]:
        """The batches of this very plan that were written whole; a torn last line and another plan's file are thrown away."""
        lines = _lines(self._path) if self._path.is_file() else []
        whole: list[bytes] = []
        done: dict[int, tuple[list[Completion], float]] = {}
        try:
            if lines and msgspec.json.decode(lines[0], type=_Plan).plan == self._plan:
                whole.append(lines[0])
                for line in lines[1:]:
                    entry = msgspec.json.decode(line, type=_Batch)
                    if 0 <= entry.batch < len(batches) and len(entry.answers) == len(batches[entry.batch]):
                        done[entry.batch] = (entry.answers, entry.seconds)
                    whole.append(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # torn here: what stands before it holds
        if not whole:
            write_text(self._path, json.dumps({"plan": self._plan}) + "\n")
        elif len(whole) < len(lines):
            # What is appended must not join a torn line.
            write_bytes(self._path, b"".join(line + b"\n" for line in whole))
        return done

    def add(self, batch: int, answers: Sequence[Completion], seconds: float) -> None:
        """Keep one batch, on the disk before the next one is asked."""
        entry = {"batch": batch, "seconds": seconds, "answers": [answer.to_json() for answer in answers]}
        append_text(self._path, json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n", durable=True)


def _lines(path: Path) -> list[bytes]:
    """By line feeds alone: an answer may hold other signs at which `splitlines` would cut."""
    return [line for line in path.read_bytes().split(b"\n") if line]


def predictions_key(identity: dict[str, Json], prompts: Sequence[Prompt], *, max_new_tokens: int) -> str:
    """Digest of everything that decides a predictions file: same key, same answers."""
    return sha256_json({
        "subject": identity,
        "prompts": [[prompt.id, [[role, text] for role, text in prompt.turns]] for prompt in prompts],
        "max_new_tokens": max_new_tokens,
    })


def is_current(path: Path, identity: dict[str, Json], prompts: Sequence[Prompt], *, max_new_tokens: int) -> bool:
    """Whether ``path`` holds the answers of this very subject to these very prompts."""
    sidecar = sidecar_path(path)
    if not (path.is_file() and sidecar.is_file()):
        return False
    return read_json(sidecar)["key"] == predictions_key(identity, prompts, max_new_tokens=max_new_tokens)


def read_predictions(path: Path) -> dict[str, Completion]:
    """The completions of a predictions file by id.

    Raises:
        IntegrityError: a line is no completion, or an id stands twice.
    """
    found: dict[str, Completion] = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            completion = msgspec.json.decode(line, type=Completion)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise IntegrityError(f"{path}:{number}: expected a prediction, found another line", hint=_AGAIN) from error
        if completion.id in found:
            raise IntegrityError(f"{path}:{number}: expected one prediction a row, found a second one", hint=_AGAIN)
        found[completion.id] = completion
    return found


_AGAIN = "delete the file and evaluate again"


def sidecar_path(predictions: Path) -> Path:
    """``NAME.jsonl`` -> ``NAME.meta.json``."""
    return predictions.with_name(f"{predictions.stem}.meta.json")


def _sidecar(subject: Subject, key: str, completions: Sequence[Completion], limit: int, seconds: float) -> dict[str, Json]:
    return {
        "schema_version": SCHEMA_VERSION,
        "subject": subject.name,
        **subject.identity,
        "max_new_tokens": limit,
        "key": key,
        "answers": len(completions),
        "cut": sum(completion.finish_reason == "length" for completion in completions),
        "requests": sum(completion.requests for completion in completions),
        "prompt_tokens": sum(completion.prompt_tokens for completion in completions),
        "completion_tokens": sum(completion.completion_tokens for completion in completions),
        "seconds": round(seconds, 3),
    }
