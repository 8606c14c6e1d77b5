"""Files that are not read at all: what they are is told once, instead of a breach a row. Pure.

Each judge looks at the first bytes, or at the names of the fields of the first rows, and gives one breach for the file, or None.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches

from loren.data.conversation import ROW_KEYS
from loren.data.formats.shapes import FIELD_NAMES, TITLES, Shape
from loren.data.pointer import safe_name
from loren.data.reader import Line
from loren.data.rules import Breach
from loren.data.unsupported import UNSUPPORTED_ROW_KEYS

_KNOWN_KEYS = ROW_KEYS | UNSUPPORTED_ROW_KEYS
"""Keys that rules for a row speak about: rows of nothing else are incomplete, not of another format."""
_PREFERENCES = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))
"""DPO's names for a better and a worse reply, and OpenAI's."""
_SHOWN_NAMES = 8
_READ = ", ".join(TITLES.values())

_WIDE_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_WIDE_ENCODINGS = ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")
_WIDE_SAMPLE_BYTES = 64
_MIN_SAMPLE_BYTES = 8
_PLAIN = re.compile("[\t\n\r\x20-\x7e]")
_ZIP = b"PK\x03\x04"
_CR_BETWEEN_ROWS = re.compile(rb"\}[ \t]*\r[ \t\r]*\{")


class NoRows:
    """The reader of a file that is not read."""

    def __init__(self, breach: Breach) -> None:
        self.blank_lines = 0
        self.end = (0, breach)
        """Why, for the file as a whole."""

    def __iter__(self) -> Iterator[Line]:
        """Yield nothing."""
        return iter(())


def refused_bytes(head: bytes) -> Breach | None:
    """The fault of a file that is no UTF-8 from its first bytes on: a wide encoding, or a packed file of another kind."""
    if encoding := _wide_encoding(head):
        message = f"expected UTF-8, found what looks like {encoding}: `iconv -f {encoding} -t UTF-8 FILE > NEW` converts it"
        return Breach("not-utf8", "", f"{message}. Nothing was read")
    if head.startswith(_ZIP):
        return _unsupported("a zip archive, as spreadsheets are; save the table as CSV, or unpack the archive")
    return None


def refused_line_ends(head: bytes, *, is_table: bool) -> Breach | None:
    """The fault of a file whose lines end with CR alone, as old Mac programs write them: it would be one line of all rows."""
    text = head.strip()
    if b"\n" not in text and (b"\r" in text if is_table else _CR_BETWEEN_ROWS.search(text)):
        message = "expected lines that end with LF or CR LF, found CR alone, as old Mac programs write it. Nothing was read"
        return Breach("line-ends", "", message)
    return None


def refused_fields(rows: Sequence[Collection[str]], shape: Shape | None) -> Breach | None:
    """The fault of a file whose rows are in a format that is not read.

    Args:
        rows: the names of the fields of each of the first rows; none for what can't be decoded. For a table, its columns.
        shape: the format that most of them are in, if it is a known one.
    """
    for pair in _PREFERENCES:
        if (shape is None or shape.rows == "sharegpt") and _are_most(rows, [names for names in rows if {*pair} <= {*names}]):
            found = f"pairs of a better and a worse reply ('{pair[0]}', '{pair[1]}'), as DPO learns from"
            is_named = all("prompt" in names and "chosen" in names for names in rows)
            way = "; to learn the better replies alone, say --format-in prompt-completion:prompt,chosen"
            return _unsupported(found + way if is_named else found)
    foreign = [names for names in rows if not _KNOWN_KEYS.issuperset(names)]
    if shape is None and _are_most(rows, foreign):
        return _unsupported(_fields([name for names in foreign for name in names]))
    return None


def _are_most(rows: Sequence[object], found: Sequence[object]) -> bool:
    return 2 * len(found) > len(rows)


def _unsupported(found: str) -> Breach:
    return Breach("format-unsupported", "", f"expected rows in a format that is read ({_READ}), found {found}. Nothing was read")


def _fields(names: Sequence[str]) -> str:
    """The fields of rows in words; a name that may be a customer's text is not shown."""
    every = list(dict.fromkeys(names))
    shown = [name for name in every if safe_name(name) == name][:_SHOWN_NAMES]
    if not shown:
        return f"rows of {len(every)} field(s), whose names look like none and are not shown; is the header missing?"
    more = f" and {len(every) - len(shown)} more" if len(every) > len(shown) else ""
    return f"rows with the field{'s' if len(every) > 1 else ''} {', '.join(map(repr, shown))}{more}{_meant(shown)}"


def _meant(names: Sequence[str]) -> str:
    """The field that a slip of the pen may have meant."""
    for name in names:
        near = get_close_matches(name, sorted(FIELD_NAMES), n=1, cutoff=0.75)
        if near and name not in FIELD_NAMES:
            return f"; did you mean {near[0]!r} by {name!r}?"
    return ""


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, which a mark at the start tells, or else that most of the first characters are plain ones."""
    marked = next((name for mark, name in _WIDE_MARKS if head.startswith(mark)), None)
    sample = head[: min(_WIDE_SAMPLE_BYTES, len(head) & ~3)]
    if marked or len(sample) < _MIN_SAMPLE_BYTES:
        return marked
    for name in _WIDE_ENCODINGS:
        text = sample.decode(name, "replace")
        if 2 * len(_PLAIN.findall(text)) > len(text):
            return name
    return None
