"""What a model says about itself; where nothing says it, "unknown"."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import ModelLoadError
from loren.models.card import Card, TokenizerFacts, folder_facts, front_matter, gguf_facts, tokenizer_facts
from loren.models.gguf_file import read_header
from tiny import CHATML, train_tokenizer, write_tiny_base
from tiny_gguf import Changes, tiny_model, write_gguf

README = """---
license: apache-2.0
language:
- vi
- en
base_model: maker/base
tags: [chat]
---

# Tiny

## Intended uses & limitations

For answering questions about
parcels.

Not for advice.

## Training
"""


def write_card(folder: Path, text: str) -> Path:
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_is_read(tmp_path: Path) -> None:
    card = front_matter(write_card(tmp_path, README))
    assert card == Card("apache-2.0", ("vi", "en"), "maker/base", "For answering questions about parcels.", ("chat",))


@pytest.mark.parametrize(
    ("text", "license_id", "use"),
    [
        ("", "unknown", "unknown"),
        ("no front matter\n## Uses\n\nEverything.", "unknown", "Everything."),
        ("---\nlicense: [a, b\n---\n", "unknown", "unknown"),
        ("---\n- a list\n---\n", "unknown", "unknown"),
        ("---\nlicense: 3\n---\n", "unknown", "unknown"),
        ("---\nlicense: other\nlicense_name: gemma\n---\n", "gemma", "unknown"),
        (
            "\ufeff---\r\nlicense: mit\r\n---\r\n### Direct Use\r\n\r\n<!-- hidden -->\r\n[More Information Needed]\r\n",
            "mit",
            "unknown",
        ),
        ("---\nlicense: mit\n---\n# Intended use\n\n## Next\ntext", "mit", "unknown"),
        ("---\n!!python/object/apply:os.system ['exit 1']\n---\n", "unknown", "unknown"),
        ("---\na: &a [x, x]\nb: &b [*a, *a]\nlicense: mit\nlanguage: en\n---\n", "mit", "unknown"),
        ("---\n" + "[" * 5000 + "\n---\n", "unknown", "unknown"),
    ],
)
def test_cards_of_every_kind(tmp_path: Path, text: str, license_id: str, use: str) -> None:
    card = front_matter(write_card(tmp_path, text))
    assert (card.license, card.intended_use) == (license_id, use)


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("-: \n[]{}&*!'\"#ab1,license"), max_size=80))
def test_no_card_is_more_than_unreadable(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    card = front_matter(write_card(tmp_path_factory.mktemp("card"), f"---\n{text}\n---\n"))
    assert isinstance(card.license, str)


def test_a_missing_card_is_unknown(tmp_path: Path) -> None:
    assert front_matter(tmp_path / "README.md") == Card()


def test_a_folders_facts(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    write_card(folder, README)
    facts = folder_facts(folder, id="x", kind="directory")
    assert (facts.license, facts.languages, facts.origin) == ("apache-2.0", ("vi", "en"), "maker/base")
    assert (facts.architecture, facts.context_length, facts.trust_remote_code) == ("LlamaForCausalLM", 2048, "no")
    assert facts.tokenizer == TokenizerFacts(
        kind="BPE",
        vocabulary=len(train_tokenizer()),
        bos="none",
        eos="<|im_end|>",
        pad="<|endoftext|>",
        normalizer="NFC",
        adds_bos="no",
        chat_template="yes",
        system_turn="accepted",
        default_system_turn="yes",
        generation_block="no",
    )
    (folder / "modeling.py").touch()
    assert folder_facts(folder, id="x", kind="directory").trust_remote_code == "yes"


@pytest.mark.parametrize(
    ("template", "system_turn", "default", "generation"),
    [
        (CHATML, "accepted", "yes", "no"),
        (CHATML.replace("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", ""), "accepted", "no", "no"),
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML, "refused", "unknown", "no"),
        ("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}", "ignored", "unknown", "no"),
        (
            "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
            "{% else %}{{ '<s>' + m.content }}{% endif %}{% endfor %}",
            "accepted", "no", "yes",
        ),
        ("{% set s = messages[0].content if messages[0].role == 'system' else '' %}[INST] {{ s }}{{ messages[-1].content }}",
         "accepted", "no", "no"),
        ("{{ 1 / 0 }}", "unknown", "unknown", "no"),
        ("{% broken", "unknown", "unknown", "no"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unknown", "unknown", "no"),
    ],
)  # fmt: skip
def test_what_a_template_does(tmp_path: Path, template: str, system_turn: str, default: str, generation: str) -> None:
    (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
    facts = tokenizer_facts(tmp_path)
    assert (facts.chat_template, facts.system_turn, facts.default_system_turn) == ("yes", system_turn, default)
    assert facts.generation_block == generation


def test_nothing_known_is_unknown(tmp_path: Path) -> None:
    facts = tokenizer_facts(tmp_path)
    assert (facts.kind, facts.vocabulary, facts.normalizer, facts.adds_bos) == ("unknown", None, "unknown", "unknown")
    assert facts.chat_template == "no"


@pytest.mark.parametrize(
    "body", ['{"model": []}', '{"normalizer": 3, "post_processor": []}', '{"added_tokens": {}}', '{"model": {"vocab": 1}}']
)
def test_a_tokenizer_of_another_shape_is_unknown(tmp_path: Path, body: str) -> None:
    (tmp_path / "tokenizer.json").write_text(body, encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"add_bos_token": [], "eos_token": {}, "chat_template": [1]}', encoding="utf-8"
    )
    facts = tokenizer_facts(tmp_path)
    assert (facts.kind, facts.vocabulary, facts.eos, facts.chat_template) == ("unknown", None, "none", "no")


def test_other_tokenizers_are_described(tmp_path: Path) -> None:
    body = {
        "model": {"type": "Unigram", "vocab": [["<s>", 0.0], ["a", -1.0]]},
        "added_tokens": [{"content": "<s>"}, {"content": "<pad>"}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "post_processor": {
            "type": "Sequence",
            "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}],
        },
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(body), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": {"content": "<s>"}, "pad_token": null}', encoding="utf-8")
    facts = tokenizer_facts(tmp_path)
    assert (facts.kind, facts.vocabulary, facts.normalizer, facts.adds_bos) == ("Unigram", 3, "NFKC + Lowercase", "yes")
    assert (facts.bos, facts.eos, facts.pad) == ("<s>", "none", "none")


def test_a_gguf_files_facts(tmp_path: Path) -> None:
    facts = gguf_facts(read_header(write_gguf(tmp_path / "t.gguf", tiny_model("qwen2"), Changes(quantized=True))), id="t.gguf")
    assert (facts.license, facts.architecture, facts.context_length, facts.origin) == ("mit", "qwen2", 512, "tiny, Q8_0")
    assert (facts.tokenizer.eos, facts.tokenizer.pad, facts.tokenizer.bos) == ("<|im_end|>", "<|endoftext|>", "none")
    assert (facts.tokenizer.adds_bos, facts.tokenizer.system_turn) == ("no", "accepted")


def test_an_unreadable_config_is_an_error(tmp_path: Path) -> None:
    folder = write_tiny_base(tmp_path / "base")
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        folder_facts(folder, id="x", kind="directory")
