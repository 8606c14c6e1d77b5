"""The general questions: every one can be passed, wrong replies fail, and patterns mean what they say."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loren.data.check import check_file
from loren.errors import DataContractError
from loren.scoring.guard import KINDS, LANGUAGES, GuardQuestion, load_guard, normalise, read_guard, score_guard, summarize_guard

REPLIES = Path(__file__).parent / "guard"
QUESTIONS = {question.id: question for question in load_guard().questions}


def replies(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (REPLIES / name).read_text(encoding="utf-8").splitlines()]


def line(**changes: Any) -> bytes:
    value: dict[str, Any] = {
        "id": "en/facts/1",
        "language": "en",
        "kind": "facts",
        "messages": [{"role": "user", "content": "Which is the largest island?"}],
        "accept": [["greenland"]],
    }
    value |= changes
    return json.dumps({key: part for key, part in value.items() if part is not None}, ensure_ascii=False).encode() + b"\n"


def asked(*accept: list[str], **more: Any) -> GuardQuestion:
    return read_guard({"x": line(accept=list(accept), **more)}).questions[0]


def test_each_language_has_at_least_forty_questions_of_every_kind_alike() -> None:
    for language in LANGUAGES:
        of = [question for question in QUESTIONS.values() if question.language == language]
        assert len(of) >= 40
        counts = {kind: sum(question.kind == kind for question in of) for kind in KINDS}
        assert len(set(counts.values())) == 1


def test_a_good_reply_to_each_question_passes() -> None:
    good = replies("good.jsonl")
    assert sorted(reply["id"] for reply in good) == sorted(QUESTIONS)
    assert [reply["id"] for reply in good if not score_guard(QUESTIONS[reply["id"]], reply["text"], "stop")] == []


def test_a_good_reply_that_was_cut_or_never_came_fails() -> None:
    for reply in replies("good.jsonl"):
        assert score_guard(QUESTIONS[reply["id"]], reply["text"], "length") == 0
        assert score_guard(QUESTIONS[reply["id"]], reply["text"], "error") == 0


def test_bad_replies_fail() -> None:
    bad = replies("bad.jsonl")
    assert len(bad) >= 30
    assert [reply["why"] for reply in bad if score_guard(QUESTIONS[reply["id"]], reply["text"], "stop")] == []


def test_who_says_the_same_to_everything_passes_next_to_nothing() -> None:
    adapter = '{"topic": "other", "reply": "Hello! Paris, 12, seven, print, bus, nước. Cảm ơn bạn, 100."}'
    assert [q.id for q in QUESTIONS.values() if score_guard(q, adapter, "stop")] == []
    for same in ("", "I can't help with that.", "Mình chưa rõ ý bạn.", "Please restart the router and tell me what you see."):
        assert sum(score_guard(q, same, "stop") for q in QUESTIONS.values()) <= 1
    # A greeting may be returned; nothing else is right when it is only repeated.
    assert {q.kind for q in QUESTIONS.values() if score_guard(q, q.text, "stop")} <= {"greeting"}


@pytest.mark.parametrize(
    ("pattern", "reply", "passes"),
    [
        ("12", "It is 12.", True),
        ("12", "It is 12.5.", False),
        ("12", "It is 112.", False),
        ("12", "It is 1,12.", False),
        ("hà nội", "HÀ\n  NỘI!", True),
        ("hà nội", unicodedata.normalize("NFD", "Hà Nội"), True),
        ("hà nội", "hà nộii", False),
        ("a.c", "abc", False),
        (r"re:^\d$", "7", True),
        (r"re:^\d$", "77", False),
    ],
)
def test_patterns(pattern: str, reply: str, *, passes: bool) -> None:
    assert score_guard(asked([pattern]), reply, "stop") == passes


def test_alternatives_rejections_and_objects() -> None:
    question = asked(["cat", "black"], ["feline"], reject=["dog"])
    assert [score_guard(question, text, "stop") for text in ("a black cat", "a cat", "a feline", "a feline dog")] == [1, 0, 1, 0]
    assert score_guard(asked(["cat"]), '{"a": "cat"}', "stop") == 0
    assert score_guard(asked(["cat"], allows_json=True), '{"a": "cat"}', "stop") == 1


@given(st.text())
def test_no_line_of_a_normalised_reply_is_blank_or_has_odd_spaces(text: str) -> None:
    reply = normalise(text)
    assert all(part and part == " ".join(part.split()) for part in reply.split("\n") if reply)
    assert normalise(f"  {text}\t\n \n") == reply


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (line(accept=[]), "accept"),
        (line(accept=[[]]), "accept"),
        (line(accept=None), "accept"),
        (line(accept=[["Greenland"]]), "lower case"),
        (line(accept=[["re:("]]), "regular expression"),
        (line(accept=[["re:x*"]]), "empty reply"),
        (line(accept=[[""]]), "lower case"),
        (line(accept=[[unicodedata.normalize("NFD", "đảo lớn")]]), "NFC"),
        (line(extra=1), "extra"),
        (line(language="fr"), "language"),
        (line(kind="riddles"), "kind"),
        (line(id="vi/facts/1"), "begin with language and kind"),
        (line(id="first"), "id"),
        (line(messages=[]), "messages"),
        (line(messages=[{"role": "system", "content": "x"}]), "role"),
        (line(messages=[{"role": "user", "content": " x "}]), "space around it"),
        (line(allows_json="yes"), "allows_json"),
        (line() + line(), "another one than a question before it"),
        (b'{"id": "a", "id": "b"}\n', "each key once"),
        (b"[]\n", "object"),
        (b"\n", "at least one question"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(data: bytes, found: str) -> None:
    with pytest.raises(DataContractError) as caught:
        read_guard({"some.jsonl": data})
    assert found in str(caught.value)
    assert "some.jsonl" in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(DataContractError) as caught:
        read_guard({"a": line(kind="x") + line(accept=[]), "b": line(extra=1)})
    assert [problem.place for problem in caught.value.problems] == ["a:1", "a:2", "b:1"]


def test_the_digest_is_that_of_questions_and_patterns() -> None:
    digests = {read_guard({"x": data}).sha256 for data in (line(), line(accept=[["java"]]), line(reject=["no"]), line())}
    assert len(digests) == 3


def test_shares_by_language_and_kind() -> None:
    questions = list(QUESTIONS.values())
    summary: dict[str, Any] = summarize_guard(questions, {q.id: int(q.language == "en") for q in questions})
    assert (summary["all"]["count"], summary["all"]["of"], summary["all"]["value"]) == (49, 98, 0.5)
    assert (summary["languages"]["en"]["value"], summary["languages"]["vi"]["value"]) == (1.0, 0.0)
    assert {share["value"] for share in summary["kinds"].values()} == {0.5}
    assert len(summary["groups"]) == 14
    assert 0.4 < summary["all"]["low"] < 0.5 < summary["all"]["high"] < 0.6
    with pytest.raises(ValueError, match="outcome"):
        summarize_guard(questions, {})


def test_the_questions_are_nfc_and_keep_the_data_contract(tmp_path: Path) -> None:
    rows = [(QUESTIONS[reply["id"]].text, reply["text"]) for reply in replies("good.jsonl")]
    lines = [
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}, ensure_ascii=False)
        for q, a in rows
    ]
    text = "".join(f"{line}\n" for line in lines)
    assert text == unicodedata.normalize("NFC", text)
    (tmp_path / "guard.jsonl").write_text(text, encoding="utf-8")
    report = check_file(tmp_path / "guard.jsonl")
    assert report.rows == 98
    assert [issue for issue in report.issues if issue.severity == "error" or issue.rule.startswith(("D3", "D4"))] == []
