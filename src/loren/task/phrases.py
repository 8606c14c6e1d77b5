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
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_NUMBER = r"\d+(?:[.,/:–-]\d+)*"
_LETTER = r"[^\W\d_][\u0300-\u036f]*"
_MARK = "[^\\w\\s\"'“”‘’«»*`~#<>]"
"""A sign that is a token; marks of emphasis are none."""
_TOKEN = re.compile(rf"{_LINK}|{_NUMBER}|{_LETTER}(?:[’'-]?{_LETTER})*|{_MARK}")
_USUAL_TOKEN = re.compile(rf"{_NUMBER}|[^\W\d_]+(?:[’'-][^\W\d_]+)*|{_MARK}")
"""The same in a text without links and loose marks of letters, which is nearly every one."""
_UNUSUAL_TOKEN = re.compile(r"[@\u0300-\u036f]|://|www\.|\.[^\W\d_]")
_LINK_ONLY = re.compile(_LINK)
_UNUSUAL = re.compile("[^\t\n\r\x20-\x7e\xa0-\xac\xae-\u024f\u1e00-\u1eff\u2010-\u2027\u20ab]")
"""What may be invisible, or not be composed; some of it is neither, and only takes longer to read."""
_GROUP = re.compile(r"<([^<>]+?)(!?)>([?*]?)\Z")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_ONE_WORD = rf" [^ {re.escape(''.join(sorted(CLAUSE_ENDS)))}]+"
_CLAUSE_START = rf"(?:^|(?<=[{re.escape(''.join(sorted(CLAUSE_ENDS)))}]))"
_CLAUSE_END = rf"(?= (?:[{re.escape(''.join(sorted(CLAUSE_ENDS)))}]|$))"
_SENTENCE_BORDER = re.compile(rf"(?<= [{re.escape(''.join(sorted(SENTENCE_ENDS)))}] )")
_ANY = 1
"""The bit of every text."""
_READ_LATELY = 4


def fold(text: str) -> str:
    """``text`` without its accents, as people type in haste (letters with a stroke lose it too)."""
    bare = "".join(char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char))
    return bare.translate(_STROKES)


# These letters do not decompose: Unicode counts the stroke as a part of the letter.
_STROKES = str.maketrans({"đ": "d", "ø": "o", "ł": "l", "ħ": "h"})


def is_link(token: str) -> bool:
    """Whether a token is a web address or an e-mail address."""
    return bool(_LINK_ONLY.fullmatch(token))


class Text:
    """A text as tokens: casefolded, NFC, without emphasis and invisible characters. Made for every reply, so it is a lean one."""

    __slots__ = ("_sentences", "bits", "tokens", "words")

    def __init__(self, tokens: Sequence[str], word_bits: Mapping[str, int] | None = None) -> None:
        """Keep the tokens.

        Args:
            tokens: in their order.
            word_bits: words that patterns can't do without, and their bits.
        """
        self.tokens = tuple(tokens)
        self.words = frozenset(tokens)
        """The different tokens."""
        self.bits = _ANY
        """Of all words, and the one that every text has."""
        if word_bits:
            for word in word_bits.keys() & self.words:
                self.bits |= word_bits[word]
        self._sentences: tuple[str, ...] | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each sentence as its tokens, a space before and after every one; the mark that ends it is its last token."""
        if self._sentences is None:
            self._sentences = self._divided() if self.tokens else ()
        return self._sentences

    def _divided(self) -> tuple[str, ...]:
        line = f" {' '.join(self.tokens)} "
        if SENTENCE_ENDS.isdisjoint(self.words):
            return (line,)
        parts = _SENTENCE_BORDER.split(line)
        return (parts[0], *(f" {part}" for part in parts[1:] if part))

    def folded(self) -> Text:
        """The same text without accents, for ``Pattern.folded_keys``."""
        return Text([fold(token) for token in self.tokens])


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern."""

    source: str
    expression: re.Pattern[str]
    folded_expression: re.Pattern[str]
    needs: int
    """Bits of a text's words without which it holds no match: for each part that the pattern can't do without, its first words."""
    rarest: int
    """The one of these bits that the fewest words have; where there are none, the one that every text has."""
    is_word: bool
    """Whether the pattern is one word or a choice of words: the bits say all."""

    def is_in(self, text: Text) -> bool:
        """Whether a text holds a match."""
        if text.bits & self.needs != self.needs:
            return False
        return self.is_word or any(self.expression.search(sentence) for sentence in text.sentences)

    def matches(self, text: Text) -> Iterator[tuple[str, re.Match[str]]]:
        """Each match with the sentence that holds it."""
        if text.bits & self.needs != self.needs:
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


