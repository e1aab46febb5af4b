"""A section's figures, as matplotlib figures that are not yet saved; build and save them under `style.applied`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from tanzaku.analysis.arms import POOLING, Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import lines_of
from tanzaku.analysis.statistics import Interval
from tanzaku.report import style, texts, thesis
from tanzaku.report.arm_chart import arms_figure
from tanzaku.report.confusion import confusion_figure
from tanzaku.report.losses import loss_figure
from tanzaku.report.pareto import pareto_figure
from tanzaku.report.rank_tables import line_labels
from tanzaku.report.series import Series, baselines_of, compares_ranks, distinct_labels, recommended_of, series_of
from tanzaku.report.words import words_of

_Value = Callable[[Arm], float | None]
_THESIS_POINTS = "_thesis"  # matplotlib leaves labels with an underscore out of legends; `_finish` adds one for all
_POINT_SIZE = 5.2
_LOG_FROM_RATIO = 20  # a linear axis would press the smaller values onto its bottom


def figures_of(section: Section, evidence: Evidence) -> dict[str, Figure]:
    """Every figure that the section's records allow, by name."""
    compared = compares_ranks(section)  # otherwise there is nothing to see against the rank
    figures = {
        "arms": arms_figure(section, evidence),
        "accuracy": accuracy_figure(section, evidence) if compared else None,
        "ranks": ranks_figure(evidence),
        "time": time_figure(section, evidence) if compared else None,
        "size": size_figure(section, evidence) if compared else None,
        "pareto": pareto_figure(section, evidence),
        "loss": loss_figure(section),
        "confusion": confusion_figure(section, evidence),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def accuracy_figure(section: Section, evidence: Evidence) -> Figure | None:
    """Test accuracy in percent against the rank, with 95 % intervals; baselines across, the thesis's points hollow."""
    series, baselines = series_of(section), baselines_of(section)
    if not series:
        return None
    figure, axes = _rank_axes(_ranks_of(series), texts.AXIS_ACCURACY, height=2.9)
    published = _thesis_accuracy if thesis.is_thesis_data(section.data) else _nothing
    recommended = recommended_of(evidence)
    accuracy_error = partial(_accuracy_error, evidence=evidence)
    for index, one in enumerate(series):
        dodge = 2 ** (0.16 * (index - (len(series) - 1) / 2))
        _draw_series(axes, one, index=index, value=_accuracy, dodge=dodge, error=accuracy_error)
        _draw_thesis_series(axes, one, index=index, published=published, dodge=dodge)
        _draw_rings(axes, one.arms, recommended, value=_accuracy, dodge=dodge)
    last = max(_rank(arm) for one in series for arm in one.arms)
    for index, ((label, arm), colour) in enumerate(zip(baselines, _colours(baselines), strict=True)):
        _draw_baseline(axes, label, arm, index=index, value=_accuracy, colour=colour)
        place, error = last * 2 ** (0.6 + 0.4 * index), accuracy_error([arm])
        axes.errorbar(place, _accuracy(arm) or 0.0, yerr=error, fmt="none", ecolor=colour, elinewidth=0.9, capsize=1.6)
        _draw_thesis(axes, [place], [published(arm)], marker="D", colour=colour)
        if arm in recommended:
            style.draw_ring(axes, place, _accuracy(arm) or 0.0)
    _finish(figure, axes)
    return figure


def ranks_figure(evidence: Evidence) -> Figure | None:
    """Test accuracy of each trained adapter at its ranks, beside arms that were trained at them one by one."""
    lines = lines_of(evidence.curves, evidence.intervals)
    if not lines:
        return None
    figure, axes = _rank_axes({rank for line in lines for rank, _, _ in line.points}, texts.AXIS_ACCURACY, height=2.9)
    labels = line_labels(lines, distinct_labels([line.arm for line in lines]), words=words_of("en"))
    for index, (line, label) in enumerate(zip(lines, labels, strict=True)):
        dodge = 2 ** (0.16 * (index - (len(lines) - 1) / 2))
        shown = [(mean, found or Interval(mean, mean, kind="both")) for _, mean, found in line.points]
        axes.errorbar(
            [rank * dodge for rank, _, _ in line.points],
            [100 * mean for mean, _ in shown],
            yerr=[
                [max(0.0, 100 * (mean - found.low)) for mean, found in shown],
                [max(0.0, 100 * (found.high - mean)) for mean, found in shown],
            ],
            label=label,
            **_look(index),
        )
    _finish(figure, axes)
    return figure


def time_figure(section: Section, evidence: Evidence) -> Figure | None:
    """Training seconds without evaluation against the rank; the thesis's were measured elsewhere and are left out."""

    def seconds(arm: Arm) -> float | None:
        return _mean_cost(arm, "train_seconds")

    series, baselines = series_of(section), baselines_of(section)
    drawn = _cost_axes(series, baselines, texts.AXIS_SECONDS, seconds, recommended_of(evidence))
    if drawn is None:
        return None
    figure, axes = drawn
    _scale_cost_axis(axes, logarithmic=False)
    _finish(figure, axes)
    return figure


def size_figure(section: Section, evidence: Evidence) -> Figure | None:
    """Saved size in MB against the rank, both axes logarithmic, with the thesis's sizes.

    A size depends on the method, the rank and the pooling alone, so there is one line a method and pooling, whatever it
    was trained with.
    """
    recommended = recommended_of(evidence)
    series, baselines = _one_line_a_method(section, recommended)
    drawn = _cost_axes(series, baselines, texts.AXIS_SIZE, _megabytes, recommended)
    if drawn is None:
        return None
    figure, axes = drawn
    if thesis.is_thesis_data(section.data):
        for index, one in enumerate(series):
            _draw_thesis_series(axes, one, index=index, published=_thesis_megabytes)
    _scale_cost_axis(axes, logarithmic=True)
    _finish(figure, axes)
    return figure


def _one_line_a_method(section: Section, recommended: Sequence[Arm]) -> tuple[list[Series], list[tuple[str, Arm]]]:
    """Series and baselines with one arm of each method, pooling and rank: the recommended one, else one that
    the thesis has too, else the table's first."""

    def preference(arm: Arm) -> tuple[bool, bool]:
        return arm in recommended, _thesis_megabytes(arm) is not None

    firsts: dict[tuple[str, int | None], Arm] = {}
    for arm in section.arms:
        key = (_method_and_pooling(arm), arm.rank)
        if _megabytes(arm) and (key not in firsts or preference(arm) > preference(firsts[key])):
            firsts[key] = arm
    lines: dict[str, list[Arm]] = {}
    for (name, rank), arm in firsts.items():
        if rank is not None:
            lines.setdefault(name, []).append(arm)
    series = [Series(name, tuple(sorted(arms, key=_rank))) for name, arms in lines.items()]
    return series, [(name, arm) for (name, rank), arm in firsts.items() if rank is None]


def _method_and_pooling(arm: Arm) -> str:
    name = arm.title.short or arm.title.en
    return f"{name}, {arm.settings[POOLING]}" if POOLING in arm.settings else name


def _cost_axes(
    series: Sequence[Series],
    baselines: Sequence[tuple[str, Arm]],
    label: str,
    value: _Value,
    recommended: Sequence[Arm],
) -> tuple[Figure, Axes] | None:
    if not any(value(arm) for one in series for arm in one.arms):
        return None
    figure, axes = _rank_axes(_ranks_of(series), label, height=2.6)
    for index, one in enumerate(series):
        _draw_series(axes, one, index=index, value=value)
        _draw_rings(axes, one.arms, recommended, value=value)
    for index, ((name, arm), colour) in enumerate(zip(baselines, _colours(baselines), strict=True)):
        if value(arm):
            _draw_baseline(axes, name, arm, index=index, value=value, colour=colour)
            if arm in recommended:  # at the right end of its line
                style.draw_ring(axes, 1.0, value(arm) or 0.0, transform=axes.get_yaxis_transform())
    return figure, axes


def _scale_cost_axis(axes: Axes, *, logarithmic: bool) -> None:
    heights = [float(height) for line in axes.lines for height in line.get_ydata()]  # type: ignore[union-attr, arg-type]
    positive = [height for height in heights if height > 0]
    if not logarithmic and max(positive) < _LOG_FROM_RATIO * min(positive):
        axes.set_ylim(bottom=0)
        return
    axes.set_yscale("log")
    style.mark_decades(axes.yaxis, positive)


def _ranks_of(series: Iterable[Series]) -> set[int]:
    return {arm.rank for one in series for arm in one.arms if arm.rank is not None}


def _rank_axes(found: Iterable[int], label: str, *, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(style.WIDTH_INCHES, height))
    axes = figure.add_subplot()
    ranks = sorted(found)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ranks))
    axes.xaxis.set_major_formatter(FixedFormatter([str(rank) for rank in ranks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(texts.AXIS_RANK)
    axes.set_ylabel(label)
    axes.margins(y=0.08)
    return figure, axes


def _draw_series(
    axes: Axes,
    series: Series,
    *,
    index: int,
    value: _Value,
    dodge: float = 1.0,
    error: Callable[[Sequence[Arm]], Any] | None = None,
) -> None:
    arms = [arm for arm in series.arms if value(arm) is not None]
    axes.errorbar(
        [_rank(arm) * dodge for arm in arms],
        [value(arm) or 0.0 for arm in arms],
        yerr=error(arms) if error else None,
        label=series.label,
        **_look(index),
    )


def _draw_rings(
    axes: Axes, arms: Iterable[Arm], recommended: Sequence[Arm], *, value: _Value, dodge: float = 1.0
) -> None:
    for arm in arms:
        height = value(arm)
        if height is not None and arm in recommended:
            style.draw_ring(axes, _rank(arm) * dodge, height)


def _look(index: int) -> dict[str, Any]:
    """Of a line with error bars."""
    return {
        "color": style.SERIES_COLOURS[index % len(style.SERIES_COLOURS)],
        "marker": style.SERIES_MARKERS[index % len(style.SERIES_MARKERS)],
        "linestyle": style.SERIES_DASHES[index % len(style.SERIES_DASHES)],
        "elinewidth": 0.9,
        "capsize": 1.6,
        "zorder": 3,
    }


def _colours(baselines: Sequence[tuple[str, Arm]]) -> list[str]:
    return style.baseline_colours([arm for _, arm in baselines])


def _draw_baseline(axes: Axes, label: str, arm: Arm, *, index: int, value: _Value, colour: str) -> None:
    dash = style.BASELINE_DASHES[index % len(style.BASELINE_DASHES)]
    axes.axhline(value(arm) or 0.0, label=label, color=colour, linestyle=dash, linewidth=1.0, zorder=2)


def _draw_thesis_series(axes: Axes, series: Series, *, index: int, published: _Value, dodge: float = 1.0) -> None:
    _draw_thesis(
        axes,
        [_rank(arm) * dodge for arm in series.arms],
        [published(arm) for arm in series.arms],
        marker=style.SERIES_MARKERS[index % len(style.SERIES_MARKERS)],
        colour=style.SERIES_COLOURS[index % len(style.SERIES_COLOURS)],
    )


def _draw_thesis(
    axes: Axes,
    places: Sequence[float],
    heights: Sequence[float | None],
    *,
    marker: str,
    colour: str,
) -> None:
    points = [(place, height) for place, height in zip(places, heights, strict=True) if height is not None]
    if not points:
        return
    axes.plot(
        [place for place, _ in points],
        [height for _, height in points],
        label=_THESIS_POINTS,
        linestyle="none",
        marker=marker,
        markersize=_POINT_SIZE,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=0.9,
        zorder=4,
    )


def _finish(figure: Figure, axes: Axes) -> None:
    """One legend below the axes: the lines with error bars, the baselines, and once the thesis's points and rings."""
    drawn: list[Any] = [*axes.containers, *axes.lines]
    entries = [(artist, artist.get_label()) for artist in drawn if not artist.get_label().startswith("_")]
    names = {line.get_label() for line in axes.lines}
    if style.RING in names:
        entries.append((style.ring_handle(), texts.LEGEND_RECOMMENDED))
    if _THESIS_POINTS in names:
        marker = next(line.get_marker() for line in axes.lines if line.get_label() == _THESIS_POINTS)
        entries.append(
            (Line2D([], [], **{**style.HOLLOW, "marker": marker, "markersize": _POINT_SIZE}), texts.LEGEND_THESIS)
        )
    style.draw_legend_below(figure, [handle for handle, _ in entries], [label for _, label in entries])


def _nothing(_: Arm) -> float | None:
    return None


def _accuracy(arm: Arm) -> float | None:
    return 100 * arm.accuracy.mean if arm.accuracy else None


def _accuracy_error(arms: Sequence[Arm], *, evidence: Evidence) -> list[list[float]]:
    """Distances down and up from the mean to the interval's ends, in percentage points."""
    below, above = [], []
    for arm in arms:
        interval, mean = evidence.interval(arm), _accuracy(arm)
        below.append(max(0.0, mean - 100 * interval.low) if interval and mean is not None else 0.0)
        above.append(max(0.0, 100 * interval.high - mean) if interval and mean is not None else 0.0)
    return [below, above]


def _rank(arm: Arm) -> int:
    return arm.rank or 1


def _megabytes(arm: Arm) -> float | None:
    size = _mean_cost(arm, "saved_bytes")
    return size / 1e6 if size else None


def _mean_cost(arm: Arm, name: str) -> float | None:
    value = arm.cost(name)
    return value.mean if value else None


def _thesis_accuracy(arm: Arm) -> float | None:
    row = thesis.published_for(arm)
    return row.accuracy_percent if row else None


def _thesis_megabytes(arm: Arm) -> float | None:
    row = thesis.published_for(arm)
    return thesis.published_megabytes(row) if row else None
