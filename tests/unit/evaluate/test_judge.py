"""A judge behind a real server on this machine: consent, verdicts, agreement with the labels, what is kept, and going on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from endpoint_server import Asked, EndpointServer, Handler, completion, serving
from loren.cli.judge import command
from loren.data.load import load_rows
from loren.errors import ConfigError, IntegrityError, PrerequisiteError, RunFolderError
from loren.evaluate.judge import NOTICE, judge_run
from loren.evaluate.predict import Predictions
from loren.models.endpoint import API_KEY, Endpoint
from loren.models.protocol import Completion
from loren.runs.folder import RunFolder
from loren.task.definition import load_task
from project import loren

HELPDESK = Path(__file__).parents[2] / "tasks" / "helpdesk" / "task"
RUBRIC = 'Question: {question}\nTarget: {target}\nReply: {reply}\nSay {"verdict": "good" or "bad", "reason": "..."}.'
SECRET_REASON = "because the customer Trần Thị Bưởi wrote so"
WRONG = '{"ticket": {"team": "kitchen", "severity": 1}, "reply": {"text": "no"}}'
KEY = "canary-77aa-key"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose adapter is right in 9 of 12 questions, wrong in two, and silent in one; its base has no label right."""
    shutil.copytree(HELPDESK, tmp_path / "task")
    (tmp_path / "task" / "judge.txt").write_text(RUBRIC, encoding="utf-8")
    run = RunFolder(tmp_path / "run")
    run.evaluation.mkdir(parents=True)
    run.config.write_text(json.dumps({"values": {"task": str(tmp_path / "task")}}), encoding="utf-8")
    task = load_task(tmp_path / "task")
    rows = load_rows(task.golden_path, task, minimum_rows=0).rows
    assert len(rows) == 12
    targets = [row.messages[-1].content for row in rows]
    write(run, "adapter", [row.id for row in rows], [*targets[:9], WRONG, WRONG, " "])
    write(run, "base", [row.id for row in rows], [WRONG] * 12)
    return run


def write(run: RunFolder, arm: str, ids: list[str], texts: list[str]) -> None:
    completions = [Completion(name, text, "stop", 1, 1, 0.1) for name, text in zip(ids, texts, strict=True)]
    Predictions(completions, {"key": "k"}).write(run.evaluation / f"{arm}.jsonl")


def reply_of(asked: Asked) -> str:
    return asked.question.partition("\nReply: ")[2].partition("\nSay ")[0]


def sensible(handler: Handler, asked: Asked) -> None:
    verdict = {"verdict": "bad" if reply_of(asked) == WRONG else "good", "reason": SECRET_REASON}
    handler.send(200, completion(json.dumps(verdict, ensure_ascii=False)))


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with serving(sensible) as found:
        yield found


def judge(run: RunFolder, server: EndpointServer, **options: Any) -> dict[str, Any]:
    endpoint = Endpoint(server.url, "judge-model", requests_a_second=1000, backoff_s=0.01, retries=1)
    settings = {"sent": True, "keep_reasons": False, "say": lambda text: None} | options
    return dict(judge_run(run, endpoint, **settings).result)


