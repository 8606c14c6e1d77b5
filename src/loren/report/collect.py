"""The files of a run -> what a report says about it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from loren import __version__
from loren.report.figures import Comparison, Result, SharedWord
from loren.report.flips import find_flips
from loren.report.page import (
    BrokenRule,
    Cost,
    DataContract,
    Evaluation,
    Point,
    Provenance,
    Report,
    SanityCheck,
    SanityCriterion,
    TokenSummary,
    Verdict,
)
from loren.report.read import RunFiles
from loren.report.record import Base, Metadata, Scalar, Step
from loren.runs.folder import utc_now

GOLDEN = "golden.jsonl"
"""The golden questions' name in a task folder."""
_V = TypeVar("_V")


def collect(files: RunFiles, *, run: str, show_text: bool) -> Report:
    """Put together what a run's files say.

    Args:
        files: the run.
        run: its folder, as its user writes it; commands name it so.
        show_text: keep what customers and models wrote.
    """
    result = files.result
    task = files.config.values.task
    golden = _near(Path(task) / GOLDEN) if task else None
    report = Report(
        loren=__version__,
        made_at=utc_now(),
        name=files.run.path.resolve().name,
        run=run,
        shows_text=show_text,
        not_measured=[],
        verdict=_verdict(files),
        evaluation=_evaluation(result, show_text=show_text) if result else None,
        flips=find_flips(result, files.scores, files.texts, run=run, golden=golden) if result and files.scores else [],
        sanity=_sanity(files),
        loss=files.metadata.loss if files.metadata else None,
        steps=_points(files.steps),
        tokens=_tokens(files),
        data=_data(files),
        provenance=_provenance(files),
        cost=_cost(files.metadata, files.steps),
    )
    return report.model_copy(update={"not_measured": _not_measured(report)})


def _not_measured(report: Report) -> list[str]:
    """Names of the parts that a reader may look for in vain."""
    found = report.evaluation
    parts: dict[str, object] = {
        "verdict": report.verdict.word,
        "evaluation": found,
        "prompt_is_enough": found and found.prompt_is_enough,
        "flips": report.flips,
        "weak_slices": found and found.weak_slices,
        "overfit": found and found.overfit,
        "forgetting": found and found.forgetting,
        "sanity": report.sanity,
        "steps": report.steps,
        "tokens": report.tokens,
        "data": report.data,
        "base": report.provenance.base,
        "cost": report.cost.train_seconds,
        # Nothing measures them yet; a report that did not name them would seem to say that all is well.
        "speed": None,
        "safety": None,
    }
    return [name for name, part in parts.items() if part is None or part == []]


def _verdict(files: RunFiles) -> Verdict:
    result = files.result
    if result is None:
        return Verdict(source="none")
    judged = result.verdict
    if judged is None or files.is_preview:
        return Verdict(source="preview" if files.is_preview else "evaluation")
    return Verdict(
        source="evaluation",
        word=judged.word,
        passed=judged.passed,
        candidate=judged.candidate,
        reasons=judged.reasons,
        not_asked=judged.not_asked,
        gates=_gates(result.comparisons, judged.gates),
    )


def _gates(comparisons: Sequence[Comparison], places: Sequence[int]) -> list[Comparison]:
    return [comparisons[place] for place in places if 0 <= place < len(comparisons)]


def _evaluation(result: Result, *, show_text: bool) -> Evaluation:
    words, overfit = result.shared_words, result.overfit
    return Evaluation(
        golden=result.golden,
        task=result.task,
        scorer=result.scorer,
        training_data=result.training_data,
        arms=result.arms,
        comparisons=result.comparisons,
        prompt_is_enough=result.prompt_is_enough,
        weak_slices=result.weak_slices,
        shared_words=words if show_text else {arm: [_without_word(word) for word in found] for arm, found in words.items()},
        overfit=overfit if overfit and (overfit.metrics or overfit.verbatim) else None,
        forgetting=result.forgetting,
    )


