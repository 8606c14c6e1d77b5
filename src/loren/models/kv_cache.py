"""The key/value cache of a batch that is decoded: room for the next tokens, and rows that leave without moving the others.

transformers' own cache copies itself for every token, and again when a row is dropped; with 64 rows that costs as much as the
model.
"""
# pyright: basic

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 64
"""Tokens of free room that a full buffer gets: one copy of the cache in so many steps."""


def is_plain(cache: DynamicCache) -> bool:
    """Whether every layer keeps all keys and values: no sliding window, no state of another kind."""
    return bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)


class RoomyLayer(DynamicLayer):
    """One layer's keys and values, as views of the filled part of two buffers (rows, heads, tokens with room, head size)."""

    def __init__(self, rows: int, width: int, like: DynamicLayer) -> None:
        """Make empty buffers for ``rows`` of ``width`` tokens in the form of ``like``."""
        super().__init__()
        assert like.keys is not None
        assert like.values is not None
        self.dtype, self.device, self.is_initialized = like.dtype, like.device, True
        self._keys, self._values = (
            states.new_zeros(rows, states.shape[1], width + _ROOM, states.shape[3]) for states in (like.keys, like.values)
        )
        self._show(rows, width)

    def place(self, first_row: int, shared: int, layer: DynamicLayer) -> None:
        """Take the rows of ``layer`` in from ``first_row`` on: its first ``shared`` tokens at the left, the others at the right."""
        for mine, theirs in ((self.keys, layer.keys), (self.values, layer.values)):
            assert mine is not None
            assert theirs is not None
            rows = mine[first_row : first_row + len(theirs)]
            own = theirs.shape[2] - shared
            rows[:, :, :shared] = theirs[:, :, :shared]
            rows[:, :, mine.shape[2] - own :] = theirs[:, :, shared:]

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Write the next tokens of all rows into the room; see :class:`DynamicLayer`."""
        assert self.keys is not None
        rows, _, before, _ = self.keys.shape
        after = before + key_states.shape[2]
        if after > self._keys.shape[2]:
            grown = after + _ROOM - before
            self._keys, self._values = (
                torch.cat([states, states.new_zeros(rows, states.shape[1], grown, states.shape[3])], dim=2)
                for states in (self.keys, self.values)
                if states is not None
            )
        self._keys[:rows, :, before:after] = key_states
        self._values[:rows, :, before:after] = value_states
        self._show(rows, after)
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; row i may only come from a place at i or behind it (see :func:`remaining`)."""
        assert self.keys is not None
        for place, source in enumerate(rows):
            if place != source:
                self._keys[place] = self._keys[source]
                self._values[place] = self._values[source]
        self._show(len(rows), self.keys.shape[2])

    def _show(self, rows: int, tokens: int) -> None:
        self.keys, self.values = self._keys[:rows, :, :tokens], self._values[:rows, :, :tokens]


def gather(caches: Sequence[Any], config: Any, *, shared: int) -> DynamicCache:
    """The caches of several groups of rows as one with room: each row's own tokens end at the right, padding lies before them.

    Args:
        caches: one a group; emptied on the way, so that no two copies of all of it are in memory.
        config: the model's.
        shared: how many first tokens all rows have in common.
    """
    rows = sum(len(cache.layers[0].keys) for cache in caches)
    width = max(cache.get_seq_length() for cache in caches)
    joint: Any = DynamicCache(config=config)
    for number in range(len(joint.layers)):
        layer = RoomyLayer(rows, width, caches[0].layers[number])
        first = 0
        for cache in caches:
            part = cache.layers[number]
            layer.place(first, shared, part)
            first += len(part.keys)
            part.keys = part.values = None
        joint.layers[number] = layer
    return joint


def remaining(ended: Sequence[bool]) -> list[int]:
    """The places of rows that go on; those at the end move into the gaps, so that no other row has to."""
    left = sum(not end for end in ended)
    movers = [place for place in range(left, len(ended)) if not ended[place]]
    return [movers.pop() if ended[place] else place for place in range(left)]


def keep_rows(cache: Any, rows: Sequence[int]) -> None:
    """Drop all rows but these."""
    if all(isinstance(layer, RoomyLayer) for layer in cache.layers):
        for layer in cache.layers:
            layer.keep(rows)
    else:
        cache.batch_select_indices(torch.tensor(list(rows)))