class Patterns(tuple[Pattern, ...]):
    """Patterns that are looked for together."""

    @cached_property
    def _one_of(self) -> int:
        """Bits of which a text must have one to hold a match of any pattern: the rarest that each pattern needs, it is hoped."""
        bits = 0
        for pattern in self:
            bits |= pattern.rarest
        return bits

    def possible(self, text: Text) -> Sequence[Pattern]:
        """Those of which a text holds the words."""
        bits = text.bits
        return [pattern for pattern in self if bits & pattern.needs == pattern.needs] if bits & self._one_of else ()

    @cached_property
    def _words(self) -> int:
        """Bits of which each is a match of a pattern."""
        return sum({pattern.needs for pattern in self if pattern.is_word})

    def any_in(self, text: Text) -> bool:
        """Whether a text holds a match of one."""
        return bool(text.bits & self._words) or any(pattern.is_in(text) for pattern in self.possible(text))


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
        self._variant = re.compile(word_tree(self._spelling)) if self._spelling else None
        self._groups = {name: tuple(phrases) for name, phrases in groups.items()}
        phrases = {self._spaced(phrase) for phrase in ordinary}
        self._ordinary = re.compile(f"{word_tree(phrases)}(?= )") if phrases else None
        self._part_bits: dict[frozenset[str], int] = {}
        self._word_bits: dict[str, int] = {}
        self._read: dict[str, Text] = {}

    def read(self, text: str) -> Text:
        """The tokens of a text, ordinary phrases masked; several rules read the same text, so the last few are kept."""
        known = self._read.get(text)
        if known is not None:
            return known
        tokens = self._tokens(text)
        if self._ordinary and tokens:
            line = f" {' '.join(tokens)} "
            masked, times = self._ordinary.subn(f" {MASK}", line)
            if times:
                tokens = masked.split()
        if len(self._read) >= _READ_LATELY:
            self._read.clear()
        found = self._read[text] = Text(tokens, self._word_bits)
        return found

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
        needed = [[self._tokens(phrase) for phrase in phrases] for phrases in map(self._needed, items) if phrases]
        words = sorted((frozenset(phrase[0] for phrase in phrases) for phrases in needed), key=len)
        bits = [self._bit(each) for each in words]
        return Pattern(
            source,
            re.compile(f"{plain}(?= )"),
            re.compile(f"{folded}(?= )"),
            needs=sum(set(bits)),
            rarest=bits[0] if bits else _ANY,
            is_word=len(items) == 1 and bool(needed) and all(len(phrase) == 1 for phrase in needed[0]),
        )

    def _bit(self, words: frozenset[str]) -> int:
        """The bit of a set of words, which a text has that holds one of them."""
        bit = self._part_bits.get(words)
        if bit is None:
            bit = self._part_bits[words] = _ANY << 1 + len(self._part_bits)
            for word in words:
                self._word_bits[word] = self._word_bits.get(word, 0) | bit
            self._read.clear()  # what was read before does not have it
        return bit

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
        return f"(?:{word_tree(spaced)})"

    def _spaced(self, phrase: str) -> str:
        return " " + " ".join(self._tokens(phrase))

    def _tokens(self, text: str) -> list[str]:
        plain = _plain(text)
        if self._variant and self._variant.search(plain):
            for variant, form in self._spelling.items():
                plain = plain.replace(variant, form)
        return (_TOKEN if _UNUSUAL_TOKEN.search(plain) else _USUAL_TOKEN).findall(plain)


def is_group_name(name: str) -> bool:
    """Whether a group may be called ``name``."""
    return bool(_NAME.match(name))


def word_tree(words: Iterable[str]) -> str:
    """An expression for one of some words; of two, one the beginning of the other, it takes the longer.

    It is a tree of letters, which a search leaves where a letter does not fit: a choice of many words costs what few cost.
    """
    branches: dict[str, list[str]] = {}
    for word in words:
        branches.setdefault(word[:1], []).append(word[1:])
    parts = [re.escape(letter) + word_tree(rest) for letter, rest in sorted(branches.items()) if letter]
    if not parts:
        return ""
    return f"(?:{'|'.join(parts)}){'?' if '' in branches else ''}" if len(parts) > 1 or "" in branches else parts[0]


def _plain(text: str) -> str:
    """NFC, casefolded, without invisible characters; an empty line ends a sentence."""
    if _UNUSUAL.search(text):
        text = "".join(char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    if "\n" in text or "\r" in text:
        text = re.sub(r"[^\S\n]+", " ", text.strip().replace("\r", "\n"))  # else the next search is slow in a long blank
        text = re.sub(r"\s*\n\s*\n\s*", " ; ", text)
    return unicodedata.normalize("NFC", text.casefold())
