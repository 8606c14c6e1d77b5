"""No false alarm on 10,000 and more ordinary Vietnamese sentences that nobody here wrote: Debian's message catalogues."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from loren.data.check import check_file

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "vietnamese_catalogues.py"
CACHE = Path(os.environ.get("LOREN_CATALOGUES", ROOT / "build" / "vietnamese-catalogues"))
FAR = 5077
"""A sentence answers the one that stands so far before it: from another program, on another subject."""

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    if not shutil.which("apt-get"):
        pytest.skip("needs Debian's apt-get, which fetches the catalogues")
    file = runpy.run_path(str(SCRIPT))["fetch"](CACHE)
    return [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]


COPIES = "D5"
"""Programs say the same thing in nearly the same words, and the rules of copies tell so: these findings are true, too."""


def is_broken(text: str) -> bool:
    """Whether a catalogue is at fault itself: a lost character, letters and marks apart. These findings are true."""
    return "\ufffd" in text or not unicodedata.is_normalized("NFC", text)


def test_no_rule_finds_anything_in_them(sentences: list[str], tmp_path: Path) -> None:
    whole = [text for text in sentences if not is_broken(text)]
    assert len(whole) >= 10_000
    assert len(sentences) - len(whole) <= 20
    file = tmp_path / "rows.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for index, question in enumerate(whole):
            reply = whole[(index + FAR) % len(whole)]
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    report = check_file(file)
    found = [issue for issue in report.issues if not issue.rule.startswith(COPIES)]
    alarms = Counter(issue.rule for issue in found)
    lines = [f"{issue.rule} line {issue.line} {issue.path} {issue.message}" for issue in found]
    assert report.rows == len(whole)
    assert not alarms, "\n".join([f"alarms by rule: {dict(alarms)}", *lines[:100]])


def test_a_finding_in_a_catalogue_is_found(sentences: list[str], tmp_path: Path) -> None:
    """The test above can fail: the broken sentences, and what was left out of the catalogues' own replies, are found."""
    broken = [text for text in sentences if is_broken(text)]
    file = tmp_path / "rows.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for text in broken:
            messages = [{"role": "user", "content": "Báo gì vậy?"}, {"role": "assistant", "content": text}]
            out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    assert len({issue.line for issue in check_file(file, minimum_rows=0).issues}) == len(broken) > 0
