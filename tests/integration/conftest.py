"""Fixtures of the tests through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loren.errors import EXIT_GATE
from project import make_project
from small_disk import SmallDisk, mounted_disk
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """An empty disk of 64 kB."""
    with mounted_disk(tmp_path / "disk", "64k") as disk:
        if disk is None:
            pytest.skip("this system lets nobody mount a tmpfs here")
        yield disk
