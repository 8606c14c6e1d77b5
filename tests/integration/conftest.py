"""Fixtures of the tests through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loren.errors import EXIT_GATE
from project import make_project
from warm_loren import warm_loren


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Path:
    """A project that nothing was trained in."""
    return make_project(tmp_path, tiny_base)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Path]:
    """A folder for the path with a `loren` that knows the tiny model only, and starts at once."""
    with warm_loren(tmp_path_factory.mktemp("programs") / "bin", tiny_base, EXIT_GATE) as folder:
        yield folder
