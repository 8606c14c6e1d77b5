"""A valid conversation, as every later room sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from loren.provenance.digests import sha256_json

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. Its text is kept exactly as the file has it (an object target is serialised canonically)."""

    role: Role
    content: str
    weight: int = 1
    """0 keeps an assistant turn out of the labels (OpenAI's key); 1 otherwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation that passed the contract."""

    line: int
    """1-based line in the file."""
    messages: tuple[Message, ...]
    groups: Mapping[str, str] = field(default_factory=dict[str, str])
    """`situation`, `customer` and `conversation` ids, where the row has them."""
    label: tuple[str, ...] = ()
    """The values at the task's label pointers, as JSON text; empty without a task."""

    @property
    def id(self) -> str:
        """Hex SHA-256 of the messages: the row's name in split.json, whatever its line."""
        return sha256_json([[m.role, m.content, m.weight] for m in self.messages])
