"""`loren run`: every stage of a run in order, each with its verdict, stopping at the first gate that says no.

The stages are those of the single commands and meet in the run folder, so a run that stopped anywhere is gone on with by the same
command: what is done is recognised by its digests and not done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from loren.config import ResolvedConfig
from loren.errors import ModelLoadError
from loren.models.cache import Progress
from loren.runs.folder import RunFolder

Say = Callable[[str], None]
Fetching = Callable[[], AbstractContextManager[Progress]]


class StageDone(NamedTuple):
    """What one stage came to."""

    name: Literal["train", "sanity", "evaluate", "merge", "report"]
    verdict: str
    """In a few words."""
    passed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be done with a run."""

    variants: tuple[str, ...]
    batch_size: int


def run_stages(
    resolved: ResolvedConfig, wishes: Wishes, *, command: Sequence[str], say: Say, fetching: Fetching
) -> Iterator[StageDone]:
    """Train (which checks and splits), sanity, evaluation, merge, report; the report is written whatever the gates said.

    Args:
        resolved: the validated configuration; its run is gone on with where there is one.
        wishes: how it is evaluated.
        command: the command line, for the record.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Yields:
        Each stage as it is done; after one that did not pass only the report follows.
    """
    run = RunFolder(resolved.config.output_dir)
    passed = True
    for stage in (_train, _sanity, _evaluate, _merge):
        started = time.monotonic()
        name, verdict, passed = stage(resolved, run, wishes, command, say, fetching)
        yield StageDone(name, verdict, passed, time.monotonic() - started)
        if not passed:
            break
    started = time.monotonic()
    yield StageDone("report", _report(run), passed=True, seconds=time.monotonic() - started)


_Outcome = tuple[Literal["train", "sanity", "evaluate", "merge"], str, bool]


def _train(
    resolved: ResolvedConfig, run: RunFolder, wishes: Wishes, command: Sequence[str], say: Say, fetching: Fetching
) -> _Outcome:
    from loren.train.recipe import train

    result = train(resolved, resume=True, command=command, say=say, fetching=fetching)
    return "train", "done before" if result.was_done else "done", True


def _sanity(
    resolved: ResolvedConfig, run: RunFolder, wishes: Wishes, command: Sequence[str], say: Say, fetching: Fetching
) -> _Outcome:
    from loren.evaluate.sanity import check_sanity

    if resolved.config.task is None:
        return "sanity", "not judged: the run has no task", True
    record = check_sanity(run, batch_size=wishes.batch_size, say=say, fetching=fetching).record
    failed = [entry["name"] for entry in record["criteria"] if not entry["passed"]]
    return "sanity", f"failed: {', '.join(failed)}" if failed else "passed", not failed


def _evaluate(
    resolved: ResolvedConfig, run: RunFolder, wishes: Wishes, command: Sequence[str], say: Say, fetching: Fetching
) -> _Outcome:
    from loren.evaluate.arms import Asking
    from loren.evaluate.golden import Wishes as Evaluating
    from loren.evaluate.golden import evaluate_run

    if resolved.config.task is None:
        return "evaluate", "not judged: the run has no task", True
    asked = Evaluating(variants=wishes.variants)  # pyright: ignore[reportArgumentType] - the command line checked the names
    evaluation = evaluate_run(run, asked, Asking(wishes.batch_size), say=say, fetching=fetching)
    return "evaluate", evaluation.result["verdict"]["word"], evaluation.passed


def _merge(
    resolved: ResolvedConfig, run: RunFolder, wishes: Wishes, command: Sequence[str], say: Say, fetching: Fetching
) -> _Outcome:
    from loren.pipeline.merge import Wishes as Merging
    from loren.pipeline.merge import merge_run

    if resolved.config.train.method == "full":
        return "merge", "not needed: all weights were trained", True
    asked = Merging(evaluate=resolved.config.task is not None, batch_size=wishes.batch_size)
    try:
        merged = merge_run(run, asked, command=command, say=say, fetching=fetching)
    except ModelLoadError as error:  # a kind of adapter that is served beside its base
        say(str(error))
        return "merge", "refused: the adapter can't be merged exactly", False
    return "merge", merged.words, merged.passed


def _report(run: RunFolder) -> str:
    from loren.report.write import write_report

    written = write_report(run.path, out=None, language="en", show_text=False)
    return f"written to {written.files[0]}"
