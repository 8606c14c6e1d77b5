"""The documentation site: two languages, every page, and a build that fails for a broken link or an outside request."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"

PAGES = {
    "index.md": "# Loren\n\n*[Tiếng Việt](index.vi.md)*\n\nSee [the guide](guides/new.md#first-part).\n\n<!-- contents -->\n",
    "index.vi.md": "# Loren\n\n*[English](index.md)*\n\nXem [hướng dẫn](guides/new.vi.md#first-part).\n\n<!-- contents -->\n",
    "guides/new.md": "# A new guide\n\n*[Tiếng Việt](new.vi.md)*\n\n## First part\n\n```sh\nloren doctor\n```\n",
    "guides/new.vi.md": "# Hướng dẫn mới\n\n*[English](new.md)*\n\n## First part\n\nXem [Loren](../../README.vi.md).\n",
    "concepts/more.md": "# More\n\nSee [exit codes](../reference/codes.md) and [Loren](../../README.md).\n",
    "reference/codes.md": "# Exit codes\n\nOnly in English.\n",
}


def write(folder: Path, pages: dict[str, str]) -> Path:
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "build_site.py"), "--docs", str(docs), "--site", str(site)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_new_pages_are_taken_in_both_languages(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write(site, {"old.html": "from an earlier build"})
    done = build(write(tmp_path / "docs", PAGES), site)
    assert done.returncode == 0, done.stderr
    assert not (site / "old.html").exists()
    english = (site / "guides" / "new.html").read_text(encoding="utf-8")
    vietnamese = (site / "vi" / "guides" / "new.html").read_text(encoding="utf-8")
    assert 'lang="en"' in english
    assert 'href="../vi/guides/new.html" hreflang="vi"' in english
    assert '<html class="no-js" lang="vi"' in vietnamese
    assert 'href="../../guides/new.html" hreflang="en"' in vietnamese
    assert "Hướng dẫn mới" in (site / "vi" / "index.html").read_text(encoding="utf-8")
    assert "Hướng dẫn mới" not in (site / "index.html").read_text(encoding="utf-8")
    untranslated = (site / "vi" / "reference" / "codes.html").read_text(encoding="utf-8")
    assert '<div lang="en"><section id="exit-codes">' in untranslated
    # A word of the guide's title can be searched for.
    assert json.dumps("hướng") in (site / "vi" / "searchindex.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["nowhere.md", "../reference/codes.md#no-such-heading", "../../CHANGELOG.md"])
def test_a_broken_link_fails_the_build_and_names_its_page(target: str, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", PAGES | {"guides/new.md": f"# A new guide\n\nSee [this]({target}).\n\n## First part\n"})
    done = build(docs, tmp_path / "site")
    assert done.returncode == 1
    assert "guides/new.md:3" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#### Too deep", "guides/new.md:3"),
        ('<img src="https://img.example/1.png">', "guides/new.html: loads https://img.example/1.png"),
    ],
)
def test_a_warning_or_an_outside_request_fails_the_build(text: str, said: str, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", PAGES | {"guides/new.md": f"# A new guide\n\n{text}\n\n## First part\n"})
    done = build(docs, tmp_path / "site")
    assert done.returncode == 1
    assert said in done.stderr


def test_a_page_without_a_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from site_pages import stage

    docs = write(tmp_path / "docs", PAGES | {"elsewhere/page.md": "# Elsewhere\n"})
    with pytest.raises(ValueError, match=r"elsewhere/page\.md: expected a folder"):
        stage.write_pages(docs, tmp_path / "pages", "en")
    (docs / "elsewhere" / "page.md").rename(docs / "guides" / "lost.vi.md")
    with pytest.raises(ValueError, match=r"lost\.vi\.md translates nothing"):
        stage.write_pages(docs, tmp_path / "pages", "vi")


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ('<link rel="stylesheet" href="https://fonts.example/css">', "page.html: loads https://fonts.example/css"),
        ('<link rel="preconnect" href="//fonts.example">', "page.html: loads //fonts.example"),
        ('<script src="//cdn.example/a.js"></script>', "page.html: loads //cdn.example/a.js"),
        ('<img srcset="https://img.example/1.png 2x">', "page.html: loads https://img.example/1.png"),
        ('<p style="background: url(https://img.example/2.png)">', "page.html: loads https://img.example/2.png"),
        ('<script src="gone.js"></script>', "page.html: gone.js is not there"),
        ('<a href="gone.html">x</a>', "page.html: the link gone.html leads nowhere"),
        ('<a href="#gone">x</a>', "page.html: #gone has no such heading"),
    ],
)
def test_the_audit_finds(element: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from site_pages import audit

    good = '<a href="https://example.org">x</a><a href="page.html#here">x</a><b id="here"></b><img src="data:,">'
    write(tmp_path, {"page.html": good, "a.css": "b { background: url('data:,'); }"})
    assert audit.problems(tmp_path) == []
    write(tmp_path, {"page.html": good + element})
    assert audit.problems(tmp_path) == [said]


def test_the_audit_reads_style_sheets_and_misses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from site_pages import audit

    assert audit.problems(tmp_path) == [f"{tmp_path}: no pages"]
    write(tmp_path, {"page.html": "", "a.css": "@import 'https://fonts.example/b.css';"})
    assert audit.problems(tmp_path) == ["a.css: loads https://fonts.example/b.css"]
