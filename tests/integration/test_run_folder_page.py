"""docs/concepts/run-folder.md names every file and key that training writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from project import loren

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "run-folder.md"
OPEN = {"values", "origins", "stages", "rules", "labels", "issues", "files", "lora", "train", "packages", "hardware", "seeds"}
"""Keys whose content other pages describe, or that are tables of names."""


def keys(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*(keys(item) for item in value[:2]))
    if not isinstance(value, dict):
        return set()
    return set(value) | set().union(*(keys(inner) for name, inner in value.items() if name not in OPEN))


def test_the_page_names_every_file_and_key(project: Path) -> None:
    done = loren("train", "run.toml", cwd=project)
    assert done.returncode == 0, done.stderr
    run = project / "runs" / "a"
    page = PAGE.read_text(encoding="utf-8")
    files = [path.relative_to(run).as_posix() for path in run.rglob("*.json*") if "checkpoint" not in path.as_posix()]
    own = [name for name in files if not name.startswith("adapter/") or name.endswith(("MANIFEST.json", "metadata.json"))]
    assert len(own) >= 7
    found: set[str] = set()
    for name in own:
        assert name.removeprefix("adapter/") in page
        text = (run / name).read_text(encoding="utf-8")
        found |= keys(json.loads(text.splitlines()[-1] if name.endswith("jsonl") else text))
    assert len(found) >= 80
    assert sorted(name for name in found if f"`{name}`" not in page) == []
