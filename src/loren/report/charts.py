"""Where the marks of a chart stand: numbers for an SVG, which a template draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Series = Sequence[tuple[float, float]]
MOST_POINTS = 400
"""Of a line. More can't be told apart at this width, and make a long file."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 10.0, 12.0, 26.0


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float
    """In the drawing."""
    value: float


class Line(NamedTuple):
    """One series."""

    name: str
    path: str
    """Of an SVG ``path``; one point alone has no length, and is drawn as a dot."""
    dots: tuple[tuple[float, float], ...]


class Chart(NamedTuple):
    """Lines over a common axis."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    y_step: float


def line_chart(
    series: Mapping[str, Series], *, width: float = 360, height: float = 200, dotted: frozenset[str] = frozenset()
) -> Chart:
    """Lay out lines.

    Args:
        series: name -> points; at least one has points.
        width: of the drawing, in its own units.
        height: likewise.
        dotted: names of series whose points are shown, for there are few.
    """
    points = [point for found in series.values() for point in found]
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points), most=5)
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points), most=5)
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low, y_high = min(y_ticks[0], *(y for _, y in points)), max(y_ticks[-1], *(y for _, y in points))

    def across(x: float) -> float:
        return round(_LEFT + (width - _LEFT - _RIGHT) * _part(x, x_low, x_high), 2)

    def down(y: float) -> float:
        return round(height - _BOTTOM - (height - _TOP - _BOTTOM) * _part(y, y_low, y_high), 2)

    lines: list[Line] = []
    for name, found in series.items():
        if found:
            placed = tuple((across(x), down(y)) for x, y in thinned(found))
            path = "M" + " L".join(f"{x:g} {y:g}" for x, y in placed)
            lines.append(Line(name, path, placed if name in dotted or len(placed) == 1 else ()))
    return Chart(
        width=width,
        height=height,
        left=_LEFT,
        right=width - _RIGHT,
        bottom=height - _BOTTOM,
        lines=tuple(lines),
        x_ticks=tuple(Tick(across(x), x) for x in x_ticks if x_low <= x <= x_high and x == int(x)),
        y_ticks=tuple(Tick(down(y), y) for y in y_ticks),
        y_step=y_ticks[1] - y_ticks[0],
    )


def ticks(low: float, high: float, *, most: int) -> list[float]:
    """Round numbers from ``low`` or just below it to ``high`` or just above: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def thinned(points: Series) -> list[tuple[float, float]]:
    """At most MOST_POINTS points: means of as many neighbours as it takes, so that no spike is chosen by chance."""
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


class Bar(NamedTuple):
    """An interval and its value on an axis, in percent of its length."""

    low: float
    at: float
    high: float
    zero: float
    """Where 0 is."""


def bar(low: float, value: float, high: float, *, axis: tuple[float, float] = (0.0, 1.0)) -> Bar:
    """Place an interval; what lies outside of the axis ends at its end."""
    return Bar(*(round(2 + 96 * _part(number, *axis), 2) for number in (low, value, high, 0.0)))


def difference_axis(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """An axis for differences: it holds 0 in its middle and all intervals."""
    reach = max((abs(end) for span in spans for end in span), default=0.0) or 1.0
    return -reach, reach


def _part(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5
