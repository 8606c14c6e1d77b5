"""Answers of a real server on this machine: retries, refusals, hostile bodies, the rate, the key, and a call that goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from endpoint_server import Asked, EndpointServer, Handler, completion, echo, serving
from loren.errors import ConfigError, LorenError, PrerequisiteError
from loren.evaluate.predict import predict_to_file
from loren.evaluate.subjects import Subject
from loren.models.endpoint import API_KEY, Endpoint
from loren.models.http import BATCH, HttpGenerator, open_endpoint
from loren.models.http_reply import MAX_RESPONSE_BYTES, read_reply
from loren.models.protocol import Completion, Prompt

KEY = "canary-5f1d-key"


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with serving() as found:
        yield found


def prompts(count: int) -> list[Prompt]:
    return [Prompt(f"id{place}", (("system", "Be brief."), ("user", f"question {place}"))) for place in range(count)]


def generator(server: EndpointServer, schema: dict[str, Any] | None = None, **limits: Any) -> HttpGenerator:
    settings = {"timeout_s": 5.0, "retries": 2, "requests_a_second": 1000.0, "backoff_s": 0.01} | limits
    return open_endpoint(Endpoint(server.url, "some-model", **settings), response_schema=schema)


def ask(server: EndpointServer, count: int = 1, **limits: Any) -> tuple[list[Completion], HttpGenerator]:
    asking = generator(server, **limits)
    return asking.answer(prompts(count), max_new_tokens=9), asking


def first_then(first: Callable[[Handler, Asked], None]) -> Callable[[Handler, Asked], None]:
    """Behave badly towards the first request only."""
    seen: list[Asked] = []

    def behave(handler: Handler, asked: Asked) -> None:
        seen.append(asked)
        (first if len(seen) == 1 else echo)(handler, asked)

    return behave


def status(code: int, **headers: str) -> Callable[[Handler, Asked], None]:
    return lambda handler, asked: handler.send(code, b'{"error": "the body is never shown"}', **headers)


def body(data: bytes, **settings: Any) -> Callable[[Handler, Asked], None]:
    return lambda handler, asked: handler.send(200, data, **settings)


def test_answers_come_in_order_with_their_tokens_and_the_request_is_the_usual_one(server: EndpointServer) -> None:
    answers, asking = ask(server, 5)
    assert [(a.id, a.text, a.finish_reason, a.prompt_tokens, a.completion_tokens, a.requests) for a in answers] == [
        (f"id{place}", f"re: question {place}", "stop", 7, 3, 1) for place in range(5)
    ]
    assert all(0 < answer.latency_s < 5 for answer in answers)
    assert {asked.path for asked in server.asked} == {"/v1/chat/completions"}
    assert server.asked[0].body == {
        "model": "some-model", "temperature": 0, "max_tokens": 9, "stream": False,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": server.asked[0].question}],
    }  # fmt: skip
    assert "Authorization" not in server.asked[0].headers
    assert (asking.attempts, asking.failures) == (5, {})


def test_a_cut_answer_a_schema_and_another_name_of_the_limit(server: EndpointServer) -> None:
    server.behave = body(completion("half", finish_reason="length"))
    schema = {"type": "object"}
    asking = generator(server, schema, token_field="max_completion_tokens")
    [answer] = asking.answer(prompts(1), max_new_tokens=9)
    assert (answer.text, answer.finish_reason, answer.prompt_tokens) == ("half", "length", 0)
    assert server.asked[0].body["max_completion_tokens"] == 9
    assert server.asked[0].body["response_format"]["json_schema"]["schema"] == schema
    assert asking.identity() != generator(server, token_field="max_completion_tokens").identity()


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(server: EndpointServer, code: int) -> None:
    server.behave = first_then(status(code))
    [answer], asking = ask(server)
    assert (answer.text, answer.finish_reason, asking.attempts, asking.failures) == ("re: question 0", "stop", 2, {})


def drop(handler: Handler, asked: Asked) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.mark.parametrize(
    "behave",
    [drop, body(completion("a" * 100)[:50], claimed=500), lambda handler, asked: handler.wfile.write(b"\x00\x16 not HTTP\r\n\r\n")],
)
def test_a_broken_connection_is_tried_again(server: EndpointServer, behave: Any) -> None:
    server.behave = first_then(behave)
    [answer], asking = ask(server)
    assert (answer.finish_reason, asking.attempts) == ("stop", 2)


def test_retry_after_is_waited_for_by_all_requests(server: EndpointServer) -> None:
    server.behave = first_then(status(429, Retry_After="1"))
    answers, asking = ask(server, 3, concurrency=1)
    assert [answer.finish_reason for answer in answers] == ["stop"] * 3
    assert asking.attempts == 4
    assert server.asked[1].at - server.asked[0].at >= 0.95
    assert answers[0].latency_s >= 0.95


@pytest.mark.parametrize("after", ["3600", formatdate(time.time() + 3600, usegmt=True)], ids=["seconds", "date"])
def test_nobody_waits_for_an_hour(server: EndpointServer, after: str) -> None:
    server.behave = lambda handler, asked: (
        echo if asked.question != "question 1" else status(503, Retry_After=after)
    )(handler, asked)  # fmt: skip
    began = time.monotonic()
    answers, asking = ask(server, 2)
    assert [answer.finish_reason for answer in answers] == ["stop", "error"]
    assert (asking.attempts, asking.failures) == (2, {"http_503": 1})
    assert time.monotonic() - began < 600


@pytest.mark.parametrize("after", ["soon", "-5", "1e9", "\u00b2", "Mon, 99 Foo 20x6", "inf"])
def test_a_retry_after_that_says_nothing_is_not_waited_for(server: EndpointServer, after: str) -> None:
    server.behave = first_then(status(429, Retry_After=after))
    [answer], _ = ask(server)
    assert (answer.finish_reason, answer.latency_s < 2) == ("stop", True)


@pytest.mark.parametrize("code", [400, 403, 422])
def test_a_refusal_of_one_row_is_its_error_and_is_not_tried_again(server: EndpointServer, code: int) -> None:
    server.behave = lambda handler, asked: (echo if asked.question != "question 1" else status(code))(handler, asked)
    answers, asking = ask(server, 3)
    assert [(answer.finish_reason, answer.text) for answer in answers] == [
        ("stop", "re: question 0"), ("error", ""), ("stop", "re: question 2"),
    ]  # fmt: skip
    assert (asking.attempts, asking.failures) == (3, {f"http_{code}": 1})


DEEP = b'{"choices": ' + b"[" * 5000 + b"]" * 5000 + b"}"


@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (body(b"this is no JSON"), "bad_response"),
        (body(completion("x" * 90), claimed=40), "bad_response"),  # more bytes than Content-Length says
        (body(b"{}"), "bad_response"),
        (body(b'{"choices": []}'), "bad_response"),
        (body(b'{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}'), "bad_response"),
        (body(b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}'), "bad_response"),
        (body(b'{"choices": [{"message": {"content": "\\ud800"}, "finish_reason": "stop"}]}'), "bad_response"),
        (body(b'{"choices": [{"message": {"content": "\xff"}, "finish_reason": "stop"}]}'), "bad_response"),
        (body(completion("x", finish_reason="tool_calls")), "bad_response"),
        (body(completion("x", finish_reason="content_filter")), "content_filter"),
        (body(DEEP), "bad_response"),
        (body(b"\x1f\x8b", Content_Encoding="gzip"), "bad_response"),
        (body(b" " * (MAX_RESPONSE_BYTES + 1)), "too_large"),
    ],
)
def test_a_hostile_body_is_an_error_without_text_and_is_not_asked_for_again(server: EndpointServer, behave: Any, kind: str) -> None:
    server.behave = behave
    [answer], asking = ask(server)
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("", "error", 0)
    assert (asking.attempts, asking.failures) == (1, {kind: 1})


@pytest.mark.parametrize("usage", ["many", [1], {"prompt_tokens": "7"}, {"prompt_tokens": -1, "completion_tokens": 10**12}, None])
def test_tokens_that_can_not_be_believed_are_not_counted(usage: object) -> None:
    reply = read_reply(completion("x", usage=usage))
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("x", 0, 0)


def drip(handler: Handler, asked: Asked) -> None:
    """A byte now and then: no single read of it ever takes long."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(2_000):  # a hundred seconds
        handler.wfile.write(b" ")
        time.sleep(0.05)


