"""The split: nothing that belongs together is separated, and little moves when a row is added."""

from __future__ import annotations

import itertools
import json
import random
import unicodedata
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.rows import Message, Row
from loren.data.similar.forms import normalised
from loren.data.similar.golden import golden_leaks
from loren.data.split import Split, split_rows, thin_training
from loren.errors import ConfigError, DataContractError


def row(line: int, question: str, *, label: str = "x", **groups: str) -> Row:
    return Row(line, (Message("user", question), Message("assistant", f"Answer to {question}")), groups, (label,))


def rows(count: int, *, labels: str = "x") -> list[Row]:
    return [row(n, f"Question {n}", label=labels[n % len(labels)]) for n in range(1, count + 1)]


def parts(split: Split) -> dict[int, str]:
    """Line -> part."""
    named = {"train": split.train, "validation": split.validation, "test": split.test}
    return {each.line: name for name, members in named.items() for each in members}


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Rows with labels, group ids and duplicates."""
    count = draw(st.integers(2, 40))
    ids = st.sampled_from(["", "", *"abcdefgh"])
    found: list[Row] = []
    for line in range(1, count + 1):
        groups = {key: value for key in ("situation", "customer", "conversation") if (value := draw(ids))}
        question = draw(st.sampled_from([f"Question {line}", "Same?", "same? "]))
        label = draw(st.sampled_from("xy"))
        found.append(Row(line, (Message("user", question), Message("assistant", "A")), groups, (label,)))
    return found


def try_split(table: list[Row], *, seed: int = 1, test_ratio: float = 0.0, eval_ratio: float = 0.2) -> Split | None:
    try:
        return split_rows(table, eval_ratio=eval_ratio, test_ratio=test_ratio, seed=seed)
    except DataContractError:
        return None


@given(tables(), st.integers(0, 3), st.sampled_from([0.0, 0.2]))
@settings(max_examples=100, deadline=None)
def test_every_row_is_in_one_part_and_what_is_equal_is_in_the_same(table: list[Row], seed: int, test_ratio: float) -> None:
    split = try_split(table, seed=seed, test_ratio=test_ratio)
    if split is None:
        return
    part = parts(split)
    assert sorted(part) == [each.line for each in table]
    assert len(split.train) + len(split.validation) + len(split.test) == len(table)
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in table:
        seen["text", normalised(each.messages[0].content)].add(part[each.line])
        for key, value in each.groups.items():
            seen[key, value].add(part[each.line])
    assert all(len(names) == 1 for names in seen.values())


@given(tables(), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.2]))
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_file_does_not_matter(table: list[Row], shuffle: random.Random, test_ratio: float) -> None:
    """Lines change with the order, so rows are told apart by their id."""
    mixed = list(table)
    shuffle.shuffle(mixed)
    mixed = [Row(line, each.messages, each.groups, each.label) for line, each in enumerate(mixed, start=1)]
    one, two = try_split(table, test_ratio=test_ratio), try_split(mixed, test_ratio=test_ratio)
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        for name in ("train", "validation", "test"):
            assert sorted(each.id for each in getattr(one, name)) == sorted(each.id for each in getattr(two, name))


def groups_of(table: list[Row]) -> dict[int, frozenset[int]]:
    """Line -> lines of its group, by brute force."""
    group = {each.line: frozenset({each.line}) for each in table}
    changed = True
    while changed:
        changed = False
        for one in table:
            for two in table:
                tied = normalised(one.messages[0].content) == normalised(two.messages[0].content) or any(
                    one.groups.get(key) == value for key, value in two.groups.items()
                )
                if tied and group[one.line] != group[two.line]:
                    union = group[one.line] | group[two.line]
                    changed = True
                    for line in union:
                        group[line] = union
    return group


@given(tables(), tables())
@settings(max_examples=100, deadline=None)
def test_an_appended_row_moves_at_most_one_other_group_a_stratum(table: list[Row], more: list[Row]) -> None:
    new = Row(len(table) + 1, more[-1].messages, more[-1].groups, more[-1].label)
    old_groups, new_groups = groups_of(table), groups_of([*table, new])
    joined = {old_groups[line] for line in new_groups[new.line] - {new.line}}
    before, after = try_split(table), try_split([*table, new])
    if len(joined) > 1 or before is None or after is None:  # it ties groups together that were apart
        return
    was, now = parts(before), parts(after)
    moved = {group for line, group in old_groups.items() if was[line] != now[line] and group not in joined}
    strata = [majority(table, group) for group in moved]
    assert len(strata) == len(set(strata))


def majority(table: list[Row], group: frozenset[int]) -> tuple[str, ...]:
    labels = [each.label for each in table if each.line in group]
    return min(set(labels), key=lambda label: (-labels.count(label), label))


@given(st.integers(3, 60), st.integers(0, 50), st.sampled_from([(0.1, 0.1), (0.2, 0.1), (0.1, 0.3)]))
@settings(max_examples=300, deadline=None)
def test_with_a_test_part_one_group_crosses_each_border_and_none_goes_from_validation_to_test(
    count: int, seed: int, ratios: tuple[float, float]
) -> None:
    before = split_rows(rows(count), eval_ratio=ratios[0], test_ratio=ratios[1], seed=seed)
    after = split_rows(rows(count + 1), eval_ratio=ratios[0], test_ratio=ratios[1], seed=seed)
    was, now = parts(before), parts(after)
    moves = [{was[line], now[line]} for line in was if was[line] != now[line]]
    assert len([move for move in moves if "validation" in move]) <= 1
    assert len([move for move in moves if "test" in move]) <= 1
    assert {"validation", "test"} not in moves


@pytest.mark.parametrize(
    ("count", "ratio", "validation"),
    [(2, 0.1, 1), (3, 0.1, 1), (14, 0.1, 1), (15, 0.1, 2), (100, 0.1, 10), (100, 0.29, 29), (3, 0.9, 2)],
)
def test_validation_gets_its_share_of_groups_and_at_least_one(count: int, ratio: float, validation: int) -> None:
    assert len(split_rows(rows(count), eval_ratio=ratio, test_ratio=0.0, seed=1).validation) == validation


def test_each_label_gets_its_share() -> None:
    split = split_rows(rows(90, labels="xyz"), eval_ratio=0.1, test_ratio=0.2, seed=3)
    for label in "xyz":
        counts = [sum(each.label == (label,) for each in part) for part in (split.train, split.validation, split.test)]
        assert counts == [21, 3, 6]
    assert [stratum.label for stratum in split.strata] == [("x",), ("y",), ("z",)]


def test_a_label_of_one_group_stays_in_training_and_one_of_two_gives_none_to_test() -> None:
    table = [*rows(20), row(21, "Alone", label="y"), row(22, "One", label="z"), row(23, "Two", label="z")]
    split = split_rows(table, eval_ratio=0.1, test_ratio=0.1, seed=1)
    part = parts(split)
    assert part[21] == "train"
    assert sorted((part[22], part[23])) == ["train", "validation"]


def test_the_seed_chooses() -> None:
    def lines(seed: int) -> tuple[int, ...]:
        return tuple(each.line for each in split_rows(rows(50), eval_ratio=0.1, test_ratio=0.0, seed=seed).validation)

    assert len({lines(seed) for seed in range(9)}) == 9
    assert lines(7) == lines(7)


def test_a_part_that_would_be_empty_is_an_error() -> None:
    same = [row(n, f"Question {n}", situation="one") for n in range(1, 11)]
    with pytest.raises(DataContractError, match="validation would be empty"):
        split_rows(same, eval_ratio=0.1, test_ratio=0.0, seed=1)
    with pytest.raises(DataContractError, match="test would be empty"):
        split_rows(rows(2), eval_ratio=0.1, test_ratio=0.1, seed=1)
    assert len(split_rows(same, eval_ratio=0.0, test_ratio=0.0, seed=1).train) == 10


def test_rows_of_one_template_are_said_to_be_copies() -> None:
    template = [row(n, f"Where is my parcel with the number {n}?") for n in range(1, 13)]
    with pytest.raises(DataContractError, match="all 12 rows are one, as copies of each other") as caught:
        split_rows(template, eval_ratio=0.1, test_ratio=0.0, seed=1)
    assert "validation would be empty" in caught.value.problems[0].message
    assert "names the copies" in caught.value.hint
    tied = [row(n, f"Question {n}", situation="one") for n in range(1, 11)]
    with pytest.raises(DataContractError, match="by equal ids"):
        split_rows(tied, eval_ratio=0.1, test_ratio=0.0, seed=1)
    with pytest.raises(DataContractError, match=r"found 2 group\(s\) under 2 label\(s\): validation would be empty"):
        split_rows(rows(2, labels="xy"), eval_ratio=0.1, test_ratio=0.0, seed=1)


@pytest.mark.parametrize("ratios", [(-0.1, 0.0), (0.5, 0.5), (1.0, 0.0)])
def test_ratios_are_shares(ratios: tuple[float, float]) -> None:
    with pytest.raises(ConfigError):
        split_rows(rows(20), eval_ratio=ratios[0], test_ratio=ratios[1], seed=1)


def test_json_holds_digests_and_no_text() -> None:
    table = rows(20, labels="xy")
    split = split_rows(table, eval_ratio=0.2, test_ratio=0.2, seed=1)
    value = split.to_json()
    text = json.dumps(value)
    assert "Question" not in text
    assert "Answer" not in text
    splits = json.loads(text)["splits"]
    assert sum(part["rows"] for part in splits.values()) == 20
    members = [member for part in splits.values() for member in part["members"]]
    assert {(member["line"], member["id"]) for member in members} == {(each.line, each.id) for each in table}
    assert all(len(part["sha256"]) == 64 for part in splits.values())


def golden(line: int, *questions: str, **groups: str) -> Row:
    turns: list[Message] = []
    for question in questions:
        turns += [Message("user", question), Message("assistant", "A")]
    return Row(line, tuple(turns), groups)


@pytest.mark.parametrize(
    ("train", "gold", "rule"),
    [
        (golden(3, "Mở cửa lúc nào?"), golden(7, "mở  CỬA lúc nào? "), "D501"),
        (golden(3, unicodedata.normalize("NFD", "Mở cửa?")), golden(7, "Mở cửa?"), "D501"),
        (golden(3, "Hi", "When open?"), golden(7, "When open?"), "D501"),
        (golden(3, "When open?", "Thanks"), golden(7, "When open?"), "D501"),
        (golden(3, "A", "B"), golden(7, "a", "b"), "D501"),
        (golden(3, "A", situation="s"), golden(7, "B", situation="s"), "D502"),
        (golden(3, "B"), golden(7, "A", "B"), None),
        (golden(3, "Hi", "B"), golden(7, "A", "B"), None),
        (golden(3, "A", customer="s"), golden(7, "B", situation="s"), None),
        (golden(3, "A"), golden(7, "B"), None),
    ],
)
def test_golden_questions_and_situations_in_training_are_named_with_both_lines(train: Row, gold: Row, rule: str | None) -> None:
    problems = golden_leaks([train], [gold], file="train.jsonl", golden_file="golden.jsonl")
    assert [problem.rule for problem in problems] == ([rule] if rule else [])
    for problem in problems:
        assert problem.place == "train.jsonl:3"
        assert "golden.jsonl:7" in problem.message
        assert "open" not in problem.message


@given(count=st.integers(20, 60), shares=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_a_smaller_share_of_the_training_rows_lies_in_a_larger_one(count: int, shares: list[float], seed: int) -> None:
    whole = split_rows(rows(count, labels="xyz"), eval_ratio=0.2, test_ratio=0.1, seed=seed)
    thinned = [thin_training(whole, share) for share in sorted(shares)]
    for smaller, larger in itertools.pairwise([*thinned, whole]):
        assert {row.line for row in smaller.train} <= {row.line for row in larger.train}
        assert (smaller.validation, smaller.test) == (whole.validation, whole.test)
        assert {row.label for row in smaller.train} == {row.label for row in whole.train}
    for share, part in zip(sorted(shares), thinned, strict=True):
        entry: Any = part.to_json()
        groups = sum(stratum["train"] for stratum in entry["strata"])
        assert groups == entry["splits"]["train"]["groups"]
        assert groups <= share * len({whole.group_ids[row.line] for row in whole.train}) + 3  # rounded up in each of three strata
    assert thin_training(whole, 1.0) is whole
    assert "train_share" not in whole.to_json()
