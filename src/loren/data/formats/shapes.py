"""Which format a row is in, told by the names of its fields. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from loren.errors import ConfigError

RowFormat: TypeAlias = Literal["messages", "openai", "sharegpt", "alpaca", "prompt-completion"]
TITLES: Mapping[RowFormat, str] = {
    "messages": "messages",
    "openai": "OpenAI fine-tuning",
    "sharegpt": "ShareGPT",
    "alpaca": "Alpaca",
    "prompt-completion": "prompt/completion",
}
"""What people call them."""

TURN_LISTS = ("conversations", "conversation")
"""Where ShareGPT's rows hold their turns."""
INPUTS = ("input", "context")
OUTPUTS = ("output", "response")
"""Alpaca's and Dolly's names."""
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("inputs", "targets"),
)
"""Fields that hold a question and its reply, as published data sets name them."""
FIELD_NAMES = frozenset({"messages", *TURN_LISTS, "instruction", *OUTPUTS, *(name for pair in PAIRS for name in pair)})
"""Names that only a row has, and no message."""


class Shape(NamedTuple):
    """A format, and for a prompt/completion row the two fields."""

    rows: RowFormat
    fields: tuple[str, str] = PAIRS[0]

    @property
    def title(self) -> str:
        """The format's name for people; fields of other names are named."""
        known = self.rows != "prompt-completion" or self.fields == PAIRS[0]
        return TITLES[self.rows] if known else f"{TITLES[self.rows]} ({', '.join(self.fields)})"


MESSAGES = Shape("messages")


def parse_shape(name: str) -> Shape:
    """The shape that a user names: a format, or ``prompt-completion:QUESTION,REPLY``.

    Raises:
        ConfigError: there is no such format.
    """
    rows, colon, fields = name.partition(":")
    for known in get_args(RowFormat):
        pair = [field.strip() for field in fields.split(",")]
        if rows == known and not colon:
            return Shape(known)
        if rows == known == "prompt-completion" and len(pair) == 2 and all(pair) and pair[0] != pair[1]:
            return Shape(known, (pair[0], pair[1]))
    raise ConfigError(
        f"--format-in: expected one of {', '.join(get_args(RowFormat))}, found {name!r:.80}",
        hint="two fields of other names are given as prompt-completion:QUESTION,REPLY; without the option the format is detected",
    )


def shape_of_names(names: Collection[str]) -> Shape | None:
    """The format of rows with these fields."""
    if "messages" in names:
        return MESSAGES
    if any(name in names for name in TURN_LISTS):
        return Shape("sharegpt")
    if "instruction" in names and any(name in names for name in OUTPUTS):
        return Shape("alpaca")
    return next((Shape("prompt-completion", pair) for pair in PAIRS if pair[0] in names and pair[1] in names), None)


def shape_of(row: Mapping[str, Any]) -> Shape | None:
    """The format of a decoded row. `conversation` is also the name of an id, which is no list."""
    names = {name for name in row if name not in TURN_LISTS or isinstance(row[name], list)}
    return shape_of_names(names)


def common_shape(rows: Iterable[Mapping[str, Any]]) -> Shape | None:
    """The format of most of the rows; None where no row is in a known one."""
    counts = Counter(shape for row in rows if (shape := shape_of(row)) is not None)
    if not counts:
        return None
    return max(counts, key=lambda shape: (counts[shape], shape == MESSAGES))


def other_conversation(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of a second format in which a row of ``messages`` holds a conversation too; empty where there is none."""
    turns = next((name for name in TURN_LISTS if row.get(name) and isinstance(row[name], list)), None)
    if turns:
        return (turns,)
    return next((pair for pair in (("instruction", "output"), PAIRS[0]) if all(row.get(name) for name in pair)), ())
