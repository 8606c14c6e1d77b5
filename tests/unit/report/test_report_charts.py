"""Laws of the drawings and of the numbers."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loren.report.charts import MOST_POINTS, bar, line_chart, thinned, ticks
from loren.report.words import Words

FINITE = st.floats(-1e12, 1e12, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-12)


@given(FINITE, FINITE, st.integers(2, 9))
def test_ticks_cover_the_values_in_even_steps(one: float, other: float, most: int) -> None:
    low, high = min(one, other), max(one, other)
    found = ticks(low, high, most=most)
    slack = 1e-6 * max(abs(low), abs(high), 1e-9)
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= most + 3 or high == low or (high - low) < slack
    assert found == sorted(found)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6)), min_size=1, max_size=60))
def test_every_mark_of_a_chart_lies_in_it(points: list[tuple[int, float]]) -> None:
    chart = line_chart({"train": sorted((float(x), y) for x, y in points), "validation": []}, dotted=frozenset({"train"}))
    assert [line.name for line in chart.lines] == ["train"]
    numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", chart.lines[0].path)]
    assert all(math.isfinite(number) and 0 <= number <= 360 for number in numbers)
    assert all(0 <= y <= chart.height for _, y in chart.lines[0].dots)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=2000))
def test_a_long_line_is_thinned_by_means(values: list[float]) -> None:
    points = [(float(place), value) for place, value in enumerate(values)]
    found = thinned(points)
    assert len(found) <= MOST_POINTS
    assert min(values) - 1e-9 <= min(y for _, y in found) <= max(y for _, y in found) <= max(values) + 1e-9
    assert found == points or len(points) > MOST_POINTS


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_an_interval_keeps_its_order_and_its_axis(a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    placed = bar(low, value, high, axis=(-1, 1))
    assert 2 <= placed.low <= placed.at <= placed.high <= 98
    assert placed.zero == 50


@given(st.floats(-1e9, 1e9), st.integers(0, 4), st.booleans())
def test_a_number_reads_back_in_both_languages(value: float, digits: int, sign: bool) -> None:
    english, vietnamese = (Words(name).number(value, digits, sign=sign) for name in ("en", "vi"))
    assert english.translate(str.maketrans(",.", ".,")) == vietnamese
    back = float(english.replace("\u2212", "-").replace(",", ""))
    assert abs(back - value) <= 0.5 * 10**-digits * (1 + 1e-6) + abs(value) * 1e-12
    assert not re.match(r"[\u2212+][0.,]*$", english)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0,0 giây"), (59.94, "59,9 giây"), (61, "1 phút 1 giây"), (3_700, "1 giờ 1 phút")]
)
def test_durations(seconds: float, said: str) -> None:
    assert Words("vi").duration(seconds).replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (5e-4, "5.0e\u22124"),
        (4.3e-3, "0.00430"),
        (2e-5, "2.0e\u22125"),
        (2.41, "2.41"),
        (1234.5, "1,234"),
        (3e7, "3.0e7"),
    ],
)
def test_rates(value: float, said: str) -> None:
    assert Words("en").rate(value) == said


def test_names_that_no_catalogue_knows_are_shown_as_they_are() -> None:
    w = Words("vi")
    assert w.metric("new_metric") == "new_metric"
    assert w.metric("exact:") == "câu trả lời đúng hoàn toàn"
    assert w.metric("exact:/a", short=True) == "/a"
    assert w.arm("other-constrained") == "other + schema"
    assert w.name("slice", "mùa") == "mùa"
