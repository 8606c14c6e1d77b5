"""Every way that we know in which a file of chats can be wrong, each on a line of its own; and every way in which it is right.

A bad line must be an error of that line and of no other; a good one must be none, and no warning.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from loren.data.check import check_file

U, A, S = (
    '{"role": "user", "content": "Open?"}',
    '{"role": "assistant", "content": "Yes."}',
    '{"role": "system", "content": "Be brief."}',
)


def row(*messages: str, more: str = "") -> str:
    return '{"messages": [' + ", ".join(messages) + "]" + more + "}"


def said(content: str, role: str = "user") -> str:
    return f'{{"role": "{role}", "content": {content}}}'


BAD: list[str | bytes] = [
    # syntax
    row(U, A)[:-1],
    row(U, A)[:40],
    row(U, A) + ",",
    row(U, A) + row(U, A),
    row(U, A) + " // note",
    "# note",
    "null",
    "true",
    "7",
    '"text"',
    "[]",
    f"[{U}, {A}]",
    f"[{row(U, A)}]",
    json.dumps(row(U, A)),
    row(U, A).replace('"', "'"),
    row(U, A).replace('"', "\u201c"),
    row(U, A + ","),
    row(U, A).replace("]", ",]"),
    row(U, A).replace("Yes.", "Yes.\n").encode(),
    row(U, A).replace("Yes.", "Yes.\t"),
    row(U, A).replace("Yes.", "\\x41"),
    row(U, A).replace("Yes.", '"Yes."'),
    row(U, A).replace("Yes.", "\\"),
    "{messages: []}",
    "{}",
    row(U, A, more=', "id": NaN'),
    row(U, A, more=', "id": -Infinity'),
    row(U, A, more=', "id": 1e999'),
    row(U, A, more=', "id": 01'),
    row(U, A, more=', "id": ' + "9" * 500),
    row(U, A, more=', "id": 1, "id": 2'),
    row(U, A, more=', "messages": []'),
    row(said('"Open?", "content": "Closed?"'), A),
    row(U, A).replace("Yes.", "\\ud83d"),
    row(U, A, more=', "id": ' + "[" * 70 + "]" * 70),
    row(U, A).replace("Open?", "Caf\u00e9").encode("latin-1"),
    row(U, A).encode("utf-16-le"),
    b"\xef\xbb\xbf" + row(U, A).encode(),
    b"PK\x03\x04" + bytes(30),
    row(U, A).encode().replace(b"Yes.", b"\xed\xa0\x80"),
    row(U, A).encode().replace(b"Yes.", b"\xc0\xaf"),
    row(U, A).encode().replace(b"Yes.", b"\x00"),
    b"\x00",
    row(U, A).encode().replace(b"Yes.", b"a" * (4 << 20)),
    "undefined",
    "<html>",
    # the row
    '{"id": 1}',
    '{"Messages": []}',
    '{"messages ": []}',
    '{"message": []}',
    '{"messages": null}',
    '{"messages": ""}',
    '{"messages": []}',
    '{"messages": {}}',
    json.dumps({"messages": f"[{U}, {A}]"}),
    '{"messages": 1}',
    row(f"[{U}, {A}]"),
    '{"conversations": []}',
    '{"prompt": "Open?", "completion": "Yes."}',
    '{"text": "Open? Yes."}',
    row(U, A, more=', "situation": ""'),
    row(U, A, more=', "customer": []'),
    row(U, A, more=', "conversation": 1.5'),
    row(U, A, more=', "tools": [{}]'),
    row(U, A, more=', "functions": [{}]'),
    row(U, A, more=', "parallel_tool_calls": true'),
    row(U, A, more=', "images": ["a.png"]'),
    row(U, A, more=', "prompt": "Open?", "completion": "No."'),
    '{"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []}',
    '{"prompt": "Open?", "chosen": "Yes.", "rejected": "No."}',
    # a message
    row("null", A),
    row("[]", A),
    row('"Open?"', A),
    row("{}", A),
    row('{"role": "user"}', A),
    row('{"content": "Open?"}', A),
    row('{"user": "Open?"}', A),
    row('{"from": "human", "value": "Open?"}', A),
    row('{"Role": "user", "Content": "Open?"}', A),
    row('{"role": "user", "text": "Open?"}', A),
    row('{"role": "user", "content ": "Open?"}', A),
    *[
        row(said('"Open?"', role), A)
        for role in (
            "User",
            "USER",
            " user",
            "user ",
            "human",
            "customer",
            "bot",
            "developer",
            "",
            "tool",
            "function",
            "us\u0435r",
            "user\u200b",
            "\u4eba",
        )
    ],
    row('{"role": null, "content": "Open?"}', A),
    row('{"role": 1, "content": "Open?"}', A),
    row('{"role": ["user"], "content": "Open?"}', A),
    *[
        row(said(content), A)
        for content in (
            "null",
            "1",
            "true",
            "[]",
            "{}",
            '["Open?"]',
            '{"text": "Open?"}',
            '[{"type": "text", "text": "Open?"}]',
            '[{"type": "image_url", "image_url": {"url": "a.png"}}]',
            '""',
            '" "',
            '"\\n\\t\\r"',
            '"\\u00a0"',
            '"\\u200b\\ufeff"',
            '"\\u3000"',
            '"\\u2800"',
            '"\\u3164"',
            '"\\u0000"',
            '"\\u2063"',
            '"\\ufe0f"',
            '"\\u202e\\u2066"',
            '"\\udb40\\udc41"',
        )
    ],
    *[row(U, said(content, "assistant")) for content in ("null", "1", "[]", "{}", '""', '" "', '"\\u200d"')],
    row(said('""', "system"), U, A),
    row(said("null", "system"), U, A),
    *[row(U, A.replace("}", f', "weight": {weight}}}')) for weight in ("2", "-1", "0.5", "true", "null", '"1"', "[1]", "0")],
    row(U, A.replace("}", ', "tool_calls": [{"id": "a"}]}')),
    row(U, '{"role": "assistant", "content": null, "function_call": {"name": "x"}}'),
    # the order
    row(U),
    row(A),
    row(S),
    row(S, U),
    row(S, A),
    row(U, U, A),
    row(U, A, A),
    row(A, U, A),
    row(U, A, U),
    row(U, S, A),
    row(S, S, U, A),
    row(U, A, S),
    row(S, A, U, A),
    row(U, A, S, U, A),
    row(U, U),
    row(A, A),
]

GOOD: list[str | bytes] = [
    row(U, A),
    row(S, U, A),
    row(U, A, U, A),
    row(S, U, A, U, A),
    "  " + row(U, A) + " \t",
    row(U, A) + "\r",
    row(U, A).replace(" ", ""),
    row(U, A).replace(": ", " : "),
    row(U, A, more=', "id": 7'),
    row(U, A, more=', "id": "a-1"'),
    row(U, A, more=', "id": null'),
    row(U, A, more=', "situation": "s", "customer": 1, "conversation": "c"'),
    row(U, A, more=', "situation": null'),
    '{"id": 1, "messages": [' + f"{U}, {A}]}}",
    row('{"content": "Open?", "role": "user"}', A),
    row(U, A.replace("}", ', "weight": 1}')),
    row(U, A.replace("}", ', "weight": 0}'), U, A),
    row(U, A, U, A.replace("}", ', "weight": 0}')),
    *[
        row(said(content), A)
        for content in (
            '"?"',
            '"0"',
            '"null"',
            '" Open? "',
            '"\\n\\nOpen?"',
            '"Open?\\r\\nNow?"',
            '"\\ud83d\\ude00"',
            '"😀"',
            '"M\u1edf c\u1eeda ch\u01b0a \u1ea1?"',
            '"Mơ\u0309 cu\u031b\u0309a?"',
            '"a\u2028b"',
            '"{\\"a\\": 1}"',
            '"[1, 2]"',
            '"a\\u0000b"',
            '"\\\\"',
            '"\\/"',
            '"say \\"messages\\": []"',
            '"x\\":y"',
            '"```python\\nprint(1)\\n```"',
            '"\u0645\u0631\u062d\u0628\u0627"',
            '"\u4f60\u597d"',
            '"\u200bOpen?"',
        )
    ],
    row(U, said('"```json\\n{}\\n```"', "assistant")),
    row(U, said('"{\\"a\\": NaN}"', "assistant")),
    row(U, said('"Không ạ."', "assistant")),
    row(U, A).replace("Yes.", "a" * 100_000),
    row(*[U, A] * 200),
]


def test_bad_lines_are_errors_and_good_lines_are_nothing(tmp_path: Path) -> None:
    bad = {item if isinstance(item, bytes) else item.encode() for item in BAD}
    good = [item if isinstance(item, bytes) else item.encode() for item in GOOD]
    assert len(bad) >= 150
    lines = [*good * 9, *bad]
    random.Random(1).shuffle(lines)
    expected = {number for number, line in enumerate(b"\n".join(lines).split(b"\n"), start=1) if line in bad or _is_half(line)}
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    report = check_file(path, minimum_rows=0)
    found = {issue.line for issue in report.issues if issue.severity == "error"}
    source = path.read_bytes().split(b"\n")
    assert [source[number - 1][:200] for number in sorted(expected - found)] == []
    assert [source[number - 1][:200] for number in sorted(found - expected)] == []
    shape = ("D0", "D1", "D2")  # what texts hold is for the other rules
    assert {issue.line for issue in report.issues if issue.severity == "warning" and issue.rule.startswith(shape)} <= expected


def _is_half(line: bytes) -> bool:
    """The two halves of the row whose text holds a raw line break."""
    return line.endswith(b'"content": "Yes.') or line == b'"}]}'


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\n", b"\n \t\n"])
@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\n\n", b"\n  \r\n"])
def test_line_ends_and_blank_lines_are_nothing(tmp_path: Path, between: bytes, end: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(between.join([row(U, A).encode()] * 10) + end)
    report = check_file(path)
    assert report.rows == 10
    assert {issue.rule for issue in report.issues} == {"D505"}  # ten times the same row


@pytest.mark.parametrize(
    "line", [line for line in BAD if isinstance(line, str) and '"completion"' not in line and line != f"[{row(U, A)}]"][::6]
)
def test_a_bad_line_alone_is_found(tmp_path: Path, line: str) -> None:
    """The format is detected from the file: one bad row must not make it another format's good one."""
    path = tmp_path / "rows.jsonl"
    path.write_text(line, encoding="utf-8")
    found = {(issue.line, issue.rule == "D914") for issue in check_file(path, minimum_rows=0).issues if issue.severity == "error"}
    assert found in ({(1, False)}, {(0, True)})  # D914: no row of the file has fields that are read
