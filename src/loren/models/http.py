"""A model behind an OpenAI-compatible endpoint, as a `Generator`: bounded, paced, retried, and never trusted.

A request that fails for good is an answer with finish_reason "error" and no text: it stays in every denominator. What an endpoint
sends is hostile until it was read as the few fields that are used; no body is ever shown. A batch in which everything failed for a
reason that lies with the endpoint (no such host, a wrong key, a quota that is used up) stops the call instead, since rows that were
never answered say nothing about a model; batches from before it are in the journal of whoever asks.
"""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from loren.errors import ConfigError, PrerequisiteError, Problem
from loren.models.endpoint import API_KEY, Endpoint, api_key, holds_key
from loren.models.http_reply import Failure, Reply, read_bounded, read_reply, require_success
from loren.models.protocol import Completion, Prompt
from loren.provenance.digests import sha256_json
from loren.runs.files import Json

if TYPE_CHECKING:
    import anyio
    import httpx2
    import tenacity

BATCH = 16
"""Prompts a batch. Not the endpoint's concurrency: a call that is resumed with another one keeps what was answered."""
_LONGEST_BACKOFF_S = 20.0
_ENDPOINT_FAILURES = frozenset({
    "connection", "redirect", "http_401", "http_404", "http_405", "http_407", "http_429", "http_502", "http_503",
})  # fmt: skip
"""Failures that say nothing about the row."""
_ALIKE = 4
"""So many rows are not all wrong in the same way: a refusal (4xx) of each is the endpoint's."""
_HINTS = {
    "connection": "is the server running, and is its address right?",
    "redirect": "give the address that the endpoint redirects to",
    "http_401": f"set {API_KEY} to a key of this endpoint",
    "http_403": f"set {API_KEY} to a key that may use this model",
    "http_404": "check the address and the name of the model",
    "http_429": "run the command again later, or with a lower rate; what was answered is kept",
}


class HttpGenerator:
    """Asks an endpoint; see ``open_endpoint``."""

    def __init__(self, endpoint: Endpoint, *, response_schema: Mapping[str, Json] | None = None) -> None:
        """Sends nothing.

        Args:
            endpoint: where to ask.
            response_schema: a JSON Schema that the endpoint is asked to hold its answers to (``response_format``).
        """
        self.endpoint = endpoint
        self.failures: Counter[str] = Counter()
        """Kind of failure -> requests that failed for good, in this process."""
        self.attempts = 0
        """Requests that were sent in this process, retries included."""
        self._response_schema = response_schema
        self._pace = _Pace(endpoint.requests_a_second)

    def __repr__(self) -> str:
        return f"HttpGenerator(host={self.endpoint.host!r}, model={self.endpoint.model!r})"

    def identity(self, lead: Sequence[tuple[str, str]] = ()) -> dict[str, Json]:
        """What decides the answers: host, path, model and parameters, and the turns before every question. No key."""
        return {
            "endpoint": self.endpoint.identity(),
            "lead": [[role, text] for role, text in lead],
            "constraint": sha256_json(self._response_schema) if self._response_schema is not None else None,
            "decoding": {"temperature": 0, "limit": self.endpoint.token_field},
        }

    def batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """In order, ``BATCH`` at a time."""
        return [list(range(start, min(start + BATCH, len(prompts)))) for start in range(0, len(prompts), BATCH)]

    def answer(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[Completion]:
        """Ask for one batch, several requests at once; one completion a prompt, in order.

        A completion's seconds begin with its own first request, and hold the pauses between retries.

        Raises:
            ConfigError: the key can't be used.
            PrerequisiteError: every request failed, and the reason lies with the endpoint.
        """
        from anyio.from_thread import start_blocking_portal

        # The loop lives in a thread of its own: a notebook has one in this thread, and Ctrl-C ends the wait for it at once.
        with start_blocking_portal() as portal:
            outcomes = portal.call(self._answer_all, prompts, max_new_tokens)
        failed = Counter(outcome.failure for outcome in outcomes if outcome.failure)
        self._require_an_endpoint(failed, len(prompts))
        self.failures.update(failed)
        return [outcome.completion for outcome in outcomes]

    def _require_an_endpoint(self, failed: Counter[str], asked: int) -> None:
        is_endpoint = set(failed) <= _ENDPOINT_FAILURES
        is_refusal = asked >= _ALIKE and len(failed) == 1 and next(iter(failed)).startswith("http_4")
        if failed.total() < asked or not (is_endpoint or is_refusal):
            return
        hints = [_HINTS[kind] for kind in failed if kind in _HINTS]
        raise PrerequisiteError(
            f"{self.endpoint.host}: expected answers of {self.endpoint.model!r}, found none to {asked} request(s) in a row",
            problems=[Problem(kind, f"{count} request(s)") for kind, count in failed.most_common()],
            hint="; ".join(hints) or "ask whoever runs the endpoint; what was answered before is kept",
        )

    async def _answer_all(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[_Outcome]:
        import anyio

        outcomes: list[_Outcome | None] = [None] * len(prompts)
        slots, key = anyio.Semaphore(self.endpoint.concurrency), api_key()

        async def ask(place: int) -> None:
            outcomes[place] = await self._ask(_Exchange(client, slots, key), prompts[place], max_new_tokens)

        async with self._client(key) as client, anyio.create_task_group() as group:
            for place in range(len(prompts)):
                group.start_soon(ask, place)
        return [outcome for outcome in outcomes if outcome is not None]

    def _client(self, key: str | None) -> httpx2.AsyncClient:
        import httpx2

        # Compression is declined, so that a few bytes can't become gigabytes.
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "loren",
        }
        try:
            return httpx2.AsyncClient(
                headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
                timeout=self.endpoint.timeout_s,
                follow_redirects=False,
                trust_env=not self.endpoint.is_here,  # a proxy has no business between this machine and itself
            )
        except (ValueError, ImportError, OSError) as error:
            # Only the kind: the message may quote a proxy's password.
            raise ConfigError(
                f"{self.endpoint.host}: expected usable proxies and certificates, found others ({type(error).__name__})",
                hint="look at HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR in the environment",
            ) from None

    async def _ask(self, exchange: _Exchange, prompt: Prompt, max_new_tokens: int) -> _Outcome:
        """One prompt: tries until it is answered, fails for good, or has been tried often enough."""
        import tenacity

        began = _Clock()
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.endpoint.retries + 1),
            wait=self._wait,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Failure) and error.may_pass),
            reraise=True,
        )
        try:
            reply: Reply = await retrying(self._attempt, exchange, self._body(prompt, max_new_tokens), began)
        except Failure as failure:
            return _Outcome(Completion(prompt.id, "", "error", 0, 0, began.seconds()), failure.kind)
        tokens = (reply.prompt_tokens, reply.completion_tokens)
        return _Outcome(Completion(prompt.id, reply.text, reply.finish_reason, *tokens, began.seconds()), "")

    def _wait(self, state: tenacity.RetryCallState) -> float:
        import tenacity

        pause = self.endpoint.backoff_s
        backoff = tenacity.wait_exponential_jitter(multiplier=pause, max=_LONGEST_BACKOFF_S, jitter=pause)(state)
        error = state.outcome.exception() if state.outcome else None
        asked_for = error.retry_after_s if isinstance(error, Failure) else 0.0
        self._pace.hold(asked_for)  # the others wait with it
        return max(backoff, asked_for)

    def _body(self, prompt: Prompt, max_new_tokens: int) -> bytes:
        body: dict[str, Json] = {
            "model": self.endpoint.model,
            "messages": [{"role": role, "content": text} for role, text in prompt.turns],
            "temperature": 0,
            self.endpoint.token_field: max_new_tokens,
            "stream": False,
        }
        if self._response_schema is not None:
            schema: dict[str, Json] = {"name": "target", "strict": True, "schema": self._response_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()

    async def _attempt(self, exchange: _Exchange, body: bytes, began: _Clock) -> Reply:
        import anyio
        import httpx2

        async with exchange.slots:
            await anyio.sleep(self._pace.wait())
            began.start()
            self.attempts += 1
            try:
                with anyio.fail_after(self.endpoint.timeout_s):
                    async with exchange.client.stream("POST", self.endpoint.address, content=body) as response:
                        require_success(response)
                        data = await read_bounded(response)
            except (TimeoutError, httpx2.TimeoutException):
                raise Failure("timeout", may_pass=True) from None
            except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError):
                # Refused, reset, cut short, not HTTP. Only the kind is kept: a foreign message may quote what was sent.
                raise Failure("connection", may_pass=True) from None
        reply = read_reply(data)
        if holds_key(reply.text, exchange.key):
            raise Failure("repeats_the_key")
        return reply


