"""General rows: well formed, clean, disjoint from the questions that forgetting is measured with, and chosen in balance."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren.data.check import check_file
from loren.data.replay import REPLAY_FILE, choose_replay, load_replay, read_replay
from loren.data.rows import Message, Row
from loren.data.similar.golden import golden_leaks
from loren.data.similar.ties import ties
from loren.errors import ConfigError, DataContractError
from loren.scoring.guard import KINDS, LANGUAGES, load_guard

FILE = Path(str(resources.files("loren.data").joinpath(REPLAY_FILE)))
ROWS = load_replay()


def good(row_id: str = "en/facts/1") -> dict[str, object]:
    return {"id": row_id, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def test_at_least_150_rows_of_the_kinds_that_are_measured_alike() -> None:
    assert len(ROWS) >= 150
    counts = Counter((each.language, each.kind) for each in ROWS)
    assert set(counts) == {(language, kind) for language in LANGUAGES for kind in KINDS}
    assert len(set(counts.values())) == 1


def test_they_keep_the_data_contract() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text == unicodedata.normalize("NFC", text)
    report = check_file(FILE)
    assert report.rows == len(ROWS)
    # Translations are in another language than their question, and code does not end with a full stop.
    assert {issue.rule for issue in report.issues} <= {"D604", "D605", "D615"}


def test_no_row_is_a_copy_of_a_guard_question_or_of_another_row() -> None:
    questions = [
        Row(number, (Message("user", question.text), Message("assistant", "-")))
        for number, question in enumerate(load_guard().questions, start=1)
    ]
    rows = [each.row for each in ROWS]
    assert golden_leaks(rows, questions) == []
    assert golden_leaks(questions, rows) == []
    assert list(ties([*rows, *questions])) == []
    # The same check finds a copy where there is one.
    copy = Row(1, (Message("user", f"{questions[0].messages[0].content} !"), Message("assistant", "-")))
    assert len(golden_leaks([copy], questions)) == 1


def test_none_are_chosen_unless_asked_for() -> None:
    assert choose_replay(1000, share=0, seed=1) is None


@settings(deadline=None, max_examples=30)
@given(
    train_rows=st.integers(1, 168),
    share=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_choice_has_its_number_is_balanced_and_does_not_depend_on_the_order_of_the_file(
    train_rows: int, share: float, seed: int
) -> None:
    chosen = choose_replay(train_rows, share=share, seed=seed, source=ROWS)
    assert chosen is not None
    assert abs(len(chosen.chosen) - share * train_rows) <= 0.5 or len(chosen.chosen) == 1
    assert len({row.id for row in chosen.rows}) == len(chosen.rows)
    for names, of in ((LANGUAGES, "language"), (KINDS, "kind")):
        counts = Counter(getattr(each, of) for each in chosen.chosen)
        assert max(counts.values()) - min(counts[name] for name in names) <= 1
    again = choose_replay(train_rows, share=share, seed=seed, source=ROWS[::-1])
    assert again == chosen
    assert again is not None
    assert again.to_json() == chosen.to_json()


def test_another_seed_chooses_others() -> None:
    digests = {chosen.sha256 for seed in range(5) if (chosen := choose_replay(200, share=0.1, seed=seed))}
    assert len(digests) == 5


def test_more_than_there_are_is_an_error_with_the_numbers() -> None:
    everything = choose_replay(len(ROWS) * 2, share=0.5, seed=1)
    assert everything is not None
    assert everything.rows == [each.row for each in ROWS]
    with pytest.raises(ConfigError) as caught:
        choose_replay(1000, share=0.5, seed=1)
    text = str(caught.value)
    assert "data.replay" in text
    assert f"asks for 500, and {len(ROWS)} exist" in text
    assert "at most 0.168 " in caught.value.hint


@pytest.mark.parametrize(
    "row",
    [
        {**good(), "more": 1},
        good("facts/1"),
        good("en/facts/one"),
        {"id": "en/facts/1", "messages": []},
        {"id": "en/facts/1", "messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "a"}]},
        {"id": "en/facts/1", "messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "a"}]},
        {"id": "en/facts/1", "messages": ["q", "a"]},
        {"id": 1, "messages": []},
    ],
)
def test_a_line_that_is_no_such_row_is_refused(row: dict[str, object]) -> None:
    data = json.dumps(good("en/facts/9")) + "\n" + json.dumps(row) + "\n"
    with pytest.raises(DataContractError, match=r"replay\.jsonl:2"):
        read_replay(data.encode())


def test_an_id_that_stands_twice_or_a_line_that_is_no_json_is_refused() -> None:
    data = (json.dumps(good()) + "\n") * 2 + "{\n"
    with pytest.raises(DataContractError) as caught:
        read_replay(data.encode())
    assert [problem.place for problem in caught.value.problems] == ["replay.jsonl:2", "replay.jsonl:3"]
