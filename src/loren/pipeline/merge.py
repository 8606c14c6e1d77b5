"""`loren merge`: a run's adapter as one model, proven. Read `merge_run` from top to bottom.

The model is written beside its place, proven there, from the files, and only then put there with one rename; a merge whose proof
fails leaves a record and no model. The adapter is read, never changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loren.errors import ConfigError, IntegrityError, Problem, RunFolderError
from loren.models.cache import Progress, remove_leftovers, require_space
from loren.models.protocol import Prompt
from loren.provenance.machine import package_versions, without_secrets
from loren.provenance.manifest import MANIFEST, verify_manifest, write_manifest
from loren.runs.files import Json, read_json, staged_folder, write_json, write_text
from loren.runs.folder import MERGE_RECORD, SCHEMA_VERSION, RunFolder, utc_now

if TYPE_CHECKING:
    from loren.evaluate.subjects import TrainedRun
    from loren.models.loading import LocalBase
    from loren.weights.plan import MergePlan
    from loren.weights.proof import Proof

Say = Callable[[str], None]
Fetching = Callable[[], AbstractContextManager[Progress]]
NOT_EVALUATED = "not evaluated"
_PROMPTS = 64
_SPARE_BYTES = 64 * 1024 * 1024
"""Room for everything beside the weights."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for."""

    out: Path | None = None
    """Where the merged model is put; None for the run's own `merged/`."""
    evaluate: bool = False
    """Whether the golden questions show that the merged model is not worse than the adapter."""
    batch_size: int = 64


class Merged(NamedTuple):
    """What merged.json holds, and whether the model was there already."""

    record: dict[str, Any]
    was_done: bool

    @property
    def passed(self) -> bool:
        """Proof, sanity check and evaluation, as far as they were asked for, say yes."""
        sanity, quality = self.record["sanity"], self.record["quality"]
        return (
            bool(self.record["proven"])
            and (sanity is None or bool(sanity["passed"]))
            and (quality == NOT_EVALUATED or bool(quality["passed"]))
        )

    @property
    def words(self) -> str:
        """What it came to, in a few words."""
        if not self.record["proven"]:
            return "not proven"
        sanity, quality = self.record["sanity"], self.record["quality"]
        said = ["proven"] + (["sanity failed"] if sanity is not None and not sanity["passed"] else [])
        if quality != NOT_EVALUATED:
            said.append("not worse than the adapter" if quality["passed"] else "not shown to be as good as the adapter")
        return ", ".join(said)


class _NotProvenError(Exception):
    """Leaves the staged folder, so that it is not published."""

    def __init__(self, proof: Proof) -> None:
        super().__init__("the merged model is not proven")
        self.proof = proof


def merge_run(run: RunFolder, wishes: Wishes, *, command: Sequence[str], say: Say, fetching: Fetching) -> Merged:
    """Merge a run's adapter into its base, prove it, and ask it; write merged.json.

    Args:
        run: a finished run.
        wishes: where to, and whether to evaluate.
        command: the command line, for the record.
        say: takes one line for the user.
        fetching: shows the download of a base model.

    Raises:
        ConfigError: all weights were trained, so that there is nothing to merge, or --out lies in a folder that must not change.
        RunFolderError: something else lies where the model should go, or a model of another adapter.
        ModelLoadError: the adapter is of a kind that can't be merged exactly.
        IntegrityError: adapter, base or an earlier merge are not what they were.
        PrerequisiteError: the disk is too small.
    """
    from loren.evaluate.subjects import open_trained

    trained = open_trained(run)
    if trained.is_full:
        raise ConfigError(f"{run.path}: expected an adapter, found a model all of whose weights were trained: it needs no merge")
    if wishes.evaluate:
        _require_golden(trained)
    target = (wishes.out or run.merged).absolute()
    with run.held():
        base = _open_base(trained, fetching)
        _refuse_place(target, run, base)
        done = _done_before(target, trained)
        if done is None:
            remove_leftovers(target)
            proof, base_weights = _write(target, trained, base, wishes, command=command, say=say, fetching=fetching)
        else:
            proof, base_weights = done["proof"], done["base_weights"]
            say(f"merged before: {target}")
        record = _record(run, target, trained, proof=proof, base_weights=base_weights)
        record["quality"] = _earlier_quality(run, record)
        write_json(run.merged_pointer, record)
        run.record_stage("merge", inputs={"adapter": trained.adapter_digest}, verdict="done" if record["proven"] else "failed")
    if record["proven"]:
        record["sanity"] = _sanity(trained, wishes, say, fetching)
        if wishes.evaluate:
            record["quality"] = _evaluate(trained, wishes, say, fetching)
        write_json(run.merged_pointer, record)
    return Merged(record, was_done=done is not None)


