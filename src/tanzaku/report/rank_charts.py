"""Charts against the rank: accuracy, training time and saved size, and adapters that were cut to other ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Arm
from tanzaku.analysis.rank_curves import CurveLine, lines_of
from tanzaku.analysis.recommendation import SAME_SIZE
from tanzaku.analysis.series import compares_ranks
from tanzaku.analysis.thesis import Published
from tanzaku.drawing.charts import Axis, Chart, Line, Point, Rule
from tanzaku.report import formats
from tanzaku.report.chart_data import ChartData, Group, interval_text, megabytes, percent, seconds
from tanzaku.report.names import legend_names
from tanzaku.report.rank_texts import line_labels
from tanzaku.report.terms import AXES
from tanzaku.words import message

_TITLES = {
    "accuracy": (
        message("Accuracy"),
        message("Bars are 95 % intervals. Horizontal lines are methods without a rank or with several."),
    ),
    "time": (
        message("Training time"),
        message("Without evaluation. Horizontal lines are methods without a rank or with several."),
    ),
    "size": (
        message("Size on disk"),
        message("What a run saves. Horizontal lines are methods without a rank or with several."),
    ),
}
_LOG_FROM_RATIO = 20  # a linear axis would press the smaller values onto its bottom
_Key = Literal["accuracy", "time", "size"]
_VALUES: dict[_Key, Callable[[Arm], float]] = {"accuracy": percent, "time": seconds, "size": megabytes}
_WRITERS: dict[_Key, Callable[[float], str]] = {
    "accuracy": lambda value: formats.percent(value / 100),
    "time": formats.seconds,
    "size": formats.megabytes,
}


def rank_charts(data: ChartData) -> list[Chart]:
    """Accuracy with intervals, training seconds and megabytes against the rank, where arms differ only in it."""
    if not compares_ranks(data.section):
        return []
    return [chart for key in _VALUES if (chart := _rank_chart(key, data))]


def curve_chart(data: ChartData) -> Chart | None:
    """Accuracy of each adapter that was measured at several ranks, and of those trained separately at these ranks."""
    lines = lines_of(data.evidence.curves, data.evidence.intervals)
    if not lines:
        return None
    labels = line_labels(lines, legend_names([line.arm for line in lines], words=data.words), words=data.words)
    return Chart(
        key="curves",
        title=data.words.text("Accuracy at several ranks"),
        caption=data.words.text(
            "One line for each adapter that was measured at several ranks, and one for ranks that were trained "
            "separately. Bars are 95 % intervals."
        ),
        x=_rank_axis({rank for line in lines for rank, _, _ in line.points}, data),
        y=Axis(data.words.text(AXES["accuracy"])),
        lines=tuple(
            Line(label, _curve_points(label, line, data), look)
            for look, (label, line) in enumerate(zip(labels, lines, strict=True))
        ),
    )


def _rank_chart(key: _Key, data: ChartData) -> Chart | None:
    groups = _one_a_size(data) if key == "size" else data.groups
    groups = [replace(one, arms=tuple(arm for arm in one.arms if _VALUES[key](arm) > 0)) for one in groups]
    ranked = [one for one in groups if one.ranked and one.arms]
    if not ranked:
        return None
    lines = [Line(one.label, tuple(_point(arm, key, data) for arm in one.arms), one.look) for one in ranked]
    lines += [
        Line(data.words.text("{label} (thesis)", label=one.label), points, one.look, published=True)
        for one in ranked
        if (points := _published_points(one, key, data))
    ]
    rules = [_rule(one, key, data) for one in groups if not one.ranked and one.arms]
    chart = Chart(
        key=f"rank-{key}",
        title=data.words.text(_TITLES[key][0]),
        caption=data.words.text(_TITLES[key][1]),
        x=_rank_axis({arm.rank for one in ranked for arm in one.arms if arm.rank}, data),
        y=Axis(data.words.text(AXES[key])),
        lines=tuple(lines),
        rules=tuple(rules),
    )
    note = data.words.text("Hollow and dotted: results of the thesis.") if chart.has_published else ""
    return replace(chart, y=_height_axis(chart, key), note=note)


def _rank_axis(ranks: set[int], data: ChartData) -> Axis:
    return Axis(data.words.text(AXES["rank"]), scale="log", ticks=tuple(map(float, sorted(ranks))))


def _height_axis(chart: Chart, key: _Key) -> Axis:
    """Costs: logarithmic where they lie far apart, and from zero where they don't."""
    if key == "accuracy":
        return chart.y
    far_apart = max(chart.heights) > _LOG_FROM_RATIO * min(chart.heights)
    return replace(chart.y, scale="log" if far_apart else "linear", from_zero=not far_apart)


