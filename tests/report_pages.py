"""A report page as a parser sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

VOID = {"meta", "link", "line", "circle", "path", "br"}


class Element(NamedTuple):
    """An opening tag."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]


@dataclass
class Page(HTMLParser):
    """Elements in their order, and the text of each section."""

    elements: list[Element] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    """(innermost tag, text)"""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data))

    @property
    def is_closed(self) -> bool:
        return not self._open

    @property
    def text(self) -> str:
        """What a reader sees, on one line."""
        return " ".join(re.sub(r"[ \n\t]+", " ", text).strip(" ") for tag, text in self.texts if tag not in {"style", "script"})

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    @property
    def shapes(self) -> set[tuple[str, frozenset[str]]]:
        """Every kind of element with the names of its attributes."""
        return {(element.tag, frozenset(element.attributes)) for element in self.elements}


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.is_closed
    return page
