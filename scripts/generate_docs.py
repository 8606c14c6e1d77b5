"""Write the pages of docs/reference from the code; with --check, fail when one of them is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reference_pages.cli import cli_page
from reference_pages.config import config_page
from reference_pages.dataset import dataset_page
from reference_pages.exit_codes import exit_codes_page
from reference_pages.report import report_page
from reference_pages.rules import rules_page, vietnamese_rules_page
from reference_pages.task import task_page

from loren.data.outputs.schema import schema_text
from loren.report.schema import schema_text as report_page_schema

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "config.md": config_page,
    "task.md": task_page,
    "rules.md": rules_page,
    "rules.vi.md": vietnamese_rules_page,
    "dataset.md": dataset_page,
    "report.md": report_page,
    "report.schema.json": schema_text,
    "report-page.schema.json": report_page_schema,
    "cli.md": cli_page,
    "exit-codes.md": exit_codes_page,
}


def stale_pages(folder: Path) -> list[str]:
    """Names of the pages that are missing or not what the code says."""
    return [name for name, page in PAGES.items() if _read(folder / name) != page()]


def write_pages(folder: Path) -> list[str]:
    """Write the stale pages; returns their names."""
    stale = stale_pages(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(PAGES[name](), encoding="utf-8", newline="\n")
    return stale


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main(arguments: Sequence[str], folder: Path = REFERENCE) -> int:
    """Write or check the pages of ``folder``.

    Returns:
        The exit code: 1 when --check found a stale page.
    """
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    if parser.parse_args(arguments).check:
        stale = stale_pages(folder)
        for name in stale:
            print(f"docs/reference/{name} is stale: run `make docs` and commit it", file=sys.stderr)
        return 1 if stale else 0
    for name in write_pages(folder):
        print(f"wrote docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
