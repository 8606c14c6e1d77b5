"""report.html: what each part says, in both languages, with and without each file of the run."""

from __future__ import annotations

import itertools
import re
import shutil
import tomllib
import unicodedata
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from loren.data.rules import Language
from loren.report.write import write_report
from report_pages import Page, parsed
from report_run import CANARY, write_run
from report_sweep import write_sweep

SECTIONS = ["verdict", "figures", "flips", "weak", "training", "data", "provenance", "cost", "missing"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("reported") / "support-vi")


def page_of(run: Path, out: Path, *, language: Language = "en", show_text: bool = False) -> Page:
    write_report(run, out=out, language=language, show_text=show_text)
    return parsed((out / "report.html").read_text(encoding="utf-8"))


def test_the_page_says_all_parts_verdict_first(run: Path, tmp_path: Path) -> None:
    page = page_of(run, tmp_path)
    assert [element.attributes["id"] for element in page.all("section")] == SECTIONS
    text = page.text
    assert text.index("The gates are passed.") < text.index("Before and after", 400)
    for said in (
        "✓ Better", "300 rows in 100 situations", "may not be worse by 2.0\u00a0points", "Is a prompt enough?",
        "Few-shot 1,242.5, Adapter 150.9", "All labels right", "Rule high-needs-code", "exact:/category",
        "sed -n 16p", "loren generate", "label: other / low", "2 words stand out", "4 of 300 replies (1.3\u00a0%)",
        "+15.0\u00a0points", "5 unseen prompts: failed", "Loss by step", "Learning rate by step", "264", "D301 near-duplicate",
        "bc" * 32, "9a" * 32, "loren train run.toml", "9\u00a0min 58\u00a0s", "1,184.2", "The speed of serving",
    ):  # fmt: skip
        assert said in text, said
    assert str(Path.home()) not in text
    assert "/home/someone" not in text


def test_vietnamese_has_its_words_and_its_numbers(run: Path, tmp_path: Path) -> None:
    page = page_of(run, tmp_path, language="vi")
    assert page.all("html")[0].attributes["lang"] == "vi"
    for said in ("✓ Tốt hơn", "300 dòng trong 100 tình huống", "1.242,5", "2,0\u00a0điểm", "<\u00a00,001", "Nguồn gốc"):
        assert said in page.text, said
    assert unicodedata.is_normalized("NFC", page.text)
    assert not re.search(r"\b(Verdict|Training|interval|rows|broken)\b", page.text)


def test_both_catalogues_hold_the_same_sentences() -> None:
    tables: list[dict[str, Any]] = [
        tomllib.loads(files("loren.report").joinpath("words", f"{name}.toml").read_text(encoding="utf-8")) for name in ("en", "vi")
    ]
    english, vietnamese = ({(part, key): text for part, words in table.items() for key, text in words.items()} for table in tables)
    assert len(english) >= 250
    assert english.keys() == vietnamese.keys()
    for key, text in english.items():
        fields = [{name for _, name, _, _ in Formatter().parse(words) if name} for words in (text, vietnamese[key])]
        assert fields[0] == fields[1], key
        assert unicodedata.is_normalized("NFC", vietnamese[key]), key
        assert vietnamese[key].strip()
        assert text.strip()


def test_every_sentence_is_used() -> None:
    folder = Path(str(files("loren.report")))
    sources = [*folder.glob("*.py"), *folder.glob("templates/*.jinja")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    table = tomllib.loads((folder / "words" / "en.toml").read_text(encoding="utf-8"))
    names = {"arm", "metric", "short", "role", "goal", "word", "reason", "slice", "part", "stage", "guard", "missing", "sanity",
             "sweep_answer", "curve_answer", "advice"}  # fmt: skip
    advice = "\n".join(path.read_text(encoding="utf-8") for path in folder.parent.joinpath("pipeline", "sweep").glob("*.py"))
    spaced_in = set(re.findall(r'"(\w+)"', advice + code))
    assert set(table["advice"]) <= spaced_in
    spaced = {word.replace(" ", "_") for word in re.findall(r'"([^"\n]+)"', code)}
    unused = [
        f"{part}.{key}"
        for part, words in table.items()
        for key in words
        if part not in names and f"{part}.{key}" not in code and key.removeprefix("said_").removesuffix("_of") not in spaced
    ]
    assert not unused, unused


def test_texts_stand_only_where_they_are_asked_for(run: Path, tmp_path: Path) -> None:
    write_report(run, out=tmp_path / "plain", language="en", show_text=False)
    write_report(run, out=tmp_path / "texts", language="en", show_text=True)
    names = ("report.html", "report.md", "report.json", "report.junit.xml")
    assert [CANARY in (tmp_path / "plain" / name).read_text(encoding="utf-8") for name in names] == [False] * 4
    shown = (tmp_path / "texts" / "report.html").read_text(encoding="utf-8")
    assert f"{CANARY} fewshot xin chào" in shown
    assert f"{CANARY}-hoàn" in shown
    assert "Bạn là trợ lý" not in shown  # a system prompt is a digest
    assert "handle it as you handle the data" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stages.json", ""),
        ("data/report.json", "The data contract"),
        ("data/split.json", ""),
        ("metrics.jsonl", "There are no figures by step."),
        ("adapter/training_metadata.json", "The base model's digests"),
        ("adapter/MANIFEST.json", ""),
        ("sanity.json", "loren sanity"),
        ("eval/result.json", "Nobody has asked the golden questions yet"),
        ("eval/scores.jsonl", "The scores of single rows are not there."),
        ("eval/adapter.jsonl", ""),
    ],
)
def test_a_file_that_is_not_there_is_said(name: str, said: str, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / name).unlink()
    page = page_of(copy, tmp_path, show_text=True)
    assert said in page.text
    assert [element.attributes["id"] for element in page.all("section")] == SECTIONS
    assert not re.search(r"\b(None|nan|NaN|undefined)\b", page.text)


