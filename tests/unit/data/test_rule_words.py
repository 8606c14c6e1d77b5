"""Every rule speaks English and Vietnamese; a task can make its warnings errors, and nothing else."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from importlib.resources import files
from pathlib import Path

import pytest

from loren.data.check import check_file
from loren.data.load import load_rows
from loren.data.rules import Rule, all_rules, raised_rules, words
from loren.errors import ConfigError, DataContractError
from loren.task.definition import load_task

TABLES = files("loren.data").joinpath("rule_tables")
VIETNAMESE_LETTER = re.compile("[ăâđêôơưàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ]", re.IGNORECASE)
ROW = '{"note": 1, "messages": [{"role": "user", "content": "Question %d?"}, {"role": "assistant", "content": "Yes."}]}'


def tables(folder: str) -> dict[str, dict[str, dict[str, str]]]:
    """File name -> id -> entry."""
    place = TABLES.joinpath(folder) if folder else TABLES
    texts = {file.name: file.read_text(encoding="utf-8") for file in place.iterdir() if file.name.endswith(".toml")}
    assert all(unicodedata.is_normalized("NFC", text) for text in texts.values())
    return {name: rules for name, text in texts.items() if (rules := tomllib.loads(text).get("rules", {}))}


def test_every_rule_has_vietnamese_words_in_the_file_of_its_family() -> None:
    english, vietnamese = tables(""), tables("vi")
    assert sum(map(len, vietnamese.values())) >= 39
    assert {name: set(rules) for name, rules in vietnamese.items()} == {name: set(rules) for name, rules in english.items()}
    for rules in vietnamese.values():
        for key, entry in rules.items():
            assert set(entry) == {"hint", "explanation"}, key


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.id)
def test_the_vietnamese_words_are_vietnamese_and_name_what_the_english_ones_name(rule: Rule) -> None:
    english, vietnamese = words(rule, "en"), words(rule, "vi")
    assert len(VIETNAMESE_LETTER.findall(vietnamese.explanation)) >= 8
    assert VIETNAMESE_LETTER.search(vietnamese.hint)
    # Keys, commands and placeholders are the same in both.
    named = re.compile(r"`(\w[\w.-]*)`|(<[A-Z]+_1>)")
    assert set(named.findall(english.explanation + english.hint)) == set(named.findall(vietnamese.explanation + vietnamese.hint))


def task_folder(folder: Path, contract: str) -> Path:
    folder.mkdir(exist_ok=True)
    head = 'name = "t"\nlanguage = "en"\nversion = "1"\n'
    folder.joinpath("task.toml").write_text(head + contract, encoding="utf-8")
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(ROW % n for n in range(12)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["D119", "unknown-row-key"])
def test_a_task_makes_a_warning_an_error(name: str, rows: Path, tmp_path: Path) -> None:
    mild = load_task(task_folder(tmp_path / "mild", ""))
    strict = load_task(task_folder(tmp_path / "strict", f'[contract]\nraise = ["{name}"]'))
    assert strict.digest != mild.digest
    report = check_file(rows, mild)
    assert (report.errors, report.warnings) == (0, 12)
    kept: list[object] = []
    report = check_file(rows, strict, on_row=kept.append)
    assert (report.errors, report.warnings, kept) == (12, 0, [])
    assert report.by_rule() == [{"rule": "D119", "name": "unknown-row-key", "severity": "error", "issues": 12}]
    assert {issue.severity for issue in report.issues} == {"error"}
    assert len(load_rows(rows, mild).rows) == 12
    with pytest.raises(DataContractError) as error:
        load_rows(rows, strict)
    assert error.value.problems[0].rule == "D119"


def test_nothing_can_be_lowered_and_wrong_names_are_all_named(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.toml contract\.lower"):
        load_task(task_folder(tmp_path / "lower", '[contract]\nlower = ["D101"]'))
    task = load_task(task_folder(tmp_path / "wrong", '[contract]\nraise = ["unknown-row-keys", "D119", "D000"]'))
    with pytest.raises(ConfigError) as error:
        check_file(rows, task)
    assert len(error.value.problems) == 2
    assert "did you mean unknown-row-key?" in str(error.value)
    assert raised_rules(["D101"]) == {"messages-missing"}, "an error stays one"
