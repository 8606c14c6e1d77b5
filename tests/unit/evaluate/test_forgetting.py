"""Forgetting: who answers as before is not worse, who speaks nothing but the task is, and nobody is asked twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from loren.evaluate import guard
from loren.evaluate.guard import measure_forgetting
from loren.evaluate.subjects import TrainedRun
from loren.models.protocol import Completion, Prompt
from loren.runs.folder import RunFolder

GOOD = Path(__file__).parents[1] / "scoring" / "guard" / "good.jsonl"
REPLIES: dict[str, str] = {reply["id"]: reply["text"] for reply in map(json.loads, GOOD.read_text(encoding="utf-8").splitlines())}
TASK_REPLY = '{"ticket": {"team": "network"}, "reply": {"text": "Please restart the router."}}'
SPEC = """
before after metric kind role verdict words reason goal margin alpha rows situations missing effective_rows before_value
after_value difference low high p_value adjusted_p detectable fixed broken test interval_method passed gate
"""
"""Keys of every comparison in result.json."""


class Fake:
    """Answers by question id; dies where it is told to."""

    def __init__(self, reply: Callable[[str], str], *, dies_after: int = 1_000) -> None:
        self.reply = reply
        self.asked: list[Prompt] = []
        self.dies_after = dies_after

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return [list(range(start, min(start + 10, len(prompts)))) for start in range(0, len(prompts), 10)]

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += prompts
        return [Completion(prompt.id, self.reply(prompt.id), "stop", 5, 5, 0.1) for prompt in prompts]


def trained(folder: Path) -> TrainedRun:
    metadata = {"base_model": {"weights_sha256": "w"}, "quantization": None, "system_prompt": "You sort tickets.", "lora": {}}
    return TrainedRun(RunFolder(folder), {}, metadata, "digest", None)


def measure(folder: Path, base: Fake, adapter: Fake, said: list[str] | None = None) -> dict[str, Any]:
    return measure_forgetting(
        trained(folder),
        generators=lambda variant: base if variant == "base" else adapter,
        say=(said if said is not None else []).append,
        folder=folder / "eval",
    )


def test_an_adapter_that_answers_as_its_base_is_not_worse(tmp_path: Path) -> None:
    result = measure(tmp_path, Fake(REPLIES.__getitem__), Fake(REPLIES.__getitem__))
    comparison = result["comparison"]
    assert sorted(comparison) == sorted(SPEC.split())
    assert (comparison["verdict"], comparison["words"]) == ("not worse", "not worse by 0.1")
    assert (comparison["rows"], comparison["situations"], comparison["difference"]) == (98, 98, 0.0)
    assert comparison["detectable"] <= comparison["margin"]
    assert result["base"]["all"]["count"] == result["adapter"]["all"]["count"] == 98
    assert "98 general questions the base gets 98 right and the adapter 98" in result["words"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_an_adapter_that_speaks_nothing_but_the_task_is_worse(tmp_path: Path) -> None:
    result = measure(tmp_path, Fake(REPLIES.__getitem__), Fake(lambda _: TASK_REPLY))
    assert (result["comparison"]["verdict"], result["comparison"]["broken"]) == ("worse", 98)
    assert result["adapter"]["languages"]["vi"]["count"] == 0
    assert "data.replay" in result["words"]
    assert "(-7)" in result["words"]


def test_one_that_forgets_a_kind_and_a_language_is_seen_there(tmp_path: Path) -> None:
    result = measure(
        tmp_path, Fake(REPLIES.__getitem__), Fake(lambda name: "?" if name.startswith("vi/summary") else REPLIES[name])
    )
    assert (result["comparison"]["verdict"], result["comparison"]["broken"], result["comparison"]["fixed"]) == ("worse", 7, 0)
    assert result["adapter"]["groups"]["vi/summary"]["count"] == 0
    assert result["adapter"]["groups"]["en/summary"]["count"] == 7
    assert result["words"].endswith("Most was lost in vi/summary (-7).")


def test_questions_come_without_a_word_of_the_task_and_nobody_is_asked_twice(tmp_path: Path) -> None:
    said: list[str] = []
    base, adapter = Fake(REPLIES.__getitem__), Fake(REPLIES.__getitem__)
    first = measure(tmp_path, base, adapter)
    for fake in (base, adapter):
        assert len(fake.asked) == 98
        assert {tuple(role for role, _ in prompt.turns) for prompt in fake.asked} == {("user",)}

    def refuse(_: str) -> str:
        raise AssertionError("asked again")

    assert measure(tmp_path, Fake(refuse), Fake(refuse), said) == first
    assert sum("answered before" in line for line in said) == 2
    sidecars = [json.loads((tmp_path / "eval" / f"guard-{name}.meta.json").read_text()) for name in ("base", "adapter")]
    assert [sidecar["lead"] for sidecar in sidecars] == [[], []]
    assert [sidecar["adapter_digest"] for sidecar in sidecars] == [None, "digest"]


def test_a_killed_call_goes_on_where_it_stopped(tmp_path: Path) -> None:
    dying = Fake(REPLIES.__getitem__, dies_after=30)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, dying, dying)
    adapter = Fake(REPLIES.__getitem__)  # the one that is asked first
    result = measure(tmp_path, Fake(REPLIES.__getitem__), adapter)
    assert len(adapter.asked) == 98 - 30
    assert result["base"]["all"]["count"] == 98
    assert not list((tmp_path / "eval").glob("*.partial.jsonl"))


def test_a_missing_reply_counts_as_wrong() -> None:
    questions = guard.load_guard()
    assert set(guard.score_replies(questions, {}).values()) == {0}
