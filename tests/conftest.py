"""Fixtures that every test may use, and `--resume-slow`: what passed at this commit is not run again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

# Before torch is imported: one thread, no spinning, no hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest

PASSED = "loren/passed"
"""Cache key: {commit: [node ids]} of tests that passed under --resume-slow."""


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a 2-layer random Llama and a ChatML tokenizer; loads in milliseconds."""
    from tiny import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny-llama")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--resume-slow", action="store_true", help="skip what passed before at this commit with a clean tree")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--resume-slow") or getattr(config, "cache", None) is None:
        return
    passed = set(config.cache.get(PASSED, {}).get(_state(), []))
    done = [item for item in items if item.nodeid in passed]
    if done:
        config.hook.pytest_deselected(items=done)
        items[:] = [item for item in items if item.nodeid not in passed]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # All had passed before: that is a success, not "no tests collected".
    if session.config.getoption("--resume-slow") and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    cache = getattr(item.config, "cache", None)  # none under -p no:cacheprovider
    if item.config.getoption("--resume-slow") and cache is not None and report.when == "call" and report.passed:
        state = _state()
        cache.set(PASSED, {state: [*cache.get(PASSED, {}).get(state, []), item.nodeid]})
    return report


def _state() -> str:
    """The commit, and the digest of what differs from it: a changed tree runs everything again."""
    root = Path(__file__).parents[1]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    diff = subprocess.run(["git", "-C", str(root), "diff", "HEAD"], capture_output=True, check=False).stdout
    import hashlib

    return f"{head}-{hashlib.sha256(diff).hexdigest()[:12]}"
