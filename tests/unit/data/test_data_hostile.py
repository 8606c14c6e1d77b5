"""Every regular expression of the data room meets its worst case: the time grows with the text, not with its square.

The patterns are found, not listed: one that is added later is tried as well.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytest

import loren.data
from loren.data.personal import labels
from loren.data.secrets import find
from loren.data.text_checks import TEXT_CHECKS

TIMES = 10
"""How much longer the long text is."""
MOST = 25.0
"""How much longer it may take: 10 would be linear, 100 is a square; the rest is noise."""
LONG_STEP = 8
BOUNDED = {
    "loren.data.secrets.shape.": find._MAX_VALUE,  # what a value looks like, of this length at most
    "loren.data.personal.labels._WORD_BEFORE": labels._LONGEST_LABEL,  # looks back so far
}
"""Patterns that see a part of a text, and how many characters that is at most."""
QUICK_STEPS_S = 200e-9
"""A short text that takes no longer a character is no square: a text of n characters would take n / 2 steps a character."""
PIECES = (
    *(
        "0",
        "0 ",
        "0.",
        "0912 345 678 ",
        "0912-",
        "(0",
        "+",
        "+84",
        "1900",
        "9" * 19 + " ",
        "4111 1111 1111 1111 ",
        "0x",
        "f" * 31 + "g",
    ),
    *(
        "a",
        "A",
        "a ",
        "ab1",
        "a.",
        "a-",
        "a_",
        "a@",
        "@",
        "a@b",
        "a@b.",
        "a.b@c.",
        "aZ9",
        "+/",
        "A" * 39 + " ",
        "1/",
        "12/12/2024 ",
    ),
    *(
        "http://",
        "https://a.",
        "www.",
        "/",
        "//a:",
        ":",
        "://",
        "=",
        "key=",
        "password",
        "password=",
        "token: ",
        "-",
        "-----BEGIN ",
    ),
    *(
        "eyJ",
        "eyJa.",
        "sk-",
        "AKIA",
        "ghp_",
        "xox",
        "1.000.000đ ",
        "51A-",
        "B1234567 ",
        "VN12 ",
        "DE89 3704 ",
        "ignore ",
        "system:",
    ),
    *(
        ".",
        "..",
        ",",
        "!",
        "?",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        "<a ",
        "</",
        "&",
        "&#",
        "#",
        "*",
        "`",
        "```",
        "|",
        "|>",
        "<|",
        "~",
    ),
    *("\\", '"', "'", "$", "%2", "\t", " ", "  ", "\n", " \n", "\r\n", "\0", "\u00a0", "\u200b", "\u200b0", "\u0301", "a\u0301"),
    *("ạ", "Ạ", "đ", "Nguyễn ", "số ", "mã đơn ", "ngày ", "đường ", "１", "٣", "а", "\ufeff", "\U0001f600", "\ufffd", "Ã", "Ã¡"),
)
"""What is repeated: each is what some rule begins with, or goes on with."""


def modules() -> Iterator[Any]:
    for info in pkgutil.walk_packages(loren.data.__path__, "loren.data."):
        yield importlib.import_module(info.name)


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern that can be reached from a module, also in tables and in what cached functions give."""
    found: dict[tuple[Any, int], tuple[str, re.Pattern[Any]]] = {}
    for module in modules():
        for name, value in vars(module).items():
            if hasattr(value, "cache_clear") and value.__module__ == module.__name__ and not inspect.signature(value).parameters:
                value = value()  # a table that is built at its first use
            for place, pattern in reach(value, f"{module.__name__}.{name}", 0):
                found.setdefault((pattern.pattern, pattern.flags), (place, pattern))
    return dict(found.values())


def reach(value: Any, place: str, depth: int) -> Iterator[tuple[str, re.Pattern[Any]]]:
    if isinstance(value, re.Pattern):
        yield place, cast("re.Pattern[Any]", value)
    elif depth < 4:
        items: Iterator[tuple[Any, Any]] = iter(())
        if isinstance(value, Mapping):
            items = iter(cast("Mapping[Any, Any]", value).items())
        elif hasattr(value, "_asdict") and not isinstance(value, type):
            items = iter(value._asdict().items())
        elif isinstance(value, list | tuple | set | frozenset):
            items = enumerate(cast("list[Any]", value))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            items = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        elif callable(value) and getattr(value, "__self__", None) is not None and isinstance(value.__self__, re.Pattern):
            items = iter([("pattern", value.__self__)])  # `_search = re.compile(...).search`
        for key, item in items:
            yield from reach(item, f"{place}.{key}", depth + 1)