def verdicts(run: RunFolder, arm: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (run.evaluation / f"judge-{arm}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_judge_that_sees_what_the_labels_say(run: RunFolder, server: EndpointServer) -> None:
    result = judge(run, server)
    adapter = result["arms"]["adapter"]
    assert {name: adapter[name] for name in ("rows", "good", "bad", "no_verdict", "failed", "unasked")} == {
        "rows": 12, "good": 9, "bad": 2, "no_verdict": 0, "failed": 0, "unasked": 1,
    }  # fmt: skip
    labels = adapter["labels"]
    assert [labels[name] for name in ("compared", "good_right", "good_wrong", "bad_right", "bad_wrong")] == [11, 9, 0, 0, 2]
    assert [labels[name]["value"] for name in ("agreement", "kappa", "alpha")] == [1, 1, 1]
    assert 0 < labels["agreement"]["low"] < labels["agreement"]["high"] == 1
    # Everything is bad, and both say so: no chance-corrected figure, and no null.
    assert set(result["arms"]["base"]["labels"]) & {"kappa", "alpha"} == set()
    assert "null" not in (run.evaluation / "judge.json").read_text().replace('"constraint": null', "")
    assert result["notice"] == NOTICE
    assert "never decides a gate" in NOTICE
    assert json.loads((run.evaluation / "judge.json").read_text()) == result
    assert run.read_stages()["judge"]["verdict"] == "done"  # type: ignore[index, call-overload]
    assert {asked.body["model"] for asked in server.asked} == {"judge-model"}
    assert len(server.asked) == 23
    question = next(asked.question for asked in server.asked if "Water drips" in asked.question)
    assert question.startswith("Question: Water drips")
    assert '"team": "network"' in question.partition("\nReply: ")[0]


def test_without_consent_nothing_is_sent(run: RunFolder, server: EndpointServer) -> None:
    with pytest.raises(ConfigError, match="23 row"):
        judge(run, server, sent=False)
    assert server.asked == []
    assert not (run.evaluation / "judge.json").exists()


def test_reasons_are_kept_only_when_wanted_and_verdicts_are_not_asked_for_twice(run: RunFolder, server: EndpointServer) -> None:
    judge(run, server, arms=("adapter",))
    assert SECRET_REASON not in "".join(path.read_text(encoding="utf-8") for path in run.evaluation.iterdir())
    assert {line["verdict"] for line in verdicts(run, "adapter")} == {"good", "bad", "unasked"}
    asked = len(server.asked)
    first = judge(run, server, arms=("adapter",))
    assert len(server.asked) == asked == 11
    judge(run, server, arms=("adapter",), keep_reasons=True)
    assert len(server.asked) == 2 * asked
    assert verdicts(run, "adapter")[0]["reason"] == SECRET_REASON
    again = judge(run, server, arms=("adapter",))  # reasons that are there do no harm
    assert len(server.asked) == 2 * asked
    assert again == first
    rubric = run.path.parent / "task" / "judge.txt"
    rubric.write_text(RUBRIC + " Be strict.", encoding="utf-8")
    assert judge(run, server, arms=("adapter",))["rubric_sha256"] != first["rubric_sha256"]
    assert len(server.asked) == 3 * asked


def test_what_is_no_verdict_is_counted_and_not_compared(run: RunFolder, server: EndpointServer) -> None:
    def moody(handler: Handler, asked: Asked) -> None:
        if "Water drips" in asked.question:
            handler.send(200, completion("I think it is good."))
        elif "warehouse" in asked.question:
            handler.send(500, b"")
        else:
            sensible(handler, asked)

    server.behave = moody
    adapter = judge(run, server, arms=["adapter"])["arms"]["adapter"]
    assert [adapter[name] for name in ("good", "bad", "no_verdict", "failed", "unasked")] == [7, 2, 1, 1, 1]
    assert adapter["labels"]["compared"] == 9
    assert [line["verdict"] for line in verdicts(run, "adapter")][:2] == ["none", "failed"]


def test_a_judge_that_says_good_to_everything_is_seen_through(run: RunFolder, server: EndpointServer) -> None:
    server.behave = lambda handler, asked: handler.send(200, completion('{"verdict": "good", "reason": ""}'))
    labels = judge(run, server, arms=["adapter"], constrained=True)["arms"]["adapter"]["labels"]
    assert labels["agreement"]["value"] == pytest.approx(9 / 11)
    assert labels["kappa"]["value"] == 0
    assert labels["alpha"]["value"] < 0.05
    assert server.asked[0].body["response_format"]["type"] == "json_schema"


def test_a_call_that_stopped_goes_on(run: RunFolder, server: EndpointServer) -> None:
    server.behave = lambda handler, asked: (
        sensible(handler, asked) if "'adapter'" in asked.body["model"] or reply_of(asked) != WRONG else handler.send(401, b"")
    )
    with pytest.raises(PrerequisiteError, match=API_KEY):
        judge(run, server, arms=["base"])
    server.behave = sensible
    assert judge(run, server, arms=["base"])["arms"]["base"]["bad"] == 12
    assert [path.name for path in run.evaluation.iterdir() if "partial" in path.name] == []


def test_what_is_missing_is_named_before_anything_is_sent(run: RunFolder, server: EndpointServer) -> None:
    with pytest.raises(ConfigError, match="merged"):
        judge(run, server, arms=["merged"])
    rubric = run.path.parent / "task" / "judge.txt"
    rubric.write_text("Is {reply} good?")
    with pytest.raises(ConfigError, match="2 problem") as caught:
        judge(run, server)
    assert "{question}" in str(caught.value)
    rubric.unlink()
    with pytest.raises(ConfigError, match="found no file"):
        judge(run, server)
    rubric.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        judge(run, server)
    rubric.write_text(RUBRIC)
    lines = (run.evaluation / "adapter.jsonl").read_text().splitlines(keepends=True)
    (run.evaluation / "adapter.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(IntegrityError, match="one prediction a golden row"):
        judge(run, server)
    with pytest.raises(RunFolderError):
        judge(RunFolder(run.path.parent / "none"), server)
    assert server.asked == []


def call(run: RunFolder, server: EndpointServer, *options: str) -> str:
    arguments = [
        str(run.path),
        "--url",
        server.url,
        "--model",
        "judge-model",
        "--rate",
        "1000",
        "--send",
        "--arm",
        "adapter",
        *options,
    ]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_what_a_person_and_a_machine_are_told(run: RunFolder, server: EndpointServer) -> None:
    said = call(run, server)
    for words in ("never decides a gate", "same 1.00", "kappa 1.00", "over 11 row(s)", f"next: loren evaluate {run.path}"):
        assert words in said
    assert SECRET_REASON not in said
    assert json.loads(call(run, server, "--format", "json"))["arms"]["adapter"]["good"] == 9
    server.behave = lambda handler, asked: handler.send(200, completion('{"verdict": "bad", "reason": "\\u001b[2J gone"}'))
    shown = call(run, server, "--show-text")
    assert "bad:  [2J gone" in shown
    assert "\x1b" not in shown


def test_the_command_line_needs_send_and_never_shows_the_key(run: RunFolder, server: EndpointServer, tmp_path: Path) -> None:
    options = ("judge", run.path, "--url", server.url, "--model", "judge-model", "--rate", "1000")
    refused = loren(*options, cwd=tmp_path, environment={API_KEY: KEY})
    assert refused.returncode == 2
    assert "expected --send" in refused.stderr
    assert f"23 row(s) go to {server.url.split('/')[2]} (on this machine)" in refused.stderr
    assert server.asked == []
    server.behave = lambda handler, asked: handler.send(401, f"wrong: {KEY}".encode())
    debug = loren("--debug", *options, "--send", cwd=tmp_path, environment={API_KEY: KEY})
    assert debug.returncode == 4
    assert {asked.headers["Authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    kept = "".join(path.read_text(encoding="utf-8") for path in run.path.rglob("*.json*"))
    assert [KEY in text for text in (refused.stderr, refused.stdout, debug.stdout, debug.stderr, kept)] == [False] * 5
