"""The story of a sweep: prepare once, train every run, ask every run, compare, recommend, ask golden once. Read `sweep` first."""
# pyright: basic

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loren.config.sweep import SweepPlan, Variant
from loren.errors import EXIT_GATE, ConfigError
from loren.pipeline.sweep import search as searching
from loren.pipeline.sweep.answers import JudgedRows, judge, judged_rows
from loren.pipeline.sweep.choice import Field, comparisons, nobody, recommend
from loren.pipeline.sweep.curve import learning_curve
from loren.pipeline.sweep.figures import contestants, figures_entry, metrics_entry
from loren.pipeline.sweep.record import SweepFolder, SweepRun, all_runs, by_variant, variant_entries
from loren.pipeline.sweep.trainings import Say, Watch, Workshop, in_order, refuse_changed_runs
from loren.provenance.digests import sha256_json
from loren.runs.files import Json
from loren.runs.folder import RunFolder
from loren.scoring.score import metrics, scorer_digest

if TYPE_CHECKING:
    from loren.evaluate.subjects import Fetching
    from loren.train.inputs import Prepared


@dataclass(frozen=True)
class Errand:
    """How a sweep is carried out, apart from what it compares."""

    resume: bool
    ask_golden: bool
    batch_size: int
    command: Sequence[str]
    say: Say
    fetching: Fetching


@dataclass(frozen=True)
class SweepResult:
    """Where the record lies, what it says, and what the command leaves with."""

    path: Path
    record: dict[str, Any]
    exit_code: int


def sweep(plan: SweepPlan, errand: Errand) -> SweepResult:
    """Train, judge and compare the variants of a plan.

    Raises:
        RunFolderError: the folder exists (without ``resume``), holds something else, or another process works in it.
        ConfigError: several processes were started.
        DataContractError: the data breaks the contract, or golden rows would train or choose.
        PrerequisiteError: a search without its library, or no base model.
        TrainingInterrupted: a signal ended a training; what was done is kept, and ``resume`` goes on.
    """
    from loren.train.inputs import prepare, read_data

    _refuse_several_processes()
    folder, config, say = SweepFolder(plan.folder), plan.base.config, errand.say
    folder.refuse_existing(resume=errand.resume)
    if plan.kind == "search":
        searching.require_optuna()
    data = read_data(config, say=say)
    if data.task is None:
        raise ConfigError("task: expected a task folder, found none")
    judged = judged_rows(data, data.task, config.data.path)
    if judged.part == "validation":
        say(
            "warning: data.test_ratio is 0, so variants are compared by the validation rows, and their losses are not of other rows"
        )
    known = folder.read()
    prepared = prepare(config, data, fetching=errand.fetching)
    with RunFolder(plan.folder).held():
        board = _Board(plan, folder, judged, prepared)
        workshop = _workshop(prepared, errand)
        if plan.kind == "search":
            if problem := searching.pruning_problem(plan, workshop.steps_of):
                say(f"warning: {problem}")
            board.search = searching.search(
                plan,
                lambda run, watch: _train_point(workshop, run, watch),
                workshop.steps_of,
                before=known,
                after_each=lambda found: board.write(found.runs),
            )
            runs = _finals(plan, board.search)
            board.tried = [run for run in board.search.runs if run.name not in {each.name for each in runs}]
        else:
            runs = all_runs(plan)
        refuse_changed_runs(runs, data.loaded.sha256)
        for run in in_order(runs):
            workshop.train(run)
            board.write(runs)
        # All trainings stand before all answers: weights are laid out anew for decoding, and then no longer for training.
        for run in in_order([run for run in runs if run.status == "trained"]):
            judge(run, judged, workshop, batch_size=errand.batch_size, fetching=errand.fetching)
            board.write(runs)
        workshop.shared.release()
        board.conclude(runs)
        board.write(runs)
        gate = _ask_golden(board, errand, runs)
        board.write(runs, status="done")
    failures = [run.failure for run in runs if run.failure is not None]
    return SweepResult(folder.record, folder.read(), failures[0].exit_code if failures else gate)


def _workshop(prepared: Prepared, errand: Errand) -> Workshop:
    from loren.models.shared import SharedBase

    return Workshop(prepared, SharedBase(), errand.command, errand.say)


def _train_point(workshop: Workshop, run: SweepRun, watch: Watch) -> None:
    refuse_changed_runs([run], workshop.prepared.data.loaded.sha256)
    workshop.train(run, watch=watch)


