"""Hub ids against a hub on this machine: commit, patterns, refusals, offline use of the local cache."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "5" * 40
RESOLVE = """
import json, sys
from loren.errors import LorenError
from loren.models.source import resolve_source
try:
    source = resolve_source(sys.argv[1], sys.argv[2] or None, trust_remote_code=sys.argv[3] == "trust")
    files = sorted(path.name for path in source.folder.iterdir())
    facts = {name: getattr(source, name) for name in ("revision", "license", "kind", "id")}
    print(json.dumps({**facts, "files": files}))
except LorenError as error:
    print(json.dumps({"error": str(error), "class": type(error).__name__}))
"""


@dataclass
class Hub:
    """A hub with one repository, as much of its interface as the client uses."""

    files: dict[str, bytes]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    status: int = 200

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.status != 200:
            code = {403: "GatedRepo", 404: "RepoNotFound"}.get(self.status, "")
            return self.status, {"X-Error-Code": code}, b"{}"
        listing = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        if path.startswith("/api/models/maker/tiny/tree/"):
            tree = [{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in self.files.items()]
            return 200, {}, json.dumps(tree).encode()
        if path in {"/api/models/maker/tiny", *(f"/api/models/maker/tiny/revision/{name}" for name in ("main", "v1", COMMIT))}:
            return 200, {}, json.dumps({"id": "maker/tiny", "sha": COMMIT, "siblings": listing}).encode()
        name = path.removeprefix(f"/maker/tiny/resolve/{COMMIT}/")
        if name in self.files:
            return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{_oid(self.files[name])}"'}, self.files[name]
        return 404, {"X-Error-Code": "RevisionNotFound" if "/revision/" in path else "RepoNotFound"}, b"{}"


def _oid(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(tiny_base: Path) -> Iterator[Hub]:
    files = {path.name: path.read_bytes() for path in tiny_base.iterdir()}
    files |= {
        "README.md": b"---\nlicense: mit\n---\n",
        "modeling.py": b"print('ran')",
        "pytorch_model.bin": b"pickle",
        "onnx/config.json": b"{}",
        "consolidated.safetensors": b"twice",
    }
    state = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            state.asked.append(f"{self.command} {path}")
            status, headers, body = state.answer(path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def resolve(hub: Hub, tmp_path: Path) -> Any:
    def run(repository: str = "maker/tiny", revision: str = "", trust: str = "", **environment: str) -> dict[str, Any]:
        values = {
            "PATH": "", "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url,
            "LOREN_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1", **environment,
        }  # fmt: skip
        command = [sys.executable, "-c", RESOLVE, repository, revision, trust]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True, env=values)
        return json.loads(done.stdout)

    return run


def test_the_commit_is_recorded_and_only_safe_files_are_taken(hub: Hub, resolve: Any) -> None:
    found = resolve()
    assert (found["kind"], found["id"], found["revision"], found["license"]) == ("hub", "maker/tiny", COMMIT, "mit")
    taken = set(found["files"])
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= taken
    assert not taken & {"modeling.py", "pytorch_model.bin", "onnx", "consolidated.safetensors"}
    assert not [line for line in hub.asked if "modeling.py" in line or "pytorch_model.bin" in line]


def test_a_tag_is_resolved_to_its_commit(resolve: Any) -> None:
    assert resolve(revision="v1")["revision"] == COMMIT


def test_code_is_refused_before_the_weights_are_downloaded(hub: Hub, resolve: Any) -> None:
    hub.files["config.json"] = json.dumps({**json.loads(hub.files["config.json"]), "auto_map": {"AutoConfig": "x.Y"}}).encode()
    assert "auto_map" in resolve()["error"]
    assert not [line for line in hub.asked if "model.safetensors" in line]
    assert "modeling.py" in resolve(trust="trust")["files"]


def test_a_repository_of_pickles_is_refused_unfetched(hub: Hub, resolve: Any) -> None:
    del hub.files["model.safetensors"]
    found = resolve()
    assert found["class"] == "ModelLoadError"
    assert "pytorch_model.bin" in found["error"]
    assert not [line for line in hub.asked if "/resolve/" in line]


def test_what_was_fetched_once_needs_no_hub(hub: Hub, resolve: Any) -> None:
    resolve()
    asked = len(hub.asked)
    assert resolve(HF_HUB_OFFLINE="1")["revision"] == COMMIT
    assert resolve(LOREN_NO_HUB="1")["revision"] == COMMIT
    assert resolve(revision=COMMIT)["revision"] == COMMIT  # a commit can't have changed
    assert len(hub.asked) == asked
    assert resolve(HF_ENDPOINT="http://127.0.0.1:9")["revision"] == COMMIT


def test_half_a_download_is_not_taken_for_a_model(hub: Hub, resolve: Any, tmp_path: Path) -> None:
    resolve()
    (next((tmp_path / "hf").rglob("snapshots")) / COMMIT / "model.safetensors").unlink()
    assert "error" in resolve(LOREN_NO_HUB="1")
    assert "model.safetensors" in resolve()["files"]


@pytest.mark.parametrize(
    ("status", "repository", "revision", "words"),
    [
        (403, "maker/tiny", "", "gated"),
        (404, "maker/tiny", "", "expected a model on the hub, found none"),
        (200, "maker/tiny", "v9", "expected the revision v9"),
        (500, "maker/tiny", "", "hub can't be reached"),
    ],
)
def test_refusals_say_which(hub: Hub, resolve: Any, status: int, repository: str, revision: str, words: str) -> None:
    hub.status = status
    found = resolve(repository, revision)
    assert found["class"] == "ModelLoadError"
    assert words in found["error"]


def test_off_means_not_asked(hub: Hub, resolve: Any) -> None:
    for name in ("HF_HUB_OFFLINE", "LOREN_NO_HUB"):
        found = resolve(**{name: "1"})
        assert "switched off" in found["error"]
        assert "embedded:" in found["error"]
    assert hub.asked == []
