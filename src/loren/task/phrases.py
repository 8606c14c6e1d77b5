"""Phrases: the small pattern language in which wording.toml says what a reply must or must not hold.

A pattern is a row of words that a text must hold in this order, on word borders, whatever the case, the white space and the marks
of emphasis between them. It may also hold

=============  ==========================================================================
``a|b``        one of several words
``<name>``     one phrase of the group ``name``
``<name!>``    the same, and the phrase is what an echo of the prompt is compared by
``<name>?``    one phrase of the group, or nothing
``<name>*``    up to three phrases of the group
``...``        up to four words of any kind, none of them across a comma or full stop
``-a``         ``a`` (or a phrase of a group: ``-<name>``) does not stand just before
``^``          the beginning of a clause
``$``          the end of a clause
=============  ==========================================================================

Words become tokens joined by single spaces (`` mình đã gửi , bạn ``), and a pattern becomes one regular expression over that form.
All repeats are bounded, so that no text makes a pattern slow. The words themselves are escaped: a task file can't inject an
expression.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

SENTENCE_ENDS = frozenset(".!?…;")
CLAUSE_ENDS = SENTENCE_ENDS | frozenset(",:()–—")
MASK = "◦"
"""Stands in the tokens for an ordinary phrase, whose words are not to be read one by one."""

_TOP_LEVEL = "com|net|org|info|app|shop|store|io|me|co|vn|gl|ly|link"
"""Ends of a bare domain name. Any other word after a full stop is more likely a sentence that lacks its space."""
_LINK = (
    r"(?:https?://|www\.)[^\s<>\"']+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    rf"|\b[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:{_TOP_LEVEL})\b(?:/[^\s<>\"']*)?"
)
_LETTER = r"[^\W\d_][\u0300-\u036f]*"
_TOKEN = re.compile(rf"{_LINK}|\d+(?:[.,/:–-]\d+)*|{_LETTER}(?:[’'-]?{_LETTER})*|[^\w\s]")
_LINK_ONLY = re.compile(_LINK)
_EMPHASIS = frozenset("\"'“”‘’«»*_`~#<>")
_GROUP = re.compile(r"<([^<>]+?)(!?)>([?*]?)\Z")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_ONE_WORD = rf" [^ {re.escape(''.join(sorted(CLAUSE_ENDS)))}]+"
_CLAUSE_START = rf"(?:^|(?<=[{re.escape(''.join(sorted(CLAUSE_ENDS)))}]))"
_CLAUSE_END = rf"(?= (?:[{re.escape(''.join(sorted(CLAUSE_ENDS)))}]|$))"


def fold(text: str) -> str:
    """``text`` without its accents, as people type in haste (letters with a stroke lose it too)."""
    bare = "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
    return bare.translate(_STROKES)


# These letters do not decompose: Unicode counts the stroke as a part of the letter.
_STROKES = str.maketrans({"đ": "d", "ø": "o", "ł": "l", "ħ": "h"})


def is_link(token: str) -> bool:
    """Whether a token is a web address or an e-mail address."""
    return bool(_LINK_ONLY.fullmatch(token))


@dataclass(frozen=True)
class Text:
    """A text as tokens: casefolded, NFC, without emphasis and invisible characters."""

    tokens: tuple[str, ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """The different tokens."""
        return frozenset(self.tokens)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Each sentence as its tokens, a space before and after every one; the mark that ends it is its last token."""
        found: list[str] = []
        start = 0
        for end, token in enumerate(self.tokens, start=1):
            if token in SENTENCE_ENDS or end == len(self.tokens):
                found.append(f" {' '.join(self.tokens[start:end])} ")
                start = end
        return tuple(found)

    def folded(self) -> Text:
        """The same text without accents."""
        return Text(tuple(fold(token) for token in self.tokens))


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern."""

    source: str
    expression: re.Pattern[str]
    folded_expression: re.Pattern[str]
    heads: tuple[frozenset[str], ...] = ()
    """A text that holds a match holds a token of each of these sets: the first words of what the pattern can't do without."""

    def matches(self, text: Text) -> Iterator[tuple[str, re.Match[str]]]:
        """Each match with the sentence that holds it."""
        if any(head.isdisjoint(text.words) for head in self.heads):
            return
        for sentence in text.sentences:
            for match in self.expression.finditer(sentence):
                yield sentence, match

    def found_in(self, sentence: str) -> bool:
        """Whether a sentence, or a part of one that begins and ends at a token border, holds a match."""
        return bool(self.expression.search(sentence))

    def folded_keys(self, folded: Text) -> Iterator[str]:
        """The key phrases of all matches in a text without accents."""
        for sentence in folded.sentences:
            for match in self.folded_expression.finditer(sentence):
                yield key_of(match)


def key_of(match: re.Match[str]) -> str:
    """What an echo is compared by: the phrase of the ``<name!>`` group, or else the whole match."""
    return (match.groupdict().get("key") or match[0]).strip()


