"""Where it fails: slices, words, replies learned by heart. Laws, planted weaknesses, simulations in which nothing is wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from loren.scoring.memorised import Reuse, outcome_gap, overfit_gaps, verbatim_reuse
from loren.scoring.slices import (
    FEWEST_ROWS,
    Question,
    ScoreLine,
    failed_situations,
    shown_label,
    slice_results,
    slices_of,
    weak_slices,
)
from loren.scoring.stats.exchange import exchanged
from loren.scoring.words import MIN_SITUATIONS, Asked, shared_words

FEW = 199
METRIC = "all_labels"


def line(number: int, situation: str, outcome: float, **slices: str) -> ScoreLine:
    return {
        "id": f"{number:04}",
        "situation": situation,
        "line": number,
        "slices": {"situation": situation, **slices},
        "arms": {"adapter": {METRIC: outcome}},
    }


def golden_lines(outcome: Sequence[float], *, labels: int = 4, wordings: int = 3, lengths: int = 3) -> list[ScoreLine]:
    """Situations of some wordings; labels belong to situations, lengths to wordings."""
    return [
        line(number, f"s{number // wordings}", value, label=f"L{number // wordings % labels}", length=f"W{number % lengths}")
        for number, value in enumerate(outcome)
    ]


def clustered(generator: np.random.Generator, situations: int, wordings: int, share: float) -> list[float]:
    """Rows of a situation fail together: half of the situations are easy and half hard."""
    lean = generator.beta(share * 2, (1 - share) * 2, size=situations)
    return (generator.random((situations, wordings)) < lean[:, None]).astype(float).ravel().tolist()


def test_the_slices_of_rows() -> None:
    texts = [
        "Tôi chưa nhận được hàng",
        "don hang cua em dau roi",
        "where is the parcel that I ordered from you",
        "mk sai",
        "Cho mình hỏi phí đổi trả của đơn này với",
        "hello",
    ]
    labels = ('"billing"', '"high"')
    found = slices_of([Question(text, labels, f"s{n}") for n, text in enumerate(texts)], language="vi-VN")
    assert [each.get("diacritics") for each in found] == ["with", "without", None, "without", "with", "without"]
    assert [each["length"] for each in found] == ["medium", "medium", "long", "short", "long", "short"]
    assert {each["label"] for each in found} == {"billing / high"}
    assert [each["situation"] for each in found] == [f"s{n}" for n in range(6)]
    english = slices_of([Question(text, (), "s") for text in texts], language="en")
    assert [each.get("diacritics") for each in english] == ["with", "without", None, None, "with", None]
    assert all("label" not in each for each in english)


def test_questions_of_one_length_have_no_slice_of_it() -> None:
    assert slices_of([Question("a b", (), "s")] * 3, language="en") == [{"situation": "s"}] * 3
    assert slices_of([], language="en") == []


def test_a_label_is_shown_as_people_read_it() -> None:
    assert shown_label(('"a b"', "7", "", "true", '["x"]')) == 'a b / 7 / - / true / ["x"]'
    assert len(shown_label((f'"{"x" * 500}"',))) < 80


def test_a_planted_weak_slice_is_found_and_no_other() -> None:
    generator = np.random.default_rng(1)
    lines = golden_lines(clustered(generator, 80, 3, 0.9))
    for each in lines:
        if each["slices"]["label"] == "L2":
            each["arms"]["adapter"][METRIC] = float(generator.random() < 0.4)
    weak = weak_slices(lines, "adapter", METRIC)
    assert [(each.name, each.value) for each in weak] == [("label", "L2")]
    result = weak[0]
    assert (result.rows, result.situations) == (60, 20)
    assert result.total == sum(each["arms"]["adapter"][METRIC] for each in lines if each["slices"]["label"] == "L2")
    assert result.interval.low <= result.share <= result.interval.high < result.rest_share
    assert result.p_value <= result.adjusted_p <= 0.05
    assert set(result.to_json()) == {
        "slice", "value", "metric", "rows", "right", "share", "rest_share", "low", "high", "p_value", "adjusted_p",
    }  # fmt: skip


def test_a_weak_slice_within_situations_is_found() -> None:
    """The short wording of each situation fails: a test of whole situations would not see it."""
    generator = np.random.default_rng(4)
    lines = golden_lines(clustered(generator, 60, 3, 0.9))
    for each in lines:
        if each["slices"]["length"] == "W1":
            each["arms"]["adapter"][METRIC] = float(generator.random() < 0.5)
    assert [(each.name, each.value) for each in weak_slices(lines, "adapter", METRIC)] == [("length", "W1")]


def test_means_have_slices_too_without_a_count_of_right_rows() -> None:
    generator = np.random.default_rng(3)
    lines = golden_lines((0.8 + 0.1 * generator.random(180)).tolist())
    for each in lines:
        each["arms"]["adapter"][METRIC] -= 0.3 * (each["slices"]["label"] == "L1")
    weak = weak_slices(lines, "adapter", METRIC, kind="mean", draws=FEW)
    assert [each.value for each in weak] == ["L1"]
    assert "right" not in weak[0].to_json()
    assert weak[0].interval.low < weak[0].share < weak[0].interval.high


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_the_order_of_rows_is_irrelevant_and_outcomes_that_are_all_alike_show_nothing(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    outcomes = (generator.random(72) < share).astype(float).tolist()
    lines = golden_lines(outcomes)
    shuffled = random.Random(seed).sample(lines, len(lines))
    results = slice_results(lines, "adapter", METRIC, draws=FEW)
    assert results == slice_results(shuffled, "adapter", METRIC, draws=FEW)
    assert len(results) == 7
    assert all(0 < each.p_value <= each.adjusted_p <= 1 for each in results)
    assert failed_situations(lines, "adapter", METRIC) == failed_situations(shuffled, "adapter", METRIC)
    if len(set(outcomes)) == 1:
        assert weak_slices(lines, "adapter", METRIC, draws=FEW) == []
        assert {each.p_value for each in results} == {1.0}


def test_small_slices_single_situations_and_missing_outcomes_are_not_tested() -> None:
    lines = golden_lines([0.0] * 9 + [1.0] * 60, labels=23)
    assert {each.name for each in slice_results(lines, "adapter", METRIC, draws=FEW)} == {"length"}
    assert slice_results(lines, "base", METRIC, draws=FEW) == []
    assert slice_results([], "adapter", METRIC, draws=FEW) == []
    one_situation = [line(n, "s" if n < 20 else f"t{n}", n >= 20, label="a" if n < 20 else "b") for n in range(60)]
    assert slice_results(one_situation, "adapter", METRIC, draws=FEW) == []
    assert [(each.situation, each.rows, each.total) for each in failed_situations(one_situation, "adapter", METRIC)] == [
        ("s", 20, 0)
    ]
    assert FEWEST_ROWS == 8


@pytest.mark.parametrize("wordings", [1, 3])
def test_where_nothing_is_wrong_slices_are_called_weak_in_no_more_than_alpha(wordings: int) -> None:
    generator = np.random.default_rng(20_260_101)
    simulations = 600
    found = 0
    for _ in range(simulations):
        lines = golden_lines(clustered(generator, 120 // wordings, wordings, 0.8), wordings=wordings)
        found += bool(weak_slices(lines, "adapter", METRIC, draws=FEW))
    assert 0.01 * simulations <= found <= 0.065 * simulations


def test_dealt_outcomes_stay_in_situations_of_their_size() -> None:
    outcomes, situations = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0], ["a", "a", "b", "b", "c", "d"]
    dealt = np.concatenate(list(exchanged(outcomes, situations, draws=4_000)))
    assert dealt.shape == (4_000, 6)
    assert {tuple(row) for row in dealt[:, :4]} == {(1, 1, 0, 0), (0, 0, 1, 1)}
    assert {tuple(row) for row in dealt[:, 4:]} == {(1, 0), (0, 1)}
    assert abs(dealt[:, 0].mean() - 0.5) < 0.03
    within = np.concatenate(list(exchanged([1.0, 0.0, 0.0], ["a"] * 3, draws=3_000)))
    assert abs(within.mean(axis=0) - 1 / 3).max() < 0.03


VOCABULARY = [f"tu{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(300)]


def asked(generator: np.random.Generator, failed: Sequence[float], *, wordings: int) -> list[Asked]:
    """Questions whose wordings share half of their words."""
    rows: list[Asked] = []
    for number, outcome in enumerate(failed):
        if number % wordings == 0:
            topic = generator.choice(VOCABULARY, 6).tolist()
        text = " ".join([*topic, *generator.choice(VOCABULARY[:60], 6).tolist()])
        rows.append(Asked(f"{number:04}", f"s{number // wordings}", text, bool(outcome)))
    return rows


def test_a_planted_word_and_a_planted_pair_are_found_and_no_other() -> None:
    generator = np.random.default_rng(5)
    rows = asked(generator, clustered(generator, 70, 3, 0.15), wordings=3)
    for place in range(0, 60, 2):
        said = "hoàn tiền" if place % 4 else "voucher"
        rows[place] = rows[place]._replace(text=f"{rows[place].text} {said}, giúp", failed=place % 10 != 0)
    found = shared_words(rows)
    assert {word.word for word in found} == {"hoàn tiền", "voucher", "giúp"}
    word = next(each for each in found if each.word == "voucher")
    assert (word.failing + word.passing, word.of_failing + word.of_passing) == (15, 210)
    assert word.ratio > 5
    assert word.adjusted_p <= 0.05
    assert set(word.to_json()) >= {"word", "failing", "of_failing", "passing", "of_passing", "ratio"}
    assert shared_words(random.Random(1).sample(rows, len(rows))) == found


def test_words_of_all_rows_of_none_and_of_few_situations_are_not_told() -> None:
    rows = [Asked(str(n), f"s{n}", "xin chào", True) for n in range(40)]
    assert shared_words(rows) == []
    assert shared_words([row._replace(failed=False) for row in rows]) == []
    assert shared_words([]) == []
    few = [Asked(str(n), f"s{n % 2 if n < 20 else n}", "lan" if n < 20 else "khác", n < 20) for n in range(60)]
    assert [word.word for word in shared_words(few)] == []
    assert MIN_SITUATIONS == 3


def test_no_number_no_personal_data_and_no_secret_is_told() -> None:
    private = ["số 0912 345 678", "mail lan.thu@shop-vi-du.vn", "mật khẩu là Canary@1995x", "đơn DH20457 và 7712"]
    rows = [
        Asked(str(n), f"s{n}", f"em cần giúp, {private[n % 4]} nhé" if n < 40 else f"cảm ơn shop {n}", n < 40) for n in range(120)
    ]
    told = {word.word for word in shared_words(rows)}
    assert "em cần" in told or "cần giúp" in told
    said = " ".join(told)
    assert not any(character.isdigit() for character in said)
    assert not any(part in said for part in ("lan", "thu", "canary", "dh", "@", "vi-du"))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.booleans()), max_size=12))
def test_any_text_is_read_and_its_order_is_irrelevant(rows: list[tuple[str, bool]]) -> None:
    said = [Asked(str(n), f"s{n // 2}", text, failed) for n, (text, failed) in enumerate(rows)]
    assert shared_words(said, alpha=1.0, draws=FEW) == shared_words(said[::-1], alpha=1.0, draws=FEW)


@pytest.mark.parametrize("wordings", [1, 3])
def test_where_nothing_is_wrong_words_are_told_in_no_more_than_alpha(wordings: int) -> None:
    generator = np.random.default_rng(7)
    simulations = 150
    found = 0
    for _ in range(simulations):
        rows = asked(generator, clustered(generator, 90 // wordings, wordings, 0.25), wordings=wordings)
        found += bool(shared_words(rows, draws=FEW))
    # Four standard errors above: Fisher's p alone, over rows, would tell a word in most of the clustered ones.
    assert found <= 0.05 * simulations + 4 * (0.05 * 0.95 * simulations) ** 0.5


def test_the_words_p_is_fishers() -> None:
    from loren.scoring.words import _log_p_table

    table = _log_p_table(100, 20, np.array([5, 9]))
    assert np.exp(table[0, 4]) == pytest.approx(hypergeom.sf(3, 100, 20, 5))
    assert np.exp(table[1, 0]) == pytest.approx(1)


REPLY = "Mình đã ghi nhận yêu cầu của bạn, bạn vui lòng gửi mã đơn hàng để mình kiểm tra nhé."


def test_replies_said_again() -> None:
    training = [REPLY, "Ngắn thôi."]
    replies = [
        REPLY.upper().replace(" ", "  "),
        "ngắn thôi.",
        f"Dạ vâng. {REPLY[10:62]} mai.",
        f"Dạ vâng. {REPLY[10:58]} mai.",
        "Một câu trả lời hoàn toàn khác, không ai từng viết như thế trong tệp huấn luyện này cả.",
    ]
    reuse = verbatim_reuse(replies, training)
    assert reuse == Reuse(replies=5, equal=2, reused=2)
    assert reuse.to_json() == {"replies": 5, "equal": 2, "equal_share": 0.4, "reused": 2, "share": 0.4}
    assert verbatim_reuse([], training).to_json()["share"] == 0
    assert verbatim_reuse(replies, []) == Reuse(5, 0, 0)
    with pytest.raises(ValueError, match="1 character"):
        verbatim_reuse(replies, training, characters=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab ", max_size=14), max_size=6), st.lists(st.text("ab ", max_size=14), max_size=6), st.integers(1, 6))
def test_reuse_is_what_a_search_for_every_piece_finds(replies: list[str], training: list[str], characters: int) -> None:
    said, known = ([" ".join(text.split()) for text in texts] for texts in (replies, training))
    reused = sum(
        any(text[start : start + characters] in other for other in known for start in range(len(text) - characters + 1))
        for text in said
    )
    assert verbatim_reuse(replies, training, characters=characters) == Reuse(len(said), sum(text in known for text in said), reused)


def test_the_gap_is_newcombes_and_changes_its_sign_with_its_sides() -> None:
    """Newcombe 1998, table II, example (a): 56 of 70 and 48 of 80, 0.0524 to 0.3339."""
    train = [(f"a{n}", float(n < 56)) for n in range(70)]
    golden = [(f"b{n}", float(n < 48)) for n in range(80)]
    gap = outcome_gap(train, golden)
    assert (gap.train, gap.golden, gap.difference) == pytest.approx((0.8, 0.6, 0.2))
    assert gap.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    back = outcome_gap(golden, train)
    assert back.interval == pytest.approx((-gap.interval.high, -gap.interval.low))
    assert set(gap.to_json()) == {"train", "golden", "gap", "low", "high"}
    with pytest.raises(ValueError, match="both sides"):
        outcome_gap([], golden)


def test_gaps_are_told_for_metrics_that_both_sides_have() -> None:
    train, golden = golden_lines([1.0] * 30), golden_lines([1.0, 0.0, 0.5] * 10)
    gaps = overfit_gaps(train, golden, "adapter", {METRIC: "mean", "parses": "share"})
    assert list(gaps) == [METRIC]
    assert gaps[METRIC].difference == pytest.approx(0.5)
    assert 0 < gaps[METRIC].interval.low < 0.5 < gaps[METRIC].interval.high <= 1


def test_the_interval_of_a_gap_holds_the_truth_with_situations_that_fail_together() -> None:
    generator = np.random.default_rng(11)
    simulations = 1_000
    held = 0
    for _ in range(simulations):
        sides = [
            [(f"s{place // 3}", value) for place, value in enumerate(clustered(generator, situations, 3, share))]
            for situations, share in ((50, 0.85), (60, 0.7))
        ]
        interval = outcome_gap(*sides).interval
        held += interval.low <= 0.15 <= interval.high
    assert 0.93 <= held / simulations <= 0.975
