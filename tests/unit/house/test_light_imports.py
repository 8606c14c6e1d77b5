"""Light rooms stay light: each module is imported in a fresh process, and no heavy package may be loaded after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("module", modules())
def test_module_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_help_starts_in_half_a_cpu_second() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "loren", "--help"], capture_output=True, text=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "check a training file" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
