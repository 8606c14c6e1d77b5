"""An endpoint's address and limits, and the consent that sending rows to it needs."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from loren.cli.endpoint import endpoint_options, make_endpoint
from loren.errors import ConfigError
from loren.models.endpoint import Endpoint, describe, require_consent


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://host", "https://host/v1/chat/completions"),
        ("https://host/", "https://host/v1/chat/completions"),
        ("https://host/v1", "https://host/v1/chat/completions"),
        ("https://host:8443/openai/v1/", "https://host:8443/openai/v1/chat/completions"),
        ("https://host/v2/chat/completions", "https://host/v2/chat/completions"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://[::1]:8000", "http://[::1]:8000/v1/chat/completions"),
        ("http://localhost:1234/v1", "http://localhost:1234/v1/chat/completions"),
    ],
)
def test_the_usual_addresses_work(url: str, address: str) -> None:
    endpoint = Endpoint(url, "m")
    assert endpoint.address == address
    assert endpoint.is_here == url.startswith("http:")


@pytest.mark.parametrize(
    "url",
    [
        "host/v1", "ftp://host/v1", "file:///etc/passwd", "https://g\u043eogle.example/v1",
        "https://", "https:///v1", "https://host:99999", "https://host:0",
        "https://[::1", "https://ho st/v1", "https://host/v1\nX: y", "https://me:hunter2@host/v1", "https://hunter2@host/v1",
        "https://host/v1?key=hunter2", "https://host/#hunter2", "http://host/v1", "http://127.0.0.1.host.example/v1",
        "http://10.0.0.1/v1", "http://localhost.example/v1",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="endpoint url") as caught:
        Endpoint(url, "m")
    assert "hunter2" not in str(caught.value)


def test_all_problems_are_said_at_once() -> None:
    wrong: dict[str, Any] = {"timeout_s": 0, "retries": 99, "requests_a_second": float("nan"), "concurrency": 0}
    with pytest.raises(ConfigError) as caught:
        Endpoint("http://elsewhere/v1", " ", **wrong)
    assert {problem.place for problem in caught.value.problems} == {
        "endpoint url", "endpoint model", *(f"endpoint {name}" for name in wrong),
    }  # fmt: skip


def test_another_machine_may_be_asked_unencrypted_when_that_is_said() -> None:
    endpoint = Endpoint("http://10.0.0.1/v1", "m", allow_http=True)
    assert "UNENCRYPTED" in describe(endpoint, 3)
    assert "encrypted" in describe(Endpoint("https://host/v1", "m"), 3)


def test_nothing_is_sent_without_consent_and_the_error_names_host_and_rows() -> None:
    endpoint = Endpoint("https://api.example.com:444/v1", "big-model")
    require_consent(endpoint, 306, sent=True)
    with pytest.raises(ConfigError, match="--send") as caught:
        require_consent(endpoint, 306, sent=False)
    assert "306 row(s) go to api.example.com:444 (encrypted)" in str(caught.value)
    assert "big-model" in str(caught.value)


def test_the_options_of_a_command_make_the_endpoint_and_a_missing_model_is_said() -> None:
    made: list[Endpoint] = []

    @click.command()
    @endpoint_options("http")
    def command(sent: bool, **options: Any) -> None:
        made.append(make_endpoint(options, "http"))

    done = CliRunner().invoke(
        command, ["--http-url", "https://host/v1", "--http-model", "m", "--http-rate", "2", "--http-timeout", "9"]
    )
    assert done.exception is None
    assert made == [Endpoint("https://host/v1", "m", timeout_s=9, requests_a_second=2)]
    missing = CliRunner().invoke(command, ["--http-url", "https://host/v1"])
    assert isinstance(missing.exception, ConfigError)
    assert "endpoint model" in str(missing.exception)
