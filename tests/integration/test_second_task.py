"""A task that shares no word with the shipped one goes through every command: English, nested labels, system prompt in training."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from endpoint_server import serving
from loren.errors import IntegrityError
from loren.evaluate.arms import Asking
from loren.evaluate.golden import Wishes, evaluate_run
from loren.evaluate.sanity import check_sanity
from loren.models import loading
from loren.runs.folder import RunFolder
from project import loren

HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"


@pytest.fixture(scope="module")
def helpdesk(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("helpdesk")
    shutil.copytree(HELPDESK, folder, dirs_exist_ok=True)
    (folder / "run.toml").write_text(
        f'base_model = "{tiny_base}"\ntask = "task"\noutput_dir = "runs/a"\n[train]\nmax_steps = 4\nlearning_rate = 1e-2\n'
    )
    done = loren("train", "run.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "next: loren sanity runs/a"
    return folder


def test_the_system_prompt_is_part_of_training_and_of_the_record(helpdesk: Path) -> None:
    metadata = json.loads((helpdesk / "runs" / "a" / "adapter" / "training_metadata.json").read_text())
    assert metadata["system_prompt"] == (helpdesk / "task" / "system.txt").read_text().strip()
    assert metadata["language"] == "en"
    shown = loren("check", "data/train.jsonl", "--tokens", "run.toml", "--show-row", "1", cwd=helpdesk)
    assert shown.returncode == 0, shown.stderr
    assert "<|im_start|>system\nYou sort the tickets" in shown.stdout
    assert '⟦{"ticket": {"team": "network"' in shown.stdout
    assert "<|im_end|>⟧" in shown.stdout


def test_sanity_judges_and_an_untrained_adapter_fails_with_exit_1(helpdesk: Path) -> None:
    done = loren("sanity", "runs/a", cwd=helpdesk)
    assert done.returncode == 1, done.stderr
    record = json.loads((helpdesk / "runs" / "a" / "sanity.json").read_text())
    assert [criterion["total"] for criterion in record["criteria"]] == [5] * 7
    assert not record["passed"]
    again = loren("sanity", "runs/a", cwd=helpdesk)
    assert (again.returncode, "before, nothing changed since" in again.stdout) == (1, True)


def test_evaluate_compares_base_and_adapter_and_asks_nothing_twice(helpdesk: Path) -> None:
    done = loren("evaluate", "runs/a", "--limit", "9", cwd=helpdesk)
    assert done.returncode == 0, done.stderr
    assert "exact:/ticket/severity" in done.stdout
    assert "no verdict" in done.stdout
    folder = helpdesk / "runs" / "a" / "eval" / "preview"
    lines = [json.loads(line) for line in (folder / "adapter.jsonl").read_text().splitlines()]
    assert len(lines) == 9
    base, adapter = (json.loads((folder / f"{name}.meta.json").read_text()) for name in ("base", "adapter"))
    assert base["lead"] == adapter["lead"] != []
    assert (base["adapter_digest"], adapter["adapter_digest"] is not None) == (None, True)
    result = json.loads((folder / "result.json").read_text())
    assert result["arms"]["adapter"]["metrics"]["schema_valid"]["of"] == 9
    assert "verdict" not in result
    again = loren("evaluate", "runs/a", "--limit", "9", cwd=helpdesk)
    assert again.stderr.count("answered before") == 2
    assert json.loads((folder / "result.json").read_text()) == result


def test_a_whole_evaluation_gives_a_verdict_and_leaves_with_1_where_it_is_no(helpdesk: Path) -> None:
    merged = loren("merge", "runs/a", "--out", "elsewhere", cwd=helpdesk)
    assert (merged.returncode, "sanity: FAILED" in merged.stdout) == (1, True), merged.stderr  # as the adapter itself
    record = json.loads((helpdesk / "runs" / "a" / "merged.json").read_text())
    assert (record["proven"], record["sanity"]["passed"], record["quality"]) == (True, False, "not evaluated")
    wanted = ("evaluate", "runs/a", "--variants", "base,fewshot,adapter,merged")
    done = loren(*wanted, cwd=helpdesk)
    assert done.returncode == 1, done.stderr
    folder = helpdesk / "runs" / "a" / "eval"
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"]["word"] in {"inconclusive", "worse"}
    assert "verdict: adapter is" in done.stdout
    assert result["verdict"]["word"] in done.stdout
    assert done.stdout.splitlines()[-1] == "next: loren triage runs/a"
    assert result["golden"]["asked"] == result["golden"]["rows"] == 12
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert [set(score["arms"]) for score in scores] == [{"base", "fewshot", "adapter", "merged"}] * 12
    lead = json.loads((folder / "fewshot.meta.json").read_text())["lead"]
    assert [role for role, _ in lead] == ["system", *["user", "assistant"] * 6]
    golden = (helpdesk / "task" / "golden.jsonl").read_text()
    training = (helpdesk / "data" / "train.jsonl").read_text()
    questions = [json.dumps(text)[1:-1] for role, text in lead if role == "user"]
    assert all(text in training and text not in golden for text in questions)
    # Random weights never answer in JSON: each was asked again, once.
    assert result["arms"]["fewshot"]["retried"] == 12
    assert result["arms"]["fewshot"]["requests"] == 24
    assert result["prompt_is_enough"]["tokens_a_request"]["fewshot"] > result["prompt_is_enough"]["tokens_a_request"]["adapter"]
    texts = {
        arm: [json.loads(line)["text"] for line in (folder / f"{arm}.jsonl").read_text().splitlines()]
        for arm in ("adapter", "merged")
    }
    assert sum(a == b for a, b in zip(texts["adapter"], texts["merged"], strict=True)) >= 10
    again = loren(*wanted, cwd=helpdesk)
    assert (again.returncode, again.stderr.count("answered before")) == (
        1,
        7,
    )  # four arms, the training rows, and general questions of base and adapter
    assert json.loads((folder / "result.json").read_text()) == result
    judged = loren("merge", "runs/a", "--out", "elsewhere", "--evaluate", "--format", "json", cwd=helpdesk)
    assert judged.returncode == 1, judged.stderr
    assert judged.stderr.count("answered before") == 7
    quality = json.loads(judged.stdout)["quality"]
    assert quality["golden"] == result["golden"]["sha256"]
    assert {entry["metric"] for entry in quality["comparisons"]} == set(result["arms"]["merged"]["metrics"])
    assert quality["passed"] == all(entry["verdict"] in {"better", "not worse"} for entry in quality["comparisons"])
    stages = json.loads((helpdesk / "runs" / "a" / "stages.json").read_text())["stages"]
    assert stages["merged-sanity"]["verdict"] == "failed"
    assert stages["evaluate"]["verdict"] == "failed"


def test_constrained_answers_satisfy_the_schema_wherever_they_ended(
    helpdesk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, loaded = loading.load_model, list[Any]()

    def closing(folder: Path, **arguments: Any) -> Any:
        """A random model never closes a text: push what does."""
        model, words = plain(folder, **arguments), loading.load_tokenizer(folder).get_vocab()
        push = model.lm_head.weight.new_zeros(len(model.lm_head.weight))
        push[[token for text, token in words.items() if text[0] in '"}' or text == "<|im_end|>"]] = 30
        push[[token for text, token in words.items() if text[0] == '"']] = 60
        model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + push)
        loaded.append(model)
        return model

    monkeypatch.setattr(loading, "load_model", closing)
    shutil.copytree(helpdesk / "runs" / "a", tmp_path / "run", ignore=shutil.ignore_patterns("eval"))
    wishes = Wishes(("base", "adapter"), ("base", "fewshot", "adapter"), limit=6)
    result = evaluate_run(RunFolder(tmp_path / "run"), wishes, Asking(5), say=[].append, fetching=lambda: nullcontext(quiet)).result
    assert list(result["arms"]) == [f"{name}{held}" for name in ("base", "fewshot", "adapter") for held in ("", "-constrained")]
    assert len(loaded) == 2, "base and adapter once each, free and held"
    folder = tmp_path / "run" / "eval" / "preview"
    scores = [json.loads(line)["arms"] for line in (folder / "scores.jsonl").read_text().splitlines()]
    for arm in ("base-constrained", "fewshot-constrained", "adapter-constrained"):
        assert sum(score[arm]["ended"] for score in scores) >= 4, arm
        assert all(score[arm]["schema_valid"] >= score[arm]["ended"] for score in scores), arm
    assert not any(score["adapter"]["parses"] for score in scores)
    held, free = (json.loads((folder / f"{arm}.meta.json").read_text()) for arm in ("adapter-constrained", "adapter"))
    assert (held["constraint"] is None, free["constraint"]) == (False, None)


def test_an_endpoint_is_asked_with_consent_and_not_twice(helpdesk: Path) -> None:
    with serving() as server:
        wanted = ("evaluate", "runs/a", "--variants", "http", "--limit", "4", "--http-model", "some-model", "--http-rate", "1000")
        refused = loren(*wanted, "--http-url", server.url, cwd=helpdesk)
        assert (refused.returncode, server.asked) == (2, []), refused.stderr
        assert "127.0.0.1" in refused.stderr
        assert "4 row" in refused.stderr
        done = loren(*wanted, "--http-url", server.url, "--send", cwd=helpdesk, environment={"LOREN_HTTP_API_KEY": "canary-71c"})
        assert done.returncode == 0, done.stderr
        assert len(server.asked) == 4
        assert server.asked[0].body["messages"][0]["role"] == "system"
        again = loren(*wanted, "--http-url", server.url, cwd=helpdesk)  # nothing is sent, so nobody has to agree
        assert (again.returncode, len(server.asked)) == (0, 4), again.stderr
    arm = json.loads((helpdesk / "runs" / "a" / "eval" / "preview" / "result.json").read_text())["arms"]["http"]
    assert (arm["prompt_tokens_a_request"], arm["completion_tokens_a_request"], arm["metrics"]["parses"]["count"]) == (7, 3, 0)
    files = [path for path in (helpdesk / "runs" / "a").rglob("*") if path.is_file()]
    assert not [path for path in files if b"canary-71c" in path.read_bytes()]
    assert "canary-71c" not in done.stdout + done.stderr
    nowhere = loren("evaluate", "runs/a", "--variants", "http", "--limit", "4", cwd=helpdesk)
    assert (nowhere.returncode, "--http-url" in nowhere.stderr) == (2, True)


def quiet(*figures: object) -> None:
    """Shows no download."""


def test_a_shorter_golden_file_is_no_verdict_until_it_is_pinned_anew(helpdesk: Path, tmp_path: Path) -> None:
    shutil.copytree(helpdesk, tmp_path / "p")
    golden = helpdesk / "task" / "golden.jsonl"  # the run names its task by path
    whole = golden.read_text()
    try:
        golden.write_text("".join(whole.splitlines(keepends=True)[1:]))
        done = loren("evaluate", "runs/a", "--variants", "base,adapter", cwd=tmp_path / "p")
        assert (done.returncode, "1 pinned questions are gone" in done.stderr) == (1, True)
        assert "not judged (abstain)" in done.stdout
        done = loren("evaluate", "runs/a", "--variants", "base,adapter", "--repin", cwd=tmp_path / "p")
        assert "not judged" not in done.stdout
    finally:
        golden.write_text(whole)


def test_a_sanity_prompt_that_was_trained_on_is_an_error(helpdesk: Path, tmp_path: Path) -> None:
    shutil.copytree(helpdesk, tmp_path / "p")
    row = json.loads((helpdesk / "data" / "train.jsonl").read_text().splitlines()[0])
    question = row["messages"][0]["content"]
    sanity = tmp_path / "p" / "task" / "sanity.jsonl"
    sanity.write_text(json.dumps({"id": "seen", "messages": [{"role": "user", "content": question.upper()}]}) + "\n")
    config = tmp_path / "p" / "runs" / "a" / "config.json"
    value = json.loads(config.read_text())
    value["values"]["task"] = str(tmp_path / "p" / "task")
    config.write_text(json.dumps(value))
    done = loren("sanity", "runs/a", cwd=tmp_path / "p")
    assert done.returncode == 3
    assert "train.jsonl:" in done.stderr
    assert question[:20] not in done.stderr


def test_answers_of_an_adapter_that_was_damaged_since_are_not_used(helpdesk: Path, tmp_path: Path) -> None:
    ask = {"batch_size": 5, "say": [].append, "fetching": lambda: nullcontext(lambda *_: None)}
    before = RunFolder(helpdesk / "runs" / "a")
    check_sanity(before, **ask)
    quiet = {"say": ask["say"], "fetching": ask["fetching"]}
    wishes = Wishes(("base", "adapter"), limit=9)
    evaluate_run(before, wishes, Asking(5), **quiet)
    shutil.copytree(before.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert check_sanity(run, **ask).was_done
    weights = run.adapter / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for work in (lambda: check_sanity(run, **ask), lambda: evaluate_run(run, wishes, Asking(5), **quiet)):
        with pytest.raises(IntegrityError, match=weights.name):
            work()
