"""SHA-256 of files, folders and JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from loren.runs.files import Json

_CHUNK_BYTES = 1024 * 1024


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """Hex SHA-256 of the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_json(value: Json) -> str:
    """Hex SHA-256 of the canonical form of a JSON value: sorted keys, no spaces, UTF-8."""
    body = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_text(body)


def sha256_files(folder: Path, names: Iterable[str]) -> str:
    """One digest over several files of a folder: of the canonical JSON ``{name: digest}``."""
    return sha256_json({name: sha256_file(folder / name) for name in sorted(names)})
