"""Fixtures of the tests through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from project import make_project


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Path:
    """A project that nothing was trained in."""
    return make_project(tmp_path, tiny_base)
