"""Loren's cache folder: where it is, who may write to it, what of it is intact, and digests that need not be taken twice."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from filelock import FileLock, Timeout

from loren.errors import IntegrityError, PrerequisiteError
from loren.provenance.digests import sha256_file, sha256_json, sha256_text
from loren.provenance.manifest import MANIFEST
from loren.runs.files import Json, read_json, write_json

_LOCK_TIMEOUT_S = 3600.0
"""Another process may be downloading gigabytes over a slow line; longer than this, it hangs."""
_log = logging.getLogger("loren")


class Progress(Protocol):
    """Hears about long work."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """``what`` is being done, ``done`` of ``total`` bytes so far; with ``total`` 0, ``what`` is a sentence to be shown."""
        ...


def say(progress: Progress | None, sentence: str) -> None:
    """Tell the user something that must not stay unsaid, with or without a progress display."""
    if progress is None:
        _log.warning(sentence)
    else:
        progress(sentence, 0, 0)


def cache_folder(cache: Path | None = None) -> Path:
    """The cache: ``cache``, or LOREN_CACHE, or the platform's cache folder + "loren". Not created."""
    if cache is not None:
        return cache.absolute()
    named = os.environ.get("LOREN_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        parent = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        parent = str(Path.home() / "Library" / "Caches")
    else:
        parent = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(parent).absolute() / "loren"


@contextmanager
def exclusive(cache: Path, name: str) -> Generator[None]:
    """Hold the lock ``name`` of the cache against other processes.

    Raises:
        PrerequisiteError: the cache can't be written, or another process held the lock for an hour.
    """
    folder = cache / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock", timeout=_LOCK_TIMEOUT_S)
        lock.acquire()
    except Timeout as error:
        raise PrerequisiteError(
            f"{cache}: another process has been working on {name} for an hour", hint="end that process, then try again"
        ) from error
    except OSError as error:
        raise PrerequisiteError(
            f"{cache}: expected a cache folder that can be written, found {error.strerror or 'none'}",
            hint="set LOREN_CACHE to a folder of yours",
        ) from error
    try:
        yield
    finally:
        lock.release()


def require_space(
    folder: Path, needed_bytes: int, purpose: str, *, hint: str = "free some space, or set LOREN_CACHE to a folder on a larger disk"
) -> None:
    """Fail before the work, not in its middle, when the disk is too small.

    Raises:
        PrerequisiteError: less than ``needed_bytes`` are free where ``folder`` is or will be.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise PrerequisiteError(
            f"{folder}: {purpose} needs {needed_bytes / 1e9:.1f} GB of disk, found {free / 1e9:.1f} GB free",
            hint=hint,
        )


@contextmanager
def watched(folder: Path, what: str, total: int, progress: Progress | None) -> Generator[None]:
    """Report how much a foreign program has written below ``folder`` while the block runs, twice a second.

    pip and the hub client show their own bars or none; their files' sizes say the same in one form for every version of them.
    """
    if progress is None:
        yield
        return
    before = _size_below(folder)
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(0.5):
            progress(what, min(total, max(0, _size_below(folder) - before)), total)

    watcher = threading.Thread(target=report, name="loren-download-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _size_below(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue  # a temporary file that is gone already
    return size


def is_complete(folder: Path) -> bool:
    """Whether a converted folder holds every file of its manifest at its size; a cheap check, no digest is taken."""
    try:
        manifest = read_json(folder / MANIFEST)
    except IntegrityError:
        return False
    body = {key: value for key, value in manifest.items() if key != "digest"}
    files = manifest.get("files")
    if sha256_json(body) != manifest.get("digest") or not isinstance(files, dict):
        return False
    sizes = {name: entry.get("size") for name, entry in cast("dict[str, dict[str, Json]]", files).items()}
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes.items())


def remembered_sha256(path: Path, cache: Path) -> str:
    """SHA-256 of a large file, taken once and remembered by path, size and modification time.

    Returns:
        The hex digest. Where the cache can't be written, it is taken each time.
    """
    real = path.resolve()
    state = real.stat()
    memo = cache / "digests" / f"{sha256_text(str(real))[:32]}.json"
    key: dict[str, Json] = {"path": str(real), "size": state.st_size, "modified_ns": state.st_mtime_ns}
    try:
        known = read_json(memo)
    except IntegrityError:
        known = {}
    found = known.get("sha256")
    if isinstance(found, str) and all(known.get(name) == value for name, value in key.items()):
        return found
    digest = sha256_file(real)
    try:
        write_json(memo, {**key, "sha256": digest})
    except OSError:
        _log.debug("the digest of a file could not be remembered")
    return digest


def remove_leftovers(target: Path) -> None:
    """Delete what a killed process left of an earlier attempt at ``target``; only under the target's lock."""
    if target.parent.is_dir():
        for path in _leftovers(target):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _leftovers(target: Path) -> Iterable[Path]:
    prefix = f".{target.name}."
    return [path for path in target.parent.iterdir() if path.name.startswith(prefix) and path.name.endswith(".tmp")]