def _require_golden(trained: TrainedRun) -> None:
    """Refuse an evaluation that can't be made before minutes are spent on the merge.

    Raises:
        ConfigError: the run has no task, the task no golden questions, or an endpoint was asked before.
    """
    from loren.evaluate.subjects import require_task
    from loren.evaluate.yardstick import read_yardstick

    read_yardstick(require_task(trained))
    _arms_before(trained)


def _open_base(trained: TrainedRun, fetching: Fetching) -> LocalBase:
    """The base of the run, in its original precision; its weights are those that the adapter was trained on.

    Raises:
        IntegrityError: they are others.
    """
    from loren.models.loading import check_base, locate_base

    recorded = trained.metadata["base_model"]
    revision = recorded["revision"] if recorded["kind"] == "hub" else None
    trust = trained.values["trust_remote_code"]
    base = locate_base(trained.values["base_model"], revision, trust_remote_code=trust, fetching=fetching)
    check_base(trained.run.adapter, trained.metadata, base)
    return base


def _refuse_place(target: Path, run: RunFolder, base: LocalBase) -> None:
    """The adapter and the base stay as they are.

    Raises:
        ConfigError: the model would lie in one of them.
    """
    for folder in (run.adapter, base.folder):
        if target.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"--out: expected a place outside of {folder}, which is left as it is; found {target}")


def _done_before(target: Path, trained: TrainedRun) -> dict[str, Any] | None:
    """The record of the model that lies at ``target``, if it is this adapter's; None where nothing lies there.

    Raises:
        RunFolderError: something else lies there, or a model of another adapter: it is not overwritten.
        IntegrityError: the model is not what its manifest says.
    """
    if not target.is_symlink() and (not target.exists() or (target.is_dir() and not any(target.iterdir()))):
        return None
    hint = "give another place with --out, or move it away"
    if target.is_symlink() or not (target / MERGE_RECORD).is_file():
        raise RunFolderError(f"{target}: expected no folder yet, found something that `loren merge` did not write", hint=hint)
    verify_manifest(target)
    record: dict[str, Any] = dict(read_json(target / MERGE_RECORD))
    found = (record["adapter"]["digest"], record["base"]["weights_sha256"])
    if found != (trained.adapter_digest, trained.metadata["base_model"]["weights_sha256"]):
        raise RunFolderError(
            f"{target}: the merged model there is stale",
            problems=[Problem(MERGE_RECORD, f"expected adapter {trained.adapter_digest}, found {found[0]}")],
            hint=hint,
        )
    return record


def _write(
    target: Path,
    trained: TrainedRun,
    base: LocalBase,
    wishes: Wishes,
    *,
    command: Sequence[str],
    say: Say,
    fetching: Fetching,
) -> tuple[dict[str, Json], Json]:
    """Plan, merge, prove and publish.

    Returns:
        The proof, and which base weights were taken, with the figures of both for a QLoRA adapter.
    """
    from loren.weights.merge import apply_merge
    from loren.weights.plan import plan_merge

    plan = plan_merge(base.folder, trained.run.adapter)
    prompts = proof_prompts(trained)
    room = plan.total_bytes + _SPARE_BYTES
    require_space(target, room, "the merged model", hint="free some space, or put it elsewhere with --out")
    base_weights: Json = {"taken": "original"}
    if quantization := trained.metadata["quantization"]:
        plan, base_weights = _choose_base(plan, prompts, bool(quantization["double_quant"]), wishes, say)
    try:
        with staged_folder(target) as stage:
            with fetching() as progress:
                apply_merge(plan, stage, progress=progress)
            say(f"merged {len(plan.ops)} of {len(plan.sources)} tensors; proving")
            proof = _require_proof(_prove(plan, stage, prompts, wishes, say))
            write_json(stage / MERGE_RECORD, _own_record(trained, proof, base_weights, command))
            write_text(stage / "README.md", _card(trained, base_weights))
            write_manifest(stage)
    except _NotProvenError as error:
        proof = error.proof
        say(f"NOT proven: {', '.join(proof.failed)}; nothing was put at {target}")
    return proof.to_json(), base_weights


