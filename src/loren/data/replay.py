"""General rows that are mixed into training against forgetting (``data.replay``). Pure, but for reading what Loren ships.

``replay.jsonl`` holds conversations in English and Vietnamese, equally many of each kind, written for this purpose and disjoint
from the questions that forgetting is measured with. They are not targets of the task: no target rule judges them, no system prompt
of the task stands before them, and none of them is ever in validation or test.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any, cast

from loren.data.decode import decode_line
from loren.data.reader import LineReader
from loren.data.rows import Message, Row
from loren.errors import ConfigError, DataContractError, Problem
from loren.provenance.digests import sha256_json
from loren.runs.files import Json

REPLAY_FILE = "replay.jsonl"
_KEYS = {"id", "messages"}


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """One general conversation."""

    row: Row
    language: str
    kind: str
    """What is asked: facts, arithmetic, translation, ..."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The general rows of a run."""

    chosen: tuple[ReplayRow, ...]
    """By line of the file."""
    share: float
    """``data.replay``."""

    @property
    def rows(self) -> list[Row]:
        """The conversations."""
        return [each.row for each in self.chosen]

    @property
    def sha256(self) -> str:
        """Of the chosen rows' ids, and so of their texts."""
        return sha256_json([row.id for row in self.rows])

    def to_json(self) -> dict[str, Json]:
        """As the run records it; no text."""
        return {
            "rows": len(self.chosen),
            "share": self.share,
            "sha256": self.sha256,
            "languages": dict(sorted(Counter(each.language for each in self.chosen).items())),
            "kinds": dict(sorted(Counter(each.kind for each in self.chosen).items())),
        }


def load_replay() -> list[ReplayRow]:
    """The general rows that Loren ships.

    Raises:
        DataContractError: a line is no such row; names every line.
    """
    return read_replay(resources.files("loren.data").joinpath(REPLAY_FILE).read_bytes())


def read_replay(data: bytes) -> list[ReplayRow]:
    """Rows from JSON Lines whose ``id`` is ``LANGUAGE/KIND/NUMBER`` and whose two messages are a user's and an assistant's.

    Raises:
        DataContractError: lines that are no such rows, or ids that stand twice.
    """
    rows: list[ReplayRow] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for line in LineReader(io.BytesIO(data)):
        decoded = decode_line(line.data or b"")
        place = f"{REPLAY_FILE}:{line.number}"
        if decoded.value is None or decoded.breaches:
            problems += [Problem(place, breach.message, breach.rule) for breach in decoded.breaches]
        elif (row := _row(decoded.value, line.number)) is None or decoded.value["id"] in seen:
            problems.append(Problem(place, "expected an id LANGUAGE/KIND/NUMBER of its own, and a user and an assistant message"))
        else:
            seen.add(decoded.value["id"])
            rows.append(row)
    if problems:
        raise DataContractError(f"{REPLAY_FILE}: {len(problems)} problem(s)", problems=problems)
    return rows


def _row(value: dict[str, Any], line: int) -> ReplayRow | None:
    """The row, or None where it is none."""
    parts, messages = value.get("id"), value.get("messages")
    if value.keys() != _KEYS or not isinstance(parts, str) or not isinstance(messages, list):
        return None
    language, _, rest = parts.partition("/")
    kind, _, number = rest.partition("/")
    turns = cast("list[object]", messages)
    if not (language and kind and number.isdecimal()) or len(turns) != 2:
        return None
    texts = [_text(turn, role) for turn, role in zip(turns, ("user", "assistant"), strict=True)]
    question, reply = texts
    if not question or not reply:
        return None
    return ReplayRow(Row(line, (Message("user", question), Message("assistant", reply))), language, kind)


def _text(turn: object, role: str) -> str:
    """The content of a message of that role; "" where it is another thing."""
    if not isinstance(turn, dict):
        return ""
    fields = cast("dict[str, object]", turn)
    content = fields.get("content")
    return content.strip() if fields.keys() == {"role", "content"} and fields["role"] == role and isinstance(content, str) else ""


def choose_replay(train_rows: int, *, share: float, seed: int, source: Sequence[ReplayRow] | None = None) -> Replay | None:
    """Choose the general rows of a run: ``share`` times as many as the training file gives, rounded, and at least one.

    Languages and kinds are taken in turn, so that the numbers of any two differ by one at most while there are rows of both; which
    rows, and which kinds come first, is the seed's choice.

    Args:
        train_rows: rows of the training file that go to train.
        share: ``data.replay``; 0 chooses none.
        seed: the run's.
        source: the rows to choose from; those that Loren ships unless given.

    Returns:
        The choice; None where none was asked for.

    Raises:
        ConfigError: more are asked for than there are.
    """
    if share <= 0:
        return None
    rows = load_replay() if source is None else source
    wanted = max(1, int(Fraction(str(share)) * train_rows + Fraction(1, 2)))
    if wanted > len(rows):
        found = f"{share:g} of {train_rows:,} training rows asks for {wanted:,}, and {len(rows)} exist"
        raise ConfigError(
            "configuration: 1 problem",
            problems=[Problem("data.replay", f"expected no more general rows than there are, {found}")],
            hint=f"at most {int(1000 * len(rows) / train_rows) / 1000:g} for these rows; "
            "more general rows of your own can stand in the training file",
        )
    order = list(_in_turn(rows, seed))
    return Replay(tuple(sorted(order[:wanted], key=lambda each: each.row.line)), share)


def _in_turn(rows: Sequence[ReplayRow], seed: int) -> Iterator[ReplayRow]:
    """All rows: each kind in turn, the languages alternately, and no pair of both twice before all pairs came."""

    def shuffled(name: str) -> str:
        return hashlib.blake2b(name.encode(), key=str(seed).encode(), digest_size=16).hexdigest()

    queues: defaultdict[tuple[str, str], list[ReplayRow]] = defaultdict(list)
    for each in sorted(rows, key=lambda each: shuffled(each.row.id)):
        queues[each.language, each.kind].append(each)
    languages = sorted({each.language for each in rows}, key=shuffled)
    kinds = sorted({each.kind for each in rows}, key=shuffled)
    for depth in range(max(map(len, queues.values()), default=0)):
        for turn in range(len(languages)):
            for place, kind in enumerate(kinds):
                queue = queues[languages[(place + turn) % len(languages)], kind]
                if depth < len(queue):
                    yield queue[depth]