def _finals(plan: SweepPlan, found: searching.Search) -> list[SweepRun]:
    """The finalists' runs under every seed; those of the first seed are trained already."""
    return [SweepRun(variant, seed, plan.run(variant, seed)) for seed in plan.seeds for variant in found.finalists()]


@dataclass
class _Board:
    """What sweep.json says, as far as it is known."""

    plan: SweepPlan
    folder: SweepFolder
    judged: JudgedRows
    prepared: Prepared
    search: searching.Search | None = None
    tried: Sequence[SweepRun] = ()
    """Runs of a search that are no finalists."""
    metrics: dict[str, dict[str, Json]] = field(default_factory=dict)
    """By variant; its intervals take seconds, so they are made once, when all answers are there."""
    conclusions: dict[str, Json] = field(default_factory=dict)

    def conclude(self, runs: Sequence[SweepRun]) -> None:
        """Say what each variant's answers come to, and compare the variants of which all runs were judged."""
        names = metrics(self.judged.task)
        self.metrics = {name: metrics_entry(group, self.judged.situations, names) for name, group in by_variant(runs).items()}
        whole = contestants(runs)
        if not whole:
            self.conclusions["recommendation"] = nobody(sum(run.status == "failed" for run in [*runs, *self.tried]))
            return
        compared = Field(whole, self.judged.situations, names, self.judged.task.evaluation.prompt_margin)
        if self.plan.kind == "curve":
            percents = {variant.name: _percent(variant) for variant in self.plan.variants}
            rows = {each.name: len(self.prepared.rows_of(each.runs[0].config.config).train) for each in whole}
            self.conclusions["curve"] = learning_curve(compared, percents, rows)
            return
        left_out = [name for name in by_variant(runs) if name not in {each.name for each in whole}]
        self.conclusions["comparisons"] = comparisons(compared)
        self.conclusions["recommendation"] = recommend(compared, left_out=left_out)

    def write(self, runs: Sequence[SweepRun], *, status: str = "running") -> None:
        """Replace sweep.json by what is known now."""
        data, base, task = self.prepared.data, self.prepared.base, self.judged.task
        everything = [*runs, *self.tried]
        summaries = {name: {**figures_entry(group), **self.metrics.get(name, {})} for name, group in by_variant(everything).items()}
        self.folder.write({
            "kind": self.plan.kind,
            "status": status,
            "task": {"name": task.name, "version": task.version, "digest": task.digest},
            "base_model": {"id": base.source.id, "weights_sha256": base.weights_sha256},
            "data": {
                "file": self.plan.base.config.data.path.name,
                "sha256": data.loaded.sha256,
                "split_sha256": sha256_json(data.split.to_json()),
                "rows": {"train": len(data.split.train), "validation": len(data.split.validation), "test": len(data.split.test)},
            },
            "seeds": list(self.plan.seeds),
            "judged_on": self.judged.to_json(),
            "scorer": scorer_digest(),
            "variants": variant_entries(everything, summaries),
            **({"search": self.search.to_json()} if self.search else {}),
            **self.conclusions,
        })


def _percent(variant: Variant) -> int:
    return round(float(str(variant.changes["data.train_share"])) * 100)


def _ask_golden(board: _Board, errand: Errand, runs: Sequence[SweepRun]) -> int:
    """Evaluate the recommended run on the golden questions, once; the exit code of its gate."""
    advice: Any = board.conclusions.get("recommendation", {})
    if not errand.ask_golden or "variant" not in advice or not board.judged.task.golden_path.is_file():
        return 0
    from loren.evaluate.arms import Asking
    from loren.evaluate.golden import Wishes, evaluate_run

    winner = next(run for run in runs if run.variant.name == advice["variant"])
    errand.say(f"{winner.name}: the golden questions, which chose nothing")
    evaluation = evaluate_run(winner.folder, Wishes(), Asking(errand.batch_size), say=errand.say, fetching=errand.fetching)
    board.conclusions["golden"] = {
        "run": f"runs/{winner.name}",
        "result": f"runs/{winner.name}/eval/{evaluation.path.name}",
        "verdict": evaluation.result["verdict"],
    }
    return 0 if evaluation.passed else EXIT_GATE


def _refuse_several_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "a sweep trains in one process; torchrun or accelerate started several",
            hint="start `loren sweep` alone, or train the variants with `loren train`",
        )
