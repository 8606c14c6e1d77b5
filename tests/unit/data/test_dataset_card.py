"""DATASET.toml: strict, with all mistakes at once, required by `--release`, and what Croissant and an adapter's metadata say."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import mlcroissant
import pytest

from loren.data.check import check_file
from loren.data.dataset_card import CARD_FILE, dataset_facts, read_card
from loren.data.outputs.croissant import croissant

ROOT = Path(__file__).parents[3]
ROW = '{"messages": [{"role": "user", "content": "Question %d?"}, {"role": "assistant", "content": "%s"}]}\n'
CARD = """\
name = "library-mail"
version = "1.2.0"
owner = "Library service desk"
license = "CC-BY-4.0"
source = "Written by the service desk."
date = 2026-10-01
[consent_review]
by = "Data protection officer"
date = 2026-10-01
finding = "Not needed: no reader's words."
[privacy_review]
by = "Service desk"
date = 2026-10-02
finding = "Read row by row: no personal data."
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A clean file with a complete card beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.joinpath(CARD_FILE).write_text(CARD, encoding="utf-8")
    file = folder / "train.jsonl"
    file.write_text("".join(ROW % (n, "Có ạ.") for n in range(12)), encoding="utf-8")
    return file


def issues(file: Path) -> list[tuple[str, str, str]]:
    return [(issue.rule, issue.path, issue.message) for issue in check_file(file, release=True).issues]


def test_a_release_needs_a_complete_card(data: Path) -> None:
    report = check_file(data, release=True)
    assert report.errors == 0
    assert report.dataset is not None
    assert report.dataset["consent_review"]["by"] == "Data protection officer"
    (data.parent / CARD_FILE).unlink()
    assert [rule for rule, _, _ in issues(data)] == ["D801"]
    plain = check_file(data)
    assert (plain.errors, plain.dataset) == (0, None)


def test_all_mistakes_are_named_at_once_and_no_answer_is_repeated(data: Path) -> None:
    canary = "canary@example.com"
    card = CARD.replace('"CC-BY-4.0"', f'"{canary}"').replace("date = 2026-10-01\n[c", f'date = "{canary}"\nonwer = "{canary}"\n[c')
    card = card.replace('owner = "Library service desk"\n', "").replace('by = "Service desk"\n', f'"{canary}" = 1\nby = 7\n')
    (data.parent / CARD_FILE).write_text(card, encoding="utf-8")
    found = issues(data)
    assert sorted((rule, path) for rule, path, _ in found) == [
        ("D803", "/owner"), ("D804", ""), ("D804", "/privacy_review"),
        ("D805", "/date"), ("D805", "/license"), ("D805", "/privacy_review/by"),
    ]  # fmt: skip
    said = " ".join(message for _, _, message in found)
    assert "did you mean owner?" in said
    assert canary not in said
    assert "found *" in said


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ('"1.2.0"', '"one two"', "/version", "such as 1.0.0"),
        ('"1.2.0"', "1.2", "/version", "expected a text in quotes, found a number"),
        ('"1.2.0"', "true", "/version", "found true or false"),
        ('"CC-BY-4.0"', '"Creative Commons"', "/license", "LicenseRef-NAME"),
        ('"Library service desk"', '" "', "/owner", "expected an answer"),
        ('"Library service desk"', '"TODO: your team"', "/owner", "expected an answer"),
        ('"Library service desk"', '"???"', "/owner", "expected an answer"),
        ('"Library service desk"', '"n/a"', "/owner", "expected an answer"),
        ('"Library service desk"', f'"{"x" * 5000}"', "/owner", "at most 4000 characters, found 5000"),
        ("date = 2026-10-02", 'date = "2026-10-02"', "/privacy_review/date", "expected a date without quotes, such as"),
        ("date = 2026-10-02", "date = 2026-10-02T10:00:00", "/privacy_review/date", "found a date with a time"),
        ("date = 2026-10-02", "date = 2999-10-02", "/privacy_review/date", "found one in the future"),
        ("[privacy_review]", 'url = "example.org"\n[privacy_review]', "/consent_review", "only known keys"),
    ],
)
def test_a_value_of_another_form(old: str, new: str, path: str, said: str, data: Path) -> None:
    (data.parent / CARD_FILE).write_text(CARD.replace(old, new, 1), encoding="utf-8")
    ((_, where, message),) = issues(data)
    assert where == path
    assert said in message


@pytest.mark.parametrize(
    "line", ['language = "tiếng Việt"', 'url = "example.org"', 'files = {"train.jsonl" = "abc"}', "privacy_review = 1"]
)
def test_optional_keys_are_strict_too(line: str, data: Path) -> None:
    head, _, reviews = CARD.partition("[consent_review]")
    reviews = (
        "[consent_review]" + reviews if not line.startswith("privacy") else "[consent_review]" + reviews.partition("[privacy")[0]
    )
    (data.parent / CARD_FILE).write_text(f"{head}{line}\n{reviews}", encoding="utf-8")
    assert [rule for rule, _, _ in issues(data)] == ["D805"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"name = 'caf\xe9'\n", "found another byte at offset 11"),
        (b"name = 'x'\nowner = Ann Lee\n", "another text at line 2, column 9"),
        (b"x = " + b"[" * 5000, "expected TOML of a few levels"),
        (b"#" * (256 * 1024 + 1), "expected at most 262144 bytes"),
    ],
    ids=["bytes", "syntax", "deep", "large"],
)
def test_a_card_that_can_not_be_read(body: bytes, said: str, data: Path) -> None:
    (data.parent / CARD_FILE).write_bytes(body)
    ((rule, _, message),) = issues(data)
    assert rule == "D802"
    assert said in message
    assert "Ann" not in message


