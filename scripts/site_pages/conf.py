# pyright: basic
"""How the site is built and looks; `language` comes from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from site_pages.stage import OTHER, is_translated, other_address

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"

project = "Loren"
author = "The Loren authors"
copyright = "The Loren authors, Apache-2.0"
extensions = ["myst_parser", "sphinx_copybutton"]
locale_dirs = ["locale"]
templates_path = [str(HERE / "templates")]

myst_heading_anchors = 4

html_theme = "furo"
html_title = "Loren"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_use_index = False
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "language.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
# Commands are copied; what they print is not.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"


def _page_context(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Name the same page in the other language; say which language an untranslated page is in."""
    language = app.config.language
    code, label = OTHER[language]
    context["other_language"] = {"address": other_address(pagename, language), "code": code, "label": label}
    if language == "vi" and "body" in context and doctree is not None and not is_translated(DOCS, pagename):
        context["body"] = f'<div lang="en">{context["body"]}</div>'


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("html-page-context", _page_context)
