"""The words of a report and the form of its numbers, in English and Vietnamese (words/)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any, cast

from loren.data.rules import Language
from loren.report.figures import Comparison, Said

NARROW = "\u00a0"
"""Between a number and its unit: no line ends there."""
_MINUS = "\u2212"
_MARKS: dict[Language, tuple[str, str]] = {"en": (",", "."), "vi": (".", ",")}
"""(between thousands, before decimals)."""
_DIGITS = {"score": 3, "before": 3, "after": 3, "difference": 3, "low": 3, "high": 3, "detectable": 2}
"""Decimals of a sentence's numbers, by the name of the value; others have those that they need."""
_SIGNED = frozenset({"difference", "low", "high"})
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@cache
def _table(language: Language) -> dict[str, Any]:
    return tomllib.loads(files("loren.report").joinpath("words", f"{language}.toml").read_text(encoding="utf-8"))


class Words:
    """Sentences and numbers in one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language

    def __call__(self, key: str, **values: object) -> str:
        """The sentence ``key`` ("section.name") with its values put in.

        Raises:
            KeyError: there is no such sentence.
        """
        text = self._find(key)
        if text is None:
            raise KeyError(key)
        return text.format(**values) if values else text

    def name(self, section: str, name: str) -> str:
        """The word of a table for a name that a file holds; the name itself where the table does not know it."""
        return self._find(f"{section}.{name.replace(' ', '_')}") or name

    def metric(self, name: str, *, short: bool = False) -> str:
        """A metric: `exact:/pointer` is told by its first part and its pointer; in short, by that alone."""
        kind, colon, pointer = name.partition(":")
        key = f"{kind}_of" if colon else name
        section = "short" if short and key in self._names("short") else "metric"
        if key not in self._names(section):
            return name
        return self(f"{section}.{key}", what=pointer or self("metric.reply")) if colon else self(f"{section}.{key}")

    def verdict(self, seen: Comparison) -> str:
        """What a comparison showed; "not worse" names its margin."""
        key = seen.verdict.replace(" ", "_")
        if key not in self._names("word"):
            return seen.words
        return self(f"word.{key}", margin=self.change(seen.kind, seen.margin, sign=False))

    def said(self, sentence: Said | None, words: str, *, quote: Callable[[str], str] | None = None) -> str:
        """A sentence of the section `advice`, its numbers and known words in this language.

        Args:
            sentence: its key and values.
            words: what its file says in English, where there is no such sentence here.
            quote: makes names of a file fit for where the sentence stands, metrics among them; without it, metrics get their words.
        """
        plain = quote or str
        if sentence is None or (text := self._find(f"advice.{sentence.key}")) is None:
            return plain(words)
        values = {name: self._value(name, value, quote) for name, value in sentence.values.items()}
        if any(name not in values for _, name, _, _ in Formatter().parse(text) if name):
            return plain(words)
        return text.format(**values)

    def _value(self, name: str, value: float | str, quote: Callable[[str], str] | None) -> str:
        if isinstance(value, str):
            if name in {"word", "reason"} and (known := self._find(f"{name}.{value.replace(' ', '_')}")):
                return known
            return quote(value) if quote else self.metric(value) if name == "metric" else value
        needed = len(f"{value:.6f}".rstrip("0").partition(".")[2])
        digits = _DIGITS.get(name, needed)
        return self.number(value, digits, sign=name in _SIGNED)

    def arm(self, name: str) -> str:
        """A variant, with what holds its decoding."""
        variant = name.removesuffix("-constrained")
        word = self.name("arm", variant)
        return self("arm.constrained", arm=word) if variant != name else word

    def number(self, value: float, digits: int = 0, *, sign: bool = False) -> str:
        """A number with so many decimals, and a sign where it is a difference."""
        thousands, decimal = _MARKS[self.language]
        text = f"{abs(value):,.{digits}f}"
        is_zero = not text.strip("0.,")
        before = "" if is_zero else _MINUS if value < 0 else "+" if sign else ""
        return before + text.translate({ord(","): thousands, ord("."): decimal})

    def figure(self, kind: str, value: float) -> str:
        """A share as a percentage; a mean as it is."""
        return f"{self.number(100 * value, 1)}{NARROW}%" if kind == "share" else self.number(value, 3)

    def change(self, kind: str, value: float, *, sign: bool = True) -> str:
        """A difference: of shares in points; a margin has no sign."""
        if kind != "share":
            return self.number(value, 3, sign=sign)
        return f"{self.number(100 * value, 1, sign=sign)}{NARROW}{self('unit.points')}"

    def span(self, kind: str, low: float, high: float, *, sign: bool = False) -> str:
        """Both ends of an interval."""
        scale, digits = (100, 1) if kind == "share" else (1, 3)
        ends = [self.number(scale * end, digits, sign=sign) for end in (low, high)]
        return self("unit.span", low=ends[0], high=ends[1])

    def p(self, value: float) -> str:
        """A p value."""
        return f"<{NARROW}{self.number(0.001, 3)}" if value < 0.0005 else self.number(value, 3)

    def rate(self, value: float) -> str:
        """A number of any size, with three figures: a learning rate, a loss."""
        if value == 0:
            return "0"
        exponent = math.floor(math.log10(abs(value)))
        if -4 < exponent < 6:
            return self.number(value, max(0, 2 - exponent))
        return f"{self.number(value / 10**exponent, 1)}e{exponent}".replace("e-", f"e{_MINUS}")

    def tick(self, value: float, step: float) -> str:
        """A number on an axis whose marks lie ``step`` apart, all with as many decimals."""
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return self.number(value, digits) if digits <= 4 and abs(value) < 1e6 else self.rate(value)

    def listed(self, names: Iterable[str]) -> str:
        """Names in a row."""
        return ", ".join(names)

    def size(self, count: float) -> str:
        """Bytes in the unit that fits."""
        for unit, name in _BYTES:
            if count >= unit:
                return f"{self.number(count / unit, 1)}{NARROW}{name}"
        return f"{self.number(count)}{NARROW}B"

    def duration(self, seconds: float) -> str:
        """Seconds, minutes or hours."""
        if seconds < 60:
            return f"{self.number(seconds, 1)}{NARROW}{self('unit.s')}"
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 60:
            return f"{minutes}{NARROW}{self('unit.min')} {rest}{NARROW}{self('unit.s')}"
        return f"{minutes // 60}{NARROW}{self('unit.h')} {minutes % 60}{NARROW}{self('unit.min')}"

    def _names(self, section: str) -> dict[str, Any]:
        return cast("dict[str, Any]", _table(self.language).get(section, {}))

    def _find(self, key: str) -> str | None:
        section, _, name = key.partition(".")
        found = self._names(section).get(name)
        return found if isinstance(found, str) else None
