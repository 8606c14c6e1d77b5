"""The bar by bytes: on a terminal, after a while, gone at the end; nowhere else."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loren.cli.progress import ByteProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("stream", "delay_s", "shown"), [(Terminal(), 0, True), (Terminal(), 60, False), (io.StringIO(), 0, False)]
)
def test_a_bar_only_for_who_waits_at_a_terminal(stream: io.StringIO, delay_s: float, shown: bool) -> None:
    with ByteProgress("checking", total=4_000_000, stream=stream, delay_s=delay_s) as progress:
        progress.update(1_000_000)
        progress.update(2_000_000)
    assert ("checking" in stream.getvalue()) == shown
    if shown:
        assert "2.0/4.0 MB" in stream.getvalue()
    else:
        assert stream.getvalue() == ""


def test_a_check_shows_it_on_stderr_and_leaves_stdout_to_data(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "Yes."}]}
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(row) + "\n") * 100_000, encoding="utf-8")
    ours, theirs = pty.openpty()
    code = "import loren.cli.progress as p, sys; p.DELAY_S = p.ByteProgress.__init__.__kwdefaults__['delay_s'] = 0.0\n"
    code += "from loren.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "check", str(path), "--format", "json", "--processes", "1"]
    seen: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 4096):
                seen.append(piece)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True, timeout=900)
    os.close(theirs)
    reader.join(timeout=900)
    os.close(ours)
    assert json.loads(done.stdout)["rows"] == 100_000
    assert b"checking" in b"".join(seen)
