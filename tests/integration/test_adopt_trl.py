"""An adapter that plain TRL trained, without Loren, goes through adopt, sanity, generate and evaluate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from project import loren

HELPDESK = Path(__file__).parents[1] / "tasks" / "helpdesk"
PLAIN_TRL = """
import json, sys
from datasets import Dataset
from peft import AutoPeftModelForCausalLM, LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
assert not any(name.startswith("loren") for name in sys.modules)
base, data, out, question = sys.argv[1:]
rows = Dataset.from_list([{"messages": json.loads(line)["messages"]} for line in open(data, encoding="utf-8")])
args = SFTConfig(
    output_dir=out, max_steps=6, save_steps=3, logging_steps=1, learning_rate=1e-2, per_device_train_batch_size=4, use_cpu=True,
    bf16=False, gradient_checkpointing=False, report_to="none", disable_tqdm=True, seed=3,
)
lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
SFTTrainer(model=base, args=args, train_dataset=rows, peft_config=lora).train()
model = AutoPeftModelForCausalLM.from_pretrained(out + "/checkpoint-6").eval()
tokenizer = AutoTokenizer.from_pretrained(out + "/checkpoint-6")
chat = [{"role": "user", "content": question}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
texts = []
for disabled in (False, True):
    if disabled:
        model.disable_adapter_layers()
    done = model.generate(**inputs, do_sample=False, max_new_tokens=16, pad_token_id=0, eos_token_id=tokenizer.eos_token_id)
    texts.append(tokenizer.decode(done[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
print("TEXTS" + json.dumps(texts))
"""
QUESTION = "My screen stays black."


class Trained(NamedTuple):
    """TRL's output folder and what plain PEFT answers with it."""

    folder: Path
    output: Path
    text: str
    base_text: str


@contextmanager
def quiet() -> Iterator[Any]:
    yield lambda what, done, total: None


@pytest.fixture(scope="module")
def trl(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Trained:
    folder = tmp_path_factory.mktemp("trl")
    shutil.copytree(HELPDESK, folder, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_TRL, str(tiny_base), "data/train.jsonl", "out", QUESTION],
        cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text, base_text = json.loads(done.stdout.partition("TEXTS")[2])
    assert text != base_text
    return Trained(folder, folder / "out", text, base_text)


@pytest.fixture(scope="module")
def adopted(trl: Trained, tiny_base: Path) -> Path:
    before = snapshot(trl.output)
    done = loren(
        "adopt", "out", "--base", tiny_base, "--task", "task", "--data", "data/train.jsonl", cwd=trl.folder,
        environment={"HF_TOKEN": "hf_secretsecret"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "next: loren sanity runs/out"
    assert "checkpoint-6: LoRA, r 4" in done.stderr
    assert snapshot(trl.output) == before
    return trl.folder / "runs" / "out"


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_record_holds_what_is_known_and_names_what_is_not(adopted: Path, trl: Trained, tiny_base: Path) -> None:
    metadata = json.loads((adopted / "adapter" / "training_metadata.json").read_text())
    state = json.loads((trl.output / "checkpoint-6" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert metadata["steps"] == 6
    assert (metadata["loss"]["first"], metadata["loss"]["last"], metadata["loss"]["eval_last"]) == (losses[0], losses[-1], None)
    assert metadata["lora"]["target_modules"] == ["down_proj", "q_proj", "v_proj"]
    assert metadata["adopted"]["base_model_name_or_path"] == str(tiny_base)
    assert metadata["adopted"]["checkpoint"] == "checkpoint-6"
    assert metadata["adopted"]["producer"] == "trl"
    assert metadata["adopted"]["sources"]["loss"] == "trainer_state.json"
    assert metadata["dataset"]["contract"] == {"verdict": "clean", "errors": 0, "warnings": 0}
    assert metadata["system_prompt"] == (trl.folder / "task" / "system.txt").read_text().strip()
    assert {"train", "seeds", "rows", "tokens", "quantization", "time", "hardware"} <= set(metadata["unknown"])
    assert all(metadata[key] is None for key in metadata["unknown"])
    assert not {"steps", "loss", "dataset", "system_prompt", "packages"} & set(metadata["unknown"])
    config = json.loads((adopted / "config.json").read_text())
    assert config["adopted"] is True
    assert set(config["values"]) == {"base_model", "revision", "trust_remote_code", "task", "output_dir", "data"}
    names = sorted(path.name for path in (adopted / "adapter").iterdir())
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
    card = (adopted / "adapter" / "README.md").read_text()
    assert "trained with trl and adopted by Loren" in card
    assert "Nobody says, and nothing was assumed: created_at, " in card


def test_it_is_asked_like_any_run_and_judged(adopted: Path, trl: Trained) -> None:
    from loren.evaluate.sanity import check_sanity
    from loren.runs.folder import RunFolder

    record = check_sanity(RunFolder(adopted), batch_size=5, say=print, fetching=quiet).record
    assert record["compared_rows"] == len((trl.folder / "data" / "train.jsonl").read_text().splitlines())
    lead = [["system", (trl.folder / "task" / "system.txt").read_text().strip()]]
    assert (len(record["answers"]), record["generation"]["lead"]) == (5, lead)


def test_evaluate_scores_base_and_adapter(adopted: Path) -> None:
    from loren.evaluate.arms import Asking
    from loren.evaluate.golden import Wishes, evaluate_run
    from loren.runs.folder import RunFolder

    wishes = Wishes(("base", "fewshot", "adapter"), limit=4)
    result = evaluate_run(RunFolder(adopted), wishes, Asking(4), say=print, fetching=quiet).result
    assert (result["training_data"], result["arms"]["adapter"]["metrics"]["ended"]["of"]) == ("known", 4)


def test_without_task_and_data_its_text_is_plain_pefts(trl: Trained, tiny_base: Path) -> None:
    done = loren("adopt", "out/checkpoint-6", "--base", tiny_base, "--out", "runs/bare", "--format", "json", cwd=trl.folder)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["next"] == 'loren generate runs/bare --prompt "..."'
    assert {"dataset", "system_prompt", "language"} <= set(said["unknown"])
    asked = loren("generate", "runs/bare", "--prompt", QUESTION, "--max-new-tokens", "16", "--format", "json", cwd=trl.folder)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["answers"][0]["text"] == trl.text


def test_resuming_it_is_refused_with_the_reason(adopted: Path) -> None:
    from loren.errors import RunFolderError
    from loren.runs.folder import RunFolder
    from loren.train.recipe import refuse_existing

    for resume in (True, False):
        with pytest.raises(RunFolderError, match="no training to continue"):
            refuse_existing(RunFolder(adopted), resume=resume)