def test_a_slow_answer_is_given_up_as_a_whole_and_tried_again_so_often(server: EndpointServer) -> None:
    server.behave = drip
    began = time.monotonic()
    [answer], asking = ask(server, timeout_s=0.3, retries=1)
    assert (answer.finish_reason, answer.text, asking.attempts, asking.failures) == ("error", "", 2, {"timeout": 1})
    assert time.monotonic() - began < 60
    assert 0.6 <= answer.latency_s < 60


def test_retries_are_bounded_whatever_the_endpoint_does(server: EndpointServer) -> None:
    server.behave = status(500)
    answers, asking = ask(server, 10, retries=2)
    assert [answer.finish_reason for answer in answers] == ["error"] * 10
    assert len(server.asked) == asking.attempts == 30
    assert asking.failures == {"http_500": 10}


def test_redirects_are_not_followed(server: EndpointServer) -> None:
    with serving() as elsewhere:
        server.behave = status(307, Location=f"{elsewhere.url}/chat/completions")
        with pytest.raises(PrerequisiteError, match="redirect"):
            ask(server, 2)
        assert elsewhere.asked == []
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("code", "count", "hint"), [(401, 1, API_KEY), (404, 1, "name of the model"), (400, 4, "whoever runs"), (429, 1, "later")]
)
def test_an_endpoint_that_answers_nothing_stops_the_call_with_a_reason(
    server: EndpointServer, code: int, count: int, hint: str
) -> None:
    server.behave = status(code)
    with pytest.raises(PrerequisiteError) as caught:
        ask(server, count, retries=0)
    text = str(caught.value)
    assert f"http_{code}" in text
    assert hint in text
    assert "never shown" not in text
    assert caught.value.exit_code == 4


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asking = HttpGenerator(Endpoint(f"http://127.0.0.1:{port}", "m", retries=1, backoff_s=0.01))
    with pytest.raises(PrerequisiteError, match=rf"127\.0\.0\.1:{port}: expected answers of 'm', found none to 2"):
        asking.answer(prompts(2), max_new_tokens=1)
    assert asking.attempts == 4


