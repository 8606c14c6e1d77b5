"""The words that the rules of quality know: tables.toml, read once and compiled."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from loren.task.phrases import Lexicon, Patterns, word_tree

if TYPE_CHECKING:
    from loren.task.entities import Extractor


class Phrases(NamedTuple):
    """The patterns of one rule."""

    trigger: re.Pattern[str]
    """A text in lower case in which it finds nothing holds no phrase."""
    patterns: Patterns
    lexicon: Lexicon

    def found_in(self, text: str, *, without_accents: bool = False) -> bool:
        """Whether a text holds a phrase; with ``without_accents`` also as people type in haste, without them."""
        if not self.trigger.search(text.lower()):
            return False
        read = self.lexicon.read(text)
        if self.patterns.any_in(read):
            return True
        if not without_accents:
            return False
        folded = read.folded()
        return any(True for pattern in self.patterns for _ in pattern.folded_keys(folded))


@cache
def quality_table() -> dict[str, Any]:
    """The whole table."""
    return tomllib.loads(files("loren.data.quality").joinpath("tables.toml").read_text(encoding="utf-8"))


@cache
def phrases(name: str) -> Phrases:
    """The patterns of the section ``name``."""
    section = quality_table()[name]
    lexicon = Lexicon(section["groups"], spelling=quality_table()["spelling"])
    trigger = re.compile("|".join(map(re.escape, section["triggers"])))
    return Phrases(trigger, Patterns(map(lexicon.compile, section["patterns"])), lexicon)


@cache
def gate() -> re.Pattern[str]:
    """Finds a trigger of any section, or a word of English, in lower case: a row without one holds no phrase and no English."""
    return re.compile(rf"[\s{re.escape(BEFORE_WORDS)}]{_triggers()}")


@cache
def spaced_gate() -> re.Pattern[str]:
    """The same of a plain text in which each of ``BEFORE_WORDS`` is a space, which a search jumps to twice as fast."""
    return re.compile(f" {_triggers()}")


BEFORE_WORDS = "\t\n\r\"'“‘([*:"
"""What may stand before a trigger, beside the space and rarer kinds of it."""


@cache
def _triggers() -> str:
    """The words as a tree, which is left where a letter does not fit."""
    table = quality_table()
    words = {word for name in ("injection", "machine", "refusal", "placeholder") for word in table[name]["triggers"]}
    return word_tree(words | set(table["language"]["hints"]))


@cache
def number_rules() -> Extractor:
    """What finds amounts and shares, by the number rules of the table."""
    # Pydantic, which few files need, would double the time in which a check starts.
    from loren.task.entities import Extractor
    from loren.task.wording import WordingFile, compile_wording

    file = WordingFile.model_validate({"numbers": quality_table()["facts"]["numbers"]})
    wording, problems = compile_wording(file, place="tables.toml")
    assert not problems
    return Extractor(wording)


def any_of(words: Sequence[str]) -> str:
    """An expression for one of the words, the longest first; white space in them is any."""
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return "(?:" + "|".join(r"\s+".join(map(re.escape, word.split())) for word in ordered) + ")"


@cache
def word_in(section: str, key: str) -> re.Pattern[str]:
    """Finds one of the words of a list, on word borders, in a text of lower case."""
    return re.compile(rf"(?<!\w){any_of(quality_table()[section][key])}(?!\w)")
