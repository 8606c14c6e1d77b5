"""Files that no one would write on purpose: rows of every format, spoiled in every way that came to mind."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

from format_files import csv_table, json_list, jsonl, parquet, zst

WORDS = [
    "Open?",
    "",
    " ",
    "\u200b",
    "ann@example.com",
    "0912 345 678",
    "Mở cửa chưa ạ?",
    '{"a": 1}',
    "\ud83d",
    "<s>",
    "a" * 300,
    "\x00",
    "=1+1",
]
NAMES = [
    "messages",
    "conversations",
    "conversation",
    "role",
    "content",
    "from",
    "value",
    "weight",
    "tools",
    "tool_calls",
    "images",
    "instruction",
    "input",
    "output",
    "history",
    "system",
    "prompt",
    "completion",
    "question",
    "answer",
    "id",
    "situation",
    "text",
    "Cô Lan",
    "",
]
ROLES = ["user", "assistant", "system", "human", "gpt", "tool", "function", "observation", "User", "", None, 3]


def anything(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value; sometimes one that JSON does not have."""
    kind = rng.randrange(10 if depth < 4 else 7)
    if kind < 3:
        return rng.choice(WORDS)
    if kind < 7:
        return rng.choice([None, True, 0, 1, -1, 0.5, 10**30, float("nan"), float("inf"), "user", "assistant"])
    if kind < 9:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(NAMES): anything(rng, depth + 1) for _ in range(rng.randrange(4))}


def _turn(rng: random.Random) -> Any:
    who, what = rng.choice([("role", "content"), ("from", "value"), ("role", "value")])
    turn: dict[str, Any] = {who: rng.choice(ROLES), what: rng.choice(WORDS) if rng.random() < 0.8 else anything(rng)}
    if rng.random() < 0.3:
        turn[rng.choice(NAMES)] = anything(rng)
    return turn if rng.random() < 0.95 else anything(rng)


def any_row(rng: random.Random) -> dict[str, Any]:
    """A row of some format, or nearly."""
    kind = rng.randrange(5)
    if kind < 2:
        row: dict[str, Any] = {rng.choice(["messages", "conversations"]): [_turn(rng) for _ in range(rng.randrange(5))]}
    elif kind == 2:
        row = {"instruction": rng.choice(WORDS), "input": rng.choice(WORDS), "output": rng.choice(WORDS), "history": anything(rng)}
    else:
        row = {"prompt": rng.choice(WORDS), "completion": rng.choice(WORDS)}
    for _ in range(rng.randrange(3)):
        row[rng.choice(NAMES)] = anything(rng)
    if row and rng.random() < 0.2:
        del row[rng.choice([*row])]
    return row


def _spoiled(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed, cut, doubled or put in."""
    body = bytearray(data)
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(body) + 1)
        body[place : place + rng.choice([0, 1, 5])] = rng.choice([
            b"",
            b"\xff",
            b"\x00",
            b'"',
            b"\\",
            b"{",
            b"]",
            b",",
            b"\n",
            b"\r\n",
            b"\xed\xa0\xbd",
            b"\xef\xbb\xbf",
            b"NaN",
            b'"messages":',
            bytes(8),
        ])
    return bytes(body[: rng.randrange(len(body) + 1)] if rng.random() < 0.1 else body)


def _clean(value: Any) -> Any:
    """Without what UTF-8 can't hold."""
    return json.loads(json.dumps(value).replace("\\ud83d", "?").replace("NaN", "null").replace("Infinity", "1"))


def _as_parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa

    try:
        return parquet([_clean(row) for row in rows])
    except (pa.ArrowException, ValueError, OverflowError, TypeError):  # cells of one column must be of one type
        return parquet([{"prompt": "Open?", "completion": json.dumps(row)} for row in rows])


def _as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


WRITERS: list[Callable[[list[dict[str, Any]]], bytes]] = [
    _as_jsonl,
    _as_jsonl,
    lambda rows: json_list([_clean(row) for row in rows]),
    lambda rows: csv_table([_clean(row) for row in rows]),
    lambda rows: gzip.compress(jsonl([_clean(row) for row in rows]), 1),
    lambda rows: zst(jsonl([_clean(row) for row in rows])),
]
PARQUET_SHARE = 0.004
"""Each starts a process."""


def any_file(rng: random.Random) -> bytes:
    """The bytes of a file."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(200))
    writer = _as_parquet if rng.random() < PARQUET_SHARE else rng.choice(WRITERS)
    data = writer([any_row(rng) for _ in range(rng.randrange(6))])
    return _spoiled(rng, data) if rng.random() < 0.7 else data