def test_the_rate_and_the_concurrency_are_kept(server: EndpointServer) -> None:
    def slow(handler: Handler, asked: Asked) -> None:
        time.sleep(0.05)
        echo(handler, asked)

    server.behave = slow
    asking = generator(server, requests_a_second=40.0, concurrency=3)
    for batch in (prompts(8), prompts(8)):
        asking.answer(batch, max_new_tokens=1)
    times = sorted(asked.at for asked in server.asked)
    assert len(times) == 16
    assert times[-1] - times[0] >= 15 / 40 * 0.95
    assert server.most_at_once <= 3
    server.asked.clear()
    server.most_at_once = 0
    generator(server, concurrency=4).answer(prompts(12), max_new_tokens=1)
    assert 2 <= server.most_at_once <= 4


def test_a_proxy_is_not_asked_for_this_machine(server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    [answer], _ = ask(server)
    assert answer.finish_reason == "stop"


def test_a_password_in_an_unusable_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "nonsense://me:hunter2hunter2@proxy:1")
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        HttpGenerator(Endpoint("https://host.invalid", "m")).answer(prompts(1), max_new_tokens=1)
    assert "hunter2" not in repr(caught.value) + str(caught.value)


def subject(asking: HttpGenerator) -> Subject:
    return Subject("http", asking, (("system", "Be brief."),), 9, asking.identity((("system", "Be brief."),)))


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    server: EndpointServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(API_KEY, KEY)
    caplog.set_level("DEBUG")

    def repeat(handler: Handler, asked: Asked) -> None:
        if asked.question == "question 1":
            handler.send(200, completion(f"you said {asked.headers['Authorization']}"))
        else:
            echo(handler, asked)

    server.behave = repeat
    asking, said = generator(server), []
    predict_to_file(subject(asking), prompts(20), tmp_path / "http.jsonl", say=said.append)
    assert {asked.headers["Authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    assert asking.failures == {"repeats_the_key": 1}
    server.behave = lambda handler, asked: handler.send(401, f"no such key: {KEY}".encode())
    with pytest.raises(PrerequisiteError) as caught:
        asking.answer(prompts(1), max_new_tokens=1)
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "question 3" in kept
    seen = [
        kept,
        str(said),
        str(caught.value),
        repr(caught.value),
        repr(asking),
        repr(asking.endpoint),
        str(vars(asking)),
        caplog.text,
    ]
    assert [KEY in text for text in seen] == [False] * len(seen)


def test_a_key_that_can_not_be_sent_is_refused_without_showing_it(server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, "secret-ở-đây\r\n")
    with pytest.raises(ConfigError, match=API_KEY) as caught:
        ask(server)
    assert "secret" not in str(caught.value)


def test_a_call_that_was_interrupted_goes_on_after_its_last_batch(server: EndpointServer, tmp_path: Path) -> None:
    def interrupt(handler: Handler, asked: Asked) -> None:
        if asked.question == f"question {BATCH + 3}":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(120)
        echo(handler, asked)

    server.behave = interrupt
    path, began = tmp_path / "http.jsonl", time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(subject(generator(server, concurrency=1)), prompts(BATCH * 2), path, say=print)
    assert time.monotonic() - began < 90
    assert not path.exists()
    server.behave = echo
    server.asked.clear()
    # More at once is no reason to ask again.
    predictions = predict_to_file(subject(generator(server, concurrency=8)), prompts(BATCH * 2), path, say=print)
    assert sorted(asked.question for asked in server.asked) == sorted(f"question {place}" for place in range(BATCH, BATCH * 2))
    assert [completion.text for completion in predictions.completions] == [f"re: question {place}" for place in range(BATCH * 2)]
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_quota_that_ends_keeps_what_was_answered(server: EndpointServer, tmp_path: Path) -> None:
    served: list[Asked] = []

    def quota(handler: Handler, asked: Asked) -> None:
        served.append(asked)
        (echo if len(served) <= BATCH else status(429, Retry_After="9999"))(handler, asked)

    server.behave = quota
    with pytest.raises(PrerequisiteError, match="http_429"):
        predict_to_file(subject(generator(server)), prompts(BATCH + 5), tmp_path / "http.jsonl", say=print)
    server.behave = echo
    server.asked.clear()
    predict_to_file(subject(generator(server)), prompts(BATCH + 5), tmp_path / "http.jsonl", say=print)
    assert len(server.asked) == 5


def test_a_failed_row_stays_among_the_predictions(server: EndpointServer, tmp_path: Path) -> None:
    server.behave = lambda handler, asked: (status(500) if asked.question == "question 2" else echo)(handler, asked)
    predict_to_file(subject(generator(server)), prompts(4), tmp_path / "http.jsonl", say=print)
    lines = [json.loads(line) for line in (tmp_path / "http.jsonl").read_text().splitlines()]
    assert [line["finish_reason"] for line in lines] == ["stop", "stop", "error", "stop"]
    meta = json.loads((tmp_path / "http.meta.json").read_text())
    assert (meta["endpoint"]["model"], meta["answers"], meta["requests"]) == ("some-model", 4, 4)


def test_a_notebook_s_own_loop_is_no_hindrance(server: EndpointServer) -> None:
    import asyncio

    async def cell() -> list[Completion]:
        return ask(server)[0]

    assert asyncio.run(cell())[0].finish_reason == "stop"


def test_a_missing_package_is_said_with_the_line_that_brings_it() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'tenacity' else find(n)\n"
        "from loren.models.http import open_endpoint; from loren.models.endpoint import Endpoint\n"
        "open_endpoint(Endpoint('https://h.invalid/v1', 'm'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=False)
    assert "pip install 'loren[http]'" in done.stderr
    assert "tenacity" in done.stderr


def test_errors_are_ours(server: EndpointServer) -> None:
    server.behave = status(404)
    with pytest.raises(LorenError):
        ask(server)
