"""MANIFEST.json: size and digest of every file of an artifact, checked at every load.

safetensors does not notice a flipped bit; this does. The card (README.md) is left out, so that people may edit it. The
manifest's own digest is over its canonical body, so that a flip in the manifest itself is named too. A file that the manifest
does not list is refused when it could change what is loaded (code, pickles, weights) and reported otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from loren.errors import IntegrityError, Problem
from loren.provenance.digests import sha256_file, sha256_json
from loren.runs.files import Json, read_json, write_json
from loren.runs.folder import SCHEMA_VERSION

MANIFEST = "MANIFEST.json"
UNLISTED = frozenset({MANIFEST, "README.md"})
"""Files of an artifact that the manifest leaves out."""
FOREIGN_SUFFIXES = frozenset({".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt"})
FOREIGN_WEIGHTS = frozenset({".safetensors", ".gguf", ".h5", ".msgpack", ".onnx", ".npz", ".npy"})


def write_manifest(folder: Path) -> dict[str, Json]:
    """Write MANIFEST.json over the files now in ``folder`` and return it."""
    files: dict[str, Json] = {
        name: {"sha256": sha256_file(folder / name), "size": (folder / name).stat().st_size}
        for name in sorted(_names(folder) - UNLISTED)
    }
    body: dict[str, Json] = {"schema_version": SCHEMA_VERSION, "files": files}
    manifest: dict[str, Json] = {**body, "digest": sha256_json(body)}
    write_json(folder / MANIFEST, manifest)
    return manifest


def verify_manifest(folder: Path) -> list[Problem]:
    """Check every file of ``folder`` against its manifest.

    Returns:
        Warnings: files that the manifest does not list and that can't change what is loaded.

    Raises:
        IntegrityError: the manifest is missing or altered; a file is missing, altered or foreign. All of them are named.
    """
    for path in (folder, folder / MANIFEST):
        if path.is_symlink():
            problem = Problem(path.name, "expected a folder and a file of its own, found a symbolic link")
            raise IntegrityError(f"{folder}: expected no symbolic link", problems=[problem], hint="copy the artifact itself")
    manifest = read_json(folder / MANIFEST)
    problems: list[Problem] = []
    warnings: list[Problem] = []
    body = {key: value for key, value in manifest.items() if key != "digest"}
    if sha256_json(body) != manifest.get("digest") or not isinstance(manifest.get("files"), dict):
        raise IntegrityError(
            f"{folder}: the manifest does not match its own digest",
            problems=[Problem(MANIFEST, "expected the body that its digest was made of, found another")],
            hint="take the artifact from its source again",
        )
    listed = cast("dict[str, dict[str, Json]]", manifest["files"])
    for name, entry in listed.items():
        problem = _check_file(folder, name, entry)
        if problem:
            problems.append(problem)
    for name in sorted(_names(folder) - UNLISTED - set(listed)):
        suffix = Path(name).suffix.lower()
        if suffix in FOREIGN_SUFFIXES or suffix in FOREIGN_WEIGHTS:
            problems.append(Problem(name, "expected no code, pickle or weights beside those listed, found this file"))
        else:
            warnings.append(Problem(name, "is not in the manifest"))
    if problems:
        raise IntegrityError(
            f"{folder}: {len(problems)} file(s) do not match {MANIFEST}",
            problems=problems,
            hint="take the artifact from its source again, or train again; do not load it",
        )
    return warnings


def _names(folder: Path) -> set[str]:
    """Relative names of all files and links below ``folder``."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _check_file(folder: Path, name: str, entry: dict[str, Json]) -> Problem | None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return Problem(name, "expected a name inside the folder, found one that leaves it")
    if path.is_symlink():
        return Problem(name, "expected a regular file, found a symbolic link")
    if not path.is_file():
        return Problem(name, "expected the file that the manifest lists, found none")
    size = path.stat().st_size
    if size != entry.get("size"):
        return Problem(name, f"expected {entry.get('size')} bytes, found {size}")
    if sha256_file(path) != entry.get("sha256"):
        return Problem(name, "expected the listed sha256, found other content")
    return None
