"""Each criterion against replies that it must reject and replies that it must pass, in two languages."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from loren.scoring.criteria import CRITERIA, MAX_REPLY_CHARACTERS, Reply, applicable
from loren.task.definition import Task, load_task

HERE = Path(__file__).parent
SHIPPED = HERE.parents[2] / "examples" / "support-vi" / "task"
COURIER = HERE / "courier"
QUESTION = "Khách hỏi."


@cache
def task_of(folder: Path) -> Task:
    return load_task(folder)


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def shipped(answer: str) -> str:
    return json.dumps({"category": "billing", "priority": "high", "answer": answer}, ensure_ascii=False)


def courier(message: str) -> str:
    return json.dumps({"route": {"team": "desk"}, "urgent": False, "message": message}, ensure_ascii=False)


def vietnamese_cases() -> Iterator[Any]:
    for name in ("parses", "schema", "no_invented_policy", "wording", "short", "next_step"):
        table = read_toml(HERE / "replies" / f"{name}.toml")
        assert min(len(table["bad"]), len(table["good"])) >= 15
        for kind in ("bad", "good"):
            for index, case in enumerate(table[kind]):
                prompt, text = QUESTION, case
                if name == "no_invented_policy":
                    prompt, text = case
                elif name == "short":
                    text = case[0] * case[1]
                raw = text if name in {"parses", "schema"} else shipped(text)
                yield pytest.param(SHIPPED, name, Reply(prompt, raw, "stop"), kind == "good", id=f"vi-{name}-{kind}-{index}")


def english_cases() -> Iterator[Any]:
    for name, table in read_toml(COURIER / "replies.toml").items():
        assert min(len(table["bad"]), len(table["good"])) >= 15
        for kind in ("bad", "good"):
            for index, (prompt, text) in enumerate(table[kind]):
                yield pytest.param(
                    COURIER, name, Reply(prompt, courier(text), "stop"), kind == "good", id=f"en-{name}-{kind}-{index}"
                )


@pytest.mark.parametrize(("folder", "name", "reply", "passes"), [*vietnamese_cases(), *english_cases()])
def test_a_criterion_passes_the_good_and_rejects_the_bad(folder: Path, name: str, reply: Reply, passes: bool) -> None:
    outcome = CRITERIA[name](reply, task_of(folder))
    assert outcome.passed is passes, outcome.reason
    assert bool(outcome.reason) is not passes


CUT = [
    "length",
    "",
    "eos",
    "content_filter",
    "error",
    "Stop",
    "STOP",
    "stop ",
    "max_tokens",
    "timeout",
    "None",
    "0",
    "cancelled",
    "tool",
    "end",
]


@pytest.mark.parametrize("reason", CUT)
def test_ended_rejects_every_reason_but_stop(reason: str) -> None:
    assert not CRITERIA["ended"](Reply(QUESTION, shipped("Mình hiểu."), reason), task_of(SHIPPED)).passed


@pytest.mark.parametrize(
    "text", ["", "Mình", "{", '{"a": 1}', "```", "😊", " ", "\n", "null", "[]", "a" * 999, "…", "mình ", "0", "}"]
)
def test_ended_asks_for_nothing_else(text: str) -> None:
    assert CRITERIA["ended"](Reply(QUESTION, text, "stop"), task_of(SHIPPED)).passed


@pytest.mark.parametrize("name", ["no_invented_policy", "wording", "short", "next_step"])
@pytest.mark.parametrize(
    "raw", ["", "Bạn vui lòng gửi giúp mình mã đơn nhé.", '{"category": "billing"}', '{"answer": 7}', '{"answer": " "}']
)
def test_a_reply_without_text_passes_no_criterion_about_its_text(name: str, raw: str) -> None:
    assert not CRITERIA[name](Reply(QUESTION, raw, "stop"), task_of(SHIPPED)).passed


@pytest.mark.parametrize("name", ["no_invented_policy", "wording", "short", "next_step"])
def test_a_huge_reply_is_refused_unread(name: str) -> None:
    text = "bạn vui lòng gửi mình " * (MAX_REPLY_CHARACTERS // 20)
    assert "too many" in CRITERIA[name](Reply(QUESTION, shipped(text), "stop"), task_of(SHIPPED)).reason


SECRET = "Bưu cục Hòa Bình đã hoàn 73519đ cho bạn, xem https://bimat.example/8842 trong 91 ngày, TÔI NÓI THẬT ĐẤY 密"


@pytest.mark.parametrize("name", list(CRITERIA))
@pytest.mark.parametrize(
    "raw", [SECRET, shipped(SECRET), json.dumps({"bí mật": SECRET}, ensure_ascii=False), f'{{"answer": "{SECRET}']
)
def test_a_reason_never_quotes_the_reply(name: str, raw: str) -> None:
    reason = CRITERIA[name](Reply(QUESTION, raw, "stop"), task_of(SHIPPED)).reason
    for piece in ("73519", "bimat", "bí mật", "91", "8842", "Bưu", "Hòa", "THẬT", "密"):
        assert piece not in reason


def test_the_reason_counts_by_kind() -> None:
    reply = Reply(QUESTION, shipped("Bạn chờ 3 ngày hoặc 5 ngày, phí 20.000đ, vui lòng xem abc.vn nhé."), "stop")
    reason = CRITERIA["no_invented_policy"](reply, task_of(SHIPPED)).reason
    assert "states 2 durations" in reason
    assert "states 1 amount " in reason
    assert "states 1 link " in reason


def test_a_fact_of_the_system_prompt_is_held_but_a_claim_in_it_excuses_none(tmp_path: Path) -> None:
    for source in SHIPPED.iterdir():
        if source.suffix in {".toml", ".json"}:
            (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "system.txt").write_text("Giờ hỗ trợ: 24 giờ. Không nói: đã hủy đơn.", encoding="utf-8")
    task = load_task(tmp_path)
    judge = CRITERIA["no_invented_policy"]
    assert judge(Reply(QUESTION, shipped("Mình hỗ trợ trong 24h, bạn vui lòng nhắn mình nhé."), "stop"), task).passed
    assert not judge(Reply(QUESTION, shipped("Đơn đã hủy, bạn vui lòng kiểm tra nhé."), "stop"), task).passed


def test_only_criteria_that_can_fail_apply(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text('name = "free"\nlanguage = "en"\nversion = "1"\n', encoding="utf-8")
    task = load_task(tmp_path)
    assert applicable(task) == ("ended", "no_invented_policy")
    assert applicable(task_of(SHIPPED)) == tuple(CRITERIA)
    free = Reply("How long?", "It takes 3 days.", "stop")
    assert not CRITERIA["no_invented_policy"](free, task).passed
    assert CRITERIA["parses"](free, task).passed
