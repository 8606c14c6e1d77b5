"""Light rooms stay light: all their modules are imported in a fresh process, and no heavy package may be loaded after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cpu_time import IMPORT_TORCH, share_of

SRC = Path(__file__).parents[3] / "src"
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
LIGHT_ROOMS = (
    "errors",
    "config",
    "runs",
    "provenance",
    "task",
    "data",
    "plan",
    "scoring",
    "report",
    "pipeline",
    "cli",
    "models/source",
    "models/protocol",
    "models/endpoint",
    "models/http",
    "models/http_reply",
)
LOADED_AFTER_EACH = f"""
import sys
for module in sys.stdin.read().split():
    __import__(module)
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    print(module + ": " + " ".join(loaded), flush=True)
"""
"""Imports every module on its input, one after another, and prints what is loaded by then."""


def modules() -> list[str]:
    found = []
    for room in LIGHT_ROOMS:
        path = SRC / "loren" / room
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        found += [".".join(file.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return sorted(found)


def test_every_light_room_is_seen() -> None:
    seen = modules()
    assert len(seen) >= 30
    assert all(any(name.startswith(f"loren.{room.replace('/', '.')}") for name in seen) for room in LIGHT_ROOMS)


def loaded_after(*names: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED_AFTER_EACH], input="\n".join(names), capture_output=True, text=True, timeout=900, check=True
    )
    return dict(line.split(": ") for line in done.stdout.splitlines())


def test_no_module_loads_anything_heavy() -> None:
    """One process for all of them: what none of them has loaded in the end, none would load alone."""
    assert loaded_after(*modules()) == dict.fromkeys(modules(), "")
    assert "torch" in loaded_after("loren.train.loss")["loren.train.loss"].split()


def test_help_starts_at_once() -> None:
    assert share_of([sys.executable, "-m", "loren", "--help"], IMPORT_TORCH, below=0.2) < 0.2
