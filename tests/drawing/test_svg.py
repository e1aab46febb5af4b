"""From data to pixels."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tanzaku.drawing import svg
from tanzaku.drawing.charts import Axis, Chart, Forest, ForestRow, Line, Point, Rule
from tanzaku.drawing.svg import BOTTOM, COLOURS, LEFT, RIGHT, TOP, Drawing, whisker

_values = st.floats(0.01, 1e6)


def draw(chart: Chart) -> Drawing:
    return svg.draw(chart, recommended="recommended")


def chart(points: list[Point], *, x: Axis | None = None, y: Axis | None = None, rules: tuple[Rule, ...] = ()) -> Chart:
    return Chart("key", "title", "caption", x or Axis("x"), y or Axis("y"), (Line("line", tuple(points), 0),), rules)


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
        assert right.x - left.x >= 8.8 * (len(left.text) + len(right.text)) / 2  # as on a phone
    for lower, upper in itertools.pairwise(drawing.y_ticks):
        assert lower.y - upper.y >= 16


@given(st.lists(st.tuples(_values, st.floats(0, 100)), min_size=1, max_size=12), st.sampled_from(["linear", "log"]))
def test_every_point_lies_on_the_canvas_and_higher_values_lie_higher(
    values: list[tuple[float, float]], scale: str
) -> None:
    axis = Axis("x", scale="log" if scale == "log" else "linear")
    drawing = draw(chart([Point(x, y, f"{x}", name="name") for x, y in values], x=axis))
    (line,) = drawing.lines
    for point in line.points:
        assert LEFT <= point.x <= RIGHT
        assert TOP <= point.y <= BOTTOM
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
    first, second, third = (tick.x for tick in drawing.x_ticks)
    assert second - first == pytest.approx(third - second, abs=0.2)
    assert [tick.text for tick in drawing.x_ticks] == ["2", "8", "32"]


@pytest.mark.parametrize("arms", [2, 5, 40])
def test_equal_arms_are_next_to_each_other_and_none_is_far_from_its_value(arms: int) -> None:
    lines = tuple(Line(f"r={place}", (Point(5, 5, ""),), place, join="none") for place in range(arms))
    ends = Line("ends", (Point(0, 0, ""), Point(10, 10, "")), 0, join="none")
    drawn = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), (*lines, ends))).lines
    places = [line.points[0].x for line in drawn[:arms]]
    assert places == sorted(set(places))
    assert max(places) - min(places) < 0.15 * (RIGHT - LEFT)


def test_lines_are_told_apart_beyond_the_colours() -> None:
    lines = tuple(Line(f"r={place}", (Point(0, place, ""), Point(1, place, "")), place) for place in range(2 * COLOURS))
    drawn = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), lines)).lines
    assert len({line.classes for line in drawn}) == len(lines)
    assert not any("dashed" in line.classes for line in drawn[:COLOURS])


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


def test_a_rule_widens_the_axis_and_its_interval_lies_right_of_the_lines() -> None:
    own, published = Point(0, 40, "", low=38, high=42), Point(0, 45, "", hollow=True)
    drawing = draw(chart([Point(1, 10, ""), Point(2, 12, "")], rules=(Rule("across", 40.0, 1, (own, published)),)))
    (rule,) = drawing.rules
    ours, theirs = rule.points
    assert TOP <= theirs.y < ours.y < drawing.lines[0].points[0].y
    assert rule.path.split()[1] == f"{ours.y:g}H{RIGHT}"
    assert ours.low is not None
    assert ours.high is not None
    assert ours.high < ours.y < ours.low
    assert drawing.lines[0].points[-1].x < ours.x == theirs.x < RIGHT


def test_intervals_of_several_lines_stand_side_by_side() -> None:
    lines = tuple(Line(f"{look}", (Point(1, 5, "", low=4, high=6), Point(9, 5, "")), look) for look in range(3))
    drawn = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), lines)).lines
    first, second, third = (line.points[0].x for line in drawn)
    assert first + 4 < second < third - 4
    assert (first + third) / 2 == pytest.approx(second, abs=0.2)


def test_the_legend_has_a_line_once_and_says_what_is_recommended() -> None:
    seeds = tuple(Line("r=8", (Point(0, seed, ""), Point(1, seed, "")), 0, recommended=True) for seed in range(3))
    legend = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), seeds)).legend
    assert [(entry.label, entry.badge) for entry in legend] == [("r=8", True)]
    legend = draw(chart([Point(0, 1, "", recommended=True)])).legend
    assert [(entry.label, entry.badge, bool(entry.ring)) for entry in legend] == [
        ("line", False, False),
        ("recommended", False, True),
    ]


def test_a_whisker_is_cut_where_the_axis_ends() -> None:
    rows = (ForestRow("a", 85, 70, 88), ForestRow("b", 60, 50, 82))
    forest = Forest("title", "caption", Axis("x", limits=(80, 90)), rows)
    found = whisker(forest, rows[0])
    assert found is not None
    assert (found.low, found.middle, found.high, found.cut_low, found.cut_high) == (0, 50, 80, True, False)
    assert whisker(forest, rows[1]) is None


def test_equal_values_have_an_axis_too() -> None:
    drawing = draw(chart([Point(3, 7, "")], x=Axis("x", scale="log"), y=Axis("y", from_zero=True)))
    assert not math.isnan(drawing.lines[0].points[0].x)


def test_names_do_not_meet_the_stairs_of_a_front() -> None:
    members = [Point(2**place, 60 + 5 * place, "", name=f"LoRA r={2**place}, lr 5e-4") for place in range(6)]
    lines = (
        Line("", tuple(members), None, join="stairs", marked=False),
        Line("LoRA", tuple(members), 0, join="none"),
    )
    drawing = draw(Chart("key", "title", "caption", Axis("x", scale="log"), Axis("y"), lines))
    corners = [(point.x, point.y) for point in drawing.lines[1].points]
    assert len(drawing.names) >= 3
    for name in drawing.names:
        width = 8.8 * len(name.text)
        left = name.x if name.anchor == "start" else name.x - width
        for (x, y), (next_x, next_y) in itertools.pairwise(corners):
            assert not (left < next_x and x < left + width and name.y - 13 < y < name.y + 3)
            assert not (left < next_x < left + width and name.y - 13 < y and next_y < name.y + 3)


def test_equal_points_that_no_line_joins_are_drawn_side_by_side() -> None:
    lines = tuple(
        Line(f"{look}", (Point(10, 90, ""), Point(20, 80 + look, "")), look, join="none") for look in range(3)
    )
    drawn = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), lines)).lines
    first, second, third = (line.points[0] for line in drawn)
    assert first.x + 9 <= second.x <= third.x - 9  # as wide as a symbol
    assert first.y == second.y == third.y
    assert first.x >= LEFT
    assert len({line.points[1].x for line in drawn}) == 1


def test_the_recommended_line_is_thicker_only_among_others() -> None:
    def classes(*recommended: bool) -> list[bool]:
        lines = tuple(Line("", (Point(0, 0, ""), Point(1, 1, "")), 0, recommended=one) for one in recommended)
        drawn = draw(Chart("key", "title", "caption", Axis("x"), Axis("y"), lines)).lines
        return ["chosen" in line.classes.split() for line in drawn]

    assert classes(True, False) == [True, False]
    assert classes(True, True) == [False, False]
