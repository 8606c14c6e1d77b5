"""An OpenAI-compatible endpoint: its checked address and limits, its key, and the consent that sending rows to it needs."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from loren.errors import ConfigError, Problem
from loren.runs.files import Json

API_KEY = "LOREN_HTTP_API_KEY"
"""The only place that a key is read from. It is never stored, written or shown."""
_BOUNDS: dict[str, tuple[float, float]] = {
    "timeout_s": (0.01, 3600),
    "retries": (0, 10),
    "requests_a_second": (0.001, 10_000),
    "concurrency": (1, 16),
    "backoff_s": (0.001, 60),
}
_SUFFIX = "/chat/completions"
_LONGEST_NAME = 200
_SHORTEST_KEY_TO_HIDE = 8


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, as whom, and how hard. Making one sends nothing; it holds no key.

    Raises:
        ConfigError: everything that is wrong with it, without repeating the address: it could hold a password.
    """

    url: str
    """The base address, such as ``https://host/v1``; ``/chat/completions`` is added where it lacks that."""
    model: str
    timeout_s: float = 60.0
    """Of one request as a whole, however slowly it is answered."""
    retries: int = 4
    """More tries after a first one that failed for a reason that may pass."""
    requests_a_second: float = 5.0
    """The highest rate, retries included."""
    concurrency: int = 4
    """Requests under way at once."""
    backoff_s: float = 0.5
    """The pause before the first retry; each further one is twice as long. Up to as much again is added at random."""
    token_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the longest answer."""
    allow_http: bool = False
    """Whether rows may travel unencrypted to another machine."""

    def __post_init__(self) -> None:
        problems = [Problem("endpoint url", message) for message in _address_problems(self.url, allow_http=self.allow_http)]
        if not self.model.strip() or len(self.model) > _LONGEST_NAME or not self.model.isprintable():
            problems.append(
                Problem("endpoint model", f"expected a name of 1 to {_LONGEST_NAME} printable characters, found another")
            )
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                problems.append(Problem(f"endpoint {name}", f"expected {low:g} to {high:g}, found {value:g}"))
        if problems:
            raise ConfigError(
                f"{len(problems)} problem(s) with the endpoint", problems=problems, hint="https://host/v1 is the usual form"
            )

    @property
    def host(self) -> str:
        """Host and, where the address names one, port: what a person is told."""
        return urlsplit(self.url).netloc.lower()

    @property
    def address(self) -> str:
        """The whole address that requests go to."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{self.path}"

    @property
    def path(self) -> str:
        """Of the address."""
        path = urlsplit(self.url).path.rstrip("/")
        return path if path.endswith(_SUFFIX) else f"{path or '/v1'}{_SUFFIX}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return _is_loopback(urlsplit(self.url))

    def identity(self) -> dict[str, Json]:
        """What decides its answers, as far as anybody but its owner can know."""
        return {"host": self.host, "path": self.path, "model": self.model}


def describe(endpoint: Endpoint, rows: int) -> str:
    """What sending means, in a sentence: host, rows, and whether others can read them on their way."""
    way = "on this machine" if endpoint.is_here else "encrypted" if endpoint.url.lower().startswith("https:") else "UNENCRYPTED"
    return f"{rows} row(s) go to {endpoint.host} ({way}), which answers as {endpoint.model!r} and may keep what it is sent"


def require_consent(endpoint: Endpoint, rows: int, *, sent: bool, option: str = "--send") -> None:
    """Refuse to send anything that nobody agreed to.

    Args:
        endpoint: where it would go.
        rows: how many rows would be sent.
        sent: whether the user gave ``option``.
        option: its name.

    Raises:
        ConfigError: the user did not.
    """
    if not sent:
        raise ConfigError(
            f"expected {option}, for text would leave this program: {describe(endpoint, rows)}",
            hint=f"nothing was sent; if these rows may go there, run the command again with {option}",
        )


def api_key() -> str | None:
    """The key from the environment; None where there is none.

    Raises:
        ConfigError: it can't stand in a header. The message does not hold it.
    """
    key = os.environ.get(API_KEY, "")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(
            f"{API_KEY}: expected printable ASCII without spaces, found other characters", hint="set it without quotes"
        )
    return key or None


def holds_key(text: str, key: str | None) -> bool:
    """Whether an answer repeats the key that it was asked with; such an answer is written nowhere."""
    return key is not None and len(key) >= _SHORTEST_KEY_TO_HIDE and key in text


def _address_problems(url: str, *, allow_http: bool) -> list[str]:
    if any(ord(sign) <= 0x20 or ord(sign) == 0x7F for sign in url):
        return ["expected an address without spaces and control characters, found some"]
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return ["expected an address such as https://host/v1, found another form"]
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        return ["expected an address that begins with https:// or http:// and a host, found another form"]
    problems: list[str] = []
    if not parts.netloc.isascii():
        problems.append("expected a host in ASCII (xn--...), found letters that can look like others")
    if "@" in parts.netloc:
        problems.append(f"expected no user name or password, found some (a key belongs into {API_KEY})")
    if parts.query or parts.fragment:
        problems.append(f"expected no '?' and no '#', found one (a key belongs into {API_KEY})")
    if parts.scheme == "http" and not (allow_http or _is_loopback(parts)):
        problems.append(
            "expected https, for anybody on the way could read the rows; http is for this machine, or has to be allowed"
        )
    return problems


def _is_loopback(parts: SplitResult) -> bool:
    host = (parts.hostname or "").rstrip(".")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
