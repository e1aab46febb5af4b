"""Charts of the Pareto fronts, and the intervals of all arms."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from tanzaku.analysis.arms import Arm
from tanzaku.analysis.series import in_order
from tanzaku.drawing.charts import Axis, Chart, Forest, ForestRow, Line, Point
from tanzaku.drawing.scales import has_overlaps
from tanzaku.report.chart_data import ChartData, interval_text, megabytes, percent, seconds
from tanzaku.report.names import unbroken
from tanzaku.report.terms import AXES
from tanzaku.words import message

_FRONT_TITLES = {"size": message("Accuracy and size"), "time": message("Accuracy and training time")}
_LONGEST = 4  # times the median: a longer half of an interval is cut, or it would leave the others no room
_ROOM = 0.06  # of the axis, at either end


def front_charts(data: ChartData) -> list[Chart]:
    """Test accuracy against megabytes and against training seconds, the fronts as stairs, arms off them hollow."""
    evidence = data.evidence
    measured = [arm for arm in data.section.arms if arm.accuracy and megabytes(arm) > 0 and seconds(arm) > 0]
    if len(measured) < 2:
        return []
    return [
        _front_chart("size", megabytes, measured, _members(evidence.size_front, megabytes, data), data),
        _front_chart("time", seconds, measured, _members(evidence.time_front, seconds, data), data),
    ]


def forest_of(data: ChartData) -> Forest | None:
    """Test accuracy of every arm with its 95 % interval; None for less than two arms."""
    rows = [row for arm in in_order(data.section) if (row := forest_row(arm, data))]
    if len(rows) < 2:
        return None
    return Forest(
        title=data.words.text("Test accuracy of every arm"),
        caption=data.words.text("Bars are 95 % intervals. An arrow: the interval goes beyond the axis."),
        x=Axis(data.words.text(AXES["accuracy"]), limits=_limits(rows, data)),
        rows=tuple(rows),
    )


def forest_row(arm: Arm, data: ChartData) -> ForestRow | None:
    """None where the arm has no finished run."""
    interval, published = data.evidence.interval(arm), data.published(arm)
    if arm.accuracy is None or interval is None:
        return None
    return ForestRow(
        label=data.name(arm),
        mean=percent(arm),
        low=100 * interval.low,
        high=100 * interval.high,
        recommended=data.is_recommended(arm),
        published=published.accuracy_percent if published else None,
    )


def _members(front: Sequence[bool], cost: Callable[[Arm], float], data: ChartData) -> list[Arm]:
    members = [arm for arm, on in zip(data.section.arms, front, strict=True) if on]
    return sorted(members, key=lambda arm: (cost(arm), percent(arm)))


def _front_chart(
    key: str, cost: Callable[[Arm], float], measured: Sequence[Arm], members: Sequence[Arm], data: ChartData
) -> Chart:
    def point(arm: Arm, *, in_group: bool) -> Point:
        recommended = data.is_recommended(arm)
        return Point(
            x=cost(arm),
            y=percent(arm),
            label=f"{data.name(arm)}: {interval_text(percent(arm), None, None)} %",
            hollow=arm not in members,
            recommended=recommended,
            name=_name(arm, data, in_group=in_group) if arm in members or recommended else "",
        )

    words = data.words
    stairs = tuple(Point(cost(arm), percent(arm), "") for arm in members)
    groups = [(one, [arm for arm in one.arms if arm in measured]) for one in data.groups]
    chart = Chart(
        key=f"front-{key}",
        title=words.text(_FRONT_TITLES[key]),
        caption=words.text(
            "The steps join the arms that no other arm beats: none is as accurate for less. Hollow points are not on "
            "the front: another arm is at least as accurate and costs no more."
        ),
        x=Axis(words.text(AXES[key]), scale="log"),
        y=Axis(words.text(AXES["accuracy"])),
        lines=(
            Line("", stairs, None, join="stairs", marked=False),
            *(
                Line(one.label, tuple(point(arm, in_group=len(arms) > 1) for arm in arms), one.look, join="none")
                for one, arms in groups
                if arms
            ),
        ),
        note=words.text("On the Pareto front: {arms}.", arms=words.text("; ").join(map(data.name, members))),
    )
    if not has_overlaps(chart):
        return chart
    side_by_side = words.text("Arms at the same place are drawn next to each other.")
    return replace(chart, caption=words.joined([chart.caption, side_by_side]))


def _name(arm: Arm, data: ChartData, *, in_group: bool) -> str:
    """What is written next to an arm's point. Of a group, that is the rank: the legend says the rest."""
    name = arm.short_name(data.words)
    return name.rank if in_group and not data.is_recommended(arm) else unbroken(name)


def _limits(rows: Sequence[ForestRow], data: ChartData) -> tuple[float, float]:
    """What the axis covers: the arms that are better than always answering the most frequent class, where there are
    any, and of unusually long intervals not all."""
    majorities = data.evidence.majorities
    least = 100 * majorities.test.accuracy if majorities else 0.0
    shown = [row for row in rows if row.mean > least] or list(rows)
    longest = _LONGEST * statistics.median(max(row.mean - row.low, row.high - row.mean) for row in shown)
    low = min(max(row.low, row.mean - longest) for row in shown)
    high = max(min(row.high, row.mean + longest) for row in shown)
    published = [row.published for row in shown if row.published is not None]
    low, high = min(low, *published, high), max(high, *published, low)
    room = _ROOM * (high - low) or 0.5
    return low - room, high + room
