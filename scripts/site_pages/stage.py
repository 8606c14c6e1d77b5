"""docs/ -> the pages of one language.

A page and its translation lie side by side, `page.md` and `page.vi.md`. Each language is a site with its own navigation and search;
where a page is not translated, the Vietnamese site has the English one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SWITCH = re.compile(r"^\*\[(?:Tiếng Việt|English)\]\(\S+\)\*$", re.MULTILINE)
"""The line below a title that leads to the page in the other language."""
TRANSLATED_LINK = re.compile(r"(\]\([^)\s]*)\.vi\.md(?=[)#])")
README_LINK = re.compile(r"\]\(\.\./\.\./README(?:\.vi)?\.md\)")
"""What the README is to the repository, the first page is to the site."""
CONTENTS = "<!-- contents -->"
"""Where the first page lists all others."""


@dataclass(frozen=True)
class Section:
    """A part of the navigation: a folder of docs/."""

    folder: str
    titles: dict[str, str]
    order: tuple[str, ...]
    """Pages that stand first, in this order; the others follow by name."""


SECTIONS = (
    Section(
        "guides",
        {"en": "Guides", "vi": "Hướng dẫn"},
        (
            "your-first-adapter",
            "check-your-data",
            "your-own-task",
            "is-it-better",
            "from-failures-to-data",
            "which-configuration",
            "merge-or-keep",
            "check-in-ci",
            "colab",
            "local-gpu",
            "resume-and-replay",
            "adopt-an-adapter",
        ),
    ),
    Section(
        "concepts",
        {"en": "Concepts", "vi": "Khái niệm"},
        ("lora-and-qlora", "run-folder", "measured-files", "statistics", "merge-proof", "forgetting", "judge"),
    ),
    Section(
        "reference", {"en": "Reference", "vi": "Tra cứu"}, ("cli", "config", "task", "rules", "report", "dataset", "exit-codes")
    ),
)
NOT_SHOWN = "decisions/"
"""Written for those who change Loren, not for those who use it."""
OTHER = {"en": ("vi", "Tiếng Việt"), "vi": ("en", "English")}


def write_pages(docs: Path, target: Path, language: str) -> None:
    """Write every page of ``docs`` in ``language`` to ``target``.

    Raises:
        ValueError: a translation of nothing, or a page that no section shows.
    """
    names = [path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))]
    names = [name for name in names if not name.startswith(NOT_SHOWN)]
    english = {name for name in names if not name.endswith(".vi.md")}
    for name in names:
        if name.replace(".vi.md", ".md") not in english:
            raise ValueError(f"docs/{name} translates nothing: expected its English page beside it")
    for name in sorted(english):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_page(docs, name, language, english), encoding="utf-8")


def is_translated(docs: Path, page: str) -> bool:
    """Whether ``page`` (a name without `.md`) exists in both languages."""
    return (docs / f"{page}.vi.md").is_file()


def other_address(page: str, language: str) -> str:
    """The way from a page of ``language``'s site to the same page of the other one."""
    up = "../" * page.count("/")
    return f"{up}vi/{page}.html" if language == "en" else f"{up}../{page}.html"


def _page(docs: Path, name: str, language: str, english: set[str]) -> str:
    page = name.removesuffix(".md")
    translation = docs / f"{page}.vi.md"
    text = (translation if language == "vi" and translation.is_file() else docs / name).read_text(encoding="utf-8")
    code, label = OTHER[language]
    link = f'<a class="language" href="{other_address(page, language)}" hreflang="{code}" lang="{code}">{label}</a>'
    text = README_LINK.sub("](../index.md)", SWITCH.sub(link, text, count=1))
    text = TRANSLATED_LINK.sub(r"\1.md", text)
    return text.replace(CONTENTS, _contents(english, language)) if page == "index" else text


def _contents(english: set[str], language: str) -> str:
    """A table of contents for each section.

    Raises:
        ValueError: a page lies where no section is.
    """
    folders = {section.folder for section in SECTIONS}
    homeless = sorted(name for name in english - {"index.md"} if PurePosixPath(name).parts[0] not in folders)
    if homeless:
        raise ValueError(f"docs/{homeless[0]}: expected a folder that scripts/site_pages/stage.py names as a section")
    return "\n".join(_toctree(section, english, language) for section in SECTIONS)


def _toctree(section: Section, english: set[str], language: str) -> str:
    there = [name.removesuffix(".md") for name in sorted(english) if name.startswith(f"{section.folder}/")]
    first = [page for page in (f"{section.folder}/{name}" for name in section.order) if page in there]
    rest = [page for page in there if page not in first]
    return "\n".join(["```{toctree}", f":caption: {section.titles[language]}", ":maxdepth: 1", "", *first, *rest, "```", ""])
