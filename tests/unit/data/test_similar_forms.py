"""The forms in which texts are the same, and the measure of likeness, against plain Python."""

from __future__ import annotations

import random
import unicodedata

import numpy as np
import pytest

from loren.data.similar.forms import batches, digest, normalised, read_forms, target_digest
from loren.data.similar.pairs import EXACT_TEXTS, NEAR, Collection, near_pairs
from loren.data.similar.shingles import MIN_CHARACTERS, jaccard_of_pairs, joined, read_sets, without
from loren.data.similar.ties import Tied

LONG = "Cho tôi hỏi đơn hàng của tôi đang ở đâu"


def same(one: str, other: str) -> set[str]:
    """The forms that two texts share."""
    forms = read_forms([one, other])
    shared = {name for name in ("plain", "loose") if len(set(getattr(forms, name).tolist())) == 1}
    return shared | ({"exact"} if digest(one) == digest(other) else set())


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (LONG, f"  {LONG.upper()}\n", {"exact", "plain", "loose"}),
        (LONG, unicodedata.normalize("NFD", LONG), {"exact", "plain", "loose"}),
        (LONG, LONG.replace(" ", "\u00a0"), {"exact", "plain", "loose"}),
        (LONG, LONG.replace("đơn", "đơn\u200b"), {"exact", "plain", "loose"}),
        (LONG, "cho toi hoi don hang cua toi dang o dau", {"plain", "loose"}),
        (LONG, f"{LONG}???", {"plain", "loose"}),
        (f"{LONG} 12?", f"{LONG} 3456?", {"loose"}),
        (f"{LONG} 12?", f"{LONG} １２?", {"plain", "loose"}),
        (f"{LONG} 12?", "cho toi hoi don hang 7 cua toi dang o dau", {"loose"}),
        (LONG, LONG.replace("đơn", "kiện"), set()),
        ("mua", "múa", set()),
        ("room 12?", "room 14?", set()),
        ("ma giam gia", "mã giảm giá", {"plain", "loose"}),
        ("मैं किताब खरीदना चाहता हूँ", "मैं कताब खरदना चाहत ह", set()),  # its marks are vowels
        ("Москва слезам не верит, но й", "Москва слезам не верит, но и", {"plain", "loose"}),
        ("😀 how do I send this back?", "😡 how do I send this back?", set()),
        ("x" * 30_000 + "á", "x" * 30_000 + "a", set()),  # too long for any form but the exact one
    ],
)
def test_forms_that_texts_share(one: str, other: str, shared: set[str]) -> None:
    assert same(one, other) == shared


def test_the_digest_agrees_with_the_normalised_text() -> None:
    texts = [LONG, LONG.upper(), "Straße  x", "STRASSE X", "a b", "A\tB", "ab c", "İstanbul", "\ufeffhi", "ΣΑΣ", "σας"]
    for one in texts:
        for other in texts:
            if normalised(one) == normalised(other):
                assert digest(one) == digest(other)
    assert len({digest(text) for text in ("đơn", "don", "dơn", "")}) == 4
    assert target_digest('{"a": "B"}') == target_digest('{"a":"b"}') != target_digest('{"a":"c"}')


def test_texts_without_marks_are_known() -> None:
    texts = [LONG, "cho toi hoi", "café", "d", "đ", "", unicodedata.normalize("NFD", "ế")]
    assert read_forms(texts).unmarked.tolist() == [False, True, False, True, False, True, False]


def test_batches_give_the_same_forms_and_cover_every_text() -> None:
    rng = random.Random(3)
    texts = [sentence(rng) for _ in range(60)] + ["", "\ud800 half"]
    parts = batches(texts, characters=300)
    assert len(parts) > 10
    assert [text for part in parts for text in texts[part]] == texts
    whole = read_forms(texts)
    pieces = [read_forms(texts[part]) for part in parts]
    assert np.concatenate([each.loose for each in pieces]).tolist() == whole.loose.tolist()
    assert joined([read_sets(each) for each in pieces]).pieces.tolist() == read_sets(whole).pieces.tolist()


def sentence(rng: random.Random, length: int = 14) -> str:
    return " ".join("".join(rng.choices("abcdeghiklmnoprstuvxy", k=rng.randint(2, 5))) for _ in range(length))


