"""Leaks of golden rows, and the groups of a split: one measure for both."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.rows import Message, Row
from loren.data.similar.golden import GoldenIndex, golden_leaks
from loren.data.split import Split, split_rows
from loren.errors import DataContractError
from project import loren

ORDER = "Cho tôi hỏi đơn hàng của tôi đang ở đâu"
LATE = "My parcel was due on Monday and it has still not arrived, what can I do?"
LATE_TOO = "My parcel was due on Monday and it still has not arrived, what can I do?"


def row(line: int, *questions: str, label: str = "", **groups: str) -> Row:
    turns = [message for text in questions for message in (Message("user", text), Message("assistant", "A"))]
    return Row(line, tuple(turns), groups, (label,) if label else ())


@pytest.mark.parametrize(
    ("train", "gold", "rules"),
    [
        (row(3, ORDER), row(7, ORDER.upper()), ["D501"]),
        (row(3, "cho toi hoi don hang cua toi dang o dau?"), row(7, ORDER), ["D510"]),
        (row(3, f"{ORDER} 12"), row(7, f"{ORDER} 3456"), ["D511"]),
        (row(3, LATE), row(7, LATE_TOO), ["D512"]),
        (row(3, LATE, "Thanks"), row(7, LATE_TOO), ["D512"]),
        (row(3, LATE), row(7, LATE_TOO, "Thanks"), ["D512"]),
        (row(3, "Hi", f"{ORDER} 12"), row(7, f"{ORDER} 3456"), ["D511"]),
        (row(3, "A", customer="c"), row(7, "B", customer="c"), ["D513"]),
        (row(3, "A", conversation="c"), row(7, "B", conversation="c"), ["D514"]),
        (row(3, "A", customer="c", situation="s"), row(7, "a", customer="c", situation="s"), ["D501", "D502", "D513"]),
        (row(3, "A", conversation="c"), row(7, "B", customer="c"), []),
        (row(3, "Room 12?"), row(7, "Room 13?"), []),
        (row(3, "mua"), row(7, "múa"), []),
        (row(3, "Thanks"), row(7, LATE, "Thanks"), []),
    ],
)
def test_what_a_training_row_shares_with_a_golden_one(train: Row, gold: Row, rules: list[str]) -> None:
    others = [row(line, f"Quite another question, about matter {line} of many") for line in (1, 2)]
    problems = golden_leaks([train, *others], [gold], file="train.jsonl", golden_file="golden.jsonl")
    assert [problem.rule for problem in problems] == rules
    for problem in problems:
        assert problem.place == "train.jsonl:3"
        assert "golden.jsonl:7" in problem.message
        assert "parcel" not in problem.message


def test_a_row_that_holds_several_golden_questions_names_each() -> None:
    golden = [row(4, ORDER), row(5, LATE), row(6, ORDER)]
    problems = golden_leaks([row(1, LATE_TOO, ORDER)], golden)
    assert [(problem.rule, re.findall(r"golden:\d", problem.message)) for problem in problems] == [
        ("D501", ["golden:4"]), ("D512", ["golden:5"]),
    ]  # fmt: skip


def test_an_index_of_nothing_finds_nothing() -> None:
    assert golden_leaks([row(1, ORDER)], []) == []
    assert GoldenIndex([("g", [Row(1, (Message("assistant", "A"),))])])._places == []


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows), encoding="utf-8")
    return path


def line(question: str, **keys: str) -> dict[str, object]:
    return {**keys, "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "A."}]}


def test_check_against_golden_files_names_both_lines_and_no_text(tmp_path: Path) -> None:
    fill = [line(f"Question {n}") for n in range(9)]
    write(tmp_path / "train.jsonl", *fill, line(LATE), line(f"{ORDER} 12", customer="canary-7"))
    write(tmp_path / "one.jsonl", line("Another one"), line(LATE_TOO))
    write(tmp_path / "two.jsonl", line(f"{ORDER} 3456", customer="canary-7"))
    options = ("--against", "one.jsonl", "--against", "two.jsonl")
    result = loren("check", "train.jsonl", *options, "--format", "json", cwd=tmp_path)
    assert result.returncode == 3
    issues = json.loads(result.stdout)["issues"]
    found = [(issue["line"], issue["rule"], re.findall(r"\w+\.jsonl:\d+", issue["message"])) for issue in issues]
    assert found == [(10, "D512", ["one.jsonl:2"]), (11, "D511", ["two.jsonl:1"]), (11, "D513", ["two.jsonl:1"])]
    assert [issue["path"] for issue in issues] == ["/messages/0/content", "/messages/0/content", "/customer"]
    assert "canary" not in result.stdout + result.stderr
    assert "parcel" not in result.stdout + result.stderr
    result = loren("check", "train.jsonl", "--against", "./train.jsonl", cwd=tmp_path)
    assert (result.returncode, "another file" in result.stderr) == (2, True)
    result = loren("check", "train.jsonl", "--against", "none.jsonl", cwd=tmp_path)
    assert (result.returncode, "none.jsonl" in result.stderr) == (2, True)


def without_marks(text: str) -> str:
    return re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", text)).replace("đ", "d")


SOURCES = (ORDER, LATE, "Tôi muốn đổi địa chỉ giao hàng của đơn số 118", "Do you sell gift cards, and how long are they valid?")


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Few enough rows that nothing is common wording; copies of every kind, some as a turn of a longer row."""
    rows: list[Row] = []
    for number in range(1, draw(st.integers(3, 15)) + 1):
        text = draw(st.sampled_from(SOURCES))
        text += draw(
            st.sampled_from(["", " 12", " 345", "!", " nhé", " please", " and quite something else, which is not asked above"])
        )
        text = draw(st.sampled_from([text, without_marks(text), text.upper(), f"{number * 977} of my questions are of this kind"]))
        turns = draw(st.sampled_from([(text,), (text,), ("Hello", text), (text, "Thank you")]))
        rows.append(row(number, *turns, label=draw(st.sampled_from("xy"))))
    return rows


