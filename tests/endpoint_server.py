"""A real HTTP server on this machine that behaves like an OpenAI-compatible endpoint, or as badly as a test wants."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def question(self) -> str:
        return self.body["messages"][-1]["content"]


Behaviour = Callable[["Handler", Asked], None]


@dataclass
class EndpointServer:
    url: str
    behave: Behaviour
    asked: list[Asked] = field(default_factory=list)
    most_at_once: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    endpoint: EndpointServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, dict(self.headers), body, time.monotonic())
        with self.endpoint.lock:
            self.endpoint.asked.append(asked)
            self.endpoint.now += 1
            self.endpoint.most_at_once = max(self.endpoint.most_at_once, self.endpoint.now)
        try:
            self.endpoint.behave(self, asked)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client went away, as some tests want
        finally:
            with self.endpoint.lock:
                self.endpoint.now -= 1

    def send(self, status: int, data: bytes, *, claimed: int | None = None, **headers: str) -> None:
        """Send a whole response; ``claimed`` is a Content-Length that is not the data's."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if claimed is None else claimed))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        if claimed is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def completion(text: str, *, finish_reason: str = "stop", usage: object = None) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body: dict[str, Any] = {"id": "c", "object": "chat.completion", "choices": [choice]}
    return json.dumps(body | ({"usage": usage} if usage is not None else {})).encode()


def echo(handler: Handler, asked: Asked) -> None:
    handler.send(200, completion(f"re: {asked.question}", usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}))


@contextmanager
def serving(behave: Behaviour = echo) -> Iterator[EndpointServer]:
    handler = type("BoundHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    endpoint = EndpointServer(f"http://127.0.0.1:{server.server_address[1]}/v1", behave)
    handler.endpoint = endpoint
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
