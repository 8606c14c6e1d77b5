"""A page's commands, in order, as a reader types them: in a folder of their own, with the tiny model for the page's base."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from doc_blocks import ROOT, RUN, SHELL, Block, blocks_of, pages

PYTHON = "python - <<'END_OF_BLOCK'\n{text}END_OF_BLOCK\n"


def running(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.mark == RUN and block.language in SHELL]


PAGES = [page for page in pages() if running(page)]
ALWAYS = {"README", "your-first-adapter", "check-your-data", "is-it-better"}
"""What a newcomer meets first; the other pages are run by `make test-slow`."""


def write_clone(folder: Path, programs: Path) -> None:
    """What a clone after `make setup` holds, as far as pages name it: examples, and a `.venv` that puts `loren` on the path."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("runs"))
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "activate").write_text(f"PATH={programs}:$PATH\n", encoding="utf-8")


def script(blocks: list[Block]) -> str:
    lines = ["set -eu", ". .venv/bin/activate"]
    for block in blocks:
        lines.append(f"echo '== {block.place}' >&2")
        lines.append(PYTHON.format(text=block.text) if block.language == "python" else block.text)
    return "\n".join(lines)


def test_the_pages_with_commands_are_found() -> None:
    assert {"README.md", "your-first-adapter.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem, marks=[] if page.stem in ALWAYS else pytest.mark.slow) for page in PAGES]
)
def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path, programs: Path) -> None:
    write_clone(tmp_path, programs)
    done = subprocess.run(
        ["bash", "-c", script(running(page))],
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "LOREN_CACHE": str(tmp_path / "cache"),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
