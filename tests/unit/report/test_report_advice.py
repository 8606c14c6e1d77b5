"""Sentences that Loren writes into result files are said in the language of the page, by their keys; names stay as they are."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from loren.data.rules import Language
from loren.report.figures import Said
from loren.report.words import Words
from loren.report.write import write_report
from report_pages import Page, parsed
from report_run import write_run
from report_sweep import write_sweep

ENGLISH = re.compile(
    r"\b(take|cheapest|against|trained parameters|until|better|inconclusive|within chance|rows?|margin|situations|seeds? a|"
    r"left out|recommended|fewer|was not asked|variant)\b",
    re.IGNORECASE,
)
VALUES: dict[str, float | str] = {
    "variant": "lớn-7", "simplest": "nhỏ-1", "best": "nhất-9", "metric": "all_labels", "against": "fewshot", "margin": 0.05,
    "situations": 1240, "detectable": 0.118, "failed": 3, "score": 0.6944, "parameters": 1_081_344, "difference": -0.1114,
    "low": -0.21, "high": 0.0316, "word": "inconclusive", "reason": "within chance", "half_rows": 45, "all_rows": 90, "before": 0.7,
    "after": 0.81,
}  # fmt: skip


def table() -> dict[str, str]:
    found = tomllib.loads(files("loren.report").joinpath("words", "en.toml").read_text(encoding="utf-8"))["advice"]
    assert len(found) >= 15
    return found


def told(
    folder: Path, language: Language, *, said: dict[str, Any], evidence: list[dict[str, Any]] | None = None
) -> tuple[Page, str]:
    """HTML and Markdown of a sweep whose recommendation is ``said``."""
    sweep = write_sweep(folder / "sweep")
    record = json.loads((sweep / "sweep.json").read_text(encoding="utf-8"))
    record["recommendation"] |= {
        "words": "English <b>words</b>.",
        "said": said,
        "evidence": ["English evidence"] * len(evidence or []),
        "evidence_said": evidence or [],
    }
    (sweep / "sweep.json").write_text(json.dumps(record), encoding="utf-8")
    write_report(sweep, out=folder, language=language, show_text=False)
    return parsed((folder / "report.html").read_text(encoding="utf-8")), (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", table())
def test_each_sentence_is_said_in_both_languages(key: str) -> None:
    sentence = Said(key=key, values=VALUES)
    english = Words("en").said(sentence, "", quote=str)
    vietnamese = Words("vi").said(sentence, "no words")
    assert ENGLISH.search(english)
    assert not ENGLISH.search(vietnamese.replace("--seeds", "")), vietnamese
    assert "all_labels" not in vietnamese  # a figure of Loren's has its words
    names = {"variant", "simplest", "best"} & set(re.findall(r"{(\w+)}", table()[key]))
    assert all(str(VALUES[name]) in english and str(VALUES[name]) in vietnamese for name in names)


def test_numbers_are_those_of_the_language() -> None:
    value, difference = Said(key="value", values=VALUES), Said(key="difference", values={**VALUES, "word": "worse"})
    assert Words("en").said(value, "", quote=str) == "lớn-7: all_labels 0.694, 1,081,344 trained parameters"
    assert Words("vi").said(value, "") == "lớn-7: Đúng mọi nhãn 0,694, 1.081.344 tham số được huấn luyện"
    assert Words("vi").said(difference, "").endswith("\u22120,111 [\u22120,210; +0,032], kém hơn")


def test_the_pages_of_a_sweep_hold_no_english_sentence(tmp_path: Path) -> None:
    said = {"key": "take_near_better", "values": VALUES}
    page, markdown = told(tmp_path, "vi", said=said, evidence=[{"key": key, "values": VALUES} for key in table()])
    for text in (page.text, markdown):
        assert "English" not in text
        assert "nhất-9, biến thể tốt nhất" in text.replace("`", "")
    assert "`lớn-7` so với `nhỏ-1`: `all_labels`" in markdown


@pytest.mark.parametrize(
    "said",
    [
        {"key": "of_a_later_version", "values": VALUES},
        {"key": "take_best", "values": {"variant": "a"}},
        {"key": "take_best.__class__", "values": VALUES},
    ],
)
def test_an_unknown_sentence_is_told_as_its_file_has_it(tmp_path: Path, said: dict[str, Any]) -> None:
    page, markdown = told(tmp_path, "vi", said=said)
    assert "English <b>words</b>." in page.text
    assert "`English <b>words</b>.`" in markdown


def test_names_in_a_sentence_are_no_markup(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>`|[a](javascript:b){margin}"
    values = {**VALUES, "variant": evil, "best": evil, "metric": evil, "word": evil}
    page, markdown = told(
        tmp_path, "vi", said={"key": "take_near", "values": values}, evidence=[{"key": "difference", "values": values}]
    )
    assert not page.all("img")
    assert page.text.count(evil) >= 5
    plain = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", markdown)
    assert "img" not in plain
    assert "javascript" not in plain


def test_a_gate_that_nobody_could_judge_is_said_in_the_language_of_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=30)
    path = run / "eval" / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    reason = "f1:/answer against http: that variant was not asked"
    result["verdict"]["reasons"].append(reason)
    for not_asked in ([], [{"metric": "f1:/answer", "against": "http"}]):
        result["verdict"]["not_asked"] = not_asked
        path.write_text(json.dumps(result), encoding="utf-8")
        write_report(run, out=tmp_path, language="vi", show_text=False)
        pages = [(tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md")]
        assert ["was not asked" in text for text in pages] == [not not_asked] * 2
        assert ["biến thể đó chưa được hỏi" in text for text in pages] == [bool(not_asked)] * 2
