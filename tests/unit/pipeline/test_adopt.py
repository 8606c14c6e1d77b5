"""What `adopt` takes and refuses, on adapters that plain PEFT made for the tiny base."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from loren.errors import ConfigError, DataContractError, IntegrityError, ModelLoadError, RunFolderError
from loren.evaluate.sanity import check_sanity
from loren.models.loading import attach_adapter, load_model
from loren.pipeline.adopt import Wishes, adopt
from loren.pipeline.foreign_adapter import find_adapter, read_clues
from loren.pipeline.merge import Wishes as Merging
from loren.pipeline.merge import merge_run
from loren.provenance.manifest import verify_manifest
from tiny import CHATML, tiny_llama, train_tokenizer, write_tiny_base

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk"
Mutate = Callable[[Path], object]


@contextmanager
def quiet() -> Iterator[Any]:
    yield lambda what, done, total: None


def make_adapter(folder: Path, base: Path, **lora: Any) -> Path:
    """What PEFT saves, with weights as if trained."""
    torch.manual_seed(1)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **lora}
    model = peft.get_peft_model(LlamaForCausalLM.from_pretrained(base), peft.LoraConfig(**settings))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return make_adapter(tmp_path_factory.mktemp("plain") / "adapter-of-peft", tiny_base)


def take(adapter: Path, base: Path | str, out: Path, *, said: list[str] | None = None, **more: Path) -> Any:
    wishes = Wishes(adapter, str(base), more.get("task"), more.get("data"), out)
    lines: list[str] = [] if said is None else said
    return adopt(wishes, command=["loren", "adopt"], say=lines.append, fetching=quiet)


def edit(name: str, **changes: Any) -> Mutate:
    def change(folder: Path) -> None:
        values = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps({**values, **changes}))

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Mutate:
    def apply(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        values = load_file(path)
        change(values)
        save_file(values, path)

    return apply


def first(values: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in sorted(values) if part in name)


def to_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def to_link(folder: Path) -> None:
    shutil.move(folder / "adapter_model.safetensors", folder.parent / "elsewhere.safetensors")
    (folder / "adapter_model.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def own_tokenizer(template: str = CHATML, vocab_size: int = 512) -> Mutate:
    return lambda folder: train_tokenizer(template=template, vocab_size=vocab_size).save_pretrained(folder)


NO_END = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{{ 'assistant: ' if add_generation_prompt }}"
)
EARLY_END = CHATML.replace("+ '<|im_end|>' + '\n' }}", "+ '<|endoftext|>' + '\n' }}")
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
REFUSED: dict[str, tuple[Mutate, str]] = {
    "rank 0": (edit(CONFIG, r=0), "r  expected a rank of at least 1; found 0"),
    "rank true": (edit(CONFIG, r=True), "r  expected a rank of at least 1; found true"),
    "rank 0 in a pattern": (edit(CONFIG, rank_pattern={"q_proj": 0}), "rank_pattern  expected"),
    "no LoRA": (edit(CONFIG, peft_type="LOHA"), 'peft_type  expected a LORA adapter, the only kind that Loren takes; found "LOHA"'),
    "other task": (edit(CONFIG, task_type="SEQ_CLS"), 'task_type  expected CAUSAL_LM; found "SEQ_CLS"'),
    "changed base weights": (
        edit(CONFIG, init_lora_weights="pissa_niter_4"),
        "init_lora_weights  expected an adapter for the base's own",
    ),
    "unknown feature": (edit(CONFIG, layer_replication=[[0, 2]]), "layer_replication"),
    "a module to import": (edit(CONFIG, megatron_config={"a": 1}), "megatron_config"),
    "a pattern without end": (edit(CONFIG, alpha_pattern={"(a+)+$": 4}), "alpha_pattern  expected module names"),
    "missing target": (
        edit(CONFIG, target_modules=["q_proj", "c_attn"]),
        "target_modules  expected modules of the base (it has down_proj",
    ),
    "traversal target": (edit(CONFIG, target_modules=["../../q_proj"]), "found ../../q_proj"),
    "another rank than the weights": (edit(CONFIG, r=8), "lora_A: expected 8 x 64, found 4 x 64"),
    "wrong shape": (
        tensors(lambda v: v.update({first(v, "q_proj.lora_B"): torch.zeros(3, 4)})),
        "model.layers.0.self_attn.q_proj  lora_B: expected 64 x 4, found 3 x 4",
    ),
    "missing tensor": (
        tensors(lambda v: v.pop(first(v, "layers.1.self_attn.v_proj.lora_A"))),
        "model.layers.1.self_attn.v_proj  lora_A: expected 4 x 64, found no tensor",
    ),
    "traversal tensor": (
        tensors(lambda v: v.update({"base_model.model.../../x.lora_A.weight": torch.ones(4, 64)})),
        "../../x  lora_A: expected a module of the base, found none of this name",
    ),
    "control codes": (tensors(lambda v: v.update({"\x1b[31m.lora_A.weight": torch.ones(1)})), "\\x1b[31m"),
    "NaN": (tensors(lambda v: v[first(v, "lora_B")].fill_(torch.nan)), "expected finite numbers, found NaN or infinity"),
    "integers": (
        tensors(lambda v: v.update({first(v, "lora_B"): torch.ones(64, 4, dtype=torch.int64)})),
        "expected floats, found I64",
    ),
    "cut off": (cut, "expected a whole safetensors file, found a damaged one"),
    "a pickle": (to_pickle, "adapter_model.safetensors  expected weights as safetensors, found adapter_model.bin, a pickle"),
    "a link": (to_link, "expected a regular file, found a symbolic link"),
    "code": (lambda folder: (folder / "modeling.py").write_text("raise SystemExit"), "modeling.py  expected no code, found Python"),
    "code by name": (edit("tokenizer_config.json", auto_map={"AutoTokenizer": "x.Y"}), "expected no code, found auto_map"),
    "no configuration": (
        lambda folder: (folder / CONFIG).unlink(),
        "adapter_config.json  expected the adapter's configuration, found none",
    ),
    "no weights": (
        lambda folder: (folder / WEIGHTS).unlink(),
        "adapter_model.safetensors  expected weights as safetensors, found none",
    ),
    "no JSON": (lambda folder: (folder / CONFIG).write_text("{"), "expected a JSON object"),
    "another architecture": (
        edit(CONFIG, auto_mapping={"base_model_class": "Qwen2ForCausalLM", "parent_library": "os"}),
        "auto_mapping  expected LlamaForCausalLM, the base's; found 'Qwen2ForCausalLM'",
    ),
    "another tokenizer": (own_tokenizer(vocab_size=300), "tokens at their ids, found"),
    "no end of turn": (own_tokenizer(NO_END), "expected an end-of-turn token after the assistant's turn, found none"),
    "an end that does not stop": (
        own_tokenizer(EARLY_END),
        "expected an end of turn at which the model stops, found '<|endoftext|>'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_unsafe_or_does_not_fit_is_refused_by_name(case: str, plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    mutate, words = REFUSED[case]
    adapter = tmp_path / "given"
    shutil.copytree(plain, adapter)
    mutate(adapter)
    with pytest.raises(ModelLoadError) as caught:
        take(adapter, tiny_base, tmp_path / "run")
    assert words in str(caught.value)
    assert caught.value.exit_code == 4
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "elsewhere.safetensors") == ["given"]


def test_a_wrong_base_is_refused_with_its_shapes(plain: Path, tmp_path: Path) -> None:
    base = write_tiny_base(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "hidden_size": 32, "head_dim": 8}))
    with pytest.raises(ModelLoadError, match="8 problem") as caught:
        take(plain, base, tmp_path / "run")
    assert "q_proj  lora_A: expected 4 x 32, found 4 x 64" in str(caught.value)
    (base / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(ModelLoadError, match=r"model\.layers\.2\.self_attn\.q_proj  lora_A: expected 4 x 64, found no tensor"):
        take(plain, base, tmp_path / "run")


def test_a_base_of_another_architecture_is_refused(plain: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    tokenizer = train_tokenizer()
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=64, n_layer=2, n_head=4)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    with pytest.raises(ModelLoadError, match="does not fit GPT2LMHeadModel") as caught:
        take(plain, base, tmp_path / "run")
    assert "found q_proj" in str(caught.value)


VARIANTS: dict[str, dict[str, Any]] = {
    "rsLoRA": {"use_rslora": True, "rank_pattern": {"layers.1.self_attn.q_proj": 2}},
    "DoRA": {"use_dora": True, "target_modules": "all-linear"},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "bias": {"bias": "lora_only", "target_modules": ["o_proj"]},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
    "a pattern": {
        "target_modules": r"(?:.*?(?:language|text).*?(?:self_attn).*?)|(?:\bmodel\.layers\.[\d]{1,}\.self_attn\.(?:q_proj|v_proj))"
    },
    "some layers": {"layers_to_transform": [1], "layers_pattern": "layers", "exclude_modules": ["v_proj"]},
}


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning")  # PEFT, saving the source
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_lora_computes_what_plain_peft_computes(variant: str, tiny_base: Path, tmp_path: Path) -> None:
    source = make_adapter(tmp_path / "source", tiny_base, **VARIANTS[variant])
    adopted = take(source, tiny_base, tmp_path / "run")
    verify_manifest(adopted.run.adapter)
    ids = torch.arange(5, 40)[None]
    with torch.inference_mode():
        base = LlamaForCausalLM.from_pretrained(tiny_base)(ids).logits
        theirs = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(tiny_base), source).eval()(ids).logits
        ours = attach_adapter(load_model(tiny_base, dtype="float32"), adopted.run.adapter)(ids).logits
    assert torch.equal(ours, theirs)
    assert not torch.allclose(ours, base)
    config = json.loads((adopted.run.adapter / CONFIG).read_text())
    assert isinstance(config["target_modules"], list)
    assert config["base_model_name_or_path"] == str(tiny_base)


def test_the_copy_names_the_given_base_and_the_original_is_recorded(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "given"
    shutil.copytree(plain, adapter)
    edit(CONFIG, base_model_name_or_path="unsloth/tiny-llama-bnb-4bit", revision="abc", auto_mapping={"parent_library": "os"})(
        adapter
    )
    (adapter / "README.md").write_text("---\ntags:\n- unsloth\n---\n")
    adopted = take(adapter, tiny_base, tmp_path / "run")
    config = json.loads((adopted.run.adapter / CONFIG).read_text())
    assert (config["base_model_name_or_path"], config["revision"], "auto_mapping" in config) == (str(tiny_base), None, False)
    assert adopted.metadata["adopted"]["base_model_name_or_path"] == "unsloth/tiny-llama-bnb-4bit"
    assert adopted.metadata["adopted"]["producer"] == "unsloth"
    assert "quantization" in adopted.metadata["unknown"]


def test_its_own_tokenizer_and_template_stay_its_own(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "given"
    shutil.copytree(plain, adapter)
    own_tokenizer(CHATML.replace("You are a helpful assistant.", "Be brief."))(adapter)
    edit("tokenizer_config.json", vocab_file="/etc/passwd")(adapter)
    said: list[str] = []
    adopted = take(adapter, tiny_base, tmp_path / "run", said=said)
    assert any("its chat template is not the base's" in line for line in said)
    assert adopted.metadata["tokenizer"]["from"] == adopted.metadata["tokenizer"]["template_from"] == "adapter"
    assert "Be brief." in (adopted.run.adapter / "chat_template.jinja").read_text()
    assert "passwd" not in (adopted.run.adapter / "tokenizer_config.json").read_text()
    from loren.evaluate.subjects import open_run, open_trained

    subject = open_run(open_trained(adopted.run), "adapter", batch_size=1, fetching=quiet)
    assert "Be brief." in subject.generator._renderer._tokenizer.chat_template  # pyright: ignore[reportAttributeAccessIssue]


def test_the_newest_whole_checkpoint_is_taken_also_where_ms_swift_puts_it(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    version = output / "v2-20260101-120000"
    shutil.copytree(plain, version / "checkpoint-9")
    shutil.copytree(plain, version / "checkpoint-10")
    shutil.copytree(plain, output / "v1-20260101-110000" / "checkpoint-99")
    (version / "checkpoint-11").mkdir()
    os.symlink(plain, version / "checkpoint-12")
    arguments = {
        "swift_version": "4.6.0", "system": "Be kind.", "quant_method": "bnb", "quant_bits": 4, "bnb_4bit_use_double_quant": False,
    }  # fmt: skip
    (version / "checkpoint-10" / "args.json").write_text(json.dumps(arguments))
    said: list[str] = []
    metadata = take(output, tiny_base, tmp_path / "run", said=said).metadata
    assert metadata["adopted"]["checkpoint"] == "checkpoint-10"
    assert any("checkpoint-11 is newer, but not whole" in line for line in said)
    assert (metadata["adopted"]["producer"], metadata["system_prompt"], metadata["method"]) == ("ms-swift", "Be kind.", "qlora")
    assert metadata["quantization"] == {"type": "nf4", "double_quant": False}
    assert metadata["adopted"]["sources"]["system_prompt"] == "args.json"
    (version / "checkpoint-10" / "args.json").write_text('{"swift_version": 1, "system": 7, "quant_bits": "x"}')
    clues = read_clues(find_adapter(output))
    assert (clues.system_prompt, clues.quantization) == (None, None)


def test_the_run_goes_nowhere_else_and_overwrites_nothing(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--out: expected a place outside"):
        take(plain, tiny_base, plain / "run")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunFolderError, match="found something"):
        take(plain, tiny_base, tmp_path)
    with pytest.raises(ModelLoadError, match="expected an adapter in it or in a checkpoint-N, found a whole model"):
        take(tiny_base, tiny_base, tmp_path / "run")
    with pytest.raises(ModelLoadError, match="expected an adapter folder, found nothing"):
        take(tmp_path / "gone", tiny_base, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_silent_adapter_is_taken_with_a_warning(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "given"
    shutil.copytree(plain, adapter)
    tensors(lambda values: [value.zero_() for name, value in values.items() if "lora_B" in name])(adapter)
    said: list[str] = []
    assert take(adapter, tiny_base, tmp_path / "run", said=said).metadata["adopted"]["warnings"]
    assert any("it changes no answer" in line for line in said)


def test_data_is_a_record_and_golden_questions_in_it_an_error(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    task = HELPDESK / "task"
    with pytest.raises(DataContractError, match="take these questions out of the golden set"):
        take(plain, tiny_base, tmp_path / "run", task=task, data=task / "golden.jsonl")
    data = tmp_path / "data.jsonl"
    lines = (HELPDESK / "data" / "train.jsonl").read_text().splitlines()
    data.write_text("\n".join([*lines, '{"messages": []}']) + "\n")
    adopted = take(plain, tiny_base, tmp_path / "run", task=task, data=data)
    contract = adopted.metadata["dataset"]["contract"]
    assert (contract["verdict"], contract["errors"] > 0) == ("broken", True)
    assert json.loads((adopted.run.path / "data" / "report.json").read_text())["errors"] == contract["errors"]
    record = check_sanity(adopted.run, batch_size=5, say=print, fetching=quiet).record
    assert record["compared_rows"] == len(lines)
    asked = json.loads((task / "sanity.jsonl").read_text().splitlines()[0])["messages"]
    row = {"messages": [*asked, {"role": "assistant", "content": "x"}]}
    data.write_text(data.read_text() + json.dumps(row) + "\n")
    (adopted.run.path / "sanity.json").unlink()
    with pytest.raises(IntegrityError, match="found another sha256"):
        check_sanity(adopted.run, batch_size=5, say=print, fetching=quiet)
    seen = take(plain, tiny_base, tmp_path / "seen", task=task, data=data)
    with pytest.raises(DataContractError, match="were trained on"):
        check_sanity(seen.run, batch_size=5, say=print, fetching=quiet)


def test_without_data_sanity_says_that_nothing_was_compared(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    adopted = take(plain, tiny_base, tmp_path / "run", task=HELPDESK / "task")
    said: list[str] = []
    record = check_sanity(adopted.run, batch_size=5, say=said.append, fetching=quiet).record
    assert record["compared_rows"] is None
    assert any("the training data is not known" in line for line in said)


def test_an_adapter_of_lorens_own_keeps_its_record_and_its_seal(tiny_base: Path, tmp_path: Path) -> None:
    from loren.config import load_config
    from loren.train.recipe import train

    shutil.copytree(HELPDESK, tmp_path, dirs_exist_ok=True)
    (tmp_path / "run.toml").write_text(f'base_model = "{tiny_base}"\ntask = "task"\n[train]\nmax_steps = 2\nlearning_rate = 1e-2\n')
    resolved = load_config(tmp_path / "run.toml", environment={})
    trained = train(resolved, resume=False, command=["loren"], say=print, fetching=quiet).run
    sent = tmp_path / "sent"
    shutil.copytree(trained.adapter, sent)
    adopted = take(sent, tiny_base, tmp_path / "run", data=tmp_path / "data" / "train.jsonl")
    before = json.loads((sent / "training_metadata.json").read_text())
    for key in ("system_prompt", "seeds", "loss", "rows", "train", "dataset", "packages", "command", "base_model"):
        assert adopted.metadata[key] == before[key] is not None, key
    assert (adopted.metadata["unknown"], adopted.metadata["adopted"]["producer"]) == ([], "loren")
    assert (adopted.run.adapter / WEIGHTS).read_bytes() == (sent / WEIGHTS).read_bytes()
    with pytest.raises(ConfigError, match="expected the file that the adapter was trained on"):
        take(sent, tiny_base, tmp_path / "other", data=tmp_path / "task" / "golden.jsonl")
    other = tmp_path / "base"
    shutil.copytree(tiny_base, other)
    tiny_llama(len(train_tokenizer()), seed=5).save_pretrained(other)
    with pytest.raises(IntegrityError, match="not the one that the adapter was trained on"):
        take(sent, other, tmp_path / "other")
    data = bytearray((sent / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (sent / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(IntegrityError) as caught:
        take(sent, tiny_base, tmp_path / "other")
    assert WEIGHTS in str(caught.value)
    assert not (tmp_path / "other").exists()


def test_an_adopted_adapter_is_merged_as_one_of_our_own(plain: Path, tiny_base: Path, tmp_path: Path) -> None:
    run = take(plain, tiny_base, tmp_path / "run").run
    merged = merge_run(run, Merging(), command=["loren", "merge"], say=[].append, fetching=quiet)
    assert merged.passed, merged.record["proof"]
    assert merged.record["adapter"]["digest"] == json.loads((run.adapter / "MANIFEST.json").read_text())["digest"]
