"""`loren models list|fetch|path|show`: base models, and what to know before building on one."""

from __future__ import annotations

import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loren.cli.output import Format, finish, format_option, say
from loren.errors import IntegrityError, PrerequisiteError

if TYPE_CHECKING:
    from loren.models.cache import Progress
    from loren.models.card import ModelFacts
    from loren.models.source import BaseModel
    from loren.runs.files import Json

_trust_option = click.option(
    "--trust-remote-code", is_flag=True, help="Accept Python code that the model carries. Read it first: it runs with your rights."
)
_revision_option = click.option("--revision", help="Branch, tag or commit of a hub id.")


@click.group()
def command() -> None:
    """List, fetch and describe base models.

    A MODEL is a directory, a .gguf file, a hub id, embedded:NAME, or just the NAME of an embedded model.
    """


@command.command("list")
@format_option
def list_models(output_format: Format) -> None:
    """Show the models that need no hub: licence, size, languages, and whether they are on this disk."""
    from loren.models.cache import cache_folder
    from loren.models.embedded import embedded_models

    cache = cache_folder()
    rows: list[dict[str, Json]] = []
    lines: list[str] = []
    for model in embedded_models():
        state = _state(model.converted(cache), model.file(cache))
        rows.append({
            "name": model.name,
            "base_model": model.id,
            "title": model.title,
            "license": model.license,
            "languages": list(model.languages),
            "context_length": model.context_length,
            "download_bytes": model.size_bytes,
            "disk_bytes": model.converted_bytes,
            "state": state,
            "path": str(model.converted(cache)) if state == "ready" else None,
        })  # fmt: skip
        sizes = f"{model.size_bytes / 1e6:.0f} MB to download, {model.converted_bytes / 1e9:.1f} GB on disk"
        lines += [f"{model.name}  ({state})", f"  {model.title}", f"  {model.license}; {', '.join(model.languages)}; {sizes}"]
    first = rows[0]["name"]
    finish(output_format, {"cache": str(cache), "models": rows}, text="\n".join(lines), next_command=f"loren models show {first}")


@command.command()
@click.argument("model")
@_revision_option
@_trust_option
@format_option
def fetch(model: str, revision: str | None, trust_remote_code: bool, output_format: Format) -> None:
    """Download a model, convert it where it is a GGUF file, and check every digest of the copy in the cache.

    LOREN_CACHE moves the cache; HF_HUB_OFFLINE=1 or LOREN_NO_HUB=1 leaves the hub unasked. A download that broke off continues.
    """
    from loren.cli.fetching import show_fetching
    from loren.models.source import weights_digest

    name = _full_name(model)
    with show_fetching() as progress:
        source, folder = _fetch(name, revision, trust_remote_code=trust_remote_code, progress=progress)
    digest = weights_digest(folder)
    data: dict[str, Json] = {
        "base_model": source.id,
        "kind": source.kind,
        "revision": source.revision,
        "license": source.license,
        "path": str(folder),
        "weights_sha256": digest,
        "origin": source.origin_note,
    }
    finish(output_format, data, text=f"{source.id} is ready in {folder}", next_command=f"loren models show {model}")


@command.command()
@click.argument("model")
@format_option
def path(model: str, output_format: Format) -> None:
    """Print the folder of a fetched embedded model, in Hugging Face's layout, and nothing else on stdout.

    Raises:
        PrerequisiteError: it is not fetched yet.
    """
    from loren.models.cache import cache_folder, is_complete
    from loren.models.embedded import find_embedded

    entry = find_embedded(model)
    folder = entry.converted(cache_folder())
    if not is_complete(folder):
        raise PrerequisiteError(
            f"{entry.id}: expected a converted copy in {folder}, found none", hint=f"loren models fetch {entry.name}"
        )
    next_command = f"loren generate {folder} --prompt TEXT"
    if output_format == "json":
        finish(output_format, {"base_model": entry.id, "path": str(folder)}, text="", next_command=next_command)
        return
    click.echo(str(folder))
    say(f"next: {next_command}")


@command.command()
@click.argument("model")
@_revision_option
@click.option("--license-text", is_flag=True, help="Print the full text of an embedded model's licence, and nothing else.")
@format_option
def show(model: str, revision: str | None, license_text: bool, output_format: Format) -> None:
    """Show licence, intended use, languages, context length and the tokenizer's behaviour; downloads no weights."""
    from loren.models.embedded import find_embedded
    from loren.models.source import describe

    if license_text:
        click.echo(find_embedded(model).license_body(), nl=False)
        return
    facts = describe(_full_name(model), revision)
    next_command = f"loren models fetch {model}" if facts.kind in {"embedded", "hub"} else f"loren generate {model} --prompt TEXT"
    finish(output_format, asdict(facts), text=_facts_text(facts), next_command=next_command)


def _fetch(name: str, revision: str | None, *, trust_remote_code: bool, progress: Progress) -> tuple[BaseModel, Path]:
    """Fetch, convert, and check the converted copy byte by byte; a damaged one is made again, once."""
    from loren.models.convert import prepare_folder
    from loren.models.source import resolve_source
    from loren.provenance.manifest import verify_manifest

    source = resolve_source(name, revision, trust_remote_code=trust_remote_code, progress=progress)
    folder = prepare_folder(source, progress)
    if source.converted is None:
        return source, folder
    try:
        verify_manifest(folder)
    except IntegrityError as error:
        progress(f"{error.summary}; converting again", 0, 0)
        shutil.rmtree(folder)
        source = resolve_source(name, revision, trust_remote_code=trust_remote_code, progress=progress)
        folder = prepare_folder(source, progress)
        verify_manifest(folder)
    return source, folder


def _full_name(model: str) -> str:
    """``embedded:NAME`` for the bare name of an embedded model that is not also a path here."""
    from loren.models.embedded import PREFIX, embedded_models

    known = any(entry.name == model for entry in embedded_models())
    return PREFIX + model if known and not Path(model).exists() else model


def _state(converted: Path, file: Path) -> str:
    from loren.models.cache import is_complete

    if is_complete(converted):
        return "ready"
    return "downloaded, not converted" if file.is_file() else "not fetched"


def _facts_text(facts: ModelFacts) -> str:
    rows: dict[str, object] = {
        "licence": facts.license,
        "intended use": facts.intended_use,
        "languages": ", ".join(facts.languages) or "unknown",
        "architecture": facts.architecture,
        "context length": f"{facts.context_length} tokens" if facts.context_length else "unknown",
        "needs trust_remote_code": facts.trust_remote_code,
    }
    if facts.languages_note:
        rows["languages"] = f"{rows['languages']} ({facts.languages_note})"
    if facts.origin:
        rows["made from"] = facts.origin
    lines = [facts.id, *(f"  {name}: {value}" for name, value in rows.items()), "  tokenizer:"]
    for field in fields(facts.tokenizer):
        value = getattr(facts.tokenizer, field.name)
        lines.append(f"    {field.name.replace('_', ' ')}: {'unknown' if value is None else value}")
    return "\n".join(lines)
