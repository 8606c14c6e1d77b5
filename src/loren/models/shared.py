"""One base model in memory for several trainings and evaluations, which never see each other's changes.

Training and PEFT put modules, hooks and patched methods into a model, and taking all of that out again is a matter of trust. So
nobody gets the loaded model itself: each gets modules of its own, copied in milliseconds, around the same weights, which are frozen
and which a LoRA training only reads.
"""
# pyright: basic

from __future__ import annotations

import copy
import gc
from typing import Any

from transformers import PreTrainedModel

from loren.models.loading import Dtype, LocalBase, load_model


class SharedBase:
    """Loads a base model once, and hands out models around its weights. Whoever gets one must leave the weights as they are."""

    def __init__(self) -> None:
        self._model: PreTrainedModel | None = None
        self._key: tuple[str, Dtype] | None = None
        self.loads = 0
        """How often weights were read from disk."""

    def take(self, base: LocalBase, dtype: Dtype, *, trust_remote_code: bool) -> PreTrainedModel:
        """A model with modules of its own around the shared weights; another base or precision takes the place of the one before.

        Raises:
            ModelLoadError: transformers can't read the base's folder.
        """
        key = (base.weights_sha256, dtype)
        if self._model is None or self._key != key:
            self.release()
            self._model, self._key = load_model(base.folder, dtype=dtype, trust_remote_code=trust_remote_code), key
            self.loads += 1
        # What deepcopy finds in its memo it takes as copied: tied weights stay tied, too. Buffers are small, and are copied.
        shared: dict[int, Any] = {id(parameter): parameter for parameter in self._model.parameters()}
        return copy.deepcopy(self._model, shared)

    def release(self) -> None:
        """Give the memory back, as soon as nobody uses a model of before."""
        self._model = self._key = None
        gc.collect()