def test_a_run_with_its_configuration_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=6)
    for path in [path for path in run.rglob("*") if path.is_file() and path.name != "config.json"]:
        path.unlink()
    written = write_report(run, out=tmp_path, language="en", show_text=False)
    page = parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.text.count("Not measured.") >= 10
    missing: Any = written.data["not_measured"]
    assert len(missing) == 15
    assert all(word in page.text for word in ("Safety: injection", "The data contract", "Not evaluated"))
    assert not re.search(r"\b(None|nan)\b", page.text)


def test_a_preview_decides_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rows=40, preview=True)
    page = page_of(run, tmp_path)
    assert "Preview: 40 of 300 golden questions were asked. A sample has no verdict." in page.text
    assert "The gates are" not in page.text
    assert "All labels right" in page.text
    # A full evaluation is what counts as soon as there is one.
    shutil.copytree(run / "eval" / "preview", run / "whole")
    shutil.move(run / "whole", run / "eval" / "full")
    for path in (run / "eval" / "full").iterdir():
        shutil.move(path, run / "eval" / path.name)
    assert "A sample has no verdict" not in page_of(run, tmp_path).text


@pytest.mark.parametrize(
    ("word", "passed", "said"),
    [
        ("worse", False, "✗ Worse"),
        ("inconclusive", False, "? Inconclusive"),
        ("abstain", False, "? No verdict"),
        ("not worse", True, "✓ Not worse"),
        ("of another version", False, "of another version"),
    ],
)
def test_each_verdict_has_its_words(word: str, passed: bool, said: str, run: Path, tmp_path: Path) -> None:
    from loren.runs.files import read_json, write_json

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    result: Any = read_json(copy / "eval" / "result.json")
    result["verdict"] |= {"word": word, "passed": passed, "reasons": ["f1:/x against http: that variant was not asked"]}
    write_json(copy / "eval" / "result.json", result)
    text = page_of(copy, tmp_path).text
    assert said in text
    assert "that variant was not asked" in text
    assert ("The gates are passed." in text) is passed


def test_a_sweep_is_a_table_of_variants(tmp_path: Path) -> None:
    page = page_of(write_sweep(tmp_path / "sweep"), tmp_path)
    assert [element.attributes["id"] for element in page.all("section")] == ["verdict", "variants", "comparisons"]
    for said in ("Take b.", "lora.r = 32", "runs/c-s44: TrainingError", "2,162,688", "58 of 60", "Seeds: 42, 43, 44.", "a → c"):
        assert said in page.text, said
    curve = page_of(write_sweep(tmp_path / "curve", kind="curve"), tmp_path, language="vi")
    assert "Thêm dữ liệu sẽ có ích." in curve.text


def test_the_page_can_be_read_by_ear_and_by_keyboard(run: Path, tmp_path: Path) -> None:
    for folder in (run, write_sweep(tmp_path / "sweep")):
        page = page_of(folder, tmp_path, show_text=folder == run)
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(ids) == len(set(ids))
        levels = [int(element.tag[1]) for element in page.elements if re.fullmatch(r"h[1-6]", element.tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert all("scope" in element.attributes for element in page.all("th"))
        for element in page.elements:
            named = [*element.attributes.get("aria-labelledby", "").split()]
            named += [element.attributes["href"][1:]] if element.attributes.get("href", "").startswith("#") else []
            assert set(named) <= set(ids), element
        drawings = page.all("svg")
        assert drawings
        for what in ("title", "desc"):
            assert len([e for e in page.all(what) if "svg" in e.parents]) == len(drawings)
        assert all(element.attributes["role"] == "img" for element in drawings)
        assert page.all("a")[0].attributes["class"] == "skip"


def test_the_page_asks_nobody_and_runs_nothing_foreign(run: Path, tmp_path: Path) -> None:
    page = page_of(run, tmp_path, show_text=True)
    policy = next(e.attributes["content"] for e in page.all("meta") if e.attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    links = [
        e.attributes[name] for e in page.elements for name in ("href", "src", "action", "srcset", "data") if name in e.attributes
    ]
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not any("style" in e.attributes or any(name.startswith("on") for name in e.attributes) for e in page.elements)
    assert len(page.all("script")) == len(page.all("style")) == 1
    style = next(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def luminance(colour: str) -> float:
    full = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_of_text_has_contrast() -> None:
    style = files("loren.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r"\{([^{}]*--paper:[^{}]*)\}", style)
    assert len(blocks) == 4
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#\w+);", block))
        for text in ("ink", "soft", "accent", "good", "bad", "warn"):
            for ground in ("paper", "panel"):
                light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground, colours)
        for mark in ("base", "fewshot", "adapter", "merged", "http", "other"):
            light, dark = sorted((luminance(colours[mark]), luminance(colours["paper"])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3, (mark, colours)
