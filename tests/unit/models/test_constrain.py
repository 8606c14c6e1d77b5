"""Held decoding: whatever ends by itself parses strictly and satisfies the schema; what can't be held is refused by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asking import ask
from loren.errors import ConfigError, PrerequisiteError
from loren.models.chat import ChatRenderer
from loren.models.constrain import Constraint, constraint_digest
from loren.models.decoding_schema import LONGEST_HELD, decoding_schema
from loren.models.generate import HuggingFaceGenerator, stop_token_ids
from loren.models.loading import load_model, load_tokenizer
from loren.models.protocol import Completion, Prompt
from loren.task.target import TargetSchema, parse_strict
from tiny import train_tokenizer

SUPPORT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A reply",
    "type": "object",
    "properties": {
        "team": {"enum": ["thanh toán", "vận chuyển", "tài khoản"]},
        "level": {"enum": ["cao", "thấp"]},
        "reply": {"type": "string", "minLength": 1, "pattern": "\\S"},
    },
    "required": ["team", "level", "reply"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "support": SUPPORT,
    "nested": {
        "$defs": {"code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"}},
        "type": "object",
        "properties": {
            "ticket": {
                "type": "object",
                "properties": {"id": {"$ref": "#/$defs/code"}, "open": {"type": "boolean"}, "severity": {"type": "integer"}},
                "required": ["id", "severity"],
            },
            "price": {"type": "number", "exclusiveMinimum": 0},
            "note": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^\\s*\\w+\\s*$", "maxLength": 12}]},
        },
        "required": ["ticket", "price", "note"],
    },
    "arrays": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"đơn vị": {"const": "đồng"}, "số": {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 50}},
            "required": ["đơn vị", "số"],
        },
        "minItems": 1,
        "maxItems": 3,
    },
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "string", "maxLength": 5}, {"type": ["integer", "null"]}, {"type": "string", "format": "date"}],
        "minItems": 2,
    },
    "values": {"enum": ['khẩn "cấp"', "a\\b", "tab\t", 1, 2.5, None, True, ["x"], {"k": "đ"}]},
    "alternatives": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": name}, key: {"type": "string", "format": form}},
                "required": ["kind", key],
            }
            for name, key, form in (("a", "ip", "ipv4"), ("b", "id", "uuid"))
        ]
    },
    "number": {"type": "number"},
    "one": {"allOf": [{"type": "integer", "multipleOf": 7, "minimum": -70}]},
}  # fmt: skip


def holds(schema: dict[str, Any], text: str) -> list[object]:
    """What is wrong with a text that ended by itself."""
    parsed = parse_strict(text)
    return list(parsed.problems) or list(TargetSchema(schema).problems(parsed.value))


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_ends_by_itself_satisfies_the_schema_whatever_the_model_wants(name: str) -> None:
    """Random walks: at each step the scores are noise, so that every branch of the grammar is taken sooner or later."""
    schema, tokenizer = SCHEMAS[name], train_tokenizer()
    constraint = Constraint(schema, tokenizer, vocab_size=520)
    noise = np.random.default_rng(sum(name.encode()))
    texts = set()
    for _ in range(60):
        hold, tokens = constraint.begin({2}), list[int]()
        while not hold.is_complete and len(tokens) < 400:
            scores = noise.normal(size=520)
            scores[2] += noise.choice([0, 9])
            tokens.append(hold.choose(int(scores.argmax()), scores))
            if tokens[-1] == 2:
                break
            hold.take(tokens[-1])
        else:
            if not hold.is_complete:
                continue
        text = tokenizer.decode([token for token in tokens if token != 2], clean_up_tokenization_spaces=False)
        texts.add(text)
        assert holds(schema, text) == [], text
    assert len(texts) > 5


def generator(base: Path, schema: dict[str, Any], *, seed: int, batch_size: int = 64) -> HuggingFaceGenerator:
    tokenizer, model = load_tokenizer(base), load_model(base, dtype="float32")
    torch.manual_seed(seed)
    closing = [token for text, token in tokenizer.get_vocab().items() if text[0] in '",}]' or text == "<|im_end|>"]
    push = torch.zeros(len(tokenizer))
    push[closing] = 0.25
    with torch.no_grad():  # a random model repeats itself for ever: make it wander, and close what it opens
        model.model.embed_tokens.weight.add_(torch.randn_like(model.model.embed_tokens.weight) * 0.05)
    model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + push)
    free = HuggingFaceGenerator(model, tokenizer, ChatRenderer(tokenizer, "tiny"), batch_size=batch_size)
    return free.held_to(schema)


def questions(count: int) -> list[Prompt]:
    words = [
        "Khách",
        "bị",
        "tính",
        "phí",
        "hai",
        "lần,",
        "đơn",
        "hàng",
        "giao",
        "thất",
        "bại,",
        "máy",
        "in",
        "hỏng,",
        "VPN,",
        "laptop",
    ]
    return [Prompt(f"p{n}", (("user", " ".join(words[n % 7 : n % 7 + 1 + n % 5]) + f" {n}"),)) for n in range(count)]


@pytest.mark.parametrize("name", ["support", "nested", "arrays", "values"])
def test_a_models_replies_are_held_and_cuts_are_said(tiny_base: Path, name: str) -> None:
    schema, answers = SCHEMAS[name], list[Completion]()
    for seed in range(3):
        answers += ask(generator(tiny_base, schema, seed=seed), questions(24), max_new_tokens=70)
    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert len(ended) > 10
    for answer in ended:
        assert holds(schema, answer.text) == [], answer.text
        assert answer.completion_tokens <= 70
    for answer in answers:
        if answer.finish_reason != "stop":
            assert (answer.finish_reason, answer.completion_tokens) == ("length", 70)
            assert holds(schema, answer.text)


def test_letters_are_written_as_they_are_and_nothing_is_padded_with_spaces(tiny_base: Path) -> None:
    answers = ask(generator(tiny_base, SUPPORT, seed=1), questions(24), max_new_tokens=60)
    assert any("thanh toán" in answer.text or "vận" in answer.text or "tài" in answer.text for answer in answers)
    for answer in answers:
        assert answer.text.startswith('{"team":"')
        if answer.finish_reason == "stop":
            value = json.loads(answer.text)
            assert json.dumps(value, ensure_ascii=False, separators=(",", ":"))[:60] == answer.text[:60]


def test_a_held_batch_equals_one_by_one(tiny_base: Path) -> None:
    together = ask(generator(tiny_base, SUPPORT, seed=2), questions(6), max_new_tokens=30)
    alone = ask(generator(tiny_base, SUPPORT, seed=2, batch_size=1), questions(6), max_new_tokens=30)
    assert [(one.text, one.finish_reason) for one in together] == [(one.text, one.finish_reason) for one in alone]


def test_the_best_token_of_all_is_taken_where_it_is_allowed() -> None:
    """The shortcut (no mask where the best token is allowed) chooses what the whole mask would."""
    tokenizer = train_tokenizer()
    constraint = Constraint(SUPPORT, tokenizer, vocab_size=len(tokenizer))
    noise = np.random.default_rng(0)
    hold, taken = constraint.begin({2}), 0
    for _ in range(200):
        scores = noise.normal(size=len(tokenizer))
        chosen = hold.choose(int(scores.argmax()), scores)
        never = next(iter(tokenizer.added_tokens_decoder))  # a special token is never allowed: the mask is made
        assert hold.choose(never, scores) == chosen
        hold.take(chosen)
        taken += 1
        if hold.is_complete:
            hold = constraint.begin({2})
    assert taken == 200


@pytest.mark.parametrize(
    ("schema", "places"),
    [
        ({"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True}, ["/uniqueItems"]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, ["expected an object of named properties"]),
        (
            {"type": "object", "properties": {"a": True, "b": {"type": "string", "format": "email"}}},
            ["/properties/a", "/properties/b/format"],
        ),
        ({"type": "integer", "not": {"const": 3}}, ["/not"]),
        ({}, ["expected a type"]),
        ({"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, ["holds itself"]),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, ["/allOf"]),
        ({"type": "object", "anyOf": [{"type": "null"}]}, ["/anyOf"]),
    ],
)  # fmt: skip
def test_what_cant_be_held_is_refused_by_name(schema: dict[str, Any], places: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        decoding_schema(schema)
    assert len(caught.value.problems) == len(places)
    for place in places:
        assert place in str(caught.value)


def test_what_llguidance_refuses_is_a_configuration_error() -> None:
    impossible = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}
    for schema in (impossible, {"type": "string", "pattern": "^(?!no)[a-z]+$"}):
        with pytest.raises(ConfigError, match="can't be held to the schema"):
            Constraint(schema, train_tokenizer(), vocab_size=512)


def test_long_bounds_are_left_to_validation_and_short_ones_are_held() -> None:
    long = {"type": "string", "maxLength": LONGEST_HELD + 1}
    assert decoding_schema(long) == {"type": "string"}
    assert decoding_schema({"type": "string", "maxLength": LONGEST_HELD})["maxLength"] == LONGEST_HELD
    assert "maxLength" in long, "the schema itself is left as it is"


def test_the_digest_says_what_is_held_and_in_which_order() -> None:
    turned = {**SUPPORT, "properties": dict(reversed(SUPPORT["properties"].items()))}
    assert constraint_digest(SUPPORT) == constraint_digest({**SUPPORT, "title": "Another"})
    assert len({constraint_digest(SUPPORT), constraint_digest(turned), constraint_digest(SCHEMAS["nested"])}) == 3


def test_a_missing_package_is_said_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'loren\[constrained\]'"):
        Constraint(SUPPORT, train_tokenizer(), vocab_size=512)


def test_every_stop_token_may_end_a_whole_reply(tiny_base: Path) -> None:
    tokenizer, model = load_tokenizer(tiny_base), load_model(tiny_base, dtype="float32")
    model.generation_config.eos_token_id = [0, 2]
    stops = stop_token_ids(model, tokenizer)
    hold = Constraint({"type": "integer"}, tokenizer, len(model.lm_head.weight)).begin(stops)
    scores = np.zeros(len(tokenizer))
    scores[0] = 9
    first = hold.choose(0, scores)
    assert first not in stops, "nothing is written yet"
    digit = tokenizer.convert_tokens_to_ids("7")
    hold.take(digit)
    assert hold.choose(0, scores) == 0
