"""Facts about this machine and this command: what a reader needs to judge a figure or repeat a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from loren.runs.files import Json

PACKAGES = (
    "loren", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "gguf", "bitsandbytes",
    "jsonschema-rs", "msgspec", "phonenumbers", "pydantic", "numpy",
)  # fmt: skip
"""Whose versions can change a result."""
_SECRET_NAME = re.compile(r"token|secret|password|passwd|api[_-]?key|credential", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\b(?:hf_|sk-|ghp_|glpat-|AKIA)[A-Za-z0-9_-]{8,}")
_MASK = "***"


def package_versions() -> dict[str, Json]:
    """Installed versions of :data:`PACKAGES`; None where a package is not installed."""
    versions: dict[str, Json] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def hardware() -> dict[str, Json]:
    """Processor, cores and memory; no host name and no user."""
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # getrusage would do, but a child's ru_maxrss starts at its parent's.
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return int(found.group(1)) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes


def git_commit(folder: Path) -> str | None:
    """HEAD of the repository around ``folder``, with "-dirty" where tracked files differ; None outside one."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return f"{head}-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """A command line that may be written to a file: values of secret-like names and known token forms are masked."""
    masked: list[str] = []
    hide_next = False
    for argument in arguments:
        name, separator, _ = argument.partition("=")
        if hide_next:
            masked.append(_MASK)
            hide_next = False
        elif separator and _SECRET_NAME.search(name):
            masked.append(f"{name}={_MASK}")
        else:
            hide_next = argument.startswith("-") and bool(_SECRET_NAME.search(argument))
            masked.append(_SECRET_VALUE.sub(_MASK, argument))
    return masked


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()