def try_split(table: list[Row]) -> Split | None:
    try:
        return split_rows(table, eval_ratio=0.3, test_ratio=0.0, seed=1)
    except DataContractError:
        return None


@given(tables())
@settings(max_examples=40, deadline=None)
def test_no_validation_row_leaks_from_training_by_the_measure_of_golden_rows(table: list[Row]) -> None:
    split = try_split(table)
    if split is not None:
        assert golden_leaks(split.train, split.validation) == []
        assert golden_leaks(split.validation, split.train) == []


@given(tables(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_file_does_not_matter_to_copies(table: list[Row], shuffle: random.Random) -> None:
    mixed = list(table)
    shuffle.shuffle(mixed)
    mixed = [Row(number, each.messages, each.groups, each.label) for number, each in enumerate(mixed, start=1)]
    one, two = try_split(table), try_split(mixed)
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        assert sorted(each.id for each in one.validation) == sorted(each.id for each in two.validation)


@given(tables(), tables())
@settings(max_examples=40, deadline=None)
def test_an_appended_copy_moves_at_most_one_other_group_a_stratum(table: list[Row], more: list[Row]) -> None:
    new = Row(len(table) + 1, more[-1].messages, {}, more[-1].label)
    before, after = try_split(table), try_split([*table, new])
    if before is None or after is None:
        return
    group = after.group_ids[new.line]
    joined = {before.group_ids[each.line] for each in table if after.group_ids[each.line] == group}
    if len(joined) > 1:  # it ties groups together that were apart
        return
    was, now = ({each.line for each in split.validation} for split in (before, after))
    moved = {before.group_ids[each.line] for each in table if (each.line in was) != (each.line in now)} - joined
    labels = [[each.label for each in table if before.group_ids[each.line] == each_group] for each_group in moved]
    strata = [min(set(found), key=lambda label, found=found: (-found.count(label), label)) for found in labels]
    assert len(strata) == len(set(strata))


def test_a_split_of_many_rows_keeps_copies_together() -> None:
    rng = random.Random(2)
    spoken = ["".join(rng.choices("abcdeghiklmnoprstuvxy", k=rng.randint(2, 5))) for _ in range(3000)]
    texts = [" ".join(rng.choice(spoken) for _ in range(14)) for _ in range(4200)]
    rows = [row(number, text) for number, text in enumerate(texts, start=1)]
    rows += [row(len(texts) + number, f"{text} {rng.choice(spoken)}") for number, text in enumerate(texts[:300], start=1)]
    split = split_rows(rows, eval_ratio=0.1, test_ratio=0.1, seed=1)
    assert all(split.group_ids[number] == split.group_ids[len(texts) + number] for number in range(1, 301))
    assert len(set(split.group_ids.values())) > 4100
