"""`loren doctor`: this machine, what would be used, what is missing and what mends it.

It must run where nothing else does: packages are judged with the standard library only, and whatever needs one of them is
imported in the section that shows it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from loren.cli.output import Format, finish, format_option
from loren.errors import LorenError, PrerequisiteError, Problem

if TYPE_CHECKING:
    from loren.runs.files import Json

OPTIONAL = {
    "bitsandbytes": ("4-bit weights (QLoRA)", "pip install 'loren[quantization]'"),
    "mlflow-skinny": ('train.report_to = ["mlflow"]', "pip install 'loren[mlflow]'"),
    "optuna": ("[sweep.ranges]", "pip install 'loren[sweep]'"),
    "tensorboard": ('train.report_to = ["tensorboard"]', "pip install 'loren[tensorboard]'"),
    "wandb": ('train.report_to = ["wandb"]', "pip install 'loren[wandb]'"),
}
"""Package of an extra -> what it is for, and the command that brings it."""
STARTER_BASE = "qwen2.5-coder-0.5b"
"""The embedded model that `loren init` writes into run.toml."""
MIN_CACHE_BYTES = 3_000_000_000
"""The starter's base model takes 0.5 GB as a file and 2.5 GB converted."""
MIN_RUN_BYTES = 1_000_000_000
"""A run folder with its checkpoints takes 0.1 GB with the starter's base model; a larger base takes more."""
MIN_MEMORY_BYTES = 6_000_000_000
"""The starter's base model takes 2.5 GB in fp32, its training 4.9 GB at the peak."""
_FAST_BF16 = ("avx512_bf16", "amx_tile")
"""Flags of a CPU that multiplies bf16 matrices in silicon; the ones that `choose_dtype` asks torch for."""
_MODULES = {"pyyaml": "yaml", "mlflow-skinny": "mlflow", "python-stdnum": "stdnum"}
"""Module of a package where it is not the package's name with underscores."""
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:>=(?P<least>[0-9.]+))?(?P<extra>.*\bextra\s*==)?")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    name: str
    value: str
    missing: str = ""
    """What is wrong; empty where all is well."""
    mend: str = ""
    """What mends it: a command where there is one."""
    is_required: bool = False
    """Whether training fails without it."""


@click.command()
@click.option("--hub", is_flag=True, help="Ask the model hub whether it answers; nothing else here needs a network.")
@format_option
def command(hub: bool, output_format: Format) -> None:
    """Show this machine, what would be used, and what is missing. Exit code 4 when something needed is missing.

    Raises:
        PrerequisiteError: something that training needs is missing; all of it is named.
    """
    packages = list(_packages())
    absent = {finding.name for finding in packages if finding.missing}
    findings = [*_section(_machine, absent), *packages]
    for look in (_device, _models, *((_hub,) if hub else ())):
        findings += _section(look, absent)
    wrong = [finding for finding in findings if finding.missing and finding.is_required]
    install = _install([finding.mend for finding in wrong])
    lines = [f"{finding.name:<30}{finding.value}" for finding in findings]
    lines += [f"missing: {f.name}: {f.missing}\n  mend it: {f.mend}" for f in findings if f.missing]
    rows: list[Json] = [
        {"name": f.name, "value": f.value, "missing": f.missing or None, "mend": f.mend or None, "required": f.is_required}
        for f in findings
    ]
    next_command = (install or "loren doctor") if wrong else "loren init my-task"
    finish(output_format, {"ok": not wrong, "findings": rows}, text="\n".join(lines), next_command=next_command)
    if wrong:
        raise PrerequisiteError(
            f"{len(wrong)} problem(s) on this machine stop training",
            problems=[Problem(f.name, f.missing) for f in wrong],
            hint=install or wrong[0].mend,
        )


