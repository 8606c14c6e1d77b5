"""`loren merge`: one folder that is base plus adapter, proven, or nothing; the run points at it, and evaluation asks it."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from loren.errors import ConfigError, IntegrityError, RunFolderError
from loren.evaluate.subjects import merged_folder, open_trained
from loren.pipeline.merge import Merged, Wishes, merge_run
from loren.provenance.manifest import verify_manifest, write_manifest
from loren.runs.folder import RunFolder
from loren.weights import merge as weights_merge
from loren.weights.plan import MergePlan
from project import loren, make_project
from running import digests

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "merge-proof.md"


def keys(value: Any) -> set[str]:
    """Of a record, but of the checks' figures and the versions of packages."""
    if isinstance(value, list):
        return set().union(*(keys(item) for item in value[:2]))
    if not isinstance(value, dict):
        return set()
    return set(value) | set().union(*(keys(inner) for name, inner in value.items() if name not in {"packages", "answers"}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("merge")
    base = Path(shutil.copytree(tiny_base, folder / "base"))
    done = loren("train", "run.toml", "--set", "train.max_steps=3", cwd=make_project(folder, base))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "runs" / "a", tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "merged*")))


def merge(run: Path, wishes: Wishes | None = None, said: list[str] | None = None) -> Merged:
    lines: list[str] = [] if said is None else said
    show: Any = nullcontext(lambda *_: None)
    return merge_run(RunFolder(run), wishes or Wishes(), command=["loren", "merge"], say=lines.append, fetching=lambda: show)


def test_the_adapter_leaves_as_one_proven_folder(trained: Path) -> None:
    run = trained / "runs" / "a"
    before = digests(run / "adapter")
    done = loren("merge", "runs/a", cwd=trained)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO " not in done.stdout
    assert "quality: not evaluated" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: loren merge runs/a --evaluate"
    assert digests(run / "adapter") == before
    record = json.loads((run / "merged.json").read_text())
    own = json.loads((run / "merged" / "merge.json").read_text())
    metadata = json.loads((run / "adapter" / "training_metadata.json").read_text())
    assert (record["path"], record["proven"], record["quality"], record["sanity"]) == ("merged", True, "not evaluated", None)
    assert record["base"]["weights_sha256"] == own["base"]["weights_sha256"] == metadata["base_model"]["weights_sha256"]
    assert (
        record["adapter"]["digest"]
        == own["adapter"]["digest"]
        == json.loads((run / "adapter" / "MANIFEST.json").read_text())["digest"]
    )
    assert len(record["proof"]["checks"]) >= 14
    page = PAGE.read_text(encoding="utf-8")
    named = keys(record) | keys(own) - {"packages"} | {check["name"] for check in record["proof"]["checks"]}
    assert sorted(name for name in named - {"schema_version"} if f"`{name}`" not in page) == []
    assert verify_manifest(run / "merged") == []
    model = AutoModelForCausalLM.from_pretrained(run / "merged")
    tokenizer = AutoTokenizer.from_pretrained(run / "merged")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "Xin chào"}], return_tensors="pt", return_dict=True)
    assert torch.isfinite(model(**ids).logits).all()
    files = digests(run / "merged")
    (run / "merged.json").write_text(json.dumps({**record, "quality": {"passed": True, "comparisons": []}}))
    said: list[str] = []
    again = merge(run, said=said)
    assert (again.was_done, again.record["digest"], said) == (True, record["digest"], [f"merged before: {run / 'merged'}"])
    assert again.record["quality"]["passed"], "an evaluation of this very model stands"
    assert digests(run / "merged") == files


def test_the_model_may_lie_elsewhere_and_the_run_points_at_it(run: Path, tmp_path: Path) -> None:
    assert merge(run, Wishes(out=tmp_path / "out" / "model")).passed
    assert json.loads((run / "merged.json").read_text())["path"] == "../out/model"
    folder, _ = merged_folder(open_trained(RunFolder(run)))
    assert folder.resolve() == tmp_path / "out" / "model"
    assert not (run / "merged").exists()


def test_what_a_killed_merge_left_is_cleared_away(run: Path, tmp_path: Path) -> None:
    left = [run / ".merged.abc123.tmp", tmp_path / ".model.abc123.tmp"]
    for folder in left:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    assert merge(run, Wishes(out=tmp_path / "model")).passed
    assert not any(folder.exists() for folder in left)