PATTERNS = patterns()
SOURCES = "\n".join(inspect.getsource(module) for module in modules())


def texts(size: int, *, first: int = 0, step: int = 1) -> Iterator[str]:
    for index in range(first, len(PIECES), step):
        piece = PIECES[index]
        other = PIECES[(index * 7 + 3) % len(PIECES)]
        yield (piece * (size // len(piece) + 1))[:size] + "\0!"  # what matched so far fails at the end
        yield ((piece + other) * (size // len(piece + other) + 1))[:size]


def seconds(work: Callable[[str], object], text: str, *, best_of: int) -> float:
    times: list[float] = []
    for _ in range(best_of):
        start = time.thread_time()
        work(text)
        times.append(time.thread_time() - start)
    return min(times)


def first_slow_text(work: Callable[[str], object], *, size: int, first: int = 0, step: int = 1) -> str | None:
    """The beginning of the first text whose tenfold takes more than in proportion; None where there is none."""
    chosen = texts(size, first=first, step=step), texts(size * TIMES, first=first, step=step)
    for short, long in zip(*chosen, strict=True):
        few = seconds(work, short, best_of=1)
        if few < size * QUICK_STEPS_S:
            continue
        # Again, with more patience, where it looks bad: other work on the machine may be what it was.
        for best_of in (1, 2, 4):
            many = seconds(work, long, best_of=best_of)
            if many < MOST * few:
                break
            few = max(few, seconds(work, short, best_of=best_of))
        else:
            return repr(long[:30])
    return None


def test_patterns_are_found_wherever_they_are() -> None:
    assert len(PATTERNS) >= 8
    assert any(name.startswith("loren.data.personal.") for name in PATTERNS)  # built at its first use, in a tuple
    assert dict(reach({"a": [re.compile("x")]}, "m", 0)) == {"m.a.0": re.compile("x")}


def test_a_square_is_seen() -> None:
    slow = re.compile(r"a*b")
    assert "aaaa" in (first_slow_text(slow.search, size=1_000) or "")
    assert first_slow_text(re.compile(r"a{0,20}b").search, size=1_000) is None


@pytest.mark.parametrize("place", sorted(PATTERNS))
def test_no_pattern_is_slow_on_any_text(place: str) -> None:
    assert first_slow_text(all_matches(place), size=1_000) is None


@pytest.mark.slow
@pytest.mark.parametrize(("number", "place"), list(enumerate(sorted(PATTERNS))))
def test_no_pattern_is_slow_on_a_hundred_thousand_characters(number: int, place: str) -> None:
    """Each pattern on some of the texts, other ones for each: what is slow in a long text only needs no certain one for it."""
    assert first_slow_text(all_matches(place), size=10_000, first=number % LONG_STEP, step=LONG_STEP) is None


def all_matches(place: str) -> Callable[[str], object]:
    """What is done with a pattern: all its matches are found, or it is held against the beginning of a text only."""
    pattern = PATTERNS[place]
    name = place.rpartition(".")[2]
    uses = set(re.findall(rf"(?<!\w){re.escape(name)}(?:\(\))?\.(\w+)\(", SOURCES))
    is_anchored = bool(uses) and uses <= {"match", "fullmatch"}

    longest = next((most for start, most in BOUNDED.items() if place.startswith(start)), None)

    def work(text: str) -> None:
        subject = text[:longest].encode() if isinstance(pattern.pattern, bytes) else text[:longest]
        if is_anchored:
            pattern.match(subject)
            pattern.fullmatch(subject)
            return
        for _ in pattern.finditer(subject):
            pass

    return work


@pytest.mark.parametrize("number", range(len(TEXT_CHECKS)))
def test_no_text_check_is_slow_on_any_text(number: int) -> None:
    assert first_slow_text(all_findings(number), size=600) is None


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(TEXT_CHECKS)))
def test_no_text_check_is_slow_on_a_hundred_thousand_characters(number: int) -> None:
    assert first_slow_text(all_findings(number), size=10_000, first=number, step=3) is None


def all_findings(number: int) -> Callable[[str], object]:
    check = TEXT_CHECKS[number]

    def work(text: str) -> None:
        check.may_find(text)
        for _ in check.find("", text):
            pass

    return work