def _point(arm: Arm, key: _Key, data: ChartData) -> Point:
    value = _VALUES[key](arm)
    interval = data.evidence.interval(arm) if key == "accuracy" else None
    low, high = (100 * interval.low, 100 * interval.high) if interval else (None, None)
    text = interval_text(value, low, high) if key == "accuracy" else _WRITERS[key](value)
    return Point(
        x=float(arm.rank or 1),
        y=value,
        label=f"{data.name(arm)}: {text}",
        low=low,
        high=high,
        recommended=data.is_recommended(arm),
    )


def _rule(group: Group, key: _Key, data: ChartData) -> Rule:
    (arm,) = group.arms
    own = _point(arm, key, data)
    return Rule(group.label, own.y, group.look, (own, *_published_points(group, key, data)))


def _published_points(group: Group, key: _Key, data: ChartData) -> tuple[Point, ...]:
    points = []
    for arm in group.arms:
        row = data.published(arm)
        value = _published_value(row, key) if row else None
        if value is not None:
            named = f"{data.name(arm)}: {_WRITERS[key](value)}"
            label = data.words.text("{label} (thesis)", label=named)
            points.append(Point(float(arm.rank or 1), value, label, hollow=True))
    return tuple(points)


def _published_value(row: Published, key: _Key) -> float | None:
    """The thesis's seconds are another machine's and are left out."""
    if key == "time":
        return None
    return row.accuracy_percent if key == "accuracy" else thesis.published_megabytes(row)


def _one_a_size(data: ChartData) -> list[Group]:
    """Groups of one method whose arms have the same size at the same rank as one: they would hide each other."""
    merged: list[list[Group]] = []
    for group in data.groups:
        same = next((others for others in merged if all(_has_same_sizes(group, other) for other in others)), None)
        if same is None:
            merged.append([group])
        else:
            same.append(group)
    names = [data.common_name([group.arms[0] for group in groups]) for groups in merged]
    return [
        Group(
            label=groups[0].label if len(groups) == 1 or names.count(name) > 1 else name,
            arms=_one_a_rank([arm for group in groups for arm in group.arms], data),
            look=groups[0].look,
            ranked=groups[0].ranked,
        )
        for groups, name in zip(merged, names, strict=True)
    ]


def _has_same_sizes(one: Group, other: Group) -> bool:
    sizes = {arm.rank: megabytes(arm) for arm in one.arms}
    shared = [(sizes[arm.rank], megabytes(arm)) for arm in other.arms if arm.rank in sizes]
    same = all(abs(size - other_size) <= SAME_SIZE * size for size, other_size in shared)
    return one.arms[0].method == other.arms[0].method and bool(shared) and same


def _one_a_rank(arms: Sequence[Arm], data: ChartData) -> tuple[Arm, ...]:
    """The recommended arm of each rank, else one that the thesis has too, else the table's first."""
    chosen: dict[int | None, Arm] = {}
    for arm in sorted(arms, key=lambda arm: (data.is_recommended(arm), data.published(arm) is not None), reverse=True):
        chosen.setdefault(arm.rank, arm)
    return tuple(sorted(chosen.values(), key=lambda arm: arm.rank or 0))


def _curve_points(label: str, line: CurveLine, data: ChartData) -> tuple[Point, ...]:
    points = []
    for rank, accuracy, interval in line.points:
        low, high = (100 * interval.low, 100 * interval.high) if interval else (None, None)
        text = f"{label}, r={rank}: {interval_text(100 * accuracy, low, high)}"
        recommended = _is_recommended(line, rank, data)
        points.append(Point(float(rank), 100 * accuracy, text, low=low, high=high, recommended=recommended))
    return tuple(points)


def _is_recommended(line: CurveLine, rank: int, data: ChartData) -> bool:
    """Whether a point is a recommended arm as it was trained."""
    return any(
        arm.rank == rank and (arm.series == line.arm.series if line.separate else arm == line.arm)
        for arm in data.evidence.recommended
    )
