"""Charts of the losses: a training and a validation chart for each line against the rank, and for the other arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm
from tanzaku.analysis.losses import training_losses
from tanzaku.drawing.charts import Axis, Chart, Line, Point
from tanzaku.report.chart_data import ChartData
from tanzaku.words import message

_TITLES = {
    "train": (message("Training loss: {label}"), message("Running mean, one line per run.")),
    "val": (message("Validation loss: {label}"), message("After each epoch, one line per run.")),
}
_UNRANKED = ((message("methods without a rank"), False), (message("methods trained for several ranks"), True))


@dataclass(frozen=True)
class _Curve:
    label: str
    arm: Arm
    look: int


def loss_charts(data: ChartData) -> list[tuple[Chart, ...]]:
    """A row of two charts for each group of arms with a history; one line a run, so that seeds share a look."""
    ranks = sorted({arm.rank for arm in data.section.arms if arm.rank is not None and _has_history(arm)})
    rows: list[tuple[str, list[_Curve], int]] = []
    for group in data.groups:
        if group.ranked:
            arms = [arm for arm in group.arms if _has_history(arm)]
            curves = [_Curve(f"r={arm.rank}", arm, ranks.index(arm.rank)) for arm in arms if arm.rank is not None]
            rows.append((group.label, curves, len(ranks)))
    others = [(one.label, one.arms[0]) for one in data.groups if not one.ranked and _has_history(one.arms[0])]
    curves = [_Curve(label, arm, look) for look, (label, arm) in enumerate(others)]
    for name, several in _UNRANKED:
        members = [one for one in curves if bool(one.arm.ranks) == several]
        label = members[0].label if len(members) == 1 else data.words.text(name)
        rows.append((label, members, 0))
    return [
        _charts(number, label, curves, shades=shades, data=data)
        for number, (label, curves, shades) in enumerate(rows)
        if curves
    ]


def _has_history(arm: Arm) -> bool:
    return any(record.history for record in arm.finished)


def _charts(number: int, label: str, curves: Sequence[_Curve], *, shades: int, data: ChartData) -> tuple[Chart, ...]:
    charts = []
    for key, points_of in (("train", _training_points), ("val", _validation_points)):
        lines = tuple(
            Line(
                curve.label,
                points,
                curve.look,
                marked=key == "val" or len(points) == 1,
                recommended=data.is_recommended(curve.arm),
            )
            for curve in curves
            for points in points_of(curve)
            if points
        )
        if lines:
            charts.append(
                Chart(
                    key=f"loss-{number}-{key}",
                    title=data.words.text(_TITLES[key][0], label=label),
                    caption=data.words.text(_TITLES[key][1]),
                    x=Axis(data.words.text("step"), from_zero=True),
                    y=Axis(data.words.text("loss"), from_zero=True),
                    lines=lines,
                    shades=shades,
                )
            )
    return tuple(charts)


def _training_points(curve: _Curve) -> list[tuple[Point, ...]]:
    return [
        tuple(Point(step, loss, curve.label) for step, loss in training_losses(record)) for record in curve.arm.finished
    ]


def _validation_points(curve: _Curve) -> list[tuple[Point, ...]]:
    return [
        tuple(Point(epoch.steps, epoch.val_loss, f"{curve.label}: {epoch.val_loss:.3f}") for epoch in record.history)
        for record in curve.arm.finished
    ]
