"""Decoding that is held to a JSON Schema: at every step only tokens that the schema's grammar allows, through llguidance.

Grammars know less than schemas. So a schema is first made into one that decoding can hold to (:func:`decoding_schema`):
narrower where the grammar could let something through that no strict reader takes (unknown keys, which could repeat; numbers
without bounds), wider only for the length of long texts, which a cut in the middle of a word would satisfy and nobody would want.
What can't be held at all is refused by name, before a model is loaded. What ended by itself therefore parses and satisfies the
schema but for long ``maxLength`` and ``minLength``; whoever scores the reply holds it to the whole schema.
"""
# pyright: basic

from __future__ import annotations

import importlib.util
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from loren.errors import ConfigError, PrerequisiteError, Problem
from loren.models.decoding_schema import decoding_schema
from loren.provenance.digests import sha256_text
from loren.runs.files import Json

_OPTIONS: Any = {"whitespace_flexible": False}
"""No white space between tokens of JSON: a model that may write some can write it until it is cut."""


def require_llguidance() -> None:
    """Find out before a model is loaded whether the package is here.

    Raises:
        PrerequisiteError: it is not.
    """
    if importlib.util.find_spec("llguidance") is None:
        raise PrerequisiteError("expected the package llguidance to hold decoding to a schema, found none", hint=INSTALL)


_SIMPLIFY = "simplify the schema, or ask without the constraint"
INSTALL = "pip install 'loren[constrained]'"


def constraint_digest(schema: Mapping[str, Json]) -> str:
    """SHA-256 of what decoding is held to; the order of keys counts, for it is the order in which they are written.

    Raises:
        ConfigError: decoding can't be held to the schema.
    """
    return sha256_text(json.dumps([decoding_schema(schema), _OPTIONS], ensure_ascii=False))


class Constraint:
    """A schema as a grammar over one tokenizer's tokens."""

    def __init__(self, schema: Mapping[str, Json], tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
        """Compile the schema.

        Args:
            schema: what a reply must satisfy (JSON Schema 2020-12).
            tokenizer: a fast tokenizer.
            vocab_size: how many logits the model gives; it may exceed the tokenizer's tokens.

        Raises:
            PrerequisiteError: llguidance is not installed.
            ConfigError: decoding can't be held to the schema, or not with this tokenizer.
        """
        require_llguidance()
        from llguidance import LLMatcher, LLParserLimits
        from llguidance.hf import from_tokenizer

        self.digest = constraint_digest(schema)
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise ConfigError(
                f"expected a fast tokenizer to hold decoding to a schema, found {type(tokenizer).__name__}",
                hint="ask without the constraint, or take a base model with a tokenizer.json",
            )
        words = from_tokenizer(tokenizer, n_vocab=max(vocab_size, len(tokenizer)))
        grammar = LLMatcher.grammar_from_json_schema(dict(decoding_schema(schema)), overrides=_OPTIONS)
        self._first = LLMatcher(words, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))
        self._ends = list(words.eos_tokens)
        if self._first.is_error():
            raise ConfigError("decoding can't be held to the schema", problems=[_reason(self._first)], hint=_SIMPLIFY)

    def begin(self, stop_ids: Collection[int]) -> Hold:
        """A hold on one reply, from its first token on.

        Args:
            stop_ids: the tokens that end a reply; allowed where the reply is whole, and nowhere else.
        """
        return Hold(self._first.deep_copy(), stop_ids, self._ends)


class Hold:
    """What one reply may go on with."""

    def __init__(self, matcher: Any, stop_ids: Collection[int], ends: Collection[int]) -> None:
        self._matcher = matcher
        self._stop_ids = stop_ids
        self._ends = list({*stop_ids, *ends})

    @property
    def is_complete(self) -> bool:
        """Whether nothing but the end of turn may follow."""
        return bool(self._matcher.is_stopped())

    def choose(self, best: int, scores: np.ndarray) -> int:
        """The best allowed token, which is nearly always the best one of a model that was trained for the task.

        Args:
            best: the place of the largest score.
            scores: the logits (V,).

        Raises:
            ConfigError: the grammar ran out of its limits, or the tokenizer has no token to go on with.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise ConfigError("the schema is too complex to hold decoding to", problems=[_reason(self._matcher)], hint=_SIMPLIFY)
        whole = bool(self._matcher.is_accepting())
        if best in self._stop_ids:
            if whole:
                return best
        elif best not in self._ends and bits[best >> 3] >> (best & 7) & 1:
            return best
        allowed = np.unpackbits(bits, bitorder="little")[: len(scores)].astype(bool)
        allowed[[end for end in self._ends if end < len(allowed)]] = False
        if whole:
            allowed[[end for end in self._stop_ids if end < len(allowed)]] = True
        if not allowed.any():
            raise ConfigError("the tokenizer has no token for what the schema asks for next", hint="ask without the constraint")
        return int(np.where(allowed, scores, -np.inf).argmax())

    def take(self, token: int) -> None:
        """Go on behind ``token``, which :meth:`choose` gave.

        Raises:
            ConfigError: the grammar ran out of its limits.
        """
        if token not in self._stop_ids and not self._matcher.consume_token(token):
            raise ConfigError("the schema is too complex to hold decoding to", problems=[_reason(self._matcher)], hint=_SIMPLIFY)


def _reason(matcher: Any) -> Problem:
    return Problem("schema.json", next(iter(str(matcher.get_error()).splitlines()), "")[:300])
