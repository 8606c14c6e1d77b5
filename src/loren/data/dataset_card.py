"""DATASET.toml: who answers for a dataset, what may be done with it, and who looked at it. Lies beside the data.

Training takes a dataset without one; ``loren check --release`` does not. The file is data from outside: bounded, strictly parsed,
and all that is wrong with it is said at once.
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from loren.data.pointer import safe_name
from loren.data.rules import Breach
from loren.runs.files import Json

CARD_FILE = "DATASET.toml"
MAX_CARD_BYTES = 256 * 1024
"""A larger card is refused unread."""
_MAX_TEXT = 4000
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}\Z")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_UNANSWERED = re.compile(r"\W*(?:(?:todo|tbd|fixme|xxx)\b|(?:unknown|none|n/a)?\W*\Z)", re.IGNORECASE)
"""What people write where they have no answer yet; nothing but signs is one of these too."""


def _answer(value: str) -> str:
    if len(value) > _MAX_TEXT:
        raise ValueError(f"expected at most {_MAX_TEXT} characters, found {len(value)}")
    if _UNANSWERED.match(value):
        raise ValueError("expected an answer, found a blank or a word that stands for none")
    return value


def _version(value: str) -> str:
    if not _VERSION.match(value):
        raise ValueError("expected a version of letters, digits and the signs . + _ -, such as 1.0.0, found another form")
    return value


def _license(value: str) -> str:
    try:
        return canonicalize_license_expression(value)
    except InvalidLicenseExpression as error:
        raise ValueError(
            "expected an SPDX licence such as CC-BY-4.0, or LicenseRef-NAME for terms of your own, found another text"
        ) from error


def _language(value: str) -> str:
    if not _LANGUAGE.match(value):
        raise ValueError("expected a BCP 47 tag such as vi or en-GB, found another form")
    return value


def _address(value: str) -> str:
    if not re.match(r"https?://[^\s/]+\S*\Z", value):
        raise ValueError("expected an address that begins with https:// or http://, found another text")
    return value


def _digest(value: str) -> str:
    if not _SHA256.match(value):
        raise ValueError("expected a SHA-256 of 64 small hexadecimal digits, as `sha256sum FILE` prints it, found another text")
    return value


def _past(value: datetime.date) -> datetime.date:
    # A day of grace: it is tomorrow elsewhere already.
    if value > datetime.date.today() + datetime.timedelta(days=1):
        raise ValueError("expected a day that has been, found one in the future")
    return value


_Text = Annotated[str, AfterValidator(_answer)]
_Day = Annotated[datetime.date, AfterValidator(_past)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True)


class Review(_Section):
    """[privacy_review], [consent_review] - who looked at the rows, when, and what was found."""

    by: _Text
    """Who: a person, a role or a team that can be asked."""
    date: _Day
    """The day of the review, without quotes: `2026-11-24`."""
    finding: _Text
    """What was looked for, how, and what was found."""


class DatasetCard(_Section):
    """DATASET.toml as it is written."""

    name: _Text
    """What people call the dataset."""
    version: Annotated[str, AfterValidator(_version)]
    """Version of the rows; change it when they change. It stands in the metadata of every adapter that is trained on them."""
    owner: _Text
    """Who answers for the rows: a person, a role or a team that can be asked."""
    license: Annotated[str, AfterValidator(_license)]
    """Licence of the rows: an SPDX expression such as `CC-BY-4.0`, or `LicenseRef-NAME` for terms of your own."""
    source: _Text
    """Where the rows come from, and how they were made."""
    date: _Day
    """The day of this version, without quotes: `2026-11-24`."""
    consent_review: Review
    """May these people's words be used for this? Who looked, and what was found."""
    privacy_review: Review
    """Do the rows hold personal data? Who looked, and what was found."""
    description: _Text | None = None
    """What is in the rows, in a sentence or two."""
    language: Annotated[str, AfterValidator(_language)] | None = None
    """Language of the rows, a BCP 47 tag: `vi`, `en-GB`."""
    url: Annotated[str, AfterValidator(_address)] | None = None
    """The page of the dataset."""
    files: dict[str, Annotated[str, AfterValidator(_digest)]] = Field(default={})
    """[files] - file name -> its SHA-256: the bytes that the reviews are about. Where this table is given, `--release` refuses a
    file that was changed since, or is not named."""


