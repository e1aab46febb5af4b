"""The page's charts: the Pareto fronts, accuracy, time and size against the rank, and the losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats
from tanzaku.report.comparisons import cost_of
from tanzaku.report.losses import smoothed
from tanzaku.report.page.charts import Axis, Chart, Drawing, Line, Point, Rule, draw
from tanzaku.report.page.naming import series_names, short_name
from tanzaku.report.page.published import published_figures
from tanzaku.report.series import Series, baselines_of, recommended_of, series_of
from tanzaku.report.words import Words

Name = Callable[[Arm], str]

_CURVE_POINTS = 60
_LOG_FROM_RATIO = 20  # as in `report.figures`


def front_charts(section: Section, evidence: Evidence, *, words: Words, name: Name) -> list[Drawing]:
    """Test accuracy against megabytes and against training seconds, the fronts as stairs."""
    measured = [arm for arm in section.arms if arm.accuracy and arm.cost("saved_bytes") and arm.cost("train_seconds")]
    if len(measured) < 2:
        return []
    charts = []
    for key, cost, unit, front in (
        ("size", "saved_bytes", 1e6, evidence.size_front),
        ("time", "train_seconds", 1.0, evidence.time_front),
    ):
        on_front = [arm for arm, on in zip(section.arms, front, strict=True) if on]
        members = sorted(on_front, key=partial(cost_of, name=cost))
        lines = [_stairs(members, cost=cost, unit=unit)]
        for look, (label, arms) in enumerate(_groups(section, words, name)):
            points = tuple(
                _front_point(arm, cost_of(arm, cost) / unit, evidence, on_front=arm in members, words=words, name=name)
                for arm in arms
                if arm in measured
            )
            lines.append(Line(label, points, look, join="none"))
        charts.append(
            Chart(
                key=f"front-{key}",
                title=words(f"chart.front_{key}"),
                caption=words("chart.front_caption"),
                x=Axis(words(f"axis.{key}"), scale="log"),
                y=Axis(words("axis.accuracy")),
                lines=tuple(lines),
                note=words("chart.front_members", arms=words("chart.front_separator").join(map(name, members))),
            )
        )
    return [draw(chart) for chart in charts]


def rank_charts(section: Section, evidence: Evidence, *, words: Words, name: Name) -> list[Drawing]:
    """Accuracy with its interval, training seconds and megabytes, each against the rank, where there are several."""
    series = _named_series(section, words)
    ranks = tuple(float(rank) for rank in sorted({arm.rank for _, one in series for arm in one.arms if arm.rank}))
    if len(ranks) < 2:
        return []
    across = Axis(words("axis.rank"), scale="log", ticks=ranks)
    charts = []
    for key, value in (
        ("accuracy", _percent),
        ("time", lambda arm: cost_of(arm, "train_seconds")),
        ("size", lambda arm: cost_of(arm, "saved_bytes") / 1e6),
    ):
        lines = [
            Line(label, tuple(_rank_point(arm, key, value, evidence, name) for arm in one.arms), look)
            for look, (label, one) in enumerate(series)
        ]
        rules = [
            Rule(name(arm), value(arm), len(series) + place, chosen=_is_chosen(arm, evidence))
            for place, (_, arm) in enumerate(baselines_of(section))
            if value(arm) > 0
        ]
        theirs = published_figures(section, series, key=key, words=words, name=name)
        lines, rules = [*lines, *theirs.lines], [*rules, *theirs.rules]
        charts.append(
            Chart(
                key=f"rank-{key}",
                title=words(f"chart.rank_{key}"),
                caption=words(f"chart.rank_{key}_caption"),
                x=across,
                y=_height_axis(key, lines, rules, words),
                lines=tuple(lines),
                rules=tuple(rules),
                note=words("chart.published") if theirs.lines or theirs.rules else "",
            )
        )
    return [draw(chart) for chart in charts]


def loss_charts(section: Section, evidence: Evidence, *, words: Words, name: Name) -> list[Drawing]:
    """For each line of the other charts, and for the methods without a rank or with several: both losses."""
    rows: list[tuple[str, Sequence[tuple[str, Arm]]]] = [
        (label, [(f"r={arm.rank}", arm) for arm in one.arms]) for label, one in _named_series(section, words)
    ]
    others = [(name(arm), arm) for _, arm in baselines_of(section)]
    rows.append((words("chart.without_rank"), [(text, arm) for text, arm in others if not arm.ranks]))
    rows.append((words("chart.several_ranks"), [(text, arm) for text, arm in others if arm.ranks]))
    charts = []
    for number, (label, arms) in enumerate(rows):
        trained = [(text, arm) for text, arm in arms if any(record.history for record in arm.finished)]
        if not trained:
            continue
        for key, curve in (("train", _training_curve), ("val", _validation_curve)):
            lines = [
                Line(text, points, look, marked=key == "val" or len(points) == 1, chosen=_is_chosen(arm, evidence))
                for look, (text, arm) in enumerate(trained)
                for points in curve(arm, text)
                if points
            ]
            if lines:
                charts.append(
                    Chart(
                        key=f"loss-{number}-{key}",
                        title=words(f"chart.loss_{key}", label=label),
                        caption=words(f"chart.loss_{key}_caption"),
                        x=Axis(words("axis.step")),
                        y=Axis(words("axis.loss"), from_zero=True),
                        lines=tuple(lines),
                    )
                )
    return [draw(chart) for chart in charts]


def _height_axis(key: str, lines: Sequence[Line], rules: Sequence[Rule], words: Words) -> Axis:
    """Logarithmic where costs lie far apart, and from zero where they don't."""
    heights = [*(point.y for line in lines for point in line.points), *(rule.y for rule in rules)]
    far_apart = key != "accuracy" and max(heights) > _LOG_FROM_RATIO * min(heights) > 0
    from_zero = key != "accuracy" and not far_apart
    return Axis(words(f"axis.{key}"), scale="log" if far_apart else "linear", from_zero=from_zero)


