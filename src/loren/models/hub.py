"""The Hugging Face hub: asked with a short timeout, optional in every command, pickles and code left behind.

The hub client raises its HTTP library's own classes, which change between its versions; what is not an answer of the hub counts as
"not reachable" here, whatever its class.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from loren.errors import ModelLoadError
from loren.models.cache import Progress, require_space, watched

CONNECT_TIMEOUT_S = 3.0
_READ_TIMEOUT_S = 15.0
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LIGHT_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "README.md", "LICENSE*"]
_WEIGHT_FILES = ["model*.safetensors"]
_SUBFOLDERS = ["*/*"]
_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class HubListing:
    """What the hub says about a repository at a revision."""

    requested: str | None
    """The branch, tag or commit that was asked for; None for the default branch."""
    commit: str
    sizes: dict[str, int]
    """File name -> bytes."""


def hub_allowed() -> bool:
    """Whether the hub may be asked: neither HF_HUB_OFFLINE nor LOREN_NO_HUB is set."""
    return not any(os.environ.get(name, "").lower() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "LOREN_NO_HUB"))


def list_repository(repository: str, revision: str | None) -> HubListing:
    """Ask the hub for a repository's commit and files.

    Raises:
        ConnectionError: the hub must not be asked, or does not answer.
        ModelLoadError: it answers that there is no such model or revision, or that the model is gated.
    """
    if not hub_allowed():
        raise ConnectionError("switched off by HF_HUB_OFFLINE or LOREN_NO_HUB")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        # The client passes this on to its HTTP library, which also takes (connect, read, write, pool).
        timeout = cast("Any", (CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _READ_TIMEOUT_S, _READ_TIMEOUT_S))
        answer = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=timeout)
    except GatedRepoError as error:
        raise ModelLoadError(
            f"{repository}: the model is gated", hint="accept its terms on the hub, then set HF_TOKEN to a token of yours"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelLoadError(f"{repository}: expected the revision {revision}, found no such one on the hub") from error
    except RepositoryNotFoundError as error:
        raise ModelLoadError(
            f"{repository}: expected a model on the hub, found none (or a private one)",
            hint="check the spelling; a folder on this disk is given as ./folder; `loren models list` shows what needs no hub",
        ) from error
    except Exception as error:
        raise ConnectionError(type(error).__name__) from error
    if not answer.sha or not _COMMIT.fullmatch(answer.sha):
        raise ConnectionError("an answer without a commit")
    return HubListing(revision, answer.sha, {file.rfilename: file.size or 0 for file in answer.siblings or []})


def fetch_snapshot(repository: str, listing: HubListing, *, weights: bool, code: bool, progress: Progress | None = None) -> Path:
    """Download a repository's files at the listed commit into the hub's own cache; a broken download continues.

    Args:
        repository: hub id.
        listing: what :func:`list_repository` found.
        weights: whether to take the safetensors weights too.
        code: whether to take Python files; only where the user trusts them.
        progress: hears how much is downloaded.

    Raises:
        ModelLoadError: the download failed.
        PrerequisiteError: the disk is too small.
    """
    from huggingface_hub import constants, snapshot_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    patterns = _patterns(weights=weights, code=code)
    # By name the first time, so that the hub's cache remembers which commit the name stood for when the hub is out of reach.
    revision = listing.commit if weights else listing.requested
    total = sum(size for name, size in listing.sizes.items() if is_weight_file(name)) if weights else 0
    place = Path(constants.HF_HUB_CACHE)
    if cached_snapshot(repository, listing.commit, weights=weights, code=code) is None:
        require_space(place, total, f"downloading {repository}")
    storage = place / f"models--{repository.replace('/', '--')}"
    try:
        with watched(storage, f"downloading {repository}", total, progress if total else None):
            return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns, ignore_patterns=_SUBFOLDERS))
    except Exception as error:
        raise ModelLoadError(
            f"{repository}: the download broke off ({type(error).__name__})", hint="run the command again: it continues"
        ) from error


def cached_snapshot(repository: str, revision: str | None, *, weights: bool, code: bool) -> Path | None:
    """The snapshot in the hub's local cache, where it is complete; asks no network."""
    from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType]

    patterns = _patterns(weights=weights, code=code)
    try:
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=patterns, ignore_patterns=_SUBFOLDERS, local_files_only=True
            )
        )
    except (OSError, ValueError):
        return None


def fetch_file(repository: str, revision: str, name: str, folder: Path, *, total: int, progress: Progress | None) -> Path:
    """Download one file of a repository into ``folder``; a broken download continues.

    Raises:
        ConnectionError: it can't be had from the hub, for whatever reason.
    """
    listing = list_repository(repository, revision)
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        with watched(folder, f"downloading {name}", total, progress):
            return Path(hf_hub_download(repository, name, revision=listing.commit, local_dir=folder))
    except Exception as error:
        raise ConnectionError(type(error).__name__) from error


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit id, which never changes."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def is_weight_file(name: str) -> bool:
    """Whether a repository's file is one that :func:`fetch_snapshot` takes as weights."""
    return name.startswith("model") and name.endswith(".safetensors") and "/" not in name


def _patterns(*, weights: bool, code: bool) -> list[str]:
    return _LIGHT_FILES + (_WEIGHT_FILES if weights else []) + (["*.py"] if code else [])
