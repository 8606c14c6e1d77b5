"""Bytes of a line -> a JSON object, more strictly than any decoder, and with the place of each fault.

The usual decoders keep the last of two equal keys, and the standard one also lets NaN, Infinity, ``1e400`` and lone surrogates
through. Here each of these is a breach of its own rule. A row without a fault takes a fast way (msgspec and a proof that no key is
double); whatever fails there is decoded again by the standard library with hooks, which find out what is wrong and where.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec

from loren.data.pointer import child, walk
from loren.data.rules import Breach, Breaches
from loren.task.strict_json import DECODER, MAX_DEPTH, MAX_DIGITS, SPACE, SURROGATE, BadNumber, DoubleKeys, json_type

_BOM = b"\xef\xbb\xbf"
_SIGNATURES = (
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "a zip archive (or a spreadsheet)"),
    (b"PAR1", "a Parquet file"),
)

_HALF = "half of a surrogate pair (\\ud800-\\udfff)"
_ENTER = "expected one JSON object in the line, found "


class Decoded(NamedTuple):
    """What a line holds."""

    value: dict[str, Any] | None
    """The object; None where there is none to go on with."""
    breaches: Breaches
    """Faults of syntax; with a value, the other rules are checked too."""


_NOTHING = object()
"""Stands for no value, since None is the value of ``null``."""


def decode_line(data: bytes) -> Decoded:
    """Decode the bytes of one line, which must be one JSON object in UTF-8."""
    value = _decode_fast(data)
    if isinstance(value, dict):
        return Decoded(cast("dict[str, Any]", value), Breaches())
    breaches = Breaches()
    if data.startswith(_BOM):
        breaches.append(Breach("byte-order-mark", "", "expected '{' first, found a UTF-8 byte order mark"))
        data = data[len(_BOM) :]
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        message = f"expected UTF-8, found {_kind_of_bytes(data)} at byte {error.start + 1} of the line"
        breaches.append(Breach("not-utf8", "", message))
        return Decoded(None, breaches)
    value = _decode_strict(text, breaches)
    if isinstance(value, dict):
        return Decoded(cast("dict[str, Any]", value), breaches)
    if value is not _NOTHING:
        breaches.append(Breach("not-an-object", "", f"{_ENTER}{json_type(value)}"))
    return Decoded(None, breaches)


def decode_text(text: str) -> object | None:
    """The value of a text that is strict JSON; None for any other text (and for ``null``)."""
    try:
        value = _decode_fast(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return None
    if value is not None:
        return value
    breaches = Breaches()
    value = _decode_strict(text, breaches)
    return None if breaches else value


def _decode_fast(data: bytes) -> object | None:
    """The value, where it can be shown to be strict; None where the slow way must look.

    Each key of a text is followed by one colon, and all other colons stand in strings. So if the text has as many colons as its
    value has keys and colons in strings, no key was dropped; no colon is written as an escape, or the slow way looks.
    """
    try:
        value: object = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if data.count(b":") == _count_colons(value, 1) and COLON_ESCAPE not in data else None


COLON_ESCAPE = b"\\u003"
"""How an escaped colon begins; so do other signs that no encoder escapes."""
_UNKNOWN = -(1 << 60)
"""More than any sum of colons can make up for."""


def _count_colons(value: object, depth: int) -> int:
    """Colons in the text of a value without double keys; less than nothing for what only the slow way may judge."""
    if type(value) is str:
        return value.count(":")
    if isinstance(value, (dict, list)) and depth > MAX_DEPTH:
        return _UNKNOWN
    if isinstance(value, dict):
        count = len(cast("dict[str, object]", value))
        for key, item in cast("dict[str, object]", value).items():
            count += key.count(":") + (item.count(":") if type(item) is str else _count_colons(item, depth + 1))
        return count
    if isinstance(value, list):
        return sum([_count_colons(item, depth + 1) for item in cast("list[object]", value)])
    return _UNKNOWN if type(value) is int and value.bit_length() > _FAST_BITS else 0


_FAST_BITS = 64
"""A larger integer may have more digits than are read."""


def _decode_strict(text: str, breaches: Breaches) -> object:
    """The value of ``text``, its faults added to ``breaches``; ``_NOTHING`` where there is no value to go on with."""
    start = len(text) - len(text.lstrip(SPACE))
    try:
        value, end = DECODER.raw_decode(text, start)
    except RecursionError:
        breaches.append(Breach("too-deep", "", f"expected at most {MAX_DEPTH} levels of nesting, found more"))
        return _NOTHING
    except json.JSONDecodeError as error:
        breaches.append(Breach("not-json", "", _explain_syntax(text, error)))
        return _NOTHING
    if text[end:].strip(SPACE):
        message = f"expected the line to end after its object, found more at column {end + 1}"
        breaches.append(Breach("trailing-text", "", message))
        return _NOTHING
    for fault in _find_faults(value):
        breaches.append(fault)
        if fault.rule == "too-deep":
            return _NOTHING  # it would break what recurses over it later
    return value


def _find_faults(root: object) -> Iterator[Breach]:
    """The faults that leave a value: double keys, numbers, surrogates and depth."""
    for path, value, depth in walk("", root):
        if isinstance(value, str):
            if SURROGATE.search(value):
                yield Breach("lone-surrogate", path, f"expected whole characters, found {_HALF}")
        elif isinstance(value, BadNumber):
            yield Breach(
                "bad-number",
                path,
                f"expected a finite number of at most {MAX_DIGITS} digits, found an infinite, a longer one or NaN",
            )
        elif isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                yield Breach("too-deep", "", f"expected at most {MAX_DEPTH} levels of nesting, found more")
                return
            if isinstance(value, dict):
                yield from _key_faults(path, cast("dict[str, object]", value))


def _key_faults(path: str, value: dict[str, object]) -> Iterator[Breach]:
    if isinstance(value, DoubleKeys):
        for name in value.names:
            yield Breach("duplicate-key", child(path, name), "expected each key once in an object, found it twice")
    if any(SURROGATE.search(key) for key in value):
        yield Breach("lone-surrogate", path, f"expected whole characters in a key, found {_HALF}")


def _kind_of_bytes(data: bytes) -> str:
    return next((f"the start of {kind}" for start, kind in _SIGNATURES if data.startswith(start)), "another encoding")


def _explain_syntax(text: str, error: json.JSONDecodeError) -> str:
    """Why a line is no JSON, in words that hold nothing of it."""
    column = error.pos + 1
    rest = text[error.pos :].lstrip(SPACE)
    before = text[: error.pos].rstrip(SPACE)
    if "\0" in text:
        reason = "a NUL character, as in UTF-16 text"
    elif not rest:
        reason = "the end of the line inside a value; is the object spread over several lines?"
    elif rest[0] in "}]" and before.endswith(","):
        reason = "a comma before the closing bracket"
    elif rest[0] == "'" or rest.startswith(("None", "True", "False")):
        reason = "it is written as Python prints it; JSON wants double quotes, null, true and false"
    elif error.msg.startswith("Invalid control character"):
        reason = "a raw control character in a string; JSON wants it escaped, as \\n or \\t"
    elif error.msg.startswith("Unterminated string"):
        reason = "a string without its closing quote"
    else:
        reason = error.msg.partition(":")[0].lower()
    return f"{_ENTER}invalid JSON at column {column}: {reason}"
