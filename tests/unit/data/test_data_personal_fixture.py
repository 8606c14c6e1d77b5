"""How many of the labelled lines' phone numbers, addresses, cards and identity numbers are found, and how much else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loren.data.personal.find import find_pii
from loren.data.personal.finding import Finding

FOLDER = Path(__file__).parents[2] / "fixtures" / "personal"
RULES = {
    "email": {"pii-email"},
    "phone": {"pii-phone"},
    "card": {"pii-card"},
    "cccd": {"pii-id-number"},
}
"""Kind of a label -> the rules that find it. What is an error must be right; a doubt (pii-id-shape) is counted as nothing."""


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(FOLDER.glob("*.jsonl")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{file.name}:{number}", json.loads(line)


def overlaps(finding: Finding, span: list[Any]) -> bool:
    return finding.start < span[2] and span[1] < finding.end


def judge(kind: str) -> tuple[float, float, int, list[str]]:
    """Recall, precision, labels, and the places of what was missed or was too much."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for place, row in rows():
        found = [finding for finding in find_pii(row["text"]) if finding.rule in RULES[kind]]
        labels = [span for span in row["spans"] if span[0] == kind]
        hit = sum(any(overlaps(finding, span) for finding in found) for span in labels)
        right = sum(any(overlaps(finding, span) for span in labels) for finding in found)
        counts.update(labels=len(labels), hit=hit, found=len(found), right=right)
        if hit < len(labels) or right < len(found):
            faults.append(f"{place} {'missed' if hit < len(labels) else 'too much'}")
    return counts["hit"] / counts["labels"], counts["right"] / max(1, counts["found"]), counts["labels"], faults


@pytest.mark.parametrize("kind", RULES)
def test_recall_and_precision(kind: str) -> None:
    recall, precision, labels, faults = judge(kind)
    assert labels >= 50
    assert recall >= 0.98, faults
    assert precision >= 0.95, faults


def test_every_line_is_labelled_as_it_is_written() -> None:
    kinds = {"email", "phone", "cccd", "card", "bank", "tax", "passport", "plate", "iban", "name", "address"}
    seen = 0
    for place, row in rows():
        seen += 1
        for kind, start, end in row["spans"]:
            assert kind in kinds, place
            assert 0 <= start < end <= len(row["text"]), place
            assert row["text"][start:end].strip() == row["text"][start:end], place
    assert seen >= 400


def test_lines_without_a_label_hold_nothing() -> None:
    clean = [(place, row["text"]) for place, row in rows() if not row["spans"] and place.startswith("own")]
    found = [place for place, text in clean if any(finding.rule != "pii-spelled-number" for finding in find_pii(text))]
    assert len(clean) >= 150
    assert found == []
