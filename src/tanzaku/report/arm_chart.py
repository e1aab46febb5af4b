"""The figure of all arms with their intervals, one row each."""

from __future__ import annotations

import textwrap
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import style, texts, thesis
from tanzaku.report.names import short_name
from tanzaku.report.series import in_order, recommended_of
from tanzaku.report.words import words_of

_NAME_CHARACTERS = 30  # of a line beside a row
_ROW_INCHES, _LINE_INCHES, _OTHER_INCHES = 0.1, 0.1, 0.75


def arms_figure(section: Section, evidence: Evidence) -> Figure | None:
    """Test accuracy of every arm with its 95 % interval; the recommended ones have a ring, the thesis's are hollow."""
    arms = [arm for arm in in_order(section) if arm.accuracy]
    if len(arms) < 2:
        return None
    name = partial(short_name, section=section, words=words_of("en"))
    labels = [textwrap.fill(name(arm), _NAME_CHARACTERS) for arm in arms]
    lines = [1 + label.count("\n") for label in labels]
    height = _OTHER_INCHES + sum(_ROW_INCHES + _LINE_INCHES * count for count in lines)
    figure = Figure(figsize=(style.WIDTH_INCHES, height))
    axes = figure.add_subplot()
    # A row is as high as its name.
    places, bottom = [], 0.0
    for count in lines:
        places.append(bottom + (1 + count) / 2)
        bottom += 1 + count
    for place, arm in zip(places, arms, strict=True):
        _draw_row(axes, place, arm, evidence)
        published = thesis.published_for(arm)
        if published and thesis.is_thesis_data(section.data):
            axes.plot(published.accuracy_percent, place, **style.HOLLOW)
    axes.yaxis.set_ticks(places, labels, fontsize=5.8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(bottom, 0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(texts.AXIS_ACCURACY)
    _draw_legend(figure, section, recommended=any(arm in recommended_of(evidence) for arm in arms))
    return figure


def _draw_row(axes: Axes, place: float, arm: Arm, evidence: Evidence) -> None:
    assert arm.accuracy is not None
    mean, interval = 100 * arm.accuracy.mean, evidence.interval(arm)
    if interval:
        axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=style.SERIES_COLOURS[0], zorder=2)
    axes.plot(mean, place, marker="o", color=style.SERIES_COLOURS[0], linestyle="none", zorder=3)
    if arm in recommended_of(evidence):
        style.draw_ring(axes, mean, place)


def _draw_legend(figure: Figure, section: Section, *, recommended: bool) -> None:
    handles = [style.ring_handle()] if recommended else []
    if thesis.beside(section):
        handles.append(Line2D([], [], label=texts.LEGEND_THESIS, **style.HOLLOW))
    if handles:
        style.draw_legend_below(figure, handles, [str(handle.get_label()) for handle in handles])
