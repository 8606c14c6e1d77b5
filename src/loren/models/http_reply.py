"""What an endpoint sent -> the few fields that are used, or the kind of failure. Everything in it is hostile."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from loren.models.protocol import FinishReason

if TYPE_CHECKING:
    import httpx2

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
MAX_RETRY_AFTER_S = 60.0
"""An endpoint that wants to be left alone for longer is left alone: the request has failed."""
_MAX_TOKENS_COUNTED = 10_000_000
_FINISH: dict[str, FinishReason] = {"stop": "stop", "eos_token": "stop", "length": "length"}


class Failure(Exception):
    """A request that failed, by a kind that quotes nothing; it never leaves `models`."""

    def __init__(self, kind: str, *, may_pass: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(kind)
        self.kind = kind
        self.may_pass = may_pass
        self.retry_after_s = retry_after_s


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _ChatCompletion(msgspec.Struct):
    choices: list[_Choice]
    usage: msgspec.Raw = msgspec.Raw(b"null")


class Reply(NamedTuple):
    """What is taken from a body."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


def require_success(response: httpx2.Response) -> None:
    """Sort a response by its status and Retry-After.

    Raises:
        Failure: it is none with an answer.
    """
    status = response.status_code
    if status == 200:
        return
    if 300 <= status < 400:
        # Not even to the same host: what answers at another address is another endpoint, and the key is not for it.
        raise Failure("redirect")
    if status != 429 and status < 500:
        raise Failure(f"http_{status}")
    wait = _retry_after_s(response.headers.get("Retry-After", ""))
    raise Failure(f"http_{status}", may_pass=wait <= MAX_RETRY_AFTER_S, retry_after_s=wait)


def _retry_after_s(header: str) -> float:
    """Seconds, or a date; 0 where there is nothing that can be read."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:12])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0


async def read_bounded(response: httpx2.Response) -> bytes:
    """The body, as it came: compressed ones were declined.

    Raises:
        Failure: it is too large, or compressed all the same.
    """
    if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise Failure("bad_response")
    data = bytearray()
    async for part in response.aiter_raw():
        data += part
        if len(data) > MAX_RESPONSE_BYTES:
            raise Failure("too_large")
    return bytes(data)


def read_reply(data: bytes) -> Reply:
    """The few fields of a body that are used.

    Raises:
        Failure: they are not there, or the answer ended neither by itself nor at its limit (a filter's, a tool call).
    """
    try:
        completion = msgspec.json.decode(data, type=_ChatCompletion)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Failure("bad_response") from None
    choice = completion.choices[0] if completion.choices else _Choice(_Message())
    finish = _FINISH.get(choice.finish_reason or "")
    if finish is None or choice.message.content is None:
        raise Failure("content_filter" if choice.finish_reason == "content_filter" else "bad_response")
    usage = _read_usage(completion.usage)
    return Reply(choice.message.content, finish, _counted(usage.prompt_tokens), _counted(usage.completion_tokens))


def _read_usage(raw: msgspec.Raw) -> _Usage:
    try:
        return msgspec.json.decode(raw, type=_Usage | None) or _Usage()
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _Usage()


def _counted(tokens: int) -> int:
    return tokens if 0 <= tokens <= _MAX_TOKENS_COUNTED else 0
