"""Rows of other formats: what they become, where their faults are, and which format a file is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loren.data.check import check_file
from loren.data.formats.shapes import PAIRS, Shape, parse_shape, shape_of
from loren.data.formats.source import translator
from loren.data.load import load_rows
from loren.data.report import CheckReport
from loren.errors import ConfigError

HUMAN: dict[str, Any] = {"from": "human", "value": "Open?"}
GPT: dict[str, Any] = {"from": "gpt", "value": "Yes."}
USER: dict[str, Any] = {"role": "user", "content": "Open?"}
REPLY: dict[str, Any] = {"role": "assistant", "content": "Yes."}
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}


def check(folder: Path, *rows: object, format_in: str | None = None) -> CheckReport:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return check_file(path, minimum_rows=0, format_in=format_in)


def messages_of(row: dict[str, Any], shape: Shape | None = None) -> Any:
    translate = translator(shape or shape_of(row) or Shape("messages"))
    assert translate is not None
    translated = translate(row)
    assert translated.breaches == []
    assert translated.row is not None
    return translated.row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"conversations": [HUMAN, GPT], "id": "a"}, {"messages": [USER, REPLY], "id": "a"}),
        ({"conversations": [HUMAN, GPT], "system": "Be brief."}, {"messages": [SYSTEM, USER, REPLY]}),
        ({"conversations": [HUMAN, GPT], "system": "", "tools": ""}, {"messages": [USER, REPLY]}),
        ({"conversations": [{"from": "system", "value": "Be brief."}, HUMAN, GPT]}, {"messages": [SYSTEM, USER, REPLY]}),
        (
            {"conversations": [{"from": "user", "value": "Open?"}, {"from": "chatgpt", "value": "Yes."}]},
            {"messages": [USER, REPLY]},
        ),
        ({"conversations": [USER, REPLY]}, {"messages": [USER, REPLY]}),
        ({"conversation": [HUMAN, GPT]}, {"messages": [USER, REPLY]}),
        ({"conversations": [HUMAN, {**GPT, "weight": 0, "note": 1}]}, {"messages": [USER, {**REPLY, "weight": 0, "note": 1}]}),
        ({"instruction": "Open?", "output": "Yes."}, {"messages": [USER, REPLY]}),
        ({"instruction": "Open?", "input": "", "output": "Yes.", "topic": "x"}, {"messages": [USER, REPLY], "topic": "x"}),
        (
            {"instruction": "Translate.", "input": "Mở cửa?", "output": "Open?"},
            {"messages": [{"role": "user", "content": "Translate.\nMở cửa?"}, {"role": "assistant", "content": "Open?"}]},
        ),
        (
            {"instruction": "Open?", "input": None, "output": "Yes.", "system": "Be brief.", "history": [["Hi.", "Hello."]]},
            {
                "messages": [
                    SYSTEM,
                    {"role": "user", "content": "Hi."},
                    {"role": "assistant", "content": "Hello."},
                    USER,
                    REPLY,
                ]
            },
        ),
        ({"instruction": "", "input": "Open?", "output": "Yes."}, {"messages": [USER, REPLY]}),
        ({"instruction": "Open?", "context": "", "response": "Yes."}, {"messages": [USER, REPLY]}),
        *[({question: "Open?", reply: "Yes.", "n": 1}, {"messages": [USER, REPLY], "n": 1}) for question, reply in PAIRS],
        ({"prompt": "Open?", "completion": "Yes.", "system": "Be brief."}, {"messages": [SYSTEM, USER, REPLY]}),
        ({"prompt": [SYSTEM, USER], "completion": [REPLY]}, {"messages": [SYSTEM, USER, REPLY]}),
        ({"prompt": " Open?\n\n###\n\n", "completion": " Yes. END"}, None),
    ],
)
def test_a_row_becomes_a_row_of_messages(row: dict[str, Any], expected: dict[str, Any] | None) -> None:
    if expected is None:  # texts stay as they are, to the last space
        assert [message["content"] for message in messages_of(row)["messages"]] == [*row.values()]
    else:
        assert messages_of(row) == expected


def test_fields_of_other_names_are_named_by_the_user(tmp_path: Path) -> None:
    row = {"cau_hoi": "Mở cửa chưa?", "tra_loi": "Rồi ạ."}
    shape = parse_shape("prompt-completion:cau_hoi, tra_loi")
    assert [message["content"] for message in messages_of(row, shape)["messages"]] == [*row.values()]
    report = check(tmp_path, row, format_in="prompt-completion:cau_hoi,tra_loi")
    assert (report.errors, report.warnings) == (0, 0)
    assert report.read_as is not None
    assert report.read_as.title == "prompt/completion (cau_hoi, tra_loi), JSONL"


@pytest.mark.parametrize("name", ["", "Sharegpt", "messages:a,b", "prompt-completion:a", "prompt-completion:a,a", "csv", "x" * 500])
def test_a_format_that_there_is_not(name: str) -> None:
    with pytest.raises(ConfigError, match="expected one of messages, openai, sharegpt") as caught:
        parse_shape(name)
    assert len(str(caught.value)) < 400


def test_openais_parts_and_developer_are_taken_where_the_format_is_named(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Open?"}, {"type": "text", "text": "Call 0912 345 678."}]
    row = {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}, REPLY]}
    report = check(tmp_path, row, format_in="openai")
    assert [(issue.rule, issue.path) for issue in report.issues] == [("D302", "/messages/1/content/1/text")]
    assert {issue.rule for issue in check(tmp_path, row).issues} == {"D106", "D108"}  # a slip of the pen, where it is not
    mixed = {"messages": [{"role": "user", "content": [*parts, {"type": "image_url"}]}, REPLY]}
    assert [issue.rule for issue in check(tmp_path, mixed, format_in="openai").issues] == ["D122"]


SHAREGPT_FAULTS: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"conversations": "x"}, [("D102", "/conversations")]),
    ({"conversations": []}, [("D103", "/conversations")]),
    ({"conversations": ["x", GPT]}, [("D104", "/conversations/0")]),
    ({"conversations": [{"value": "Open?"}, GPT]}, [("D105", "/conversations/0")]),
    ({"conversations": [{"from": "customer", "value": "Open?"}, GPT]}, [("D106", "/conversations/0/from")]),
    ({"conversations": [{"from": ["human"], "value": "Open?"}, GPT]}, [("D106", "/conversations/0/from")]),
    ({"conversations": [HUMAN, {"from": "gpt"}]}, [("D107", "/conversations/1")]),
    ({"conversations": [HUMAN, {"from": "gpt", "value": None}]}, [("D108", "/conversations/1/value")]),
    ({"conversations": [HUMAN, {"from": "gpt", "value": " "}]}, [("D109", "/conversations/1/value")]),
    ({"conversations": [HUMAN]}, [("D111", "/conversations")]),
    ({"conversations": [GPT, HUMAN, GPT]}, [("D115", "/conversations/0/from")]),
    ({"conversations": [HUMAN, HUMAN, GPT]}, [("D113", "/conversations/1/from")]),
    ({"conversations": [HUMAN, GPT, HUMAN]}, [("D114", "/conversations/2/from")]),
    (
        {"conversations": [HUMAN, {"from": "function_call", "value": "{}"}, {"from": "observation", "value": "1"}, GPT]},
        [("D121", "/conversations/1/from"), ("D121", "/conversations/2/from")],
    ),
    ({"conversations": [HUMAN, GPT], "tools": "[{}]"}, [("D121", "/tools")]),
    ({"conversations": [HUMAN, GPT], "images": ["door.png"]}, [("D122", "/images")]),
    ({"conversations": [HUMAN, GPT], "system": 7}, [("D108", "/system")]),
    ({"conversations": [HUMAN, GPT], "system": " "}, [("D109", "/system")]),
    (
        {"conversations": [{"from": "system", "value": "Be kind."}, HUMAN, GPT], "system": "Be brief."},
        [("D112", "/conversations/0/from")],
    ),
    ({"conversations": [{**HUMAN, "role": "user"}, GPT]}, [("D123", "/conversations/0/role")]),
    ({"conversations": [HUMAN, {**GPT, "weight": 2}]}, [("D116", "/conversations/1/weight")]),
    ({"conversations": [HUMAN, {**GPT, "weight": 0}]}, [("D117", "/conversations")]),
    ({"conversations": [HUMAN, GPT], "situation": []}, [("D118", "/situation")]),
    ({"conversations": [HUMAN, GPT], "topic": "x"}, [("D119", "")]),
    ({"conversations": [{**HUMAN, "name": "x"}, GPT]}, [("D120", "/conversations/0")]),
    (
        {"conversations": [{"from": "human", "value": "a@b.vn"}, GPT], "system": "c@d.vn"},
        [("D301", "/system"), ("D301", "/conversations/0/value")],
    ),
    (
        {"conversations": [{"from": "human", "value": "a@b.vn"}, {"from": "bot ", "value": "Yes."}]},
        [("D106", "/conversations/1/from"), ("D301", "/conversations/0/value")],
    ),
    ({"chat": [HUMAN, GPT]}, [("D101", "")]),
]

ALPACA_FAULTS: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"output": "Yes."}, [("D107", "")]),
    ({"instruction": "Open?"}, [("D107", "")]),
    ({"instruction": "Open?", "output": ""}, [("D109", "/output")]),
    ({"instruction": "Open?", "output": ["Yes."]}, [("D108", "/output")]),
    ({"instruction": "", "input": "", "output": "Yes."}, [("D109", "/instruction")]),
    ({"instruction": 1, "output": "Yes."}, [("D108", "/instruction")]),
    ({"instruction": "Open?", "input": ["now"], "output": "Yes."}, [("D108", "/input")]),
    ({"instruction": "Open?", "output": "Yes.", "history": "Hi."}, [("D102", "/history")]),
    ({"instruction": "Open?", "output": "Yes.", "history": [["Hi."]]}, [("D104", "/history/0")]),
    ({"instruction": "Open?", "output": "Yes.", "history": [["Hi.", " "]]}, [("D109", "/history/0/1")]),
    (
        {"instruction": "Hello a@b.vn", "input": "or c@d.vn", "output": "e@f.vn"},
        [("D301", "/instruction"), ("D301", "/input"), ("D301", "/output")],
    ),
    ({"instruction": "Open?", "output": "Yes.", "messages": [USER, REPLY]}, [("D123", "/messages")]),
]

PAIR_FAULTS: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"prompt": "Open?"}, [("D107", "")]),
    ({"prompt": "Open?", "completion": None}, [("D108", "/completion")]),
    ({"prompt": "", "completion": "Yes."}, [("D109", "/prompt")]),
    ({"prompt": [], "completion": "Yes."}, [("D103", "/prompt")]),
    ({"prompt": ["Open?"], "completion": "Yes."}, [("D104", "/prompt/0")]),
    ({"prompt": [{"content": "Open?"}], "completion": "Yes."}, [("D105", "/prompt/0")]),
    ({"prompt": [USER], "completion": [{"role": "assistant", "content": " "}]}, [("D109", "/completion/0/content")]),
    ({"prompt": "Call 0912 345 678", "completion": "Yes."}, [("D302", "/prompt")]),
]


@pytest.mark.parametrize(
    ("format_in", "row", "expected"),
    [
        *[("sharegpt", *fault) for fault in SHAREGPT_FAULTS],
        *[("alpaca", *fault) for fault in ALPACA_FAULTS],
        *[("prompt-completion", *fault) for fault in PAIR_FAULTS],
    ],
)
def test_a_fault_is_named_at_the_users_own_field(
    tmp_path: Path, format_in: str, row: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    report = check(tmp_path, {}, row, format_in=format_in)
    assert [(issue.rule, issue.path) for issue in report.issues if issue.line == 2] == expected


def test_a_span_points_into_the_part_that_holds_it(tmp_path: Path) -> None:
    row = {"instruction": "Reply to the mail.", "input": "I am ann@example.com", "output": "Yes."}
    (issue,) = check(tmp_path, row).issues
    assert issue.span is not None
    assert row["input"][slice(*issue.span)] == "ann@example.com"


def test_a_target_in_another_format_is_judged_inside(tmp_path: Path) -> None:
    row = {"prompt": "Open?", "completion": json.dumps({"reply": "Write to ann@example.com"})}
    assert [issue.path for issue in check(tmp_path, row).issues] == ["/completion/reply"]


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([{"messages": [USER, REPLY]}], "messages"),
        ([{"messages": [USER, REPLY], "prompt": "x", "prompt_id": "y"}], "messages"),
        ([{"conversations": [HUMAN, GPT]}], "ShareGPT"),
        ([{"instruction": "Open?", "input": "", "output": "Yes."}], "Alpaca"),
        ([{"prompt": "Open?", "completion": "Yes."}], "prompt/completion"),
        ([{"question": "Open?", "answer": "Yes."}], "prompt/completion (question, answer)"),
        ([{"conversation": "c-1", "prompt": "Open?", "completion": "Yes."}], "prompt/completion"),  # an id
        ([{"conversations": [HUMAN, GPT]}, *[{"messages": [USER, REPLY]}] * 2], "messages"),  # most rows say
        ([{"messages": [USER, REPLY]}, {"conversations": [HUMAN, GPT]}], "messages"),
        ([{}, {"id": 1}, {"conversations": [HUMAN, GPT]}], "ShareGPT"),
        ([{"id": 1}], "messages"),
        ([], "messages"),
    ],
)
def test_the_format_is_detected(tmp_path: Path, rows: list[dict[str, Any]], title: str) -> None:
    report = check(tmp_path, *rows)
    assert report.read_as is not None
    assert report.read_as.title == f"{title}, JSONL"


def test_a_row_of_another_format_in_a_file_is_named_with_it(tmp_path: Path) -> None:
    report = check(tmp_path, {"messages": [USER, REPLY]}, {"messages": [USER, REPLY]}, {"conversations": [HUMAN, GPT]})
    found = [(issue.line, issue.rule, issue.message) for issue in report.issues if issue.severity == "error"]
    assert found == [(3, "D101", "expected the key 'messages', found those of ShareGPT")]


def test_the_users_word_is_taken_over_what_the_rows_look_like(tmp_path: Path) -> None:
    row = {"prompt": "Open?", "completion": "Yes.", "response": "Of course."}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    replies = {
        name: load_rows(path, minimum_rows=0, format_in=name).rows[0].messages[1].content
        for name in ("prompt-completion", "prompt-completion:prompt,response")
    }
    assert [*replies.values()] == ["Yes.", "Of course."]
    assert {issue.rule for issue in check(tmp_path, row, format_in="messages").issues} >= {"D101"}


def test_no_word_of_a_foreign_row_is_in_a_report(tmp_path: Path) -> None:
    word = "Cô Lan ở số 7"
    rows = [
        {"conversations": [{"from": word, "value": word}, {word: word}], word: word},
        {"conversations": [{"from": "human", "value": [word]}, {"from": "gpt", "value": "Yes.", word: 1, "weight": word}]},
        {"conversations": {word: word}, "system": {word: word}},
    ]
    for format_in in ("sharegpt", "alpaca", "openai", "prompt-completion"):
        report = json.dumps(check(tmp_path, *rows, format_in=format_in).to_json(), ensure_ascii=False)
        assert word not in report