def test_a_folder_in_place_of_the_card(data: Path) -> None:
    (data.parent / CARD_FILE).unlink()
    (data.parent / CARD_FILE).mkdir()
    assert [rule for rule, _, _ in issues(data)] == ["D802"]


def test_today_and_tomorrow_are_no_future(data: Path) -> None:
    """It is tomorrow elsewhere already."""
    for days, wanted in ((0, []), (1, []), (3, ["D805"])):
        day = datetime.date.today() + datetime.timedelta(days=days)
        (data.parent / CARD_FILE).write_text(CARD.replace("2026-10-02", day.isoformat()), encoding="utf-8")
        assert [rule for rule, _, _ in issues(data)] == wanted


def test_reviews_are_about_the_bytes_that_the_card_names(data: Path) -> None:
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    card = data.parent / CARD_FILE
    card.write_text(f'{CARD}[files]\n"train.jsonl" = "{digest}"\n', encoding="utf-8")
    assert issues(data) == []
    with data.open("a", encoding="utf-8") as file:
        file.write(ROW % (99, "Dạ."))
    ((rule, path, message),) = issues(data)
    assert (rule, path) == ("D806", "/files")
    assert hashlib.sha256(data.read_bytes()).hexdigest() in message
    assert digest not in message
    other = data.rename(data.with_name("other.jsonl"))
    assert "found no entry" in issues(other)[0][2]


def test_the_metadata_of_an_adapter_holds_the_card(data: Path) -> None:
    facts = json.loads(json.dumps(dataset_facts(data.parent)))
    assert facts["version"] == "1.2.0"
    assert facts["card"]["privacy_review"] == {
        "by": "Service desk", "date": "2026-10-02", "finding": "Read row by row: no personal data.",
    }  # fmt: skip
    (data.parent / CARD_FILE).write_text('version = "7"\n', encoding="utf-8")
    assert dataset_facts(data.parent) == {"version": "7", "card": None}
    (data.parent / CARD_FILE).write_text("version = 7\n", encoding="utf-8")
    assert dataset_facts(data.parent) == {"version": None, "card": None}
    (data.parent / CARD_FILE).unlink()
    assert dataset_facts(data.parent) == {"version": None, "card": None}


def test_the_shipped_cards() -> None:
    example = ROOT / "examples" / "support-vi" / "data" / "train.jsonl"
    assert issues(example) == []
    assert issues(ROOT / "tests" / "tasks" / "helpdesk" / "data" / "train.jsonl") == []
    starter = read_card(ROOT / "src" / "loren" / "cli" / "starter" / "data")
    assert {breach.path for breach in starter.breaches} == {"/owner", "/date", "/consent_review", "/privacy_review"}
    assert starter.version == "0.1.0"


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # rdflib, which mlcroissant calls
def test_croissant_is_read_by_mlcroissant_down_to_the_rows(data: Path) -> None:
    card = read_card(data.parent).card
    assert card is not None
    out = data.parent / "croissant.json"
    out.write_text(json.dumps(croissant(card, check_file(data, release=True), data, out.parent)), encoding="utf-8")
    dataset = mlcroissant.Dataset(jsonld=out)
    found = dataset.metadata
    assert (found.ctx.issues.errors, found.ctx.issues.warnings) == (set(), set())
    assert found.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert (found.name, found.version, found.creators[0].name) == ("library-mail", "1.2.0", "Library service desk")
    assert "Read row by row" in found.personal_sensitive_information[0]
    assert found.distribution[0].sha256 == hashlib.sha256(data.read_bytes()).hexdigest()
    rows = [record["rows/messages"] for record in dataset.records("rows")]
    assert len(rows) == 12
    assert [turn["rows/messages/role"] for turn in rows[3]] == [b"user", b"assistant"]
    assert rows[3][1]["rows/messages/content"].decode() == "Có ạ."


def test_croissant_takes_licences_that_have_no_page(data: Path) -> None:
    report = check_file(data, release=True)
    for license_, page in (("LicenseRef-internal", "LicenseRef-internal"), ("MIT AND CC-BY-4.0", "MIT AND CC-BY-4.0")):
        (data.parent / CARD_FILE).write_text(CARD.replace("CC-BY-4.0", license_), encoding="utf-8")
        card = read_card(data.parent).card
        assert card is not None
        described = croissant(card, report, data, data.parent.parent)
        assert described["license"] == page
        (file,) = described["distribution"]
        assert file["contentUrl"] == "data/train.jsonl"
