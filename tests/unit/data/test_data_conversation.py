"""The shape of a conversation: every clause of the contract, one case each."""

from __future__ import annotations

from typing import Any

import pytest

from loren.data.conversation import Conversation
from loren.data.conversation import read_conversation as read
from loren.data.rules import Breaches

USER: dict[str, Any] = {"role": "user", "content": "Open?"}
REPLY: dict[str, Any] = {"role": "assistant", "content": "Yes."}
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}


def read_conversation(row: dict[str, Any], *, object_target: bool) -> Conversation:
    return read(row, Breaches(), object_target=object_target)


def found(row: dict[str, Any], *, object_target: bool = False) -> list[tuple[str, str]]:
    return [(breach.rule, breach.path) for breach in read_conversation(row, object_target=object_target).breaches]


@pytest.mark.parametrize(
    "messages",
    [
        [USER, REPLY],
        [SYSTEM, USER, REPLY],
        [USER, REPLY, USER, REPLY],
        [USER, {**REPLY, "weight": 1}],
        [USER, {**REPLY, "weight": 0}, USER, REPLY],
    ],
)
def test_a_good_conversation_breaks_nothing(messages: list[Any]) -> None:
    conversation = read_conversation({"messages": messages, "id": 7}, object_target=False)
    assert list(conversation.breaches) == []
    assert [turn.role for turn in conversation.turns] == [message["role"] for message in messages]
    assert [turn.weight for turn in conversation.turns] == [message.get("weight", 1) for message in messages]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (None, [("messages-not-list", "/messages")]),
        ({"0": USER}, [("messages-not-list", "/messages")]),
        ("x", [("messages-not-list", "/messages")]),
        ([], [("messages-empty", "/messages")]),
        ([USER, "x"], [("message-not-object", "/messages/1")]),
        ([None, REPLY], [("message-not-object", "/messages/0")]),
        ([{"content": "x"}, REPLY], [("role-missing", "/messages/0")]),
        ([{"role": "human", "content": "x"}, REPLY], [("role-unknown", "/messages/0/role")]),
        ([{"role": "User", "content": "x"}, REPLY], [("role-unknown", "/messages/0/role")]),
        ([{"role": ["user"], "content": "x"}, REPLY], [("role-unknown", "/messages/0/role")]),
        ([{"role": {}, "content": "x"}, REPLY], [("role-unknown", "/messages/0/role")]),
        ([{"role": "user"}, REPLY], [("content-missing", "/messages/0")]),
        ([USER, {"role": "assistant", "content": None}], [("content-not-text", "/messages/1/content")]),
        ([USER, {"role": "assistant", "content": ["x"]}], [("content-not-text", "/messages/1/content")]),
        ([USER, {"role": "assistant", "content": {"a": 1}}], [("content-not-text", "/messages/1/content")]),
        ([{"role": "user", "content": 7}, REPLY], [("content-not-text", "/messages/0/content")]),
        ([{"role": "user", "content": ""}, REPLY], [("content-blank", "/messages/0/content")]),
        ([{"role": "user", "content": " \n\u3000\u200b\ufeff"}, REPLY], [("content-blank", "/messages/0/content")]),
        ([SYSTEM, REPLY], [("no-user", "/messages")]),
        ([USER], [("no-assistant", "/messages")]),
        ([SYSTEM, USER], [("no-assistant", "/messages")]),
        ([SYSTEM], [("no-user", "/messages"), ("no-assistant", "/messages")]),
        ([USER, SYSTEM, REPLY], [("system-not-first", "/messages/1/role")]),
        ([SYSTEM, SYSTEM, USER, REPLY], [("system-not-first", "/messages/1/role")]),
        ([USER, USER, REPLY], [("roles-alternate", "/messages/1/role")]),
        ([USER, REPLY, REPLY], [("roles-alternate", "/messages/2/role")]),
        ([REPLY, USER, REPLY], [("user-not-first", "/messages/0/role")]),
        ([USER, REPLY, USER], [("last-not-assistant", "/messages/2/role")]),
        ([USER, REPLY, SYSTEM], [("system-not-first", "/messages/2/role"), ("last-not-assistant", "/messages/2/role")]),
        ([USER, {**REPLY, "weight": 2}], [("weight-invalid", "/messages/1/weight")]),
        ([USER, {**REPLY, "weight": True}], [("weight-invalid", "/messages/1/weight")]),
        ([USER, {**REPLY, "weight": "1"}], [("weight-invalid", "/messages/1/weight")]),
        ([USER, {**REPLY, "weight": None}], [("weight-invalid", "/messages/1/weight")]),
        ([USER, {**REPLY, "weight": [0]}], [("weight-invalid", "/messages/1/weight")]),
        ([USER, {**REPLY, "weight": 0}], [("nothing-to-learn", "/messages")]),
        ([{**USER, "weight": 1}, REPLY], [("unknown-message-key", "/messages/0")]),
        ([USER, {**REPLY, "tool_calls": []}], [("unknown-message-key", "/messages/1")]),
    ],
)
def test_each_fault_is_named_at_its_place(messages: object, expected: list[tuple[str, str]]) -> None:
    assert found({"messages": messages}) == expected


