"""`loren doctor`: this machine, what would be used, what is missing and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from loren.cli.output import Format, finish, format_option
from loren.errors import PrerequisiteError, Problem

if TYPE_CHECKING:
    from loren.runs.files import Json

REQUIRED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "tokenizers", "gguf")
"""Packages without which nothing is trained."""
OPTIONAL = {"bitsandbytes": ("4-bit weights (QLoRA)", "pip install 'loren[quantization]'")}
MIN_DISK_BYTES = 3_000_000_000
"""The example's base model takes 0.5 GB as a file and 2.5 GB converted."""
MIN_MEMORY_BYTES = 6_000_000_000
"""The example's base model takes 2.5 GB in fp32, its training 4.9 GB at the peak."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    name: str
    value: str
    missing: str = ""
    """What is wrong; empty where all is well."""
    mend: str = ""
    """The command that mends it."""
    is_required: bool = False


@click.command()
@format_option
def command(output_format: Format) -> None:
    """Show this machine, what would be used, and what is missing. Asks no network. Exit code 4 when something needed is missing.

    Raises:
        PrerequisiteError: something that training needs is missing; all of it is named.
    """
    findings = [*_machine(), *_packages(), *_torch(), *_models()]
    data: dict[str, Json] = {
        "findings": [
            {"name": f.name, "value": f.value, "missing": f.missing or None, "mend": f.mend or None, "required": f.is_required}
            for f in findings
        ]
    }
    lines = [f"{finding.name:<30}{finding.value}" for finding in findings]
    lines += [f"missing: {f.missing}\n  mend it: {f.mend}" for f in findings if f.missing]
    wrong = [finding for finding in findings if finding.missing and finding.is_required]
    finish(output_format, data, text="\n".join(lines), next_command=wrong[0].mend if wrong else "loren init my-task")
    if wrong:
        raise PrerequisiteError(
            f"{len(wrong)} thing(s) that training needs are missing",
            problems=[Problem(f.name, f.missing) for f in wrong],
            hint=wrong[0].mend,
        )


def _machine() -> Iterator[Finding]:
    import psutil

    from loren.models.cache import cache_folder
    from loren.provenance.machine import hardware

    facts = hardware()
    yield Finding("platform", str(facts["platform"]))
    yield Finding("processor", f"{facts['cpu']}, {facts['cores']} cores")
    flags = _cpu_flags()
    yield Finding("bf16 in silicon", "yes" if flags & {"avx512_bf16", "amx_bf16"} else "no: fp32 is faster on this CPU")
    memory = psutil.virtual_memory()
    short = "" if memory.total >= MIN_MEMORY_BYTES else f"expected {MIN_MEMORY_BYTES / 1e9:.0f} GB of memory"
    yield Finding(
        "memory", f"{memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} free", short, "take a smaller base model", True
    )
    for name, folder in (("cache", cache_folder()), ("working folder", Path.cwd())):
        free = shutil.disk_usage(_existing(folder)).free
        short = "" if free >= MIN_DISK_BYTES else f"expected {MIN_DISK_BYTES / 1e9:.0f} GB free at {folder}"
        yield Finding(
            name, f"{folder}, {free / 1e9:.1f} GB free", short, "free disk space, or set LOREN_CACHE to another disk", True
        )
    yield Finding("threads", f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'not set')}")


def _packages() -> Iterator[Finding]:
    from loren.provenance.machine import package_versions

    for name, version in package_versions().items():
        if version is not None:
            yield Finding(name, str(version))
        elif name in OPTIONAL:
            what, mend = OPTIONAL[name]
            yield Finding(name, "not installed", f"{name}, for {what}", mend)
    for name in REQUIRED:
        if not _is_importable(name):
            yield Finding(name, "not installed", f"the package {name}", "make setup, or: pip install loren", True)


def _torch() -> Iterator[Finding]:
    try:
        import torch

        from loren.models.loading import choose_device, choose_dtype
    except ImportError:
        yield Finding("device", "unknown: torch or transformers can't be imported")
        return
    device = choose_device()
    yield Finding("device", device)
    if device == "cuda":
        properties = cast("Any", torch.cuda.get_device_properties(0))
        yield Finding("GPU", f"{properties.name}, {properties.total_memory / 1e9:.1f} GB, CUDA {torch.version.cuda}")
    yield Finding("precision", choose_dtype("auto"))
    yield Finding("torch threads", str(torch.get_num_threads()))


def _models() -> Iterator[Finding]:
    from loren.models.cache import cache_folder, is_complete
    from loren.models.embedded import embedded_models

    for model in embedded_models():
        ready = is_complete(model.converted(cache_folder()))
        yield Finding(model.id, "ready" if ready else f"not here: loren models fetch {model.name}")


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # ValueError: a stand-in in sys.modules without a spec
        return False


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    for line in text.splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
