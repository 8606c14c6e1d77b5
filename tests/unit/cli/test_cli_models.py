"""`loren models`, called as the command line calls it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from loren.cli.fetching import show_fetching
from loren.cli.main import run
from loren.models.embedded import find_embedded
from loren.provenance.manifest import write_manifest
from tiny_gguf import tiny_model, write_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOREN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_list(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list", "--format", "json"]) == 0
    found = read_json(capsys)
    assert [row["name"] for row in found["models"]] == ["qwen2.5-coder-0.5b", "smollm2-135m"]
    assert {row["state"] for row in found["models"]} == {"not fetched"}
    assert all(row["path"] is None for row in found["models"])
    copy = find_embedded("smollm2-135m").converted(cache)
    copy.mkdir(parents=True)
    write_manifest(copy)
    assert run(["models", "list"]) == 0
    text = capsys.readouterr().out
    assert "smollm2-135m  (ready)" in text
    assert "qwen2.5-coder-0.5b  (not fetched)" in text
    assert text.splitlines()[-1] == "next: loren models show qwen2.5-coder-0.5b"


def test_path_prints_the_folder_alone(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "path", "smollm2-135m"]) == 4
    assert "loren models fetch smollm2-135m" in capsys.readouterr().err
    copy = find_embedded("smollm2-135m").converted(cache)
    copy.mkdir(parents=True)
    write_manifest(copy)
    assert run(["models", "path", "embedded:smollm2-135m"]) == 0
    assert capsys.readouterr().out == f"{copy}\n"


def test_show(tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "qwen2.5-coder-0.5b", "--format", "json"]) == 0
    found = read_json(capsys)
    assert (found["license"], found["context_length"], found["trust_remote_code"]) == ("apache-2.0", 32768, "no")
    assert found["tokenizer"]["normalizer"] == "NFC"
    assert run(["models", "show", str(tiny_base)]) == 0
    text = capsys.readouterr().out
    assert "licence: unknown" in text
    assert "context length: 2048 tokens" in text
    assert "generation block: no" in text
    assert run(["models", "show", "smollm2-135m", "--license-text"]) == 0
    assert "Apache License" in capsys.readouterr().out


def test_fetch_converts_checks_and_mends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
    assert run(["models", "fetch", str(path), "--format", "json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert "converting the weights" in captured.err
    weights = Path(found["path"]) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # the size stays: only a digest can tell
    weights.write_bytes(content)
    assert run(["models", "fetch", str(path), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert "converting again" in captured.err
    assert json.loads(captured.out)["weights_sha256"] == found["weights_sha256"]
    content[-1] ^= 1
    assert weights.read_bytes() == bytes(content)


def test_errors_have_their_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "embedded:nothing"]) == 2
    assert run(["models", "path", "nothing"]) == 2
    assert run(["models", "show", "./nothing"]) == 4
    assert run(["models", "fetch", "maker/nothing"]) == 4
    assert run(["models", "fetch", "smollm2-135m", "--revision", "main"]) == 2
    assert capsys.readouterr().out == ""


def test_a_log_gets_one_line_a_tenth() -> None:
    stream = io.StringIO()
    with show_fetching(stream) as progress:
        progress("a sentence", 0, 0)
        for done in range(0, 1001, 7):
            progress("downloading", done * 1_000_000, 1_000_000_000)
        progress("downloading", 1_000_000_000, 1_000_000_000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "a sentence"
    assert len(lines) == 1 + 10
    assert lines[-1] == "downloading: 1000 of 1000 MB"


def test_a_terminal_gets_bars_and_no_markup() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with show_fetching(stream) as progress:
        progress("a [bold]name[/bold] in a path", 0, 0)
        progress("part [1]", 50, 100)
        progress("part [1]", 100, 100)
    assert "[bold]name[/bold]" in stream.getvalue()
    assert "part [1]" in stream.getvalue()
