"""Where a base model comes from, and what is refused before anything is loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loren.errors import ConfigError, ModelLoadError
from loren.models.cache import cache_folder
from loren.models.source import describe, resolve_source, template_digest, tokenizer_digest, weights_digest


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    return folder


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}), encoding="utf-8")


def test_a_directory_is_taken_as_it_is(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in (str(base), "./base", "base"):
        source = resolve_source(name)
        assert (source.kind, source.id, source.folder, source.revision) == ("directory", str(base), base, None)
        assert (source.license, source.origin_note) == ("mit", "")


def test_source_loads_no_weights_library() -> None:
    code = "import sys, loren.models.source; print([m for m in ('torch', 'transformers', 'numpy', 'gguf') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "pytorch_model-00001-of-00002.bin"])
def test_pickles_are_refused_by_name(base: Path, name: str) -> None:
    (base / "model.safetensors").rename(base / name)
    with pytest.raises(ModelLoadError, match=r"runs whatever it holds") as caught:
        resolve_source(str(base))
    assert [problem.place for problem in caught.value.problems] == [f"{base}/{name}"]


def test_a_trainers_leavings_beside_safetensors_do_no_harm(base: Path) -> None:
    (base / "training_args.bin").write_bytes(b"never read")
    assert resolve_source(str(base)).folder == base


@pytest.mark.parametrize("trace", ["config", "tokenizer", "file"])
def test_code_needs_trust(base: Path, trace: str) -> None:
    if trace == "config":
        edit_config(base, auto_map={"AutoModelForCausalLM": "modeling.Model"})
    elif trace == "tokenizer":
        (base / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["tok.Tok", null]}}', encoding="utf-8")
    else:
        (base / "modeling.py").write_text("print('ran')", encoding="utf-8")
    with pytest.raises(ModelLoadError, match="trust_remote_code") as caught:
        resolve_source(str(base))
    assert caught.value.problems[0].rule == "remote-code"
    assert resolve_source(str(base), trust_remote_code=True).folder == base


def test_all_problems_of_a_folder_are_told_at_once(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    (base / "tokenizer.json").unlink()
    (base / "run.py").touch()
    (base / "config.json").rename(base / "adapter_config.json")
    with pytest.raises(ModelLoadError) as caught:
        resolve_source(str(base))
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "an adapter, which needs its base" in text
    assert "expected a tokenizer" in text


@pytest.mark.parametrize("content", ["[]", "{", "\xff", "[" * 100_000])
def test_an_unreadable_config_is_refused(base: Path, content: str) -> None:
    (base / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        resolve_source(str(base))


def test_missing_shards_are_named(base: Path) -> None:
    (base / "model.safetensors").rename(base / "model-00001-of-00003.safetensors")
    shards = {"a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors", "c": "../outside.safetensors"}
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    (base.parent / "outside.safetensors").touch()
    with pytest.raises(ModelLoadError) as caught:
        resolve_source(str(base))
    assert {problem.place for problem in caught.value.problems} == {f"{base}/{shards['b']}", f"{base}/{shards['c']}"}


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "none.gguf", "a/b/c", "../x", "no spaces", "a\0b", "x" * 300])
def test_nothing_there_is_said_with_the_ways_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelLoadError, match=r"embedded:qwen2\.5-coder-0\.5b"):
        resolve_source(name)


def test_a_hub_that_does_not_answer_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"hub can't be reached") as caught:
        resolve_source("Qwen/Qwen2.5-0.5B-Instruct", cache=tmp_path)
    assert "embedded:qwen2.5-coder-0.5b" in caught.value.hint
    assert "./folder" in caught.value.hint


def test_a_revision_belongs_to_a_hub_id(base: Path) -> None:
    for name in (str(base), "embedded:smollm2-135m"):
        with pytest.raises(ConfigError, match="revision"):
            resolve_source(name, "main")


def test_an_unknown_embedded_model_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"smollm2-135m"):
        resolve_source("embedded:gpt-5", cache=tmp_path)


def test_weights_digest_is_of_the_bytes_and_remembered(base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = weights_digest(base, cache)
    weights = base / "model.safetensors"
    stamp = weights.stat().st_mtime_ns
    assert weights_digest(base, cache) == before
    assert weights_digest(base, tmp_path / "another cache") == before
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(stamp + 1, stamp + 1))
    assert weights_digest(base, cache) != before
    moved = base.rename(tmp_path / "elsewhere")
    content[-1] ^= 1
    (moved / "model.safetensors").write_bytes(content)
    assert weights_digest(moved, cache) == before  # the place is no part of it


def test_digests_work_where_the_cache_can_not_be_written(base: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert len(weights_digest(base, tmp_path / "cache")) == 64


def test_tokenizer_and_template_digests_see_their_own_changes(base: Path) -> None:
    tokenizer, template = tokenizer_digest(base), template_digest(base)
    (base / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    assert (tokenizer_digest(base), template_digest(base) != template) == (tokenizer, True)
    (base / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes() + b"\n")
    assert tokenizer_digest(base) != tokenizer


def test_the_template_may_live_in_the_tokenizers_config(base: Path) -> None:
    body = (base / "chat_template.jinja").read_text(encoding="utf-8")
    own = template_digest(base)
    (base / "chat_template.jinja").unlink()
    for form in (body, [{"name": "tool_use", "template": "x"}, {"name": "default", "template": body}]):
        (base / "tokenizer_config.json").write_text(json.dumps({"chat_template": form}), encoding="utf-8")
        assert template_digest(base) == own


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("LOREN_CACHE")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "loren"


def test_describe_downloads_nothing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOREN_CACHE", str(tmp_path / "cache"))
    facts = describe("embedded:qwen2.5-coder-0.5b")
    assert (facts.license, facts.context_length, "vi" in facts.languages) == ("apache-2.0", 32768, True)
    assert describe(str(base)).architecture == "LlamaForCausalLM"
    assert not (tmp_path / "cache").exists()
