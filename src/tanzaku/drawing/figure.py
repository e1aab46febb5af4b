"""Charts as matplotlib figures for files; build and save them under `style.applied`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from tanzaku.drawing import style
from tanzaku.drawing.charts import Axis, Chart, Forest, ForestRow, Line, Point
from tanzaku.drawing.scales import Span, shifts
from tanzaku.drawing.style import plain, wrapped

PUBLISHED, RING, CUT = "_published", "_recommended", "_cut"  # matplotlib leaves such labels out of legends
_CHART_INCHES, _ROW_INCHES = 2.3, 1.25  # height of the only row, and of one of several
_SIDE_BY_SIDE, _LEGEND_CHARACTERS = 24, 56  # characters of a legend's text
_IN_FOURS = 26  # characters of four texts in one row of a legend
_LEGEND_LINE_INCHES = 0.14
_TITLE_CHARACTERS = 27  # of a line above one of two charts
_TITLE_LINE_INCHES = 0.12  # of one more line
_NAME_CHARACTERS = 30  # of a line next to a row of a forest plot
_FOREST_ROW_INCHES, _FOREST_LINE_INCHES, _FOREST_OTHER_INCHES = 0.1, 0.1, 0.6
_TICK_POINTS, _DIGIT_POINTS = 14, 4.4  # least distance of two ticks, and the width of one of their characters
_POINTS_AN_INCH = 72
_MOST_MARKERS = 12  # of a line; of more points, not all have one


def draw_charts(rows: Sequence[Sequence[Chart]], *, recommended: str, published: str) -> Figure:
    """Rows of charts with one legend below; charts of one figure share their vertical axis.

    Args:
        rows: One chart or two in each.
        recommended: The legend's text for the ring.
        published: The legend's text for the thesis's values.
    """
    charts = [chart for row in rows for chart in row]
    columns = max(map(len, rows))
    entries = _legend_entries(charts, recommended=recommended, published=published)
    legend_columns, legend_inches = _legend_size(list(entries))
    titles = {chart.key: wrapped(chart.title, _TITLE_CHARACTERS) if len(charts) > 1 else "" for chart in charts}
    title_lines = sum(max(titles[chart.key].count("\n") for chart in row) for row in rows)
    inches = (_CHART_INCHES if len(rows) == 1 else _ROW_INCHES * len(rows)) + _TITLE_LINE_INCHES * title_lines
    figure = Figure(figsize=(style.WIDTH_INCHES, inches + legend_inches))
    grid = figure.subplots(len(rows), columns, sharey=True, squeeze=False)
    up = Span.over([height for chart in charts for height in chart.heights], charts[0].y)
    for row, panels in zip(rows, grid, strict=True):
        for chart, axes in zip(row, panels, strict=False):
            _draw_chart(
                axes,
                chart,
                up,
                width=(style.WIDTH_INCHES - 0.5) / columns,
                height=0.7 * inches / len(rows),
                thin=len(charts) > 1,
            )
            axes.set_title(titles[chart.key])
            if axes is panels[0]:
                axes.set_ylabel(plain(chart.y.label))
        for axes in panels[len(row) :]:
            axes.set_visible(False)
    for chart, axes in zip(rows[-1], grid[-1], strict=False):
        axes.set_xlabel(plain(chart.x.label))
    _draw_legend(figure, entries, columns=legend_columns)
    return figure


def draw_forest(forest: Forest, *, recommended: str, published: str) -> Figure:
    """One row an arm, as high as its name; see `draw_charts` for the texts."""
    labels = [wrapped(row.label, _NAME_CHARACTERS) for row in forest.rows]
    lines = [1 + label.count("\n") for label in labels]
    entries: dict[str, Artist] = {}
    if any(row.recommended for row in forest.rows):
        entries[recommended] = Line2D([], [], **style.RING)
    if any(row.published is not None for row in forest.rows):
        entries[published] = Line2D([], [], **style.PUBLISHED)
    columns, legend_inches = _legend_size(list(entries))
    inches = _FOREST_OTHER_INCHES + sum(_FOREST_ROW_INCHES + _FOREST_LINE_INCHES * count for count in lines)
    figure = Figure(figsize=(style.WIDTH_INCHES, inches + legend_inches))
    axes = figure.subplots()
    places, bottom = [], 0.0
    for count in lines:
        places.append(bottom + (1 + count) / 2)
        bottom += 1 + count
    across = Span.over([], forest.x)
    _set_axis(axes, "x", forest.x, across, length=0.55 * style.WIDTH_INCHES)
    for place, row in zip(places, forest.rows, strict=True):
        _draw_forest_row(axes, place, row, across)
    axes.yaxis.set_ticks(places, labels, fontsize=5.8)
    axes.tick_params(axis="y", length=0, pad=5)
    axes.set_ylim(bottom, 0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(plain(forest.x.label))
    _draw_legend(figure, entries, columns=columns)
    return figure


def _draw_chart(axes: Axes, chart: Chart, up: Span, *, width: float, height: float, thin: bool) -> None:
    across = Span.over([point.x for line in chart.lines for point in line.points], chart.x, reserved=chart.reserved)
    _set_axis(axes, "x", chart.x, across, length=width, character=_DIGIT_POINTS, end=1 - chart.reserved)
    _set_axis(axes, "y", chart.y, up, length=height)
    for line, moved in zip(chart.lines, shifts(chart, across, up), strict=True):
        places = [
            across.value(across.share(point.x) + shift) if shift else point.x
            for point, shift in zip(line.points, moved, strict=True)
        ]
        thickness = 1.6 if chart.is_thick(line) else 0.9 if thin else 1.2
        _draw_line(axes, line, places, shades=chart.shades, thickness=thickness, thin=thin)
    _draw_rules(axes, chart, across)


def _draw_rules(axes: Axes, chart: Chart, across: Span) -> None:
    for number, rule in enumerate(chart.rules):
        look = {**style.look(rule.look), "linestyle": "none"}
        dash = style.RULE_DASHES[number % len(style.RULE_DASHES)]
        axes.axhline(rule.y, label=rule.label, color=look["color"], linestyle=dash, linewidth=1.0, zorder=2)
        place = across.value(chart.rule_share(number))
        for point in rule.points:
            _draw_point(axes, point, place, look)


def _draw_line(axes: Axes, line: Line, places: Sequence[float], *, shades: int, thickness: float, thin: bool) -> None:
    look = style.look(line.look, shades=shades)
    if line.join != "none":
        path = {**look, "marker": ""}
        if line.published:
            path.update(linestyle=":", linewidth=0.8)
        elif line.look is not None:
            path["linewidth"] = thickness
        steps = "steps-post" if line.join == "stairs" else "default"
        axes.plot(places, [point.y for point in line.points], drawstyle=steps, label=line.label or "_front", **path)
    if line.marked:
        # Of a long curve, such as losses, not every point; but every arm, interval and ring.
        plain = line.join != "none" and all(point.low is None and not point.recommended for point in line.points)
        stride = max(1, len(places) // _MOST_MARKERS) if plain else 1
        for point, place in list(zip(line.points, places, strict=True))[::stride]:
            small = {"markersize": 2.4} if thin and line.join != "none" else {}
            _draw_point(axes, point, place, {**look, **small, "linestyle": "none"})


def _draw_point(axes: Axes, point: Point, place: float, look: dict[str, Any]) -> None:
    if point.low is not None and point.high is not None:
        error = [[max(0.0, point.y - point.low)], [max(0.0, point.high - point.y)]]
        axes.errorbar(
            place, point.y, yerr=error, fmt="none", ecolor=look["color"], elinewidth=0.9, capsize=1.6, zorder=3
        )
    face = {"markerfacecolor": "white", "markeredgewidth": 0.9} if point.hollow else {}
    label = f"_{point.label}"
    axes.plot([place], [point.y], **{**look, **face, "label": label, "zorder": 4 if point.hollow else 3})
    if point.recommended:
        axes.plot([place], [point.y], label=RING, zorder=5, clip_on=False, **style.RING)


def _draw_forest_row(axes: Axes, place: float, row: ForestRow, across: Span) -> None:
    """What lies beyond the axis is cut, with an arrow at its end."""
    start, end = across.ends
    colour = style.COLOURS[0]
    axes.plot([max(start, row.low), min(end, row.high)], [place, place], color=colour, zorder=2, label="_interval")
    for beyond, edge, arrow in ((row.low < start, start, "<"), (row.high > end, end, ">")):
        if beyond:
            axes.plot(edge, place, marker=arrow, color=colour, linestyle="none", clip_on=False, label=CUT)
    if not start <= row.mean <= end:
        text = f"{row.mean:.2f}"
        left = row.mean < start
        axes.annotate(
            text,
            (start if left else end, place),
            xytext=(5 if left else -5, 0),
            textcoords="offset points",
            ha="left" if left else "right",
            va="center",
            fontsize=5.8,
        )
    else:
        axes.plot(row.mean, place, marker="o", color=colour, linestyle="none", zorder=3, label="_mean")
    if row.recommended:
        axes.plot(min(max(row.mean, start), end), place, label=RING, zorder=5, clip_on=False, **style.RING)
    if row.published is not None:
        axes.plot(row.published, place, label=PUBLISHED, zorder=4, **style.PUBLISHED)


def _set_axis(
    axes: Axes, which: str, axis: Axis, span: Span, *, length: float, character: float = 0.0, end: float = 1.0
) -> None:
    """Scale, limits and ticks; `length` in inches, see `Span.ticks` for the rest."""
    set_scale, set_limits = (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    set_scale(axis.scale)
    set_limits(*span.ends)
    ticks = span.ticks(axis, length=length * _POINTS_AN_INCH, least=_TICK_POINTS, character=character, end=end)
    drawn = axes.xaxis if which == "x" else axes.yaxis
    drawn.set_major_locator(FixedLocator([value for value, _ in ticks]))
    drawn.set_major_formatter(FixedFormatter([text for _, text in ticks]))
    drawn.set_minor_locator(NullLocator())


def _legend_entries(charts: Sequence[Chart], *, recommended: str, published: str) -> dict[str, Artist]:
    """One entry a label: lines in the order of a quantity first and by it, then lines and rules as they come."""
    entries: dict[str, Artist] = {}
    ordered = [(chart, line) for chart in charts for line in chart.lines if line.label and not line.published]
    ordered.sort(key=lambda one: (not one[0].shades, (one[1].look or 0) if one[0].shades else 0))
    for chart, line in ordered:
        look = style.look(line.look, shades=chart.shades)
        changes: dict[str, Any] = {"linestyle": "none"} if line.join == "none" else {}
        changes |= {} if line.marked and not chart.shades else {"marker": ""}
        label = line.label
        if line.recommended and not chart.has_ring:
            label = f"{label} ({recommended})"
            changes |= {"linewidth": 1.6} if chart.is_thick(line) else {}
        if not entries.get(label):
            entries[label] = Line2D([], [], **{**look, **changes})
    for chart in charts:
        for number, rule in enumerate(chart.rules):
            dash = style.RULE_DASHES[number % len(style.RULE_DASHES)]
            entries.setdefault(rule.label, Line2D([], [], **{**style.look(rule.look), "linestyle": dash}))
    if any(chart.has_ring for chart in charts):
        entries[recommended] = Line2D([], [], **style.RING)
    if any(chart.has_published for chart in charts):
        entries[published] = Line2D([], [], **style.PUBLISHED)
    return entries


def _legend_size(labels: Sequence[str]) -> tuple[int, float]:
    """Columns that leave no text outside the figure, and the height of so many rows in inches."""
    widths = sorted(map(style.text_width, labels), reverse=True)
    columns = 1 if len(labels) < 3 or widths[0] > _SIDE_BY_SIDE else 4 if sum(widths[:4]) <= _IN_FOURS else 2
    lines = sum(1 + wrapped(label, _LEGEND_CHARACTERS).count("\n") for label in labels)
    return columns, _LEGEND_LINE_INCHES * -(-lines // columns)


def _draw_legend(figure: Figure, entries: dict[str, Artist], *, columns: int) -> None:
    if entries:
        labels = [wrapped(label, _LEGEND_CHARACTERS) for label in entries]
        figure.legend(
            [*entries.values()], labels, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=2.6
        )
