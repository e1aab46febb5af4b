"""From data to pixels."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tanzaku.report.page.charts import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Chart,
    Line,
    Point,
    Rule,
    draw,
    round_numbers,
    round_powers,
)

_values = st.floats(0.01, 1e6)


def chart(points: list[Point], *, x: Axis | None = None, y: Axis | None = None, rules: tuple[Rule, ...] = ()) -> Chart:
    return Chart("key", "title", "caption", x or Axis("x"), y or Axis("y"), (Line("line", tuple(points), 0),), rules)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_round_and_within(low: float, width: float) -> None:
    ticks = round_numbers(low, low + width)
    assert 1 <= len(ticks) <= 9
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)


@given(_values, st.floats(1.3, 1e5))
def test_logarithmic_ticks_are_few_and_within(low: float, ratio: float) -> None:
    ticks = round_powers(low, low * ratio)
    assert len(ticks) <= 8
    assert all(low <= tick <= low * ratio for tick in ticks)


@given(_values, st.floats(0, 5))
@example(2.4, math.log10(2.6 / 2.4))
@example(0.30, math.log10(0.37 / 0.30))
@example(2.1, math.log10(4.9 / 2.1))
@example(2650.8303, 1e-6)
def test_a_logarithmic_axis_has_two_ticks_or_more_that_do_not_overlap(low: float, decades: float) -> None:
    values = (low, low * 10**decades)
    axis = Axis("x", scale="log")
    drawing = draw(chart([Point(value, value, "") for value in values], x=axis, y=axis))
    for ticks in (drawing.x_ticks, drawing.y_ticks):
        assert len(ticks) >= 2
        assert len({tick.text for tick in ticks}) == len(ticks)
    for left, right in itertools.pairwise(drawing.x_ticks):
        assert right.place - left.place >= 8.8 * (len(left.text) + len(right.text)) / 2  # as on a phone
    for lower, upper in itertools.pairwise(drawing.y_ticks):
        assert lower.place - upper.place >= 16


@given(st.lists(st.tuples(_values, st.floats(0, 100)), min_size=1, max_size=12), st.sampled_from(["linear", "log"]))
def test_every_point_lies_on_the_canvas_and_higher_values_lie_higher(
    values: list[tuple[float, float]], scale: str
) -> None:
    axis = Axis("x", scale="log" if scale == "log" else "linear")
    drawing = draw(chart([Point(x, y, f"{x}", name="name") for x, y in values], x=axis))
    (line,) = drawing.lines
    for point in line.points:
        assert LEFT <= point.x <= WIDTH - RIGHT
        assert TOP <= point.y <= HEIGHT - BOTTOM
    ordered = sorted(zip(values, line.points, strict=True), key=lambda pair: pair[0][1])
    heights = [point.y for _, point in ordered]
    assert heights == sorted(heights, reverse=True)


def test_a_bar_has_its_ends_where_the_axis_has_them() -> None:
    drawing = draw(chart([Point(1, 90, "", low=80, high=100), Point(2, 85, "")]))
    first, second = drawing.lines[0].points
    assert first.low is not None
    assert first.high is not None
    assert first.low - first.y == pytest.approx(first.y - first.high, abs=0.2)
    assert second.y - first.y == pytest.approx((first.low - first.y) / 2, abs=0.2)


def test_a_logarithmic_axis_gives_equal_ratios_equal_room() -> None:
    drawing = draw(chart([Point(x, 1, "") for x in (2, 8, 32)], x=Axis("rank", scale="log", ticks=(2, 8, 32))))
    first, second, third = (tick.place for tick in drawing.x_ticks)
    assert second - first == pytest.approx(third - second, abs=0.2)
    assert [tick.text for tick in drawing.x_ticks] == ["2", "8", "32"]


def test_lines_are_told_apart_beyond_the_colours() -> None:
    lines = tuple(Line(f"r={place}", (Point(0, place, ""), Point(1, place, "")), place) for place in range(2 * COLOURS))
    drawn = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), lines)).lines
    assert len({(line.colour, line.dashed) for line in drawn}) == len(lines)
    assert not any(line.dashed for line in drawn[:COLOURS])


def test_names_meet_neither_each_other_nor_a_point() -> None:
    points = [Point(1 + place / 10, 50 + place, "", name=f"LoRA r={2**place}") for place in range(8)]
    drawing = draw(chart(points))
    assert 1 <= len(drawing.names) <= 8
    boxes = []
    for name in drawing.names:
        width = 8.8 * len(name.text)  # as on a phone
        left = name.x if name.anchor == "start" else name.x - width
        boxes.append((left, name.y - 13, left + width, name.y + 3))
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            assert box[0] >= other[2] or other[0] >= box[2] or box[1] >= other[3] or other[1] >= box[3]


def test_a_rule_without_points_beside_it_widens_the_axis() -> None:
    drawing = draw(chart([Point(1, 10, ""), Point(2, 12, "")], rules=(Rule("across", 40.0, 1),)))
    ((place, _),) = drawing.rules
    assert TOP <= place < drawing.lines[0].points[0].y


def test_equal_values_have_an_axis_too() -> None:
    drawing = draw(chart([Point(3, 7, "")], x=Axis("x", scale="log"), y=Axis("y", from_zero=True)))
    assert not math.isnan(drawing.lines[0].points[0].x)
