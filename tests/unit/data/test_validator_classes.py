"""What the validators of hosted services refuse, our contract finds by a named rule.

Sources: openai-cookbook's Chat_finetuning_data_prep.ipynb; openai-python's legacy _validators.py; Together's page on preparing data
and its client's files.py; Fireworks' fine-tuning page; mistral_common's protocol/instruct/validator.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loren.data.check import check_file

USER: dict[str, Any] = {"role": "user", "content": "Open?"}
REPLY: dict[str, Any] = {"role": "assistant", "content": "Yes."}
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}
CALL: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "hours", "arguments": "{}"}}
GOOD = {"messages": [USER, REPLY]}


def chat(*messages: object, **keys: object) -> dict[str, Any]:
    return {"messages": list(messages), **keys}


CLASSES: list[tuple[str, object, str]] = [
    ("openai: data_type", [USER, REPLY], "not-an-object"),
    ("openai: data_type", "text", "not-an-object"),
    ("openai: missing_messages_list", {"id": 1}, "messages-missing"),
    ("openai: missing_messages_list", {"messages": []}, "messages-empty"),
    ("openai: missing_messages_list", {"messages": None}, "messages-not-list"),
    ("openai: message_missing_key", chat({"content": "Open?"}, REPLY), "role-missing"),
    ("openai: message_missing_key", chat({"role": "user"}, REPLY), "content-missing"),
    ("openai: message_unrecognized_key", chat({**USER, "mood": "x"}, REPLY), "unknown-message-key"),
    ("openai: unrecognized_role", chat({"role": "narrator", "content": "x"}, REPLY), "role-unknown"),
    ("openai: missing_content", chat({"role": "user", "content": ""}, REPLY), "content-blank"),
    ("openai: missing_content", chat({"role": "user", "content": None}, REPLY), "content-not-text"),
    ("openai: missing_content", chat({"role": "user", "content": 7}, REPLY), "content-not-text"),
    ("openai: example_missing_assistant_message", chat(SYSTEM, USER), "no-assistant"),
    ("openai: weight is 0 or 1", chat(USER, {**REPLY, "weight": 0.5}), "weight-invalid"),
    ("openai: no reply is trained on", chat(USER, {**REPLY, "weight": 0}), "nothing-to-learn"),
    ("openai: tools", chat(USER, REPLY, tools=[{"type": "function"}]), "tools-unsupported"),
    ("openai: parallel_tool_calls", chat(USER, REPLY, parallel_tool_calls=False), "tools-unsupported"),
    ("openai: functions", chat(USER, REPLY, functions=[{"name": "hours"}]), "tools-unsupported"),
    ("openai: tool_calls", chat(USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}), "tools-unsupported"),
    ("openai: tool_calls", chat(USER, {"role": "assistant", "tool_calls": [CALL]}), "tools-unsupported"),
    ("openai: function_call", chat(USER, {"role": "assistant", "function_call": CALL["function"]}), "tools-unsupported"),
    ("openai: tool role", chat(USER, {"role": "tool", "tool_call_id": "a", "content": "9-17"}, REPLY), "tools-unsupported"),
    ("openai: function role", chat(USER, {"role": "function", "name": "hours", "content": "9-17"}, REPLY), "tools-unsupported"),
    ("openai: image_url", chat({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, REPLY), "media-unsupported"),
    ("openai: input_audio", chat({"role": "user", "content": [{"type": "input_audio"}]}, REPLY), "media-unsupported"),
    ("together: one JSON object a line", 7, "not-an-object"),
    ("together: starts with system or user", chat(REPLY, USER, REPLY), "user-not-first"),
    ("together: roles alternate", chat(USER, REPLY, REPLY), "roles-alternate"),
    ("together: roles alternate", chat(USER, USER, REPLY), "roles-alternate"),
    ("together: two formats", {**GOOD, "prompt": "Open?", "completion": "Yes."}, "two-formats"),
    ("together: two formats", {**GOOD, "conversations": [{"from": "human", "value": "Open?"}]}, "two-formats"),
    ("together: extra columns", {**GOOD, "text": "Open?"}, "unknown-row-key"),
    ("together: content is a string", chat({"role": "user", "content": {"text": "Open?"}}, REPLY), "content-not-text"),
    ("together: a message is an object", chat("Open?", REPLY), "message-not-object"),
    ("together: messages is a list", {"messages": {"0": USER}}, "messages-not-list"),
    ("together: weight is an integer", chat(USER, {**REPLY, "weight": "1"}), "weight-invalid"),
    ("together: an assistant message", chat(USER), "no-assistant"),
    ("fireworks: system comes first only", chat(USER, SYSTEM, REPLY), "system-not-first"),
    ("fireworks: one system message", chat(SYSTEM, SYSTEM, USER, REPLY), "system-not-first"),
    ("fireworks: weight is 0 or 1", chat(USER, {**REPLY, "weight": 2}), "weight-invalid"),
    ("mistral: last message is the assistant's", chat(USER, REPLY, USER), "last-not-assistant"),
    ("mistral: a conversation is not empty", chat(), "messages-empty"),
    ("mistral: user after system", chat(SYSTEM, REPLY), "no-user"),
    ("mistral: an assistant message has content", chat(USER, {"role": "assistant", "content": " "}), "content-blank"),
    ("mistral: tool-call ids and tool results", chat(USER, {**REPLY, "tool_calls": [CALL]}), "tools-unsupported"),
    ("mistral: a system prompt is text", chat({"role": "system", "content": [1]}, USER, REPLY), "content-not-text"),
    ("databricks: an empty response", chat(USER, {"role": "assistant", "content": "\u200b"}), "content-blank"),
]


@pytest.mark.parametrize(("service", "row", "rule"), CLASSES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_a_service_refuses_is_found_by_its_rule(tmp_path: Path, service: str, row: object, rule: str) -> None:
    from loren.data.rules import all_rules

    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(GOOD), "", json.dumps(row), json.dumps(GOOD)]
    path.write_text("\n".join(lines), encoding="utf-8")
    issues = [issue for issue in check_file(path, minimum_rows=0).issues]
    assert {issue.line for issue in issues} == {3}, service
    assert all_rules()[rule].id in {issue.rule for issue in issues}
    if all_rules()[rule].severity == "error":
        assert [issue.rule for issue in issues if issue.severity == "error"] == [all_rules()[rule].id] * len([
            issue for issue in issues if issue.severity == "error"
        ])


@pytest.mark.parametrize(
    ("name", "body", "rule", "line"),
    [
        ("together: UTF-8", json.dumps(GOOD).encode("utf-16"), "D001", 0),
        ("together: empty file", b"", "D901", 0),
        ("fireworks: at least three rows", (json.dumps(GOOD) + "\n").encode() * 2, "D901", 0),
        ("openai: at least ten rows", (json.dumps(GOOD) + "\n").encode() * 9, "D901", 0),
        ("together: a Parquet file that is none", b"PAR1" + bytes(20), "D912", 1),
        ("openai-python: necessary_column", b'{"prompt": "Q?", "completion": "A."}\n{"prompt": "Q?"}\n', "D107", 2),
        ("openai-python: additional_column", b'{"prompt": "Q?", "completion": "A.", "x": 1}\n', "D119", 1),
        (
            "openai-python: non_empty_field",
            b'{"prompt": "Q?", "completion": "A."}\n{"prompt": "Q?", "completion": ""}\n',
            "D109",
            2,
        ),
        ("openai-python: non_empty_field, CSV", b"prompt,completion\nQ?,A.\nQ?,\n", "D107", 3),
    ],
)
def test_what_a_service_refuses_about_a_file(tmp_path: Path, name: str, body: bytes, rule: str, line: int) -> None:
    path = tmp_path / "rows"
    path.write_bytes(body)
    assert (line, rule) in [(issue.line, issue.rule) for issue in check_file(path).issues], name
