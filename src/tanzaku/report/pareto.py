"""The figure of the Pareto fronts: test accuracy against saved size and against training seconds."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import style, texts
from tanzaku.report.comparisons import cost_of
from tanzaku.report.series import baselines_of, recommended_of, series_of

_OFF_FRONT = 0.35  # opacity


def pareto_figure(section: Section, evidence: Evidence) -> Figure | None:
    """Two panels with a common accuracy axis; the front is a staircase, arms off it are pale unless recommended."""
    measured = [arm for arm in section.arms if arm.accuracy and arm.cost("saved_bytes") and arm.cost("train_seconds")]
    if len(measured) < 2:
        return None
    figure = Figure(figsize=(style.WIDTH_INCHES, 2.6))
    panels = figure.subplots(1, 2, sharey=True)
    recommended = recommended_of(evidence)
    for axes, cost, unit, label, front in (
        (panels[0], "saved_bytes", 1e6, texts.AXIS_SIZE, evidence.size_front),
        (panels[1], "train_seconds", 1.0, texts.AXIS_SECONDS, evidence.time_front),
    ):
        on_front = [arm for arm, on in zip(section.arms, front, strict=True) if on]
        handles = _draw(axes, section, on_front, recommended, cost=cost, unit=unit)
        axes.set_xscale("log")
        style.mark_decades(axes.xaxis, [cost_of(arm, cost) / unit for arm in measured])
        axes.set_xlabel(label)
    panels[0].set_ylabel(texts.AXIS_ACCURACY)
    if any(arm in recommended for arm in measured):
        handles.append(style.ring_handle())
    style.draw_legend_below(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def _draw(
    axes: Axes, section: Section, on_front: Sequence[Arm], recommended: Sequence[Arm], *, cost: str, unit: float
) -> list[Line2D]:
    stairs = sorted((cost_of(arm, cost) / unit, 100 * arm.accuracy.mean) for arm in on_front if arm.accuracy)
    axes.step(*zip(*stairs, strict=True), where="post", color=style.OTHER_COLOUR, linewidth=0.8, zorder=1)
    handles = []
    for label, arms, colour, marker in _groups(section):
        for arm in arms:
            if arm.accuracy:
                opacity = 1.0 if arm in on_front or arm in recommended else _OFF_FRONT
                place = (cost_of(arm, cost) / unit, 100 * arm.accuracy.mean)
                axes.plot(*place, marker=marker, color=colour, alpha=opacity, linestyle="none", zorder=2)
                if arm in recommended:
                    style.draw_ring(axes, *place)
        handles.append(Line2D([], [], marker=marker, color=colour, linestyle="none", label=label))
    return handles


def _groups(section: Section) -> list[tuple[str, Sequence[Arm], str, str]]:
    """Label, arms, colour and marker, as the other figures have them."""
    groups: list[tuple[str, Sequence[Arm], str, str]] = []
    for index, series in enumerate(series_of(section)):
        colour = style.SERIES_COLOURS[index % len(style.SERIES_COLOURS)]
        groups.append((series.label, series.arms, colour, style.SERIES_MARKERS[index % len(style.SERIES_MARKERS)]))
    baselines = baselines_of(section)
    colours = style.baseline_colours([arm for _, arm in baselines])
    for index, ((label, arm), colour) in enumerate(zip(baselines, colours, strict=True)):
        groups.append((label, [arm], colour, style.BASELINE_MARKERS[index % len(style.BASELINE_MARKERS)]))
    return groups