class Lexicon:
    """Reads texts and patterns in one way, by a task's spelling variants, word groups and ordinary phrases."""

    def __init__(
        self, groups: Mapping[str, Sequence[str]], *, spelling: Mapping[str, str] | None = None, ordinary: Sequence[str] = ()
    ) -> None:
        """Prepare the groups.

        Args:
            groups: phrases by group name.
            spelling: variant -> the form to read it as, for letters that are written in more than one way.
            ordinary: phrases that are masked before a reply is read, because their words mean nothing by themselves.
        """
        self._spelling = {_plain(variant): _plain(form) for variant, form in (spelling or {}).items()}
        self._groups = {name: tuple(phrases) for name, phrases in groups.items()}
        phrases = sorted((self._spaced(phrase) for phrase in ordinary), key=len, reverse=True)
        self._ordinary = re.compile("(?:" + "|".join(map(re.escape, phrases)) + ")(?= )") if phrases else None

    def read(self, text: str) -> Text:
        """The tokens of a text, ordinary phrases masked."""
        tokens = self._tokens(text)
        if self._ordinary:
            tokens = self._ordinary.sub(f" {MASK}", f" {' '.join(tokens)} ").split()
        return Text(tuple(tokens))

    def compile(self, source: str) -> Pattern:
        """Compile a pattern.

        Raises:
            ValueError: it is empty, names an unknown group or has two keys.
        """
        items = source.split()
        if not items:
            raise ValueError("expected a pattern of at least one word, found none")
        if sum(item.endswith("!>") for item in items) > 1:
            raise ValueError(f"expected at most one <name!> in a pattern, found more in '{source}'")
        plain = "".join(self._part(item, folded=False) for item in items)
        folded = "".join(self._part(item, folded=True) for item in items)
        heads = tuple(frozenset(self._tokens(phrase)[0] for phrase in phrases) for phrases in map(self._needed, items) if phrases)
        return Pattern(source, re.compile(f"{plain}(?= )"), re.compile(f"{folded}(?= )"), heads)

    def _needed(self, item: str) -> Sequence[str]:
        """The phrases of which a match holds one because of this item; none where it can do without."""
        if item in {"...", "^", "$"} or (item.startswith("-") and len(item) > 1):
            return ()
        group = _GROUP.match(item)
        if group:
            return () if group[3] else self._groups[group[1]]
        return item.split("|")

    def _part(self, item: str, *, folded: bool) -> str:
        if item == "...":
            return f"(?:{_ONE_WORD}){{0,4}}"
        if item in {"^", "$"}:
            return _CLAUSE_START if item == "^" else _CLAUSE_END
        if item.startswith("-") and len(item) > 1:
            return self._not_before(item[1:], folded=folded)
        if item.startswith("<"):
            return self._group(item, folded=folded)
        return self._any_of(item.split("|"), folded=folded)

    def _group(self, item: str, *, folded: bool) -> str:
        match = _GROUP.match(item)
        if not match or match[1] not in self._groups:
            known = ", ".join(sorted(self._groups)) or "none"
            raise ValueError(f"expected a known group (there are: {known}), found '{item}'")
        inner = self._any_of(self._groups[match[1]], folded=folded)
        if match[2]:
            return f"(?P<key>{inner})"
        return inner + {"": "", "?": "?", "*": "{0,3}"}[match[3]]

    def _not_before(self, item: str, *, folded: bool) -> str:
        match = _GROUP.match(item)
        phrases = self._groups.get(match[1], ()) if match else (item,)
        if not phrases:
            raise ValueError(f"expected a word or a known group after '-', found '{item}'")
        spaced = sorted({fold(self._spaced(phrase)) if folded else self._spaced(phrase) for phrase in phrases})
        # One for each phrase: a look behind has one width.
        return "".join(f"(?<!{re.escape(phrase)})" for phrase in spaced)

    def _any_of(self, phrases: Sequence[str], *, folded: bool) -> str:
        spaced = {self._spaced(phrase) for phrase in phrases}
        if folded:
            spaced = {fold(phrase) for phrase in spaced}
        if " " in spaced or not spaced:
            raise ValueError("expected words, found an empty alternative")
        # Longest first: of two phrases, one the beginning of the other, the match should be the longer.
        return "(?:" + "|".join(re.escape(phrase) for phrase in sorted(spaced, key=lambda phrase: (-len(phrase), phrase))) + ")"

    def _spaced(self, phrase: str) -> str:
        return " " + " ".join(self._tokens(phrase))

    def _tokens(self, text: str) -> list[str]:
        plain = _plain(text)
        for variant, form in self._spelling.items():
            plain = plain.replace(variant, form)
        return [token for token in _TOKEN.findall(plain) if token not in _EMPHASIS]


def is_group_name(name: str) -> bool:
    """Whether a group may be called ``name``."""
    return bool(_NAME.match(name))


def _plain(text: str) -> str:
    """NFC, casefolded, without invisible characters; an empty line ends a sentence."""
    visible = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    spaced = re.sub(r"[^\S\n]+", " ", visible.strip().replace("\r", "\n"))  # else the next search is slow in a long blank
    broken = re.sub(r"\s*\n\s*\n\s*", " ; ", spaced)
    return unicodedata.normalize("NFC", broken.casefold())