def test_all_faults_of_a_row_are_found_at_once() -> None:
    row = {"messages": [{"role": "user"}, {"role": "bot", "content": 1}, "x"], "custmer": 1, "situation": []}
    assert {rule for rule, _ in found(row)} == {
        "unknown-row-key", "group-id", "content-missing", "role-unknown", "content-not-text", "message-not-object",
    }  # fmt: skip


def test_an_object_is_content_only_as_the_last_message_of_a_task() -> None:
    target = {"role": "assistant", "content": {"a": 1}}
    assert found({"messages": [USER, target]}, object_target=True) == []
    assert found({"messages": [USER, target, USER, REPLY]}, object_target=True) == [("content-not-text", "/messages/1/content")]
    assert found({"messages": [{"role": "user", "content": {"a": 1}}]}, object_target=True)[0][0] == "content-not-text"


def test_a_row_without_messages() -> None:
    assert found({}) == [("messages-missing", "")]
    assert found({"prompt": "x"}) == [("unknown-row-key", ""), ("messages-missing", "")]


@pytest.mark.parametrize(("value", "expected"), [("s-1", "s-1"), (7, "7"), (" s ", "s")])
def test_group_ids_are_texts_or_integers(value: object, expected: str) -> None:
    conversation = read_conversation({"messages": [USER, REPLY], "customer": value, "situation": None}, object_target=False)
    assert conversation.groups == {"customer": expected}
    assert list(conversation.breaches) == []


@pytest.mark.parametrize("value", ["", " ", 1.5, True, [], {}])
def test_other_group_ids_are_refused(value: object) -> None:
    assert found({"messages": [USER, REPLY], "conversation": value}) == [("group-id", "/conversation")]


def test_a_key_is_shown_only_where_it_looks_like_a_field() -> None:
    for key, shown in (("tools", True), ("0912345678", False), ("ann@example.com", False), ("Cô Lan ở số 7", False)):
        (breach,) = read_conversation({"messages": [USER, REPLY], key: 1}, object_target=False).breaches
        assert (key in breach.message) is shown


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ([], None),
        ({"prompt": "x"}, "messages-missing"),
        ({"messages": [{"content": "x"}, REPLY]}, "role-missing"),
        ({"messages": [{"role": "user"}, REPLY]}, "content-missing"),
        ({"messages": [{**USER, "mood": "x"}, REPLY]}, "unknown-message-key"),
        ({"messages": [{"role": "narrator", "content": "x"}, REPLY]}, "role-unknown"),
        ({"messages": [{"role": "user", "content": 1}, REPLY]}, "content-not-text"),
        ({"messages": [USER]}, "no-assistant"),
    ],
)
def test_the_error_classes_of_openais_cookbook(row: Any, rule: str | None) -> None:
    """data_type, missing_messages_list, message_missing_key (two), message_unrecognized_key, unrecognized_role, missing_content,
    example_missing_assistant_message.
    """
    if rule is None:
        from loren.data.decode import decode_line

        assert [breach.rule for breach in decode_line(b"[]").breaches] == ["not-an-object"]
    else:
        assert rule in {name for name, _ in found(row)}
