"""Task folders: what is read, what is refused, and what a task says about labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.errors import ConfigError
from loren.task.definition import MAX_FILE_BYTES, Task, load_task

SHIPPED = Path(__file__).parents[3] / "examples" / "support-vi" / "task"
MINIMAL = 'name = "t"\nlanguage = "en"\nversion = "1"\n'
SCHEMA = (
    '{"type": "object", "properties": {"n": {"enum": [7, "007", true]}, "s": {"type": "string"}}, "additionalProperties": false}'
)


def write_task(folder: Path, toml: str = MINIMAL, **files: str) -> Path:
    (folder / "task.toml").write_text(toml, encoding="utf-8")
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def problems_of(folder: Path) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_task(folder)
    return {problem.place: problem.message for problem in caught.value.problems}


def test_the_shipped_task_is_what_its_issue_asks_for() -> None:
    task = load_task(SHIPPED)
    assert (task.name, task.language, task.max_new_tokens) == ("support-vi", "vi", 256)
    assert task.labels == ("/category", "/priority")
    assert task.reply == "/answer"
    assert not task.system_in_training
    assert task.label_space() == (('"billing"', '"shipping"', '"account"'), ('"high"', '"medium"', '"low"'))
    assert {pointer: set(table) for pointer, table in task.label_meanings.items()} == {
        "/category": {"billing", "shipping", "account"},
        "/priority": {"high", "medium", "low"},
    }
    assert task.sanity.shares() == {
        "parses": 1.0, "schema": 1.0, "ended": 1.0, "no_invented_policy": 1.0, "wording": 0.8, "short": 0.8, "next_step": 0.8,
    }  # fmt: skip
    for word in ("category", "priority", "answer", "billing", "shipping", "account", "high", "medium", "low", "JSON"):
        assert word in task.system_prompt


def test_the_system_prompt_of_the_shipped_task_states_nothing_that_a_reply_could_borrow() -> None:
    task = load_task(SHIPPED)
    assert task.entities.states(task.system_prompt) == []


def test_the_shipped_sanity_prompts_are_the_lessons_five() -> None:
    rows = [json.loads(line) for line in (SHIPPED / "sanity.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["messages"][0]["content"] for row in rows] == [
        "Khách báo bị trừ tiền nhưng đơn hàng chưa tạo.",
        "Khách muốn đổi địa chỉ nhận hàng.",
        "Khách quên mật khẩu và không nhận được email khôi phục.",
        "Khách hỏi vì sao mã giảm giá không áp dụng được.",
        "Khách muốn hủy đơn đã bàn giao cho vận chuyển.",
    ]
    assert len({row["id"] for row in rows}) == 5


def test_a_minimal_task_is_free_text(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path))
    assert not task.is_json
    assert task.reply is None
    assert task.label_space() is None
    assert task.label_values("any text") == ()
    assert task.parse("not JSON").value == "not JSON"
    assert task.reply_text("any text") == "any text"
    assert task.system_prompt == ""


def test_the_digest_covers_the_definition_and_not_the_rows(tmp_path: Path) -> None:
    folder = write_task(tmp_path, schema_json=SCHEMA, system_txt="Be kind.")
    first = load_task(folder).digest
    for name in ("golden.jsonl", "sanity.jsonl", "attacks.yaml"):
        (folder / name).write_text("{}", encoding="utf-8")
    assert load_task(folder).digest == first
    digests = {first}
    for name, text in [("system.txt", "Be kinder."), ("schema.json", "{}"), ("wording.toml", ""), ("task.toml", MINIMAL + "#")]:
        (folder / name).write_text(text, encoding="utf-8")
        digests.add(load_task(folder).digest)
    assert len(digests) == 5


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    toml = (
        'name = "a b"\nlanguage = "vietnamese language"\nversion = ""\nlabel = []\nmax_new_tokens = 0\n'
        "[sanity]\nschemas = 1.0\nshort = 0.0\n"
    )
    wording = '[voice]\npolite = ["<nobody>", ""]\n[length]\nmax_words = "many"\n[[statements]]\nreason = "x"\npatterns = []\n'
    (tmp_path / "system.txt").write_bytes(b"\xff\xfe")
    found = problems_of(write_task(tmp_path, toml, wording_toml=wording, schema_json='{"type": 1, "type": 2}'))
    assert set(found) == {
        "task.toml name", "task.toml language", "task.toml version", "task.toml label", "task.toml max_new_tokens",
        "task.toml sanity.schemas", "task.toml sanity.short", "wording.toml length.max_words", "wording.toml statements.0.patterns",
        "schema.json /type", "system.txt",
    }  # fmt: skip
    assert "'labels'" in found["task.toml label"]
    assert "'schema'" in found["task.toml sanity.schemas"]


def test_patterns_that_do_not_compile_are_named_one_by_one(tmp_path: Path) -> None:
    wording = (
        '[groups]\nBad = ["x"]\nempty = []\na = ["x"]\n[voice]\npolite = ["<nobody>", "", "fine", "<empty>", "<a!> <a!>"]\n'
        '[numbers]\nwords = { "two words" = 2 }\nscales = { ten = 1 }\n'
    )
    found = problems_of(write_task(tmp_path, wording_toml=wording))
    assert set(found) == {
        "wording.toml groups.Bad", "wording.toml voice.polite[0]", "wording.toml voice.polite[1]", "wording.toml voice.polite[3]",
        "wording.toml voice.polite[4]", "wording.toml numbers.words.two words", "wording.toml numbers.scales.ten",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ('labels = ["category"]', "task.toml labels"),
        ('labels = ["/n", "/n"]', "task.toml labels"),
        ('labels = [""]', "task.toml labels"),
        ('labels = ["/missing"]', "task.toml labels"),
        ('reply = "/missing"', "task.toml reply"),
        ('reply = "answer"', "task.toml reply"),
        ('labels = ["/n"]\n[label_meanings."/s"]\nx = "x"', "task.toml label_meanings./s"),
        ('labels = ["/n"]\n[label_meanings."/n"]\n7 = "x"\n007 = "y"\ntrue = "z"\nno = "w"', "task.toml label_meanings./n.no"),
        ('labels = ["/n"]\n[label_meanings."/n"]\n7 = "x"', "task.toml label_meanings./n"),
    ],
)
def test_labels_reply_and_schema_must_fit_together(tmp_path: Path, extra: str, place: str) -> None:
    assert place in problems_of(write_task(tmp_path, f"{MINIMAL}{extra}\n", schema_json=SCHEMA))


def test_a_task_without_a_schema_has_no_labels_and_no_reply_pointer(tmp_path: Path) -> None:
    found = problems_of(write_task(tmp_path, MINIMAL + 'labels = ["/n"]\nreply = "/s"\n'))
    assert set(found) == {"task.toml labels", "task.toml reply"}


@pytest.mark.parametrize("text", ["[]", "true", "7", "```json\n{}\n```", "{", '{"$ref": "http://127.0.0.1/x"}'])
def test_a_schema_must_be_a_strict_object(tmp_path: Path, text: str) -> None:
    assert any(place.startswith("schema.json") for place in problems_of(write_task(tmp_path, schema_json=text)))


def test_missing_folder_missing_file_and_a_huge_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found none"):
        load_task(tmp_path / "nowhere")
    assert problems_of(tmp_path) == {"task.toml": "expected this file in the task folder, found none"}
    write_task(tmp_path, MINIMAL + "#" * MAX_FILE_BYTES)
    assert "bytes" in problems_of(tmp_path)["task.toml"]
    write_task(tmp_path, "name = [")
    assert "TOML" in problems_of(tmp_path)["task.toml"]
    write_task(tmp_path, "x = " + "[" * 50_000)
    assert "task.toml" in problems_of(tmp_path)
    (tmp_path / "task.toml").unlink()
    (tmp_path / "task.toml").mkdir()
    assert "task.toml" in problems_of(tmp_path)


def labelled(folder: Path) -> Task:
    return load_task(write_task(folder, MINIMAL + 'labels = ["/n", "/s"]\nreply = "/s"\n', schema_json=SCHEMA))


def test_label_values_tell_types_apart_and_absence(tmp_path: Path) -> None:
    task = labelled(tmp_path)
    values: list[Any] = [
        {"n": 7},
        {"n": "7"},
        {"n": 7.0},
        {"n": True},
        {"n": "007"},
        {"n": None},
        {},
        [],
        None,
        {"n": {"b": 1, "a": 2}},
    ]
    texts = [task.label_values(value)[0] for value in values]
    assert texts == ["7", '"7"', "7.0", "true", '"007"', "null", "", "", "", '{"a": 2, "b": 1}']
    assert task.label_space() == (("7", '"007"', "true"), ())


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.integers(), st.text(max_size=9), st.booleans(), st.none(), st.lists(st.integers(), max_size=3)))
def test_a_label_value_is_the_json_of_the_value(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    task = labelled(tmp_path_factory.mktemp("task"))
    assert json.loads(task.label_values({"n": value})[0]) == value


def test_reply_text_is_a_string_or_nothing(tmp_path: Path) -> None:
    task = labelled(tmp_path)
    assert task.reply_text({"s": "hello"}) == "hello"
    for value in ({"s": 7}, {"s": None}, {}, [], "hello", None):
        assert task.reply_text(value) is None