def _named_series(section: Section, words: Words) -> list[tuple[str, Series]]:
    series = series_of(section)
    return list(zip(series_names(series, arms=section.arms, words=words), series, strict=True))


def _stairs(members: Sequence[Arm], *, cost: str, unit: float) -> Line:
    corners = sorted((cost_of(arm, cost) / unit, _percent(arm)) for arm in members)
    return Line("", tuple(Point(x, y, "") for x, y in corners), None, join="stairs", marked=False)


def _groups(section: Section, words: Words, name: Name) -> list[tuple[str, Sequence[Arm]]]:
    return [
        *((label, one.arms) for label, one in _named_series(section, words)),
        *((name(arm), [arm]) for _, arm in baselines_of(section)),
    ]


def _front_point(arm: Arm, cost: float, evidence: Evidence, *, on_front: bool, words: Words, name: Name) -> Point:
    chosen = _is_chosen(arm, evidence)
    return Point(
        x=cost,
        y=_percent(arm),
        label=f"{name(arm)}: {_percent(arm):.2f} %",
        hollow=not on_front,
        chosen=chosen,
        name=short_name(arm, words=words) if on_front or chosen else "",
    )


def _rank_point(arm: Arm, key: str, value: Callable[[Arm], float], evidence: Evidence, name: Name) -> Point:
    interval = evidence.interval(arm) if key == "accuracy" else None
    told = {
        "accuracy": formats.percent(value(arm) / 100) + (f" ({formats.interval(interval)})" if interval else ""),
        "time": formats.seconds(value(arm)),
        "size": formats.megabytes(value(arm)),
    }[key]
    return Point(
        x=float(arm.rank or 1),
        y=value(arm),
        label=f"{name(arm)}: {told}",
        low=100 * interval.low if interval else None,
        high=100 * interval.high if interval else None,
        chosen=_is_chosen(arm, evidence),
    )


def _is_chosen(arm: Arm, evidence: Evidence) -> bool:
    return arm in recommended_of(evidence)


def _training_curve(arm: Arm, label: str) -> list[tuple[Point, ...]]:
    curves = []
    for record in arm.finished:
        steps = [step for step, _ in record.training_curve]
        losses = smoothed([loss for _, loss in record.training_curve])
        stride = max(1, len(steps) // _CURVE_POINTS)
        curves.append(tuple(Point(x, y, label) for x, y in list(zip(steps, losses, strict=True))[::stride]))
    return curves


def _validation_curve(arm: Arm, label: str) -> list[tuple[Point, ...]]:
    return [
        tuple(Point(epoch.steps, epoch.val_loss, f"{label}: {epoch.val_loss:.3f}") for epoch in record.history)
        for record in arm.finished
    ]


def _percent(arm: Arm) -> float:
    return 100 * arm.accuracy.mean if arm.accuracy else float("nan")
