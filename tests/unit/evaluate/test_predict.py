"""Predictions with a fake behind the Generator seam: system turns, order, sidecar, and a journal that survives a kill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from loren.errors import ConfigError, IntegrityError
from loren.evaluate.predict import is_current, predict, predict_to_file, read_predictions, sidecar_path
from loren.evaluate.subjects import Subject, open_subject, single_prompt, system_turn, with_lead
from loren.models.protocol import Completion, EchoGenerator, Prompt

IDENTITY = {"base_weights_sha256": "w", "adapter_digest": None, "lead": [], "load_in_4bit": False, "decoding": {}}


def subject(reply: str | None = None, *, system_prompt: str = "") -> Subject:
    lead = system_turn(system_prompt)
    return Subject("fake", EchoGenerator(reply), lead, 50, {**IDENTITY, "lead": [list(turn) for turn in lead]})


def test_answers_keep_their_order_and_a_cut_one_is_counted(tmp_path: Path) -> None:
    prompts = [Prompt("a", (("user", "one two"),)), Prompt("b", (("user", "one two three four"),))]
    result = predict(subject(), prompts, max_new_tokens=3, say=lambda text: None)
    assert [(answer.id, answer.text, answer.finish_reason) for answer in result.completions] == [
        ("a", "one two", "stop"), ("b", "one two three", "length"),
    ]  # fmt: skip
    assert result.cut == 1
    result.write(tmp_path / "x.jsonl")
    assert [json.loads(line)["id"] for line in (tmp_path / "x.jsonl").read_text().splitlines()] == ["a", "b"]
    assert json.loads(sidecar_path(tmp_path / "x.jsonl").read_text())["cut"] == 1


def test_the_key_changes_with_whatever_decides_an_answer() -> None:
    prompts = [Prompt("a", (("user", "one"),))]
    keys = {
        predict(of, asked, max_new_tokens=limit, say=lambda text: None).sidecar["key"]
        for of, asked, limit in (
            (subject(), prompts, 5),
            (subject(system_prompt="s"), prompts, 5),
            (subject(), [Prompt("a", (("user", "two"),))], 5),
            (subject(), prompts, 6),
        )
    }
    assert len(keys) == 4
    again = predict(subject("other text"), prompts, max_new_tokens=5, say=lambda text: None)
    assert again.sidecar["key"] in keys


def test_a_system_turn_is_added_only_where_there_is_none() -> None:
    plain, own = Prompt("a", (("user", "q"),)), Prompt("b", (("system", "mine"), ("user", "q")))
    assert with_lead(plain, system_turn("s")).turns == (("system", "s"), ("user", "q"))
    assert with_lead(own, system_turn("s")) == own
    assert with_lead(plain, ()) == plain


def test_wrong_subjects_are_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="asked through its run folder"):
        open_subject(str(tmp_path), variant=None, task_folder=None, batch_size=1, fetching=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not blank"):
        single_prompt("  ")


class Mortal(EchoGenerator):
    """Dies after some batches; counts what it was asked."""

    def __init__(self, lives: int, reply: str | None = None) -> None:
        super().__init__(reply, batch_size=3)
        self.lives = lives
        self.asked: list[str] = []

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        if self.lives == 0:
            raise KeyboardInterrupt
        self.lives -= 1
        self.asked += [prompt.id for prompt in prompts]
        return super().answer(prompts, max_new_tokens=max_new_tokens)


QUESTIONS = [Prompt(f"p{n}", (("user", f"question {n}"),)) for n in range(10)]


def quiet(text: str) -> None:
    pass


@pytest.mark.parametrize("lives", [0, 1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"batch": 1, "answ', b"\x00\x00", '{"batch": 1, "ơ'.encode()[:-1], b'{"no": 1}'])
def test_who_was_killed_goes_on_and_asks_nothing_twice(tmp_path: Path, lives: int, torn: bytes) -> None:
    path, journal = tmp_path / "x.jsonl", tmp_path / "x.partial.jsonl"
    first, second = Mortal(lives), Mortal(99)
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(Subject("fake", first, (), 50, IDENTITY), QUESTIONS, path, say=quiet)
    assert not path.exists()
    with journal.open("ab") as file:
        file.write(torn)
    said: list[str] = []
    again = predict_to_file(Subject("fake", second, (), 50, IDENTITY), QUESTIONS, path, say=said.append)
    assert sorted(first.asked + second.asked) == sorted(prompt.id for prompt in QUESTIONS)
    assert [answer.text for answer in again.completions] == [f"question {n}" for n in range(10)]
    assert list(read_predictions(path)) == [prompt.id for prompt in QUESTIONS]
    assert not journal.exists()
    assert ("were answered before" in " ".join(said)) == (lives > 0)
    assert is_current(path, IDENTITY, QUESTIONS, max_new_tokens=50)
    assert not is_current(path, {**IDENTITY, "adapter_digest": "x"}, QUESTIONS, max_new_tokens=50)


def test_a_journal_of_other_questions_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(Subject("fake", Mortal(2), (), 50, IDENTITY), QUESTIONS, path, say=quiet)
    second = Mortal(99)
    predict_to_file(
        Subject("fake", second, (("system", "s"),), 50, {**IDENTITY, "lead": [["system", "s"]]}), QUESTIONS, path, say=quiet
    )
    assert len(second.asked) == len(QUESTIONS)


@pytest.mark.parametrize("line", ["x", "[]", '{"id": "a"}', '{"id": "a", "text": "", "more": 1}'])
def test_a_damaged_predictions_file_is_named_by_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.jsonl"
    predict_to_file(Subject("fake", EchoGenerator(), (), 50, IDENTITY), QUESTIONS, path, say=quiet)
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(IntegrityError, match=r"x\.jsonl:11"):
        read_predictions(path)
    path.write_text(path.read_text().splitlines()[0] * 1 + "\n" + path.read_text().splitlines()[0] + "\n")
    with pytest.raises(IntegrityError, match="a second one"):
        read_predictions(path)


def test_an_answer_may_hold_every_kind_of_line_end(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d\x0be\rf\ng"
    path = tmp_path / "x.jsonl"
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(Subject("fake", Mortal(1, text), (), 50, IDENTITY), QUESTIONS, path, say=quiet)
    predict_to_file(Subject("fake", Mortal(99, text), (), 50, IDENTITY), QUESTIONS, path, say=quiet)
    assert {answer.text for answer in read_predictions(path).values()} == {text}