def edited(text: str, rng: random.Random, words: int) -> str:
    spoken = text.split()
    for _ in range(words):
        spoken[rng.randrange(len(spoken))] = "".join(rng.choices("abcdeghiklmnoprstuvxy", k=4))
    return " ".join(spoken)


def likeness(one: str, other: str) -> float:
    """By the definition, on texts of plain words."""
    first, second = ({text[place : place + 5] for place in range(len(text) - 4)} for text in (one, other))
    return len(first & second) / len(first | second)


def family(rng: random.Random, sources: int) -> list[str]:
    texts = [sentence(rng) for _ in range(sources)]
    return texts + [edited(rng.choice(texts), rng, rng.randint(0, 5)) for _ in range(sources)]


def test_near_copies_are_those_of_the_definition() -> None:
    rng = random.Random(4)
    texts = family(rng, 40)
    sets = read_sets(read_forms(texts))
    expected = {(one, other) for other in range(80) for one in range(other) if likeness(texts[one], texts[other]) >= NEAR}
    found = {pair for pairs in near_pairs(sets, np.arange(80)) for pair in zip(*(side.tolist() for side in pairs), strict=True)}
    assert found == expected
    assert len(expected) > 15
    values = jaccard_of_pairs(sets.take(np.zeros(80, np.int64)), sets)
    assert values.tolist() == pytest.approx([likeness(texts[0], text) for text in texts])


def test_among_many_texts_sketches_find_planted_copies_and_nothing_else() -> None:
    rng = random.Random(5)
    texts = [sentence(rng) for _ in range(EXACT_TEXTS)]
    expected: set[tuple[int, int]] = set()
    for source in range(600):
        copy = edited(texts[source], rng, rng.randint(1, 4))
        if likeness(texts[source], copy) >= NEAR:
            expected.add((source, len(texts)))
            texts.append(copy)
    sets = read_sets(read_forms(texts))
    found: set[tuple[int, int]] = set()
    for first, second in near_pairs(sets, np.arange(len(texts))):
        assert (first < second).all()
        found.update(zip(first.tolist(), second.tolist(), strict=True))
    assert all(likeness(texts[one], texts[other]) >= NEAR for one, other in found)
    assert len(expected) > 150
    assert len(found & expected) >= 0.99 * len(expected)


def test_texts_that_are_tied_already_are_not_compared_and_the_same_are_tied() -> None:
    rng = random.Random(7)
    texts = [edited(source, rng, rng.randint(0, 6)) for source in (sentence(rng) for _ in range(60)) for _ in range(80)]
    sets = read_sets(read_forms(texts))
    order = np.argsort(rng.sample(range(len(texts)), len(texts)))
    tied, all_pairs, compared = Tied(len(texts)), Tied(len(texts)), [0, 0]
    for number, (ties, settled) in enumerate(((all_pairs, None), (tied, tied.are))):
        for first, second in near_pairs(sets, order, settled):
            compared[number] += len(first)
            for one, other in zip(first.tolist(), second.tolist(), strict=True):
                ties.tie(one, other)
    everything = np.arange(len(texts))
    for other in range(0, len(texts), 40):
        others = np.full(len(texts), other)
        assert (tied.are(everything, others) == all_pairs.are(everything, others)).all()
    assert compared[1] < 0.75 * compared[0]


def test_short_texts_are_like_nothing() -> None:
    texts = ["When do you open up?", "When do you open up!", "Where is my order 12?", "Where is my order 13?", "hi", "hi!"]
    sizes = read_sets(read_forms(texts)).sizes.tolist()
    assert [size > 0 for size in sizes] == [len(text.strip("!?")) >= MIN_CHARACTERS for text in texts]


def test_an_instruction_in_every_question_makes_no_copies() -> None:
    rng = random.Random(6)
    instruction = (
        "Classify the following message of a customer as a complaint, a question or praise, and answer with one word only: "
    )
    inputs = [sentence(rng, 6) for _ in range(40)]
    texts = [instruction + text for text in inputs] + [instruction + inputs[0] + " please"]
    assert likeness(texts[0], texts[1]) > NEAR
    sets = read_sets(read_forms(texts))
    pairs = [(one.tolist(), other.tolist()) for one, other in near_pairs(sets, np.arange(len(texts)))]
    assert pairs == [([0], [40])]
    few = sets.take(np.arange(10))
    assert Collection.of(few, np.arange(10)).common.size == 0  # among few texts nothing counts as common
    assert without(sets, sets.pieces).sizes.sum() == 0
