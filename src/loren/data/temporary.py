"""Temporary files of a check, which start in memory. A disk that is full is named with its folder, and is no fault of the data."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Generator

from loren.errors import StorageError


class TemporaryFile:
    """Bytes in memory up to a size, then in a file without a name: nothing is left behind, whatever happens."""

    def __init__(self, held_bytes: int) -> None:
        """Make an empty one; what is larger than ``held_bytes`` goes to the disk."""
        self._file = tempfile.SpooledTemporaryFile(max_size=held_bytes, mode="w+b")  # noqa: SIM115 - closed by finalize
        weakref.finalize(self, _close, self._file)

    def write(self, data: bytes) -> None:
        """Write at the place at hand.

        Raises:
            StorageError: the disk refused.
        """
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError(_refusal(error), hint=_HINT) from error

    def seek(self, place: int, whence: int = 0) -> None:
        """Go to another place, as files do; what was written is on the disk then.

        Raises:
            StorageError: the disk refused.
        """
        with _refusals():
            self._file.seek(place, whence)

    def tell(self) -> int:
        """The place at hand."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes.

        Raises:
            StorageError: the disk refused.
        """
        with _refusals():
            return self._file.read(size)

    def readlines(self, hint: int) -> list[bytes]:
        """Read whole lines of about ``hint`` bytes together.

        Raises:
            StorageError: the disk refused.
        """
        with _refusals():
            return self._file.readlines(hint)


@contextlib.contextmanager
def _refusals() -> Generator[None]:
    """Tell what the disk refuses.

    Raises:
        StorageError: it did.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(_refusal(error), hint=_HINT) from error


_HINT = "free space there, or set the environment variable TMPDIR to a folder on a larger disk"


def _refusal(error: OSError) -> str:
    try:
        folder = tempfile.gettempdir()
    except OSError:  # nothing can be written anywhere
        folder = os.environ.get("TMPDIR", "the temporary folder")
    return f"{folder}: could not write a temporary file there: {error.strerror or 'refused'}"


def _close(file: tempfile.SpooledTemporaryFile[bytes]) -> None:
    with contextlib.suppress(OSError):  # a full disk refuses what is still to be written; nobody will read it
        file.close()