def _without_word(shared: SharedWord) -> SharedWord:
    return shared.model_copy(update={"word": None})


def _sanity(files: RunFiles) -> SanityCheck | None:
    found = files.sanity
    if found is None:
        return None
    return SanityCheck(
        passed=found.passed,
        prompts=len(found.prompts),
        criteria=[SanityCriterion(**criterion.model_dump()) for criterion in found.criteria],
        not_applicable=found.not_applicable,
    )


def _points(steps: Sequence[Step]) -> list[Point]:
    return [Point(step=s.step, loss=s.loss, eval_loss=s.eval_loss, learning_rate=s.learning_rate) for s in steps]


def _tokens(files: RunFiles) -> TokenSummary | None:
    found = (files.data and files.data.tokens) or (files.metadata and files.metadata.tokens)
    if not found:
        return None
    parts = {"train": found.train, "validation": found.validation}
    kept = {name: part for name, part in parts.items() if part is not None and part.rows}
    return TokenSummary(max_length=files.config.values.data.max_length, parts=kept) if kept else None


def _data(files: RunFiles) -> DataContract | None:
    found = files.data
    if found is None:
        return None
    return DataContract(
        file=Path(found.file).name,
        rows=found.rows,
        read_as=found.read_as,
        errors=found.errors,
        warnings=found.warnings,
        approved=found.approved,
        dropped=len(found.dropped),
        rules=[BrokenRule(id=rule.rule, name=rule.name, severity=rule.severity, issues=rule.issues) for rule in found.rules],
        labels=found.labels,
        split=files.split.splits if files.split else {},
    )


def _provenance(files: RunFiles) -> Provenance:
    found = files.metadata or Metadata()
    return Provenance(
        created_at=found.created_at,
        method=found.method,
        license=found.license,
        base=_base(found.base_model),
        dataset=found.dataset,
        system_prompt_sha256=found.system_prompt_sha256,
        adapter_digest=files.manifest.digest if files.manifest else None,
        lora=found.lora,
        parameters=found.parameters,
        settings=_known(found.train),
        seeds=_known(found.seeds),
        packages=_known(found.packages),
        git_commit=found.git_commit,
        command=found.command or [],
        hardware=found.hardware,
        execution=_known(files.config.execution),
        stages=files.stages.stages if files.stages else {},
        adopted_from=(found.adopted.producer or "unknown") if found.adopted else None,
        unknown=found.unknown,
    )


def _base(base: Base | None) -> Base | None:
    """A base that is a path is named by its last part, as trackers get it: a report leaves the machine."""
    if base is None or base.kind not in {"directory", "gguf"}:
        return base
    return base.model_copy(update={"id": Path(base.id).name})


def _cost(metadata: Metadata | None, steps: Sequence[Step]) -> Cost:
    found = metadata or Metadata()
    times: Mapping[str, Scalar] = found.time or {}
    seconds = _number(times.get("train_seconds"))
    tokens = sum(step.tokens for step in steps) or None
    return Cost(
        train_seconds=seconds,
        train_cpu_seconds=_number(times.get("train_cpu_seconds")),
        steps=found.steps,
        tokens=tokens,
        label_tokens=sum(step.label_tokens for step in steps) or None,
        tokens_a_second=tokens / seconds if tokens and seconds else None,
        peak_memory_bytes=found.peak_memory_bytes,
        peak_vram_bytes=found.peak_vram_bytes,
        weights_bytes=_whole((found.artifact or {}).get("weights_bytes")),
    )


def _number(value: Scalar) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: Scalar) -> int | None:
    return value if isinstance(value, int) else None


def _known(table: Mapping[str, _V | None] | None) -> dict[str, _V]:
    return {key: value for key, value in (table or {}).items() if value is not None}


def _near(path: Path) -> Path:
    """The path as seen from the working directory, where it lies below it."""
    here = Path(os.getcwd())
    return path.relative_to(here) if path.is_relative_to(here) else path
