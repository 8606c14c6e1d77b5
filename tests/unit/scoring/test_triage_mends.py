"""What would mend a failure, by the training rows that are like it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.similar.nearest import Nearest, Neighbour
from loren.scoring.triage import ALIKE, FAR, Example, Failure, Label, Mend, grouped, mend_of

A, B, C, D = ('"a"', "1"), ('"b"', "1"), ('"b"', "2"), ('"c"', "1")
NEAR = st.lists(st.tuples(st.sampled_from([0.05, 0.1, 0.2]), st.sampled_from([A, B])))
COUNTS = {A: 5, B: 5}


def failure(
    *nearest: tuple[float, Label], line: int = 1, fault: str = "label", found: Label | None = B, expected: Label = A
) -> Failure:
    examples = tuple(Example(100 + place, similarity, label) for place, (similarity, label) in enumerate(nearest))
    return Failure(f"id{line}", line, f"s{line}", {"label": expected[0]}, ("all_labels",), fault, expected, found, examples)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "mend"),
    [
        (failure((0.9, A), fault="format", found=None), Mend.FORMAT),
        (failure((0.3, B), (0.2, B)), Mend.GOLDEN),
        (failure((0.3, B), (0.14, B)), Mend.MORE),
        (failure((0.3, C), (0.2, C)), Mend.GOLDEN),
        (failure((0.3, D), (0.2, D)), Mend.MORE),
        (failure((0.3, B), (0.2, A)), Mend.CONFLICT),
        (failure((0.3, A), (0.2, C)), Mend.CONFLICT),
        (failure((0.3, A), (0.2, A)), Mend.MORE),
        (failure((0.3, B), expected=C), Mend.NO_LABEL),
        (failure((FAR - 0.01, A)), Mend.GAP),
        (failure(), Mend.GAP),
        (failure((0.3, A), fault="wording", found=A), Mend.WORDING),
        (failure(fault="wording", found=A), Mend.GAP),
        (failure((0.3, ("",)), (0.3, ())), Mend.MORE),
    ],
)
def test_the_mend_of_a_failure(case: Failure, mend: Mend) -> None:
    assert mend_of(case, COUNTS) is mend
    assert mend_of(case, None) is (mend if mend is Mend.FORMAT else Mend.UNKNOWN)


def test_only_labels_that_differ_count() -> None:
    """The second label was right: a row that has another one there agrees all the same."""
    assert failure(found=B).agrees(Example(1, 0.5, ('"b"', "2"))) == "prediction"
    assert failure(found=B).agrees(Example(1, 0.5, ('"a"', "3"))) == "target"
    assert failure(found=B).agrees(Example(1, 0.5, ('"c"', "1"))) == "neither"
    assert failure(found=None).agrees(Example(1, 0.5, A)) == "target"


def test_groups_are_what_one_mend_touches_and_the_largest_comes_first() -> None:
    failures = [failure((0.3, B), (0.2, A), line=line) for line in (4, 2, 9)]
    failures += [failure(line=7), failure((0.3, A), line=5, expected=B, found=A)]
    groups = grouped(failures, COUNTS)
    assert [(group.mend, group.slice, [each.line for each in group.failures]) for group in groups] == [
        (Mend.CONFLICT, '"a"', [2, 4, 9]),
        (Mend.GAP, '"a"', [7]),
        (Mend.MORE, '"b"', [5]),
    ]
    assert groups[0].lines == [(100, "b / 1", 3), (101, "a / 1", 3)]
    assert groups[0].answered == [("b / 1", 3)]
    assert groups[0].situations == [("s2", 1), ("s4", 1), ("s9", 1)]
    assert groups[0].training_rows == 5
    assert grouped([], COUNTS) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([A, B, C]), NEAR), max_size=12), st.integers(0, 99))
def test_every_failure_is_in_one_group_whatever_their_order(
    cases: list[tuple[Label, list[tuple[float, Label]]]], seed: int
) -> None:
    failures = [
        failure(*sorted(near, reverse=True), line=line, expected=label, found=A if label != A else B)
        for line, (label, near) in enumerate(cases)
    ]
    groups = grouped(failures, COUNTS)
    assert sorted(each.line for group in groups for each in group.failures) == list(range(len(cases)))
    assert groups == grouped(random.Random(seed).sample(failures, len(failures)), COUNTS)
    sizes = [len(group.failures) for group in groups]
    assert sizes == sorted(sizes, reverse=True)


def test_the_nearest_texts_are_those_with_the_most_pieces_in_common() -> None:
    texts = [
        "Tôi chưa nhận được đơn hàng hôm qua",
        "Cho tôi hỏi về thẻ thành viên của shop",
        "mk sai",
        "toi chua nhan duoc don hang!",
    ]
    found = Nearest(texts).find(["TOI CHUA NHAN DUOC DON HANG", "MK  sai", "xyz", "hoàn toàn chuyện khác, quá lạ lùng"], 2)
    assert [each.place for each in found[0]] == [3, 0]
    assert found[0][0].similarity == 1
    assert 0.5 < found[0][1].similarity < 1
    assert found[1] == [Neighbour(2, 1.0)]
    assert found[2] == []
    assert Nearest([]).find(["anything at all that is long enough"], 3) == [[]]
    assert Nearest(texts).find([], 3) == []
    assert ALIKE > FAR


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("abcd ", max_size=60), max_size=12), st.text("abcd ", max_size=60), st.integers(1, 4))
def test_nearest_is_exact(texts: list[str], asked: str, count: int) -> None:
    def pieces(text: str) -> set[str]:
        folded = " ".join(text.split())
        return {folded[place : place + 5] for place in range(len(folded) - 4)} if len(folded) >= 20 else set()

    def likeness(one: str, other: str) -> float:
        first, second = pieces(one), pieces(other)
        letters = ["".join(text.split()) for text in (one, other)]
        same = letters[0] == letters[1]
        return 1.0 if same else len(first & second) / max(1, len(first | second))

    expected = sorted(((-likeness(text, asked), place) for place, text in enumerate(texts)))[:count]
    found = Nearest(texts).find([asked], count)[0]
    assert [(-each.similarity, each.place) for each in found] == [
        (pytest.approx(value), place) for value, place in expected if value < 0
    ]
