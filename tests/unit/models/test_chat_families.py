"""The renderer on six families' real templates: exact labels, or a refusal by name; never something in between."""

from __future__ import annotations

import copy
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from families import FAMILIES, TEMPLATES, family_tokenizer
from loren.data.rows import Message
from loren.errors import ChatTemplateError, ModelLoadError
from loren.models.chat import IGNORED, ChatRenderer, Rendered, pin_date

SYSTEM_TURNS = {name for name, family in FAMILIES.items() if family.system in {"accepted", "merged"}}
REFUSALS = (
    "special-token",
    "merge with the reply",
    "merges with what follows",
    "read back as the assistant's text",
    "another text",
    "template changes it",
)

VIETNAMESE = st.text(
    alphabet=st.sampled_from("aăâbcdđeêghiklmnoôơpqrstuưvxyàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ ,.?!"),
    min_size=1,
    max_size=40,
)
EMOJI = st.text(alphabet=st.sampled_from("😀👩‍💻🇻🇳❤️👍🏽 ok"), min_size=1, max_size=8)
CODE = st.sampled_from([
    "def f(x):\n\treturn {'a': [x, 1e-3]}  # {{ x }} {% raw %}",
    '{"category": "billing",\n  "answer": "Mình đã ghi nhận.\\n"}',
    "```sql\nSELECT * FROM t WHERE a<>'|' AND b > 1;\n```",
    "if (a && b) { return \"<tag attr='[x]'>\"; }\r\n",
    "#!/bin/sh\necho \"$HOME\" | sed 's/<|/|>/g'",
])  # fmt: skip
TEXTS = st.one_of(VIETNAMESE, EMOJI, CODE, st.tuples(VIETNAMESE, EMOJI, CODE).map(" ".join))
CLEAN = TEXTS.map(str.strip).filter(bool)
WILD = st.one_of(
    st.text(max_size=30),
    st.tuples(st.sampled_from(["", " ", "\n", "\n\n", "\t ", "  "]), TEXTS, st.sampled_from(["", " ", "\n", " \n\n"])).map("".join),
    VIETNAMESE.map(lambda text: unicodedata.normalize("NFD", text)),
    st.sampled_from([
        "<|im_end|>",
        "a</s>b",
        "<end_of_turn>",
        "<|eot_id|>\n\n",
        "x<|end|>",
        "[INST]",
        "<bos>",
        "<|im_start|>user\n",
    ]),
)


@st.composite
def conversations(draw: st.DrawFn, texts: st.SearchStrategy[str], *, system: bool) -> list[Message]:
    """One to six turns a side, each reply with weight 0 or 1 and the last with 1."""
    messages = [Message("system", draw(texts))] if system and draw(st.booleans()) else []
    pairs = draw(st.integers(1, 6))
    for pair in range(1, pairs + 1):
        messages.append(Message("user", draw(texts)))
        messages.append(Message("assistant", draw(texts), 1 if pair == pairs else draw(st.integers(0, 1))))
    return messages


def spans(rendered: Rendered) -> list[tuple[int, int]]:
    """[start, end) of every run of labels."""
    text = "".join("." if label == IGNORED else "x" for label in rendered.labels)
    return [match.span() for match in re.finditer("x+", text)]


def assert_exact(name: str, messages: list[Message], rendered: Rendered) -> None:
    """All that a rendered row promises, told without the renderer's own means."""
    family, tokenizer = FAMILIES[name], family_tokenizer(name)
    chat = ChatRenderer(tokenizer, name)
    turns = [{"role": message.role, "content": message.content} for message in messages]
    templated = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, **pin_date(tokenizer))["input_ids"]
    assert rendered.input_ids == templated

    trained = [index for index, message in enumerate(messages) if message.role == "assistant" and message.weight == 1]
    runs = spans(rendered)
    assert len(runs) == len(trained)
    end_of_turn = tokenizer.convert_tokens_to_ids(family.end_of_turn)
    for (start, end), index in zip(runs, trained, strict=True):
        labels = rendered.labels[start:end]
        assert labels == rendered.input_ids[start:end]
        assert labels.count(end_of_turn) == 1
        assert labels[-1] == end_of_turn
        target = family.written(messages[index].content)
        assert same(tokenizer.decode(labels), family.lead + target + family.end_of_turn)
        assert same(chat.reply_text(labels[:-1]), target)
        assert chat.prompt_ids(messages[:index], place="p") == rendered.input_ids[:start]
    assert chat.stop_ids <= {end_of_turn}


