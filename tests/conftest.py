"""Fixtures that every test may use: a tiny random Llama with a tokenizer trained here, a small task and its data."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: one thread, no spinning, no hub.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest

HELPDESK = Path(__file__).parent / "tasks" / "helpdesk"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a 2-layer random Llama and a ChatML tokenizer; loads in milliseconds."""
    from tiny import write_tiny_base

    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny-llama")
