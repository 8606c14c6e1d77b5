"""Atomic writes: a file or folder is the old state or the new one, never half.

Temporary name beside the target, fsync, rename, fsync of the parent folder. A SIGKILL can leave a temporary name behind, never a
half-written target. Where the platform can't fsync a folder (Windows), the rename is still atomic.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from loren.errors import IntegrityError, LorenError, StorageError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""Any value that a JSON file can hold."""

_TEMPORARY = ".tmp"
_OLD = ".old.tmp"
_MAKE_ROOM = "free disk space or choose another output_dir"

MAX_JSON_BYTES = 64 * 1024 * 1024
"""A JSON file of a run folder that is larger than this is refused unread."""


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, where the platform can.

    Raises:
        OSError: the disk refused.
    """
    if os.name == "nt":  # pragma: no cover - Windows can't open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # a network or notebook drive that knows no such thing
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically and durably.

    Raises:
        StorageError: the disk refused; the old file, if any, is untouched.
    """
    with staged_file(path) as file:
        file.write(data)


@contextmanager
def staged_file(path: Path) -> Generator[BinaryIO]:
    """Write a file under a temporary name, and put it at ``path``, durably, when the block ends without an error.

    Raises:
        StorageError: the disk refused; the old file, if any, is untouched.
        LorenError: whatever the block itself raised.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a run folder is shared like any other file of the user.
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)
    except LorenError:
        raise  # some are OSErrors too, and say more
    except OSError as error:
        raise StorageError(_refusal(path, error), hint=_MAKE_ROOM) from error


def append_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Add UTF-8 text at the end of a log; a killed process can leave a torn last line, which the reader leaves out.

    Args:
        path: the file, made where there is none.
        text: whole lines.
        durable: wait until the file is on the disk.

    Raises:
        StorageError: the disk refused.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(_refusal(path, error), hint=_MAKE_ROOM) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, its line ends as they are."""
    write_bytes(path, text.encode())


def encode_json(value: Json) -> str:
    """The one form in which Loren writes JSON files: sorted keys, two spaces, UTF-8, a final newline.

    Raises:
        ValueError: a number is NaN or infinite; such a figure must never be written, nor turned into null.
    """
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: Json) -> None:
    """Write ``value`` atomically in the form of :func:`encode_json`."""
    write_text(path, encode_json(value))


def read_json(path: Path) -> dict[str, Json]:
    """Read one of our JSON files, which hold an object each.

    Raises:
        IntegrityError: it is missing, too large, not JSON or not an object.
    """
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise IntegrityError(f"{path}: expected at most {MAX_JSON_BYTES} bytes, found {size}")
        value: object = json.loads(path.read_bytes())
    except IntegrityError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: expected a JSON object, found {_reason(error)}") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return cast("dict[str, Json]", value)


@contextmanager
def staged_folder(target: Path) -> Generator[Path]:
    """Fill a folder under a temporary name and put it at ``target`` when the block ends without an error.

    Every file in it is fsynced before the rename. An existing ``target`` is replaced as a whole.

    Raises:
        StorageError: the disk refused; ``target`` is as it was.
        LorenError: whatever the block itself raised.
    """
    stage: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=_TEMPORARY))
        os.chmod(stage, 0o777 & ~_umask())
        yield stage
        _publish(stage, target)
    except LorenError:
        raise  # some are OSErrors too, and say more
    except OSError as error:
        raise StorageError(_refusal(target, error), hint=_MAKE_ROOM) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)


def clear_leftovers(folder: Path) -> list[str]:
    """Put right what a killed process left in ``folder``, itself and one level below: half-written stages and replaced targets.

    A temporary name is deleted; a target that was moved aside for a new one which never came is put back. Call it only while
    holding the run's lock: a living process has such names too.

    Returns:
        The names, relative to ``folder``.

    Raises:
        StorageError: the disk refused.
    """
    found = [path for path in folder.iterdir() if is_leftover(path.name)]
    for place in folder.iterdir():
        if place.is_dir() and not place.is_symlink() and place not in found:
            found += [path for path in place.iterdir() if is_leftover(path.name)]
    try:
        for path in found:
            target = path.with_name(path.name[1 : -len(_OLD)]) if path.name.endswith(_OLD) else None
            if target is not None and not target.exists():
                os.replace(path, target)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise StorageError(_refusal(folder, error), hint=_MAKE_ROOM) from error
    return sorted(path.relative_to(folder).as_posix() for path in found)


def is_leftover(name: str) -> bool:
    """Whether a name is one that only an unfinished write has."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def _publish(stage: Path, target: Path) -> None:
    for folder, _, names in os.walk(stage):
        for name in names:
            path = os.path.join(folder, name)
            os.chmod(path, 0o666 & ~_umask())  # safetensors makes private files
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(folder))
    if target.exists():
        # Two renames: for an instant there is no target; a SIGKILL then leaves the old one aside, and clear_leftovers puts it back.
        old = target.with_name(f".{target.name}{_OLD}")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
        try:
            os.replace(stage, target)
        except OSError:
            os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(stage, target)
    fsync_folder(target.parent)


def _refusal(path: Path, error: OSError) -> str:
    return f"could not write {path}: {error.strerror or error}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no file"
    if isinstance(error, json.JSONDecodeError):
        return f"invalid JSON at line {error.lineno}, column {error.colno}"
    return error.strerror or "an unreadable file" if isinstance(error, OSError) else "text that is not UTF-8 JSON"