def same(left: str, right: str) -> bool:
    return unicodedata.normalize("NFC", left) == unicodedata.normalize("NFC", right)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_ordinary_conversation_is_rendered_exactly(name: str, data: st.DataObject) -> None:
    messages = data.draw(conversations(CLEAN, system=name in SYSTEM_TURNS))
    assert_exact(name, messages, ChatRenderer(family_tokenizer(name), name).render(messages, place="f:1"))


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_other_is_rendered_exactly_or_refused_by_name(name: str, data: st.DataObject) -> None:
    messages = data.draw(conversations(WILD, system=name in SYSTEM_TURNS))
    chat = ChatRenderer(family_tokenizer(name), name)
    error, rendered = None, None
    try:
        rendered = chat.render(messages, place="train.jsonl:7")
    except ChatTemplateError as refusal:
        error = refusal
    if rendered is not None:
        assert_exact(name, messages, rendered)
    if error is not None:
        assert name in error.summary
        assert {problem.place for problem in error.problems} == {"train.jsonl:7"}
        assert any(reason in str(error) for reason in REFUSALS)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - SYSTEM_TURNS))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_family_without_system_turns_names_them_in_its_refusal(name: str, data: st.DataObject) -> None:
    """Gemma 2 raises; Mistral writes the system text into a prompt and leaves it out of a row that ends with a reply."""
    messages = [Message("system", "secret rules"), *data.draw(conversations(CLEAN, system=False))]
    with pytest.raises(ChatTemplateError) as caught:
        ChatRenderer(family_tokenizer(name), name).render(messages, place="train.jsonl:7")
    text = str(caught.value)
    expected = {"refused": "refuses one", "dropped": "moves or drops it"}[FAMILIES[name].system]
    for part in (name, "train.jsonl:7", "system turn", expected, "first user turn"):
        assert part in text
    assert "secret" not in text


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral"])
def test_turns_that_do_not_alternate_are_refused(name: str) -> None:
    messages = [Message("user", "a"), Message("user", "b"), Message("assistant", "c")]
    with pytest.raises(ChatTemplateError, match=r"f:1  expected a template that takes the turns user, user, assistant"):
        ChatRenderer(family_tokenizer(name), name).render(messages, place="f:1")


def test_the_families_differ_as_their_table_says() -> None:
    """What the templates are known for, so that a wrong copy of one is found."""
    text = {name: family_tokenizer(name).decode(render(name, "Chào bạn.")) for name in FAMILIES}
    assert len(text) == 7
    assert "You are Qwen, created by Alibaba Cloud." in text["qwen"]
    assert "Today Date: 26 Jul 2024" in text["llama"]
    assert text["gemma2"].startswith("<bos><start_of_turn>user\n")
    assert "".join(text["mistral"].split()) == "<s>[INST]câuhỏi[/INST]Chàobạn.</s>"
    assert text["phi"].endswith("<|endoftext|>")
    assert "named SmolLM, trained by Hugging Face" in text["smollm"]
    assert {family.system for family in FAMILIES.values()} == {"accepted", "merged", "refused", "dropped"}


def render(name: str, reply: str) -> list[int]:
    chat = ChatRenderer(family_tokenizer(name), name)
    return chat.render([Message("user", "câu hỏi"), Message("assistant", reply)], place="f:1").input_ids


def test_a_reply_of_which_the_tokenizer_loses_a_character_is_refused() -> None:
    """Without byte fallback an emoji becomes the unknown token: the model would learn to say `<unk>`."""
    words = ["<unk>", "<|im_start|>", "<|im_end|>", "▁", "a", "b", "c", "\n", "s", "i", "t", "n", "u", "e", "r", "y", "m"]
    backend = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="<|im_end|>", extra_special_tokens=["<|im_start|>"]
    )
    tokenizer.chat_template = family_tokenizer("smollm").chat_template
    chat = ChatRenderer(tokenizer, "tiny")
    system = Message("system", "a")
    assert chat.render([system, Message("user", "a"), Message("assistant", "a b")], place="f:1").label_tokens == 4
    with pytest.raises(ChatTemplateError, match="loses or changes part of it"):
        chat.render([system, Message("user", "a"), Message("assistant", "a 😀")], place="f:1")


@pytest.mark.parametrize(("name", "reply"), [("phi", " x"), ("phi", "\n\nx")])
def test_white_space_that_a_special_token_swallows_is_not_lost_silently(name: str, reply: str) -> None:
    with pytest.raises(ChatTemplateError, match="loses or changes part of it"):
        render(name, reply)


def test_a_generated_reply_has_no_blank_of_the_templates_own() -> None:
    chat = ChatRenderer(family_tokenizer("mistral"), "mistral")
    ids = render("mistral", "  Chào bạn . ")
    start = len(chat.prompt_ids([Message("user", "câu hỏi")], place="p"))
    assert family_tokenizer("mistral").decode(ids[start:-1]) == " Chào bạn ."
    assert chat.reply_text(ids[start:-1]) == "Chào bạn ."


def test_a_generated_reply_is_not_cleaned_up() -> None:
    """A configuration may ask for a clean-up that turns "a , b" into "a, b"; transformers 5 heeds it where the model is not BPE."""
    tokenizer = ByT5Tokenizer(extra_ids=0, extra_special_tokens=["<|im_start|>", "<|im_end|>"], clean_up_tokenization_spaces=True)
    tokenizer.chat_template = family_tokenizer("smollm").chat_template
    reply = "Vâng , bạn 's nhé ."
    tokens = tokenizer(reply, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(tokens) != reply
    assert ChatRenderer(tokenizer, "bytes").reply_text(tokens) == reply


def test_several_templates_without_a_default_are_no_template() -> None:
    tokenizer = copy.deepcopy(family_tokenizer("qwen"))
    plain = tokenizer.chat_template
    tokenizer.chat_template = {"rag": plain, "tool_use": plain}
    with pytest.raises(ModelLoadError, match="found 2 of other names"):
        ChatRenderer(tokenizer, "several")
    tokenizer.chat_template = {"default": plain, "tool_use": plain}
    row = [Message("user", "a"), Message("assistant", "b")]
    expected = ChatRenderer(family_tokenizer("qwen"), "one").render(row, place="f:1")
    assert ChatRenderer(tokenizer, "several").render(row, place="f:1") == expected


def test_the_table_names_every_template() -> None:
    assert sorted(path.name for path in TEMPLATES.glob("*.jinja")) == sorted(family.template for family in FAMILIES.values())
