"""Configuration: order of sources, origins, and all mistakes at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.config import RunConfig, flatten, load_config
from loren.config.environment import ENVIRONMENT_KEYS
from loren.config.load import known_keys
from loren.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_file_environment_and_set_win_in_this_order(tmp_path: Path) -> None:
    path = write(tmp_path, "seed = 1\n[train]\nlearning_rate = 1e-3\nsave_steps = 7\n")
    resolved = load_config(
        path, environment={"LR": "1e-4", "SEED": "", "GRAD_ACCUM": "4"}, overrides=["train.gradient_accumulation_steps=2"]
    )
    train = resolved.config.train
    assert (resolved.config.seed, train.learning_rate, train.save_steps, train.gradient_accumulation_steps) == (1, 1e-4, 7, 2)
    origins = resolved.origins
    assert origins["seed"] == origins["train.save_steps"] == "file"
    assert origins["train.learning_rate"] == "environment LR"
    assert origins["train.gradient_accumulation_steps"] == "--set"
    assert origins["train.max_steps"] == "default"
    assert set(origins) == set(known_keys())


def test_every_environment_name_works_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {
        "MODEL_ID": "org/name", "TASK": "task", "DATA_PATH": "d.jsonl", "OUT_DIR": "out", "SEED": "7", "USE_QLORA": "1",
        "MAX_LENGTH": "512", "EVAL_RATIO": "0.2", "EPOCHS": "2", "LR": "0.001", "BATCH_SIZE": "2", "GRAD_ACCUM": "4", "LORA_R": "8",
        "LORA_ALPHA": "16", "LORA_DROPOUT": "0.1",
    }  # fmt: skip
    assert set(values) == set(ENVIRONMENT_KEYS)
    resolved = load_config(None, environment=values)
    config = resolved.config
    assert (config.base_model, config.task, config.output_dir) == ("org/name", tmp_path / "task", tmp_path / "out")
    assert config.data.path == tmp_path / "d.jsonl"
    assert (config.seed, config.quantization.load_in_4bit, config.data.max_length, config.data.eval_ratio) == (7, True, 512, 0.2)
    assert (config.train.num_train_epochs, config.train.learning_rate) == (2.0, 0.001)
    assert (config.train.per_device_train_batch_size, config.train.gradient_accumulation_steps) == (2, 4)
    assert (config.lora.r, config.lora.lora_alpha, config.lora.lora_dropout) == (8, 16, 0.1)
    assert all(resolved.origins[key] == f"environment {name}" for name, key in ENVIRONMENT_KEYS.items())


def test_qlora_only_where_asked() -> None:
    assert not load_config(None, environment={}).config.quantization.load_in_4bit
    assert not load_config(None, environment={"USE_QLORA": "0"}).config.quantization.load_in_4bit


@pytest.mark.parametrize(("preset", "r", "alpha", "modules"), [("a", 8, 16, 2), ("b", 16, 32, 4), ("c", 32, 64, 7)])
def test_presets_fill_what_the_user_left_open(tmp_path: Path, preset: str, r: int, alpha: int, modules: int) -> None:
    path = write(tmp_path, f'[lora]\npreset = "{preset}"\n')
    lora = load_config(path, environment={}).config.lora
    assert (lora.r, lora.lora_alpha, len(lora.target_modules)) == (r, alpha, modules)
    resolved = load_config(path, environment={}, overrides=["lora.r=4"])
    assert (resolved.config.lora.r, resolved.config.lora.lora_alpha) == (4, alpha)
    assert resolved.origins["lora.lora_alpha"] == f"preset {preset}"


def test_all_mistakes_at_once_with_key_expected_given_and_nearest(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "sed = 3\nseed = -1\n[data]\npacking = true\n[train]\nlearnin_rate = 3\nmax_steps = 0\n[lora]\ntarget_modules = 4\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment={"LR": "fast"}, overrides=["nothing"])
    messages = {problem.place: problem.message for problem in caught.value.problems}
    assert "did you mean 'seed'" in messages["sed"]
    assert "did you mean 'train.learning_rate'" in messages["train.learnin_rate"]
    assert "got -1 (from file)" in messages["seed"]
    assert 'got "fast" (from environment LR)' in messages["train.learning_rate"]
    assert "attend to each other" in messages["data.packing"]
    assert "got 4" in messages["lora.target_modules"]
    assert "--set nothing" in messages
    assert caught.value.exit_code == 2


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    path = write(tmp_path, 'task = "task"\nbase_model = "base"\noutput_dir = "runs/x"\n[data]\npath = "data/t.jsonl"\n')
    config = load_config(path, environment={}).config
    assert (config.task, config.output_dir, config.data.path) == (tmp_path / "task", tmp_path / "runs/x", tmp_path / "data/t.jsonl")
    assert config.base_model == str(tmp_path / "base")
    assert load_config(write(tmp_path, 'base_model = "org/name"'), environment={}).config.base_model == "org/name"


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_the_file_holds_only_our_errors_escape(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "run.toml"
    path.write_bytes(data)
    try:
        load_config(path, environment={})
    except ConfigError:
        return


@settings(max_examples=100, deadline=None)
@given(
    key=st.sampled_from([key for key in known_keys() if key != "lora.preset"]),
    value=st.integers(-5, 5) | st.floats(-2, 2) | st.booleans() | st.text(max_size=5),
)
def test_an_accepted_value_survives_a_dump(key: str, value: object) -> None:
    try:
        config = load_config(None, environment={}, overrides=[f"{key}={json.dumps(value)}"]).config
    except ConfigError:
        return
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_leaves_have_dotted_keys() -> None:
    tree = {"seed": 1, "lora": {"target_modules": ["a", "b"], "deep": {"x": None}, "empty": {}}}
    assert list(flatten(tree)) == [("seed", 1), ("lora.target_modules", ["a", "b"]), ("lora.deep.x", None)]
    assert dict(flatten(RunConfig().model_dump())).keys() == set(known_keys())
