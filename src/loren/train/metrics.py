"""metrics.jsonl: one line an optimiser step, amounts since the line before, evaluation excluded."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loren.errors import TrainingError
from loren.provenance.machine import peak_memory_bytes
from loren.runs.files import Json, append_text, write_text


@dataclass(slots=True)
class StepMeter:
    """Counts what one optimiser step used. A pause (evaluation) is taken out of both clocks."""

    tokens: int = 0
    """Full row lengths, without padding."""
    label_tokens: int = 0
    _wall: float = field(default_factory=time.perf_counter)
    _cpu: float = field(default_factory=time.process_time)

    def pause(self, wall_s: float, cpu_s: float) -> None:
        """Leave a stretch of time out of the current step."""
        self._wall += wall_s
        self._cpu += cpu_s

    def take(self) -> dict[str, Json]:
        """The amounts since the last call, and start anew."""
        wall, cpu = time.perf_counter(), time.process_time()
        amounts: dict[str, Json] = {
            "tokens": self.tokens,
            "label_tokens": self.label_tokens,
            "seconds": round(wall - self._wall, 6),
            "cpu_seconds": round(cpu - self._cpu, 6),
            "peak_memory_bytes": peak_memory_bytes(),
        }
        self.tokens = self.label_tokens = 0
        self._wall, self._cpu = wall, cpu
        return amounts


class MetricsFile:
    """Appends step lines. A line is held back until its step is over, so that it can carry the step's validation loss.

    Args:
        path: the run's metrics.jsonl.
        listener: gets every line after it was written.
        is_writer: False in every process but one, where nothing is written.
    """

    def __init__(self, path: Path, listener: Callable[[Mapping[str, Json]], None] | None = None, *, is_writer: bool = True) -> None:
        self._path = path
        self._listener = listener
        self._is_writer = is_writer
        self._pending: dict[str, Json] | None = None

    def start_after(self, step: int) -> None:
        """Keep the lines up to ``step`` (0: none) and drop the rest, which the resumed run will write again."""
        if not self._is_writer:
            return
        kept = [line for line in read_metrics(self._path) if isinstance(line["step"], int) and line["step"] <= step]
        write_text(self._path, "".join(_encode(line) for line in kept))

    def hold(self, line: dict[str, Json]) -> None:
        """Write the line before and hold this one."""
        self.flush()
        self._pending = line

    def set_eval_loss(self, loss: float) -> None:
        """Put a validation loss into the held line."""
        if self._pending is not None:
            self._pending["eval_loss"] = loss

    def flush(self, *, durable: bool = False) -> None:
        """Write the held line, if there is one; ``durable`` waits for the disk."""
        line, self._pending = self._pending, None
        if line is None or not self._is_writer:
            return
        append_text(self._path, _encode(line), durable=durable)
        if self._listener is not None:
            self._listener(line)


def read_metrics(path: Path) -> list[dict[str, Json]]:
    """The lines of a metrics.jsonl; a torn last line is left out."""
    if not path.exists():
        return []
    lines: list[dict[str, Json]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def require_finite(name: str, value: float, step: int) -> float:
    """``value``, if it is a number that may be written.

    Raises:
        TrainingError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise TrainingError(
            f"step {step}: {name} is {value}; training stopped before the weights are ruined further",
            hint="lower train.learning_rate, or use train.dtype = 'float32'",
        )
    return value


def _encode(line: dict[str, Json]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