@dataclass(frozen=True, slots=True)
class CardReading:
    """What was found where the card should be."""

    card: DatasetCard | None
    """None where it breaks a rule."""
    breaches: tuple[Breach, ...] = ()
    version: str | None = None
    """The version, also of a card that is incomplete."""


def read_card(folder: Path) -> CardReading:
    """Read DATASET.toml in ``folder``; what is wrong with it is in the reading, all of it."""
    path = folder / CARD_FILE
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            return _unreadable(f"expected at most {MAX_CARD_BYTES} bytes, found more")
        table = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return CardReading(None, (Breach("dataset-card-missing", "", f"expected {CARD_FILE} beside the data, found none"),))
    except OSError as error:
        return _unreadable(f"expected a file that can be read, found: {error.strerror or 'one that can not'}")
    except UnicodeDecodeError as error:
        return _unreadable(f"expected UTF-8, found another byte at offset {error.start}")
    except tomllib.TOMLDecodeError as error:
        return _unreadable(f"expected TOML, found another text{_where(error)}")
    except RecursionError:
        return _unreadable("expected TOML of a few levels, found a deeply nested one")
    version = table.get("version")
    known = version if isinstance(version, str) and _VERSION.match(version) else None
    try:
        return CardReading(DatasetCard.model_validate(table), (), known)
    except ValidationError as error:
        return CardReading(None, tuple(_breaches(error)), known)


def release_breaches(reading: CardReading, file: Path, sha256: str) -> Iterator[Breach]:
    """Yield what forbids to release a file: the card's faults, or that the reviews are not about these bytes.

    Args:
        reading: of the card beside the file.
        file: the data.
        sha256: of its bytes.
    """
    yield from reading.breaches
    listed = reading.card.files if reading.card else {}
    if not listed or listed.get(file.name) == sha256:
        return
    what = "another digest" if file.name in listed else "no entry"
    yield Breach("dataset-changed", "/files", f"{CARD_FILE}: expected the file's SHA-256, {sha256}, found {what} for it")


def dataset_facts(folder: Path) -> dict[str, Json]:
    """What an adapter's metadata says about its dataset: ``version``, and the whole ``card`` where it is complete."""
    reading = read_card(folder)
    return {"version": reading.version, "card": reading.card.model_dump(mode="json") if reading.card else None}


def _unreadable(message: str) -> CardReading:
    return CardReading(None, (Breach("dataset-card-unreadable", "", f"{CARD_FILE}: {message}"),))


def _where(error: tomllib.TOMLDecodeError) -> str:
    """The place in an error of tomllib, without its words, which may quote the file."""
    place = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
    return f" at {place[1]}" if place else ""


def _breaches(error: ValidationError) -> Iterator[Breach]:
    for item in error.errors(include_url=False, include_input=True):
        keys = [str(part) for part in item["loc"]]
        if item["type"] == "extra_forbidden":
            yield Breach("dataset-card-unknown-key", _pointer(keys[:-1]), f"{CARD_FILE}: {_unknown(keys)}")
        elif item["type"] == "missing":
            message = f"{CARD_FILE}: expected the key {'.'.join(keys)}, found none"
            yield Breach("dataset-card-incomplete", _pointer(keys), message)
        else:
            yield Breach("dataset-card-value", _pointer(keys), f"{CARD_FILE}: {_value_message(item)}")


def _value_message(item: Any) -> str:
    if item["type"] == "value_error":
        return item["msg"].removeprefix("Value error, ")
    expected = _EXPECTED.get(item["type"], "a value of another kind")
    return f"expected {expected}, found {_found(item['input'])}"


def _found(value: object) -> str:
    return next((name for kind, name in _FOUND.items() if isinstance(value, kind)), "another value")


_EXPECTED = {
    "string_type": "a text in quotes",
    "date_type": "a date without quotes, such as 2026-11-24",
    "model_type": "a table with by, date and finding",
    "model_attributes_type": "a table with by, date and finding",
    "dict_type": "a table",
}
_FOUND: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a table",
    datetime.datetime: "a date with a time",
    datetime.date: "a date",
}
"""In this order: true is a number too, and a date with a time is a date."""


def _unknown(keys: list[str]) -> str:
    section = Review if len(keys) > 1 else DatasetCard
    near = difflib.get_close_matches(keys[-1], section.model_fields, n=1, cutoff=0.6)
    return f"expected only known keys, found {safe_name(keys[-1])}" + (f"; did you mean {near[0]}?" if near else "")


def _pointer(keys: list[str]) -> str:
    return "".join(f"/{safe_name(key)}" for key in keys)
