"""Presidio and GLiNER behind our findings: really asked where they are installed, and an honest error where they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from loren.data.check import check_file
from loren.data.personal.recognizers import GlinerRecognizer, make_recognizer
from loren.data.text_checks import recognizer_check
from loren.errors import ConfigError, PrerequisiteError


class CapitalModel:
    """Speaks like a GLiNER model; every capitalised word is a person, and a text of more than 1,000 characters is cut."""

    def predict_entities(self, text: str, labels: list[str], threshold: float) -> list[dict[str, Any]]:
        assert "person" in labels
        assert len(text) <= 1000
        starts = [place for place, letter in enumerate(text) if letter.isupper()]
        return [{"label": "person", "start": start, "end": start + 3} for start in starts]


def row(text: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes."}]}) + "\n"


def test_long_texts_are_not_cut_and_what_the_rules_found_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    text = "my name is Ann Lee. " + "and so on " * 500 + "Bob"
    file.write_text(row(text), encoding="utf-8")
    report = check_file(file, minimum_rows=0, more_checks=[recognizer_check(GlinerRecognizer(model=CapitalModel()))])
    issues = list(report.issues)
    assert [(issue.rule, issue.span) for issue in issues] == [
        ("D312", (11, 18)),
        ("D312", (len(text) - 3, len(text))),
    ]
    assert "says gliner" in issues[1].message


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no gliner_config\.json"):
        make_recognizer(f"gliner:{tmp_path}")
    with pytest.raises(ConfigError, match="found none"):
        make_recognizer("gliner")
    with pytest.raises(ConfigError, match="presidio or gliner:FOLDER"):
        make_recognizer("spacy")


@pytest.mark.slow
def test_presidio_adds_to_the_rules_and_stays_off_the_network(tmp_path: Path) -> None:
    """With the extra: its findings, by a process without a network. Without: the error that names the extra."""
    file = tmp_path / "rows.jsonl"
    rows = [row(f"My SSN is 536-90-439{digit}, mail a{digit}@example.com, order DH2023110{digit}.") for digit in range(1, 5)]
    file.write_text("".join(rows * 3), encoding="utf-8")
    blocked = tmp_path / "sitecustomize.py"
    blocked.write_text(
        "import socket\ndef refuse(*_, **__):\n    raise SystemExit('reached for the network')\nsocket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-m", "loren", "check", str(file), "--recognizer", "presidio", "--format", "json"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    if find_spec("presidio_analyzer") is None:
        assert run.returncode == PrerequisiteError.exit_code
        assert "pip install 'loren[presidio]'" in run.stderr
        return
    issues = json.loads(run.stdout)["issues"]
    assert run.returncode == 3, run.stderr
    assert {issue["rule"] for issue in issues} == {"D301", "D304"}
    assert sum("says presidio" in issue["message"] for issue in issues) == 12
    assert "536-90" not in run.stdout + run.stderr
