"""What a file is packed in: nothing, gzip or zstd -> a stream of its content, and the digest of the file's own bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias

from loren.data.rules import Breach

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Compression: TypeAlias = Literal["gzip", "zstd"]

HEAD_BYTES = 256 * 1024
"""What is looked at to tell what a file is."""
MAX_RATIO = 100
"""Conversations shrink to a fifth, made-up ones to a thirtieth. What unpacks to more than a hundred times its size is no data."""
FREE_BYTES = 16 * 1024 * 1024
"""So much may come out of any archive: a small one of equal rows is no attack."""

_ZSTD_STEP = 256
"""Bytes that are unpacked at once: a block of four bytes may become 128 KiB, so this is 8 MiB at most."""
_MAGIC: tuple[tuple[bytes, Compression], ...] = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))


def compression_of(head: bytes) -> Compression | None:
    """How a file that starts with ``head`` is packed; its name makes no difference."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


class DigestedFile(io.RawIOBase):
    """The bytes of a file, digested as they are read. A read is short at the end only, also where the file is a pipe."""

    def __init__(self, stream: BinaryIO, on_read: Callable[[int], None] | None = None) -> None:
        """Read ``stream``; ``on_read`` is told how many bytes were read so far."""
        super().__init__()
        self._stream = stream
        self._on_read = on_read
        self._digest = hashlib.sha256()
        self.bytes_read = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``, as far as there are bytes."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and (data := self._stream.read(len(view) - filled)):
            view[filled : filled + len(data)] = data
            filled += len(data)
        self._digest.update(view[:filled])
        self.bytes_read += filled
        if self._on_read is not None:
            self._on_read(self.bytes_read)
        return filled

    def digest_of_all(self) -> str:
        """Hex SHA-256 of the file, the rest of which is read for it."""
        while self.read(1024 * 1024):
            pass
        return self._digest.hexdigest()


class Unpacked(io.RawIOBase):
    """The content of an archive. It ends where the archive does, or can't be read further; ``fault`` then says why."""

    def __init__(self, stream: BinaryIO, packed: DigestedFile, compression: Compression) -> None:
        """Begin to unpack.

        Args:
            stream: the archive.
            packed: the file that it is read from, which counts its bytes.
            compression: how it is packed.
        """
        super().__init__()
        self._packed = packed
        self._unpack: Callable[[int], bytes] = gzip.GzipFile(fileobj=stream).read if compression == "gzip" else _Zstd(stream).read
        self._bytes_out = 0
        self.fault: Breach | None = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Unpack as many bytes as ``buffer`` has room for."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self.fault is None and (data := self._next(len(view) - filled)):
            view[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    def _next(self, size: int) -> bytes:
        try:
            data = self._unpack(size)
        except EOFError:
            return self._refuse("expected a whole archive, found one that was cut")
        except (gzip.BadGzipFile, zlib.error, _DamagedError):
            return self._refuse("expected an archive that can be unpacked, found damaged or foreign bytes in it")
        self._bytes_out += len(data)
        if self._bytes_out > FREE_BYTES + MAX_RATIO * self._packed.bytes_read:
            return self._refuse(f"expected an archive that unpacks to at most {MAX_RATIO} times its size, found more")
        return data

    def _refuse(self, message: str) -> bytes:
        self.fault = Breach("archive-unreadable", "", message)
        return b""


class _DamagedError(Exception):
    """The bytes are no zstd."""


class _Zstd:
    """Unpacks frame after frame. zstandard's own stream reader does not say that the last frame was cut."""

    def __init__(self, stream: BinaryIO) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._new = zstandard.ZstdDecompressor(max_window_size=128 * 1024 * 1024).decompressobj
        self._frame = self._new()
        self._is_open = False
        self._stream = stream
        self._rest = b""
        self._ready = b""

    def read(self, size: int) -> bytes:
        """Give up to ``size`` bytes; none at the end.

        Raises:
            EOFError: the last frame was cut.
            _DamagedError: the bytes are no zstd.
        """
        while not self._ready:
            packed = self._rest or self._stream.read(_ZSTD_STEP)
            self._rest = b""
            if not packed:
                if self._is_open:
                    raise EOFError
                return b""
            try:
                self._ready = self._frame.decompress(packed)
            except self._error as error:
                raise _DamagedError from error
            self._is_open = not self._frame.eof
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = self._new()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data
