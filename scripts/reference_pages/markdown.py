"""Pieces of Markdown that every page uses."""

from __future__ import annotations

NOTICE = "<!-- Written by `make docs` from the code: edit the code, not this page. -->\n"


def fenced(text: str, language: str = "text") -> str:
    """A code block, its fence longer than any in the text."""
    body = text.strip("\n")
    fence = "```"
    while fence in body:
        fence += "`"
    return f"{fence}{language}\n{body}\n{fence}\n"


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading of letters, digits, spaces and dashes."""
    return heading.lower().replace(" ", "-")
