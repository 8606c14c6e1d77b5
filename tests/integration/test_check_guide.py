"""The guide "Check your data in ten minutes" shows what the commands print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from doc_blocks import ROOT, blocks_of

GUIDE = ROOT / "docs" / "guides" / "check-your-data.md"


def test_the_output_in_the_guide_is_what_the_command_before_it_prints(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, command in (("loren", f"{sys.executable} -m loren"), ("python", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    printed, compared = "", 0
    for block in blocks_of(GUIDE):
        if block.language == "text":
            assert block.text == printed, block.place
            compared += 1
        elif "--explain" not in block.text:  # the rules' page shows those
            script = block.text if block.language == "sh" else f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK\n"
            done = subprocess.run(
                ["bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=True
            )
            printed = done.stdout
    assert compared == 1
    assert "\n\nclean\n" in printed
