"""The code blocks of the pages that users read, each with the mark that says how a test runs it.

A mark is an HTML comment, `<!-- run: tiny -->` or `<!-- not run: REASON -->`. Directly above a block it holds for that block,
anywhere else on the page for every block that has none of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"<!--\s*(run: tiny|not run: \S.*?)\s*-->", re.DOTALL)
RUN = "run: tiny"
"""In order with the page's other blocks, with the tiny model in place of the page's base."""
SHELL = {"sh", "python"}
"""Languages that are run."""
READ = {"toml", "json", "yaml"}
"""Languages that are validated without being run, whatever the mark."""
OUTPUT = {"text"}
"""What a command prints, or a picture: the words around it say which."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    place: str
    """Page and line, as in `README.md:31`."""
    language: str
    text: str
    mark: str
    """The mark that holds for it; empty where there is none."""


def translations() -> list[tuple[Path, Path]]:
    """The pages that exist in both languages: (English, Vietnamese)."""
    found = [path for pattern in ("*.vi.md", "docs/**/*.vi.md", "examples/*/*.vi.md") for path in ROOT.glob(pattern)]
    return [(path.with_name(path.name.replace(".vi.md", ".md")), path) for path in sorted(found)]


def pages() -> list[Path]:
    """English pages with blocks that a user may copy; the Vietnamese ones hold the same blocks."""
    guides = [path for folder in ("guides", "concepts") for path in sorted((ROOT / "docs" / folder).glob("*.md"))]
    others = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/index.md", "examples/support-vi/README.md")]
    return [*others, *(path for path in guides if not path.name.endswith(".vi.md"))]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of one page in order."""
    found: list[Block] = []
    own: dict[int, str] = {}
    everywhere = ""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    for index, token in enumerate(tokens):
        mark = MARK.search(token.content) if token.type == "html_block" else None
        if mark and tokens[index + 1 : index + 2] and tokens[index + 1].type == "fence":
            own[index + 1] = mark[1]
        elif mark:
            assert not everywhere, f"{page.name}: two marks that hold for the whole page"
            everywhere = mark[1]
    for index, token in enumerate(tokens):
        if token.type in {"fence", "code_block"} and token.map:
            place = f"{page.relative_to(ROOT)}:{token.map[0] + 1}"
            found.append(Block(place, token.info.strip(), token.content, own.get(index, everywhere)))
    return found
