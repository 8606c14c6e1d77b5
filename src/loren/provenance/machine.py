"""Facts about this machine and this command: what a reader needs to judge a figure or repeat a run."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
CONTROL_GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 62
"""Version 1 of control groups writes "no limit" as a number near 2**63."""


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


def forget_peak_memory() -> bool:
    """Let the peak begin anew, at what the process holds now, so that work that follows other work has a peak of its own.

    Returns:
        Whether the system can do so (Linux); elsewhere the peak stays the largest so far.
    """
    if sys.platform != "linux":
        return False
    # The allocator keeps what was freed; glibc alone can be asked to give it back.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def memory_limit(root: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """The container's limit in bytes, which the machine's own figure does not show; None without one.

    Args:
        root: where the control groups are mounted.
        membership: says in which of them this process is. A group is held to the limits of those around it, too.
    """
    return min((limit for _, limit in _limited_groups(root, membership)), default=None)


def machine_memory_bytes() -> int:
    """Memory of this machine, or what a limit on the container or the process allows of it."""
    limits = (psutil.virtual_memory().total, memory_limit(), _address_space())
    return min(limit for limit in limits if limit is not None)


def free_memory_bytes(root: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Memory that this process can still take: free memory and swap, or what a limit leaves.

    macOS and Windows make room by compressing and paging out other programs, and show less as free than can be had: there it is
    three quarters of the machine.
    """
    memory = psutil.virtual_memory()
    if sys.platform != "linux":
        return memory.total * 3 // 4
    room = [memory.available + psutil.swap_memory().free]
    room += [limit - _group_use(group) for group, limit in _limited_groups(root, membership)]
    limit = _address_space()
    if limit is not None:
        room.append(limit - psutil.Process().memory_info().vms)
    return max(0, min(room))


def _address_space() -> int | None:
    """The limit that `ulimit -v` sets, as on some shared machines."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _limited_groups(root: Path, membership: Path) -> Iterator[tuple[Path, int]]:
    """Every control group around this process that has a memory limit, with the limit."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    entries = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    second = next((path for _, controllers, path in entries if not controllers), "/")
    first = next((path for _, controllers, path in entries if "memory" in controllers.split(",")), "/")
    for mount, path, name in ((root, second, "memory.max"), (root / "memory", first, "memory.limit_in_bytes")):
        own = mount / path.lstrip("/")
        # Inside a container the path may be the host's, and then only the mounted root is there.
        for group in (own, *own.parents):
            if group.is_relative_to(mount) and (limit := _number(group / name)) is not None and limit < _NO_LIMIT:
                yield group, limit


def _group_use(group: Path) -> int:
    """Bytes that a control group uses, without the file cache that it would give back."""
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
    try:
        found = re.search(r"^(?:total_)?inactive_file (\d+)$", (group / "memory.stat").read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, ValueError):
        found = None
    return max(0, used - (int(found.group(1)) if found else 0))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None  # "max": no limit


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
