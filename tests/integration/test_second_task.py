"""A task that shares no word with the shipped one goes through every command: English, nested labels, system prompt in training."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from loren.errors import IntegrityError
from loren.evaluate.golden import evaluate_run
from loren.evaluate.sanity import check_sanity
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
    assert "right /ticket/severity" in done.stdout
    folder = helpdesk / "runs" / "a" / "eval" / "preview"
    lines = [json.loads(line) for line in (folder / "adapter.jsonl").read_text().splitlines()]
    assert len(lines) == 9
    base, adapter = (json.loads((folder / f"{name}.meta.json").read_text()) for name in ("base", "adapter"))
    assert base["system_prompt"] == adapter["system_prompt"] != ""
    assert (base["adapter_digest"], adapter["adapter_digest"] is not None) == (None, True)
    result = json.loads((folder / "result.json").read_text())
    assert result["variants"]["adapter"]["schema_valid"]["of"] == 9
    again = loren("evaluate", "runs/a", "--limit", "9", cwd=helpdesk)
    assert again.stderr.count("answered before") == 2
    assert json.loads((folder / "result.json").read_text()) == result


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
    evaluate_run(before, limit=9, **ask)
    shutil.copytree(before.path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert check_sanity(run, **ask).was_done
    weights = run.adapter / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for work in (lambda: check_sanity(run, **ask), lambda: evaluate_run(run, limit=9, **ask)):
        with pytest.raises(IntegrityError, match=weights.name):
            work()