def _packages() -> Iterator[Finding]:
    """Python, the packages that Loren's own metadata asks for, and others whose version can change a result."""
    yield Finding("python", platform.python_version())
    try:
        yield Finding("loren", importlib.metadata.version("loren"))
        lines = importlib.metadata.requires("loren") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("loren", "not installed", "it runs from a folder, so what it needs is not known", "pip install -e .", True)
        lines = []
    found = [match for match in map(_REQUIREMENT.match, lines) if match and not match["extra"]]
    needed = {match["name"]: match["least"] or "" for match in found}
    others: tuple[str, ...] = ()
    with suppress(ImportError):  # it needs psutil, which is one of the needed
        from loren.provenance.machine import PACKAGES

        others = PACKAGES
    needed |= {name: "" for name in others if name not in {*needed, *OPTIONAL, "loren"}}
    for name, least in needed.items():
        yield _package(name, least, is_required=True)
    for name, (purpose, mend) in OPTIONAL.items():
        finding = _package(name, "", is_required=False, install=mend)
        yield replace(finding, missing=f"{finding.missing}; it is for {purpose}") if finding.missing else finding


def _package(name: str, least: str, *, is_required: bool, install: str = "") -> Finding:
    requirement = shlex.quote(f"{name}>={least}") if least else name
    mend = install or f"pip install {requirement}"
    expected = f"expected {least} or newer" if least else "expected any version"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", f"{expected}, found none", mend, is_required)
    if _numbers(version) < _numbers(least):
        return Finding(name, version, f"{expected}, found {version}", mend, is_required)
    try:
        spec = importlib.util.find_spec(_MODULES.get(name, name.replace("-", "_")))
    except (ImportError, ValueError):  # ValueError: a stand-in in sys.modules without a spec
        spec = None
    if spec is None:
        # pip takes the metadata's word for it and would install nothing.
        mend = f"pip install --force-reinstall --no-deps {requirement}"
        return Finding(name, version, "expected its module, found only its metadata", mend, is_required)
    return Finding(name, version)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _install(mends: list[str]) -> str:
    """The pip commands among ``mends`` as one line, the plain ones in a single call; empty where there is none."""
    start = "pip install "
    special = [mend for mend in mends if mend.startswith(f"{start}-")]
    plain = [mend.removeprefix(start) for mend in mends if mend.startswith(start) and mend not in special]
    return " && ".join([*([start + " ".join(plain)] if plain else []), *special])


def _section(look: Callable[[], Iterator[Finding]], absent: set[str]) -> list[Finding]:
    """What ``look`` finds; where one of its imports fails, what it found before that, and the failure."""
    found: list[Finding] = []
    try:
        for finding in look():
            found.append(finding)
    except ImportError as error:
        found.append(_not_importable(look.__name__.strip("_"), error, absent))
    return found


def _not_importable(name: str, error: ImportError, absent: set[str]) -> Finding:
    """A part of the table that can't be filled in; ``absent`` packages have a finding of their own and are no second problem."""
    reason = (str(error).splitlines() or [""])[0][:200]  # about an import, so it quotes no customer
    module = (error.name or "").partition(".")[0]
    if module.replace("_", "-") in absent or module in absent:
        return Finding(name, f"unknown without {module}")
    mend = "make a new environment (`make setup`), or reinstall the package that is named"
    return Finding(name, "unknown", f"an installed package can't be imported: {reason}", mend, True)


def _machine() -> Iterator[Finding]:
    from loren.provenance.machine import free_memory_bytes, hardware, machine_memory_bytes

    facts = hardware()
    yield Finding("platform", str(facts["platform"]))
    yield Finding("processor", f"{facts['cpu']}, {facts['cores']} cores")
    yield Finding("bf16 in silicon", _bf16())
    total = machine_memory_bytes()
    short = "" if total >= MIN_MEMORY_BYTES else f"expected {MIN_MEMORY_BYTES / 1e9:.0f} GB, found {total / 1e9:.1f} GB"
    mend = 'take a smaller base model, such as base_model = "embedded:smollm2-135m"'
    free = min(free_memory_bytes(), total)
    yield Finding("memory", f"{total / 1e9:.1f} GB, {free / 1e9:.1f} of them can be had now", short, mend if short else "", True)
    yield _disk("working folder", Path.cwd(), MIN_RUN_BYTES, "free disk space, or work in a folder on another disk")
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        yield Finding(name, os.environ.get(name, "not set"))


