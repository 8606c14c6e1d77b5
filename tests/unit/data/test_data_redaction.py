"""Redaction: what is found is gone, all else stays, and what can't be redacted is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.check import check_file
from loren.data.pointer import walk
from loren.data.reader import Line
from loren.data.redaction.file import redact_file
from loren.data.redaction.json_text import edit_strings, strings_in
from loren.data.redaction.placeholders import Placeholders
from loren.data.redaction.row import Redactor
from loren.data.redaction.text import redact_text
from loren.errors import ConfigError, DataContractError
from loren.task.definition import Task, load_task
from project import loren

PHONE, OTHER_PHONE, MAIL = "0912" + " 345 678", "0987" + ".654.321", "lan@" + "shop.example.vn"
PASSWORD = "Lan" + "@1995"
TOKEN = "ghp" + "_" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC3"


def row(question: Any, reply: Any = "Dạ vâng.", **more: Any) -> dict[str, Any]:
    return {**more, "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]}


def dump(value: Any, **how: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, **how).encode()


def redacted(value: Any, task: Task | None = None) -> Any:
    result = Redactor(task).redact(Line(1, dump(value)))
    assert result.faults == []
    return json.loads(result.data)


def texts(value: Any) -> list[str]:
    return [message["content"] for message in redacted(value)["messages"]]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    folder.joinpath("task.toml").write_text('name = "t"\nlanguage = "vi"\nversion = "1"\nreply = "/reply"', encoding="utf-8")
    schema = {
        "type": "object",
        "required": ["reply"],
        "properties": {"reply": {"type": "string"}, "phone": {"type": "string", "pattern": "^[0-9 ]+$"}},
        "additionalProperties": {"type": "string"},
    }
    folder.joinpath("schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return load_task(folder)


def test_a_value_has_one_placeholder_in_a_conversation() -> None:
    question = f"Gọi {PHONE} hoặc {OTHER_PHONE}, mail {MAIL}"
    reply = f"Dạ em gọi {PHONE.replace(' ', '.')} (+84{PHONE[1:].replace(' ', '')}) và gửi tới {MAIL.upper()}"
    assert texts(row(question, reply)) == [
        "Gọi <PHONE_1> hoặc <PHONE_2>, mail <EMAIL_1>",
        "Dạ em gọi <PHONE_1> (<PHONE_1>) và gửi tới <EMAIL_1>",
    ]


def test_other_scripts_are_the_same_value() -> None:
    wide = "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in PHONE)
    hidden = "\u200b".join(PHONE.replace(" ", ""))
    assert texts(row(f"{PHONE} / {wide}", f"Số {hidden} ạ"))[1] == "Số <PHONE_1> ạ"


def test_numbers_go_on_after_those_that_are_there() -> None:
    assert texts(row(f"<PHONE_3> và {PHONE}"))[0] == "<PHONE_3> và <PHONE_4>"


def test_secrets_are_replaced_too() -> None:
    assert texts(row(f"mật khẩu là {PASSWORD}, mã {TOKEN}, https://a:{PASSWORD}@b.example/x"))[0] == (
        "mật khẩu là <SECRET_1>, mã <SECRET_2>, https://a:<SECRET_1>@b.example/x"
    )


def test_a_json_target_stays_valid_and_all_else_stays_as_it_was() -> None:
    target = '{ "reply" : "Dạ gọi ' + PHONE + '\\u0021", "n": 1.50, "e": 1E3, "list": ["' + MAIL + '", null], "a/b": "\\u1ea1" }'
    data = b'{"x": 1.0e1,  "messages":[{"role":"user","content":"\\u0041 ' + PHONE.encode() + b'"},'
    data += b'{"content":' + json.dumps(target).encode() + b', "role":"assistant" } ] }'
    result = Redactor().redact(Line(1, data))
    expected = target.replace(PHONE, "<PHONE_1>").replace(MAIL, "<EMAIL_1>").replace("\\u0021", "!")
    assert json.loads(result.data)["messages"][1]["content"] == expected
    head = b'{"x": 1.0e1,  "messages":[{"role":"user","content":"A <PHONE_1>"},{"content":'
    assert result.data.startswith(head)
    assert result.data.endswith(b', "role":"assistant" } ] }')
    assert [(path, item.rule, item.start) for path, item in result.replaced] == [
        ("/messages/0/content", "pii-phone", 2),
        ("/messages/1/content/reply", "pii-phone", 7),
        ("/messages/1/content/list/0", "pii-email", 0),
    ]


def test_object_targets_and_passwords_by_key() -> None:
    value = row("Q?", {"reply": f"Gọi {PHONE}", "password": PASSWORD})
    (reply,) = [redacted(value)["messages"][1]["content"]]
    assert reply == {"reply": "Gọi <PHONE_1>", "password": "<SECRET_1>"}


def test_a_clean_row_is_the_same_bytes() -> None:
    data = b' { "messages" : [ {"role":"user","content":"\\u0110\\u01a1n 1.250.000\xc4\x91" } , '
    data += b'{"role":"assistant","content":"D\xe1\xba\xa1"}]}\t'
    result = Redactor().redact(Line(1, data))
    assert (result.data, result.replaced) == (data, [])


def test_group_ids_tie_rows_in_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    customers = [PHONE, OTHER_PHONE, PHONE, "c-7"]
    path.write_bytes(b"\n".join(dump(row("Q?", customer=customer, note=f"gọi {PHONE}")) for customer in customers))
    redact_file(path, tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [each["customer"] for each in rows] == ["<CUSTOMER_1>", "<CUSTOMER_2>", "<CUSTOMER_1>", "c-7"]
    assert {each["note"] for each in rows} == {"gọi <PHONE_1>"}


def test_findings_of_a_later_round_point_into_the_first_text() -> None:
    text = f"x1{MAIL} mk: x1{MAIL} {PHONE}"
    changed, replaced = redact_text("/messages/0/content", text, Placeholders(""), lambda rule: True)
    assert [text[item.start : item.end] for item in replaced][-1] == PHONE
    assert changed == "".join(piece for piece in rebuild(text, replaced))


def test_findings_after_a_replaced_secret_point_into_the_first_text() -> None:
    text = f"mật khẩu: {PASSWORD}, gọi {PHONE}, mã {TOKEN}, mail {MAIL}"
    _, replaced = redact_text("/messages/0/content", text, Placeholders(""), lambda rule: True)
    assert [text[item.start : item.end] for item in replaced] == [PASSWORD, PHONE, TOKEN, MAIL]


def rebuild(text: str, replaced: Any) -> list[str]:
    pieces, done = [], 0
    for item in replaced:
        assert done <= item.start < item.end <= len(text)
        pieces += [text[done : item.start], item.placeholder]
        done = item.end
    return [*pieces, text[done:]]


def test_the_file_keeps_its_line_numbers_and_the_ledger_holds_places_only(tmp_path: Path) -> None:
    path, out, ledger = tmp_path / "rows.jsonl", tmp_path / "out.jsonl", tmp_path / "ledger.jsonl"
    path.write_bytes(dump(row("Chào")) + b"\r\n\n\n" + dump(row(f"gọi {PHONE} nhé")) + b"\n")
    done = redact_file(path, out, ledger=ledger)
    assert (done.rows, done.changed_rows, dict(done.replaced)) == (2, 1, {"D302": 1})
    assert out.read_bytes() == dump(row("Chào")) + b"\n\n\n" + dump(row("gọi <PHONE_1> nhé")) + b"\n"
    entries = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
    assert entries == [{"line": 4, "pointer": "/messages/0/content", "rule": "D302", "span": [4, 16], "placeholder": "<PHONE_1>"}]


@pytest.mark.parametrize(
    ("value", "place", "rule"),
    [
        (row("Q?", json.dumps({PHONE: "x"})), "/messages/1/content", "D302"),
        (row("Q?", {MAIL: 1}), "/messages/1/content", "D301"),
        ({**row("Q?"), MAIL: 1}, "", "D301"),
        (row("Q?", {"reply": "x", "phone": PHONE}), "/messages/1/content/phone", "D203"),
    ],
)
def test_what_cannot_be_redacted_is_an_error(value: Any, place: str, rule: str, task: Task, tmp_path: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(dump(row("Q?", {"reply": f"x {PHONE}"})) + b"\n" + dump(value) + b"\n")
    with pytest.raises(DataContractError) as caught:
        redact_file(path, out, ledger=tmp_path / "ledger.jsonl", task=task)
    assert (f"rows.jsonl:2  {place}".rstrip(), rule) in [(problem.place, problem.rule) for problem in caught.value.problems]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rows.jsonl"]
    for canary in (PHONE, MAIL):
        assert canary not in str(caught.value)


@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff", b'{"a": 1, "a": "0912345678"}', b'{"messages": NaN}'])
def test_a_line_that_cannot_be_read_is_an_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(dump(row("Q?")) + b"\n" + data)
    with pytest.raises(DataContractError) as caught:
        redact_file(path, tmp_path / "out.jsonl")
    assert all(problem.place.startswith("rows.jsonl:2") for problem in caught.value.problems)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_bytes(dump(row(f"gọi {PHONE}")))
    before = path.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    for target in (path, link):
        with pytest.raises(ConfigError, match="the file that is read"):
            redact_file(path, target)
    with pytest.raises(ConfigError, match="the same"):
        redact_file(path, out, ledger=out)
    with pytest.raises(ConfigError, match="nothing is"):
        redact_file(path, out, ledger=path)
    with pytest.raises(ConfigError, match="JSONL"):
        redact_file(tmp_path / "none.jsonl", out)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.jsonl", "rows.jsonl"]


PIECES = [
    PHONE, OTHER_PHONE, MAIL, PASSWORD, TOKEN, f"mật khẩu: {PASSWORD}", f"https://u:{PASSWORD}@{MAIL}", "mk: ", "password=",
    "token=",
    "<PHONE_1>", "+84", "0", "9", "@", "://", ":", "=", "\u200b", "đơn ", "mã đơn ", " ", ".", "\n", '"', "\\", "{", "}", "aB3",
    "là ",
]  # fmt: skip
dirty = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), min_size=1, max_size=8).map("".join).filter(str.strip)
json_values = st.recursive(
    dirty | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["reply", "password", "a", "token"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(dirty, dirty | json_values.filter(lambda value: isinstance(value, (dict, list))).map(json.dumps), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_result_passes_the_check(question: str, reply: str, ascii_only: bool) -> None:
    data = json.dumps(row(question, reply), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    result = Redactor().redact(Line(1, data))
    if result.faults:  # what can't be redacted is never passed on; here only lone surrogates and blank texts are such
        assert {fault.rule for fault in result.faults} <= {"D001", "D009"}
        return
    again = Redactor().redact(Line(1, result.data))
    assert again.replaced == []
    assert again.data == result.data
    before, after = (json.loads(each) for each in (data, result.data))
    assert [m["role"] for m in before["messages"]] == [m["role"] for m in after["messages"]]
    if not result.replaced:
        assert data == result.data


def test_the_result_of_a_file_passes_the_check(tmp_path: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [row(f"{n}: {piece} {piece}", f"Dạ {piece} ạ") for n, piece in enumerate(PIECES) if piece.strip()]
    path.write_bytes(b"\n".join(map(dump, rows)))
    assert check_file(path, minimum_rows=0).errors >= 10
    redact_file(path, out)
    assert [issue.rule for issue in check_file(out, minimum_rows=0).issues if issue.rule[:2] in {"D3", "D4"}] == []


@given(json_values)
@settings(max_examples=100, deadline=None)
def test_strings_are_found_where_they_are(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        found = [(item.path, item.value) for item in strings_in(text) if not item.is_key]
        assert found == [(path, item) for path, item, _ in walk("", json.loads(text)) if isinstance(item, str)]
        assert edit_strings(text, lambda item: None) == text
        changed = edit_strings(text, lambda item: None if item.is_key else f"<{item.value}>")
        assert [item.value for item in strings_in(changed) if not item.is_key] == [f"<{each}>" for _, each in found]


def test_the_command_line(tmp_path: Path) -> None:
    path, out, ledger = tmp_path / "rows.jsonl", tmp_path / "out.jsonl", tmp_path / "ledger.jsonl"
    path.write_bytes(b"\n".join(dump(row(f"{n}: gọi {PHONE}", situation=f"s{n}")) for n in range(12)))
    done = loren("redact", path, "--out", out, "--ledger", ledger, "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert (value["rows"], value["changed_rows"], value["replaced"]) == (12, 12, {"D302": 12})
    assert len(ledger.read_text(encoding="utf-8").splitlines()) == 12
    assert value["next"] == f"loren check {out}"
    assert loren("check", out, cwd=tmp_path).returncode == 0
    again = loren("redact", path, "--out", out, cwd=tmp_path)
    assert again.returncode == 2
    assert "expected a path where nothing is" in again.stderr
    path.write_bytes(b"{")
    broken = loren("redact", path, "--out", tmp_path / "new.jsonl", cwd=tmp_path)
    assert broken.returncode == 3
    assert "rows.jsonl:1" in broken.stderr
    assert not (tmp_path / "new.jsonl").exists()
