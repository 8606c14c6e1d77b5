"""The notebooks are whole, say the same in both languages, and run from top to bottom on a CPU with the tiny model."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from doc_blocks import ROOT

ENGLISH = ROOT / "notebooks" / "your-first-adapter.ipynb"
VIETNAMESE = ROOT / "notebooks" / "your-first-adapter.vi.ipynb"
INSTALL = "install"
"""Tag of the one cell that needs a network: the tests have Loren already."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", [ENGLISH, VIETNAMESE], ids=lambda path: path.name)
def test_a_notebook_is_valid_and_holds_no_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert len(code(notebook)) >= 8
    assert [cell.id for cell in code(notebook) if cell.outputs or cell.execution_count] == []
    assert unicodedata.is_normalized("NFC", path.read_text(encoding="utf-8"))


def test_both_languages_hold_the_same_code() -> None:
    first, second = read(ENGLISH), read(VIETNAMESE)
    assert [(cell.id, cell.source) for cell in code(first)] == [(cell.id, cell.source) for cell in code(second)]
    assert [cell.id for cell in first.cells] == [cell.id for cell in second.cells]


def test_only_the_first_cell_is_left_out() -> None:
    cells = code(read(ENGLISH))
    assert [INSTALL in cell.metadata.get("tags", []) for cell in cells] == [True] + [False] * (len(cells) - 1)


@pytest.mark.slow
def test_the_notebook_runs_and_a_second_session_goes_on(
    tmp_path: Path, programs: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("LOREN_NOTEBOOK_BASE", str(tiny_base))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    said = run(read(ENGLISH), tmp_path, until="record")
    assert "no GPU here" in said or "NVIDIA" in said
    assert "made " in said
    assert "validation loss" in said
    assert "sanity " in said
    assert '"weights_bytes"' in said
    again = run(read(ENGLISH), tmp_path, until="train")
    assert "made " not in again
    assert "all is done" in again


def run(notebook: Any, folder: Path, *, until: str) -> str:
    """Run all cells up to ``until`` but the installing one; returns what they printed."""
    last = [cell.id for cell in notebook.cells].index(until)
    notebook.cells = [cell for cell in notebook.cells[: last + 1] if INSTALL not in cell.metadata.get("tags", [])]
    for cell in code(notebook):
        cell.source = strict(cell.source)
    # The cell that is left out also names `os`.
    notebook.cells.insert(0, nbformat.v4.new_code_cell("import os"))
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return "".join(output.get("text", "") for cell in code(notebook) for output in cell.outputs)


def strict(source: str) -> str:
    """A failing command stops a notebook only when something looks at its exit code."""
    return re.sub(r"^( *)!(.+)$", r"\1!\2\n\1assert _exit_code == 0, _exit_code", source, flags=re.MULTILINE)