def _require_proof(proof: Proof) -> Proof:
    """The proof, if it says yes.

    Raises:
        _NotProvenError: it does not.
    """
    if not proof.passed:
        raise _NotProvenError(proof)
    return proof


def _own_record(trained: TrainedRun, proof: Proof, base_weights: Json, command: Sequence[str]) -> dict[str, Json]:
    """What lies in the model's own folder."""
    return {
        "schema_version": SCHEMA_VERSION,
        "created_at": utc_now(),
        "name": trained.run.path.name,
        **_sources(trained),
        "base_weights": base_weights,
        "proven": proof.passed,
        "proof": proof.to_json(),
        "packages": package_versions(),
        "command": without_secrets(command),
    }


def _choose_base(
    plan: MergePlan, prompts: Sequence[Prompt], double_quant: bool, wishes: Wishes, say: Say
) -> tuple[MergePlan, dict[str, Json]]:
    from loren.weights.choice import choose_base

    say("the adapter was trained on a 4-bit base: measuring both bases")
    chosen, figures = choose_base(plan, prompts, double_quant=double_quant, batch_size=wishes.batch_size)
    say(f"base weights taken: {figures['taken']}")
    return chosen, figures


def _prove(plan: MergePlan, folder: Path, prompts: Sequence[Prompt], wishes: Wishes, say: Say) -> Proof:
    """Tensors first; a model whose weights are wrong is not asked."""
    from loren.weights.answers import verify_answers
    from loren.weights.verify import verify_tensors

    proof = verify_tensors(plan, folder)
    if not proof.passed:
        return proof
    say(f"every tensor is right; asking {len(prompts)} questions of base, adapter and merged model")
    return proof + verify_answers(plan, folder, prompts, batch_size=wishes.batch_size)