def open_endpoint(endpoint: Endpoint, *, response_schema: Mapping[str, Json] | None = None) -> HttpGenerator:
    """Make the generator of an endpoint, after all that can be known without sending anything.

    Args:
        endpoint: where to ask.
        response_schema: a JSON Schema that the endpoint is asked to hold its answers to; for the constrained arm.

    Raises:
        ConfigError: the key in the environment can't be used.
        PrerequisiteError: a package is missing.
    """
    missing = [name for name in ("anyio", "httpx2", "tenacity") if importlib.util.find_spec(name) is None]
    if missing:
        raise PrerequisiteError(
            "an endpoint can't be asked",
            problems=[Problem(name, "expected this package, found none") for name in missing],
            hint="pip install 'loren[http]'",
        )
    api_key()
    return HttpGenerator(endpoint, response_schema=response_schema)


class _Exchange(NamedTuple):
    """What the requests of one batch share."""

    client: httpx2.AsyncClient
    slots: anyio.Semaphore
    key: str | None

    def __repr__(self) -> str:
        return "_Exchange()"


class _Outcome(NamedTuple):
    completion: Completion
    failure: str
    """"" where it was answered."""


class _Clock:
    """Seconds since its first start."""

    def __init__(self) -> None:
        self._began: float | None = None

    def start(self) -> None:
        if self._began is None:
            self._began = time.perf_counter()

    def seconds(self) -> float:
        return round(time.perf_counter() - self._began, 3) if self._began is not None else 0.0


class _Pace:
    """Moments to send at, so far apart that no second sees more than its share; they go on from batch to batch."""

    def __init__(self, a_second: float) -> None:
        self._gap = 1 / a_second
        self._free = 0.0
        self._lock = threading.Lock()

    def wait(self) -> float:
        """Take the next free moment; the seconds until it."""
        with self._lock:
            now = time.monotonic()
            moment = max(now, self._free)
            self._free = moment + self._gap
            return moment - now

    def hold(self, seconds: float) -> None:
        """No moment is free for so long."""
        with self._lock:
            self._free = max(self._free, time.monotonic() + seconds) if seconds > 0 else self._free


__all__ = ["BATCH", "HttpGenerator", "open_endpoint"]
