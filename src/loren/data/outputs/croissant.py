"""A dataset as Croissant 1.0 JSON-LD: what Hugging Face, Kaggle, OpenML and dataset search engines read.

What the file holds comes from the check: its digest, its size, its rows. What people answer for comes from DATASET.toml. The
reviews go where the vocabulary for responsible AI has a place for them.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path

from loren.data.dataset_card import DatasetCard, Review
from loren.data.report import CheckReport
from loren.errors import ConfigError
from loren.runs.files import Json

CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
_FILE, _ROWS = "data", "rows"
_SPDX_ID = re.compile(r"(?!LicenseRef-)[A-Za-z0-9.-]+\Z")


def refuse_for_croissant(report: CheckReport, file: Path) -> None:
    """The description says how to read the rows, and knows one way: JSONL of messages.

    Raises:
        ConfigError: the file holds something else.
    """
    read_as = report.read_as
    if read_as is None or (read_as.shape.rows, read_as.file, read_as.compression) == ("messages", "jsonl", None):
        return  # what was not read at all has an error of its own
    raise ConfigError(
        f"--croissant: expected a file that is JSONL of messages, found {read_as.title}: {file}",
        hint=f"`loren convert {shlex.quote(str(file))} --to messages --out NEW.jsonl` makes one; check and describe that",
    )


def croissant(card: DatasetCard, report: CheckReport, file: Path, folder: Path) -> dict[str, Json]:
    """The description of a dataset.

    Args:
        card: its DATASET.toml.
        report: of its file.
        file: its file.
        folder: where the description will lie; the file is named relative to it.
    """
    return {
        "@context": tomllib.loads(files("loren.data").joinpath("outputs", "croissant.toml").read_text(encoding="utf-8"))["context"],
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": card.name,
        "description": card.description or card.source,
        **({"url": card.url} if card.url else {}),
        **({"inLanguage": card.language} if card.language else {}),
        "license": _license(card.license),
        "version": card.version,
        "datePublished": card.date.isoformat(),
        "citeAs": f"{card.owner}: {card.name}, version {card.version}, {card.date.year}",
        "creator": {"@type": "sc:Organization", "name": card.owner},
        "isLiveDataset": False,
        "rai:dataCollection": card.source,
        "rai:personalSensitiveInformation": [
            _review("Privacy review", card.privacy_review),
            _review("Consent review", card.consent_review),
        ],
        "distribution": [_file_object(report, file, folder)],
        "recordSet": [_record_set(report)],
    }


def _file_object(report: CheckReport, file: Path, folder: Path) -> dict[str, Json]:
    return {
        "@type": "cr:FileObject",
        "@id": _FILE,
        "name": file.name,
        "contentUrl": Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix(),
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "application/jsonlines",
        "sha256": report.sha256,
    }


def _record_set(report: CheckReport) -> dict[str, Json]:
    role = _field("role", "Who speaks: system, user or assistant.")
    content = _field("content", "What is said. The last message of the assistant is the target: a text, or JSON.")
    messages: dict[str, Json] = {
        "@type": "cr:Field",
        "@id": f"{_ROWS}/messages",
        "name": "messages",
        "description": "The turns of the conversation, in order.",
        "repeated": True,
        "subField": [role, content],
    }
    return {
        "@type": "cr:RecordSet",
        "@id": _ROWS,
        "name": _ROWS,
        "description": f"{report.rows} conversations, one a line.",
        "field": [messages],
    }


def _field(name: str, description: str) -> dict[str, Json]:
    source: dict[str, Json] = {"fileObject": {"@id": _FILE}, "extract": {"column": "messages"}, "transform": {"jsonPath": name}}
    return {
        "@type": "cr:Field",
        "@id": f"{_ROWS}/messages/{name}",
        "name": name,
        "description": description,
        "dataType": "sc:Text",
        "source": source,
    }


def _license(expression: str) -> str:
    """The page of a known licence, as Croissant asks for; a compound expression and terms of one's own stay as they are."""
    return f"https://spdx.org/licenses/{expression}.html" if _SPDX_ID.match(expression) else expression


def _review(kind: str, review: Review) -> str:
    return f"{kind} of {review.date.isoformat()} by {review.by}: {review.finding}"