def _bf16() -> str:
    flags = _cpu_flags()
    if not flags:
        return "unknown: this system does not list the CPU's flags"
    present = [flag for flag in _FAST_BF16 if flag in flags]
    return f"yes: {', '.join(present)}" if present else f"no ({' and '.join(_FAST_BF16)} are missing): fp32 is faster on this CPU"


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _disk(name: str, folder: Path, least_bytes: int, mend: str) -> Finding:
    """Room and permission at ``folder``, or at the nearest parent that exists."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    missing = ""
    if not os.access(place, os.W_OK):
        missing = f"expected a folder that can be written, found none at {place}"
    elif free < least_bytes:
        missing = f"expected {least_bytes / 1e9:.0f} GB free at {folder}, found {free / 1e9:.1f} GB"
    return Finding(name, f"{folder}, {free / 1e9:.1f} GB free", missing, mend if missing else "", True)


def _device() -> Iterator[Finding]:
    driver = _nvidia_driver()
    yield Finding("GPU driver", driver or "none found (nvidia-smi is not here)")
    try:
        import torch

        from loren.models.loading import choose_device, choose_dtype

        importlib.import_module("loren.train.recipe")  # and with it all that training needs
    except ImportError:
        raise
    except Exception as error:
        # An import can fail with anything: a shared library, another package's binary interface.
        raise ImportError(f"{type(error).__name__}: {error}") from error
    device = choose_device()
    yield Finding("device", device, *_unused_gpu(driver, device, torch.version.cuda))
    if device == "cuda":
        properties = cast("Any", torch.cuda.get_device_properties(0))
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
        yield Finding("GPU", f"{properties.name}, {properties.total_memory / 1e9:.1f} GB, {built}")
    yield Finding("precision", choose_dtype("auto"))
    yield Finding("torch threads", str(torch.get_num_threads()))


def _nvidia_driver() -> str | None:
    """Name and driver version of the first GPU; None where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command_line = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command_line, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        return f"nvidia-smi fails ({type(error).__name__})"
    lines = done.stdout.splitlines()
    return lines[0].strip() if lines else "nvidia-smi names no GPU"


def _unused_gpu(driver: str | None, device: str, built_for: str | None) -> tuple[str, str]:
    """What is missing and what mends it, where a GPU is there that torch leaves alone; not needed, since the CPU trains too."""
    if driver is None or device != "cpu":
        return "", ""
    if built_for is None:
        return (
            "a torch build that uses the GPU",
            "rm -rf .venv && make setup TORCH_INDEX_URL=... (the index of torch's CUDA builds)",
        )
    return f"the GPU for torch, built for CUDA {built_for}", "update the GPU driver, or unset CUDA_VISIBLE_DEVICES"


def _models() -> Iterator[Finding]:
    from loren.models.cache import cache_folder, is_complete
    from loren.models.embedded import embedded_models

    cache = cache_folder()
    ready = {model.name: is_complete(model.converted(cache)) for model in embedded_models()}
    # A base model that is here already needs no room.
    least = 0 if ready.get(STARTER_BASE) else MIN_CACHE_BYTES
    yield _disk("cache", cache, least, "free disk space, or set LOREN_CACHE to a folder on another disk")
    for model in embedded_models():
        yield Finding(model.id, "ready" if ready[model.name] else f"not here yet: loren models fetch {model.name}")


def _hub() -> Iterator[Finding]:
    from loren.config.run import RunConfig
    from loren.models.hub import list_repository

    repository = str(RunConfig.model_fields["base_model"].default)
    try:
        list_repository(repository, None)
    except ConnectionError as error:
        mend = "take an embedded model (`loren models list`) or a folder on this disk"
        yield Finding("hub", "no answer", f"an answer about {repository}: {error}", mend)
    except LorenError as error:
        yield Finding("hub", f"answers: {error.summary}")
    else:
        yield Finding("hub", "answers")
