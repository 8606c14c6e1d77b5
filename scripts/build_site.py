"""Build the documentation site: English in site/, Vietnamese in site/vi/. A warning, a broken link or an outside request fails."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from site_pages import audit, stage
from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = Path(__file__).resolve().parent / "site_pages"
LANGUAGES = {"en": ".", "vi": "vi"}
"""Language -> its folder in the site."""


def build(docs: Path, site: Path) -> int:
    """Build both languages of ``docs`` into ``site``, which is emptied first.

    Returns:
        The exit code: 1 when anything was amiss.
    """
    shutil.rmtree(site, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        for language, folder in LANGUAGES.items():
            if _build_language(docs, site / folder, language, Path(scratch) / language):
                return 1
    found = audit.problems(site)
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


def _build_language(docs: Path, site: Path, language: str, pages: Path) -> int:
    stage.write_pages(docs, pages, language)
    # Sphinx compiles the catalogues that it finds beside the pages.
    shutil.copytree(CONFIGURATION / "locale", pages / "locale")
    doctrees = pages.with_name(f"{language}-doctrees")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--nitpicky", "-c", str(CONFIGURATION), "-D", f"language={language}"]
    return build_main([*options, "-d", str(doctrees), str(pages), str(site)])


def main(arguments: Sequence[str]) -> int:
    """Build the site.

    Returns:
        The exit code: 1 when anything was amiss.
    """
    parser = argparse.ArgumentParser(description="Build the documentation site; a warning or a broken link fails.")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the pages")
    parser.add_argument("--site", type=Path, default=ROOT / "site", help="where to write it; emptied first")
    options = parser.parse_args(arguments)
    return build(options.docs, options.site)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