def proof_prompts(trained: TrainedRun) -> list[Prompt]:
    """Questions to compare answers on: the task's golden ones, and general ones as far as these are too few."""
    from loren.evaluate.subjects import with_lead
    from loren.evaluate.yardstick import prompt_of, read_yardstick
    from loren.scoring.guard import load_guard

    task = trained.task
    golden = read_yardstick(task).rows if task is not None and task.golden_path.is_file() else []
    step = max(1, len(golden) // _PROMPTS)
    prompts = [prompt_of(row) for row in golden[::step]][:_PROMPTS]
    general = [Prompt(question.id, (("user", question.text),)) for question in load_guard().questions]
    return [with_lead(prompt, trained.trained_lead) for prompt in [*prompts, *general][:_PROMPTS]]


def _sources(trained: TrainedRun) -> dict[str, Json]:
    base, lora = trained.metadata["base_model"], trained.metadata["lora"]
    return {
        "base": {key: base[key] for key in ("id", "revision", "weights_sha256", "description", "license")},
        "adapter": {
            "digest": trained.adapter_digest,
            "r": lora.get("r"),
            "lora_alpha": lora.get("lora_alpha"),
            "license": trained.metadata.get("license"),
        },
    }


def _card(trained: TrainedRun, base_weights: Any) -> str:
    """The words that lie beside the model for whoever finds it."""
    base = trained.metadata["base_model"]
    onto = "what NF4 makes of its weights" if base_weights["taken"] == "nf4" else "its weights"
    return (
        f"# {trained.run.path.name}, merged\n\nA LoRA adapter merged into {base['description']} ({onto}) by Loren."
        f" {MERGE_RECORD} names both by their digests and holds the proof; the adapter itself is unchanged and still there.\n"
    )


def _record(run: RunFolder, target: Path, trained: TrainedRun, *, proof: dict[str, Json], base_weights: Json) -> dict[str, Any]:
    """The run's record: a pointer to the model, or, where it is not proven, only why."""
    proven = bool(proof["passed"])
    return {
        "schema_version": SCHEMA_VERSION,
        "finished_at": utc_now(),
        "path": Path(os.path.relpath(target, run.path)).as_posix() if proven else None,
        "digest": str(read_json(target / MANIFEST)["digest"]) if proven else None,
        **_sources(trained),
        "base_weights": base_weights,
        "proven": proven,
        "proof": proof,
        "sanity": None,
        "quality": NOT_EVALUATED,
    }


def _earlier_quality(run: RunFolder, record: dict[str, Any]) -> Any:
    """What an evaluation of this very model said before."""
    stored = read_json(run.merged_pointer) if run.merged_pointer.is_file() else {}
    is_same = record["proven"] and stored.get("digest") == record["digest"]
    return stored.get("quality", NOT_EVALUATED) if is_same else NOT_EVALUATED


def _sanity(trained: TrainedRun, wishes: Wishes, say: Say, fetching: Fetching) -> dict[str, Json] | None:
    """The task's unseen prompts, asked of the merged model; None where the task has none."""
    from loren.evaluate.sanity import check_sanity

    if trained.task is None or not trained.task.sanity_path.is_file():
        return None
    result = check_sanity(trained.run, batch_size=wishes.batch_size, say=say, fetching=fetching, variant="merged")
    failed = [entry["name"] for entry in result.record["criteria"] if not entry["passed"]]
    return {"passed": bool(result.record["passed"]), "failed": failed}


def _evaluate(trained: TrainedRun, wishes: Wishes, say: Say, fetching: Fetching) -> dict[str, Json]:
    """Every golden figure of the merged model against the adapter's: not worse, by the margin of a format.

    Raises:
        IntegrityError: the comparison is missing in the result.
    """
    from loren.evaluate.arms import Asking
    from loren.evaluate.golden import Wishes as Evaluating
    from loren.evaluate.golden import evaluate_run

    plain, held = _arms_before(trained)
    asked = Evaluating(plain, held)  # pyright: ignore[reportArgumentType] - names of variants
    result = evaluate_run(trained.run, asked, Asking(wishes.batch_size), say=say, fetching=fetching).result
    seen = [entry for entry in result["comparisons"] if (entry["before"], entry["after"]) == ("adapter", "merged")]
    if not seen:
        raise IntegrityError(f"{trained.run.evaluation}: expected comparisons of adapter and merged model, found none")
    comparisons: list[Json] = [
        {key: entry[key] for key in ("metric", "verdict", "words", "difference", "low", "high")} for entry in seen
    ]
    passed = all(entry["verdict"] in {"better", "not worse"} for entry in seen)
    return {"passed": passed, "golden": result["golden"]["sha256"], "comparisons": comparisons}


def _arms_before(trained: TrainedRun) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(variants, variants held to the schema) that the run was evaluated with, whose answers stand; merged is new.

    Raises:
        ConfigError: an endpoint was among them, which is not asked from here.
    """
    path = trained.run.evaluation / "result.json"
    stored: Any = read_json(path) if path.is_file() else {"arms": {}}
    arms = stored["arms"].values()
    plain, held = ({arm["variant"] for arm in arms if arm["constrained"] == is_held} for is_held in (False, True))
    if "http" in plain | held:
        raise ConfigError(
            f"--evaluate: expected an evaluation of this machine's models, found one with an endpoint in {path}",
            hint=f"`loren evaluate {trained.run.path} --variants {','.join(sorted(plain | {'merged'}))} --http-url ...` asks all",
        )
    usual = {"base", "fewshot", "adapter"} if trained.values["data"]["path"] else {"base", "adapter"}
    return tuple(sorted((plain or usual) | {"adapter", "merged"})), tuple(sorted(held))
