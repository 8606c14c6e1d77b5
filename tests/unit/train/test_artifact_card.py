"""The artifact's README: who answers for the rows, and what may be done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loren.data.dataset_card import CARD_FILE, dataset_facts
from loren.train.card import model_card

CARD = """
name = "Support"
version = "1.2.0"
owner = 'Service desk | **bold** <script> [a](https://example.org)'
license = "LicenseRef-internal"
source = '''Tickets of 2026,
rewritten by the desk'''
date = 2026-10-01

[consent_review]
by = "Legal"
date = 2026-10-02
finding = "Asked and agreed."

[privacy_review]
by = "Service desk"
date = 2026-10-02
finding = "Read row by row."
"""


def card_of(folder: Path) -> str:
    metadata: dict[str, Any] = {
        "name": "x",
        "note": "n",
        "method": "full",
        "license": None,
        "language": None,
        "lora": None,
        "base_model": {"id": "tiny", "hub_id": None, "description": "d", "weights_sha256": "0" * 64, "license": None},
        "dataset": {"sha256": "1" * 64, **dataset_facts(folder)},
        "rows": None,
        "loss": None,
        "steps": None,
        "time": None,
        "seeds": None,
        "system_prompt": None,
        "parameters": {"trainable": 1, "total": 2, "share": 0.5},
        "packages": {"loren": "0"},
        "created_at": "now",
    }
    return model_card(metadata)


def test_the_card_says_owner_licence_and_source_of_the_data(tmp_path: Path) -> None:
    (tmp_path / CARD_FILE).write_text(CARD, encoding="utf-8")
    lines = card_of(tmp_path).splitlines()
    at = lines.index("| data | version 1.2.0, sha256 `" + "1" * 64 + "` |")
    assert lines[at + 1 : at + 6] == [
        "| dataset | Support |",
        r"| owner of the data | Service desk \| \*\*bold\*\* &lt;script&gt; \[a\](https://example.org) |",
        "| licence of the data | LicenseRef-internal |",
        "| source of the data | Tickets of 2026, rewritten by the desk |",
        "| loss | not known |",
    ]


def test_without_a_whole_card_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / CARD_FILE).write_text('version = "7"\n', encoding="utf-8")
    text = card_of(tmp_path)
    assert "| data | version 7, sha256" in text
    assert "of the data |" not in text
    assert "|\n| loss |" in text