def test_an_evaluation_that_can_not_be_made_is_refused_before_the_merge(run: Path) -> None:
    with pytest.raises(ConfigError, match="expected a run with a task"):
        merge(run, Wishes(evaluate=True))
    assert not (run / "merged").exists()


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(RunFolderError, match="did not write"):
        merge(run, Wishes(out=tmp_path / "mine"))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    with pytest.raises(ConfigError, match="which is left as it is"):
        merge(run, Wishes(out=run / "adapter" / "merged"))


def other_adapter(run: Path) -> None:
    """The run as if it had been trained again, and its old merge still lay there."""
    metadata = json.loads((run / "adapter" / "training_metadata.json").read_text())
    (run / "adapter" / "training_metadata.json").write_text(json.dumps({**metadata, "name": "another"}))
    write_manifest(run / "adapter")


def test_a_stale_or_changed_merge_is_refused(run: Path) -> None:
    assert merge(run).passed
    config = run / "merged" / "config.json"
    whole = config.read_text()
    config.write_text(whole.replace("{", "{ ", 1))
    with pytest.raises(IntegrityError, match=r"do not match MANIFEST"):
        merge(run)
    write_manifest(run / "merged")
    with pytest.raises(IntegrityError, match="is not the one that was proven"):
        merged_folder(open_trained(RunFolder(run)))
    config.write_text(whole)
    write_manifest(run / "merged")
    other_adapter(run)
    with pytest.raises(RunFolderError, match="is stale"):
        merge(run)
    with pytest.raises(IntegrityError, match="made of another adapter"):
        merged_folder(open_trained(RunFolder(run)))


def test_another_base_is_refused(run: Path, trained: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained / "base", tmp_path / "base"))
    model = AutoModelForCausalLM.from_pretrained(other)
    model.model.norm.weight.data.mul_(1.01)
    model.save_pretrained(other)
    config = json.loads((run / "config.json").read_text())
    config["values"]["base_model"] = str(other)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(IntegrityError, match="not the one that the adapter was trained on"):
        merge(run)
    assert not (run / "merged").exists()


def test_a_merge_that_is_not_proven_leaves_a_record_and_no_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = weights_merge.apply_merge

    def a_little_more(plan: MergePlan, folder: Path, **others: Any) -> None:
        from dataclasses import replace

        ops = {name: replace(op, scale=op.scale * 1.01) for name, op in plan.ops.items()}
        right(replace(plan, ops=ops), folder, **others)

    monkeypatch.setattr(weights_merge, "apply_merge", a_little_more)
    said: list[str] = []
    merged = merge(run, said=said)
    assert not merged.passed
    assert "NOT proven: merged tensors, slope" in said[-1]
    record = json.loads((run / "merged.json").read_text())
    assert (record["proven"], record["path"]) == (False, None)
    assert [path.name for path in run.iterdir() if "merged" in path.name] == ["merged.json"]
    with pytest.raises(ConfigError, match="whose proof failed"):
        merged_folder(open_trained(RunFolder(run)))
    assert json.loads((run / "stages.json").read_text())["stages"]["merge"]["verdict"] == "failed"
    monkeypatch.undo()
    assert merge(run).passed


def test_a_fully_trained_model_needs_no_merge(run: Path) -> None:
    path = run / "adapter" / "training_metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora": None}))
    write_manifest(run / "adapter")
    with pytest.raises(ConfigError, match="it needs no merge"):
        merge(run)


def test_a_qlora_adapter_names_the_base_that_is_nearer_to_what_was_trained(run: Path) -> None:
    path = run / "adapter" / "training_metadata.json"
    quantization = {"type": "nf4", "double_quant": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization": quantization}))
    write_manifest(run / "adapter")
    merged = merge(run)
    assert merged.passed, merged.record["proof"]
    base_weights = merged.record["base_weights"]
    measured = base_weights["adapter_to_merged"]
    assert base_weights["taken"] == "nf4"
    assert measured["nf4"]["kl"] < 1e-3 * measured["original"]["kl"]
    base = json.loads((run / "config.json").read_text())["values"]["base_model"]
    plain, packed = (AutoModelForCausalLM.from_pretrained(folder) for folder in (base, run / "merged"))
    changed = {name for name, value in packed.state_dict().items() if not torch.equal(value, plain.state_dict()[name])}
    assert {"model.layers.0.mlp.up_proj.weight", "model.layers.1.self_attn.q_proj.weight"} <= changed
    assert not changed & {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"}
