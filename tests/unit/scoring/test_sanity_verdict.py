"""The verdict over several replies: thresholds, and what is never a pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loren.errors import ConfigError
from loren.runs.files import encode_json
from loren.scoring.criteria import CRITERIA, Reply
from loren.scoring.sanity import judge, needed
from loren.task.definition import load_task

HERE = Path(__file__).parent
SHIPPED = HERE.parents[2] / "examples" / "support-vi" / "task"
PROMPTS = [
    json.loads(line)["messages"][0]["content"] for line in (SHIPPED / "sanity.jsonl").read_text(encoding="utf-8").splitlines()
]
GOOD = [
    "Mình đã ghi nhận việc bạn bị trừ tiền khi đơn hàng chưa tạo. Vui lòng cung cấp mã giao dịch để mình kiểm tra.",
    "Mình đã ghi nhận yêu cầu đổi địa chỉ nhận hàng. Vui lòng cung cấp mã đơn hàng và địa chỉ mới để mình kiểm tra.",
    "Mình rất tiếc vì bạn chưa nhận được email khôi phục. Bạn xem giúp mình hộp thư rác và nhắn mình nhé.",
    "Mình đã ghi nhận mã giảm giá không áp dụng được. Bạn gửi giúp mình ảnh chụp thông báo lỗi và tên chương trình nhé.",
    "Mình đã ghi nhận yêu cầu hủy đơn đã bàn giao cho vận chuyển. Bạn vui lòng cung cấp mã đơn hàng để mình kiểm tra khả năng hủy.",
]


def replies(answers: list[str], finish_reason: str = "stop") -> list[Reply]:
    return [
        Reply(prompt, json.dumps({"category": "billing", "priority": "high", "answer": answer}, ensure_ascii=False), finish_reason)
        for prompt, answer in zip(PROMPTS, answers, strict=True)
    ]


def test_good_replies_to_the_lessons_prompts_pass() -> None:
    verdict = judge(replies(GOOD), load_task(SHIPPED))
    assert verdict.passed
    assert [(r.name, r.met, r.needed, r.total) for r in verdict.criteria] == [
        ("parses", 5, 5, 5), ("schema", 5, 5, 5), ("ended", 5, 5, 5), ("no_invented_policy", 5, 5, 5),
        ("wording", 5, 4, 5), ("short", 5, 4, 5), ("next_step", 5, 4, 5),
    ]  # fmt: skip
    assert verdict.not_applicable == ()


def failing(verdict_of: list[Reply]) -> list[str]:
    return [result.name for result in judge(verdict_of, load_task(SHIPPED)).criteria if not result.passed]


def test_one_bad_reply_breaks_the_first_four_and_two_break_the_others() -> None:
    assert failing(replies(["Gửi mã giao dịch cho mình.", *GOOD[1:]])) == []
    assert failing(replies(["Gửi mã giao dịch cho mình."] * 2 + GOOD[2:])) == ["wording", "next_step"]
    assert failing(replies(["mình nhé vui lòng gửi " * 20, *GOOD[1:]])) == []
    assert failing(replies(["mình nhé vui lòng gửi " * 20] * 2 + GOOD[2:])) == ["short"]
    assert failing(replies(["Mình đã hoàn tiền, bạn vui lòng kiểm tra nhé.", *GOOD[1:]])) == ["no_invented_policy"]
    assert failing([Reply(PROMPTS[0], "oops", "stop"), *replies(GOOD)[1:]]) == ["parses", "schema", "no_invented_policy"]
    assert failing([*replies(GOOD)[:4], *replies(GOOD, "length")[4:]]) == ["ended"]


def test_no_replies_is_an_error_not_a_pass() -> None:
    with pytest.raises(ConfigError, match="at least one prompt"):
        judge([], load_task(SHIPPED))


def test_a_task_sets_its_thresholds_and_lacks_what_it_has_no_rule_for(tmp_path: Path) -> None:
    courier = load_task(HERE / "courier")
    assert courier.sanity.shares()["wording"] == 0.5
    text = json.dumps({"route": {"team": "desk"}, "urgent": False, "message": "Please send it."})
    rude = json.dumps({"route": {"team": "desk"}, "urgent": False, "message": "Please send it, dude."})
    assert judge([Reply("Help", text, "stop"), Reply("Help", rude, "stop")], courier).passed
    (tmp_path / "task.toml").write_text('name = "free"\nlanguage = "en"\nversion = "1"\n', encoding="utf-8")
    verdict = judge([Reply("Hi", "Hello.", "stop")], load_task(tmp_path))
    assert [result.name for result in verdict.criteria] == ["ended", "no_invented_policy"]
    assert set(verdict.not_applicable) == {"parses", "schema", "wording", "short", "next_step"}


def test_the_json_of_a_verdict_holds_every_outcome_and_no_text() -> None:
    record = judge(replies(["Mình hoàn tiền 99.000đ rồi.", *GOOD[1:]]), load_task(SHIPPED)).as_json()
    text = encode_json(record)
    assert "99" not in text
    assert "hoàn" not in text
    rows = json.loads(text)["rows"]
    assert [set(row) for row in rows] == [set(CRITERIA)] * 5
    assert rows[0]["no_invented_policy"]["passed"] is False


@pytest.mark.parametrize(
    ("share", "total", "count"),
    [
        (0.8, 5, 4),
        (0.8, 10, 8),
        (0.8, 4, 4),
        (0.8, 1, 1),
        (1.0, 7, 7),
        (0.01, 5, 1),
        (0.6, 5, 3),
        (0.7, 10, 7),
        (0.1, 30, 3),
        (0.29, 100, 29),
    ],
)
def test_how_many_are_needed(share: float, total: int, count: int) -> None:
    assert needed(share, total) == count
