"""What the recipe refuses: golden rows in training, a template the model would not stop at, a context too short, no change."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from test_trainer import build

from loren.config import RunConfig
from loren.config.data import DataConfig
from loren.config.train import TrainConfig
from loren.data.rows import Message, Row
from loren.data.split import Split
from loren.errors import ConfigError, DataContractError, TrainingError
from loren.models.chat import ChatRenderer
from loren.models.loading import load_model, load_tokenizer, locate_base
from loren.runs.folder import RunFolder
from loren.task.definition import load_task
from loren.train import recipe
from loren.train.execution import resolve_execution
from loren.train.inputs import refuse_golden_leaks
from loren.train.metrics import MetricsFile
from loren.train.processes import Processes
from running import train_here

TASK = Path(__file__).parents[3] / "examples" / "support-vi" / "task"
HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk"


def split_of(*rows: Row) -> Split:
    return Split(list(rows), [], [], 42, 0.1, 0.0, [], {row.line: "g" for row in rows})


def test_a_golden_question_or_situation_in_training_is_an_error_with_both_lines() -> None:
    task = load_task(TASK)
    import json

    first, second = [json.loads(line) for line in task.golden_path.read_text(encoding="utf-8").splitlines()][:2]
    question = f"  {first['messages'][0]['content'].upper()} "
    leaking = Row(7, (Message("user", question), Message("assistant", "x")))
    related = Row(9, (Message("user", "another"), Message("assistant", "x")), {"situation": second["situation"]})
    with pytest.raises(DataContractError) as caught:
        refuse_golden_leaks(split_of(leaking, related), task, Path("train.jsonl"))
    text = str(caught.value)
    assert "train.jsonl:7" in text
    assert "golden.jsonl:1" in text
    assert "train.jsonl:9" in text
    assert question.strip() not in text
    # A row of validation chooses no weights, but it says when they are good.
    with pytest.raises(DataContractError, match=r"train\.jsonl:7"):
        refuse_golden_leaks(Split([], [leaking], [], 42, 0.1, 0.0, [], {7: "g"}), task, Path("train.jsonl"))
    refuse_golden_leaks(split_of(Row(1, (Message("user", "new"), Message("assistant", "x")))), task, Path("t"))


def test_a_training_file_with_a_golden_row_trains_nothing(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(HELPDESK, tmp_path, dirs_exist_ok=True)
    golden = (tmp_path / "task" / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    with (tmp_path / "data" / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(golden[0] + "\n")
    (tmp_path / "run.toml").write_text(f'base_model = "{tiny_base}"\ntask = "task"\n')
    with pytest.raises(DataContractError, match=r"golden\.jsonl:1"):
        train_here(tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_stop_token_at_which_the_model_runs_on_is_an_error(tiny_base: Path) -> None:
    model, tokenizer = load_model(tiny_base, dtype="float32"), load_tokenizer(tiny_base)
    renderer = ChatRenderer(tokenizer, "tiny")
    renderer.render([Message("user", "a"), Message("assistant", "b")], place="f:1")
    recipe._check_model(RunConfig(), model, tokenizer, renderer, say=print)
    tokenizer.eos_token = "<|endoftext|>"
    model.generation_config.eos_token_id = model.config.eos_token_id = 0
    with pytest.raises(TrainingError, match=r"<\|im_end\|>"):
        recipe._check_model(RunConfig(), model, tokenizer, renderer, say=print)


def test_a_stop_token_that_only_the_tokenizer_knows_is_a_warning(tiny_base: Path) -> None:
    """Plain transformers asks the generation_config alone, and would run on."""
    model, tokenizer = load_model(tiny_base, dtype="float32"), load_tokenizer(tiny_base)
    renderer = ChatRenderer(tokenizer, "tiny")
    renderer.render([Message("user", "a"), Message("assistant", "b")], place="f:1")
    said: list[str] = []
    recipe._check_model(RunConfig(), model, tokenizer, renderer, say=said.append)
    assert said == []
    model.generation_config.eos_token_id = 0
    recipe._check_model(RunConfig(), model, tokenizer, renderer, say=print)
    recipe._check_model(RunConfig(), model, tokenizer, renderer, say=said.append)
    assert len(said) == 1
    assert "eos_token_id=[2] ('<|im_end|>')" in said[0]


def test_max_length_beyond_the_context_is_an_error(tiny_base: Path) -> None:
    model, tokenizer = load_model(tiny_base, dtype="float32"), load_tokenizer(tiny_base)
    config = RunConfig(data=DataConfig(max_length=4096))
    with pytest.raises(ConfigError, match="at most 2048"):
        recipe._check_model(config, model, tokenizer, ChatRenderer(tokenizer, "tiny"), say=print)


def test_weights_that_did_not_change_are_an_error(tiny_base: Path, tmp_path: Path) -> None:
    trainer: Any = build(tiny_base, tmp_path / "a", micro=2, accumulation=1)
    trainer.train = lambda resume_from_checkpoint: None
    with pytest.raises(TrainingError, match="did not change"):
        recipe._fit(
            trainer,
            RunFolder(tmp_path),
            MetricsFile(tmp_path / "m.jsonl"),
            resume=False,
            say=lambda text: None,
            command=["loren", "train"],
        )


def test_only_the_process_that_speaks_has_trackers(tiny_base: Path, tmp_path: Path) -> None:
    config = RunConfig(train=TrainConfig(report_to=("tensorboard",)))
    base = locate_base(str(tiny_base), None, trust_remote_code=False, fetching=lambda: nullcontext(lambda *_: None))
    execution = resolve_execution(config, Processes(), longest_row=10, activation_bytes_per_token=10)
    for rank in (0, 1):
        run = RunFolder(tmp_path / str(rank))
        with recipe._trackers(config, run, base, "digest", execution, Processes(rank, count=2), print) as trackers:
            trackers.step({"step": 1, "loss": 2.0})
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
