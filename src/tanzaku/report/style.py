"""How figures look: drawn for a column of 8 cm, told apart by shape and dash as well as by colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tanzaku.report import texts

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from tanzaku.analysis.arms import Arm

_SIDE_BY_SIDE = 24  # characters of a legend's text
_LEGEND_ROWS, _LEGEND_ROW_INCHES = 6, 0.14  # that a figure has room for, and the height of one more
_DECADE_FROM_RATIO = 2.2  # on a logarithmic axis that spans less, there may be one round value or none
LEAST_RATIO = 1.02  # of a logarithmic axis's ends; closer, ticks would differ beyond the digits that are written
WIDTH_INCHES = 3.15  # 8 cm, a column of a two-column paper

# Okabe and Ito's palette, safe for the common kinds of colour blindness; ordered so that neighbours differ in grey too.
SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
SERIES_MARKERS = ("o", "s", "^", "D", "v", "P")
SERIES_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))

BASELINE_MARKERS = ("X", "P", "*", "d", "h", "p")
BASELINE_DASHES = ("-", (0, (6, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (8, 1, 1, 1, 1, 1)))
OTHER_COLOUR = "#555555"

BASE_FAMILY = "DejaVu Sans"  # matplotlib brings it along, so figures look the same everywhere
RECOMMENDED_COLOUR = "#D4006A"
# Of what the thesis published.
HOLLOW: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markerfacecolor": "none",
    "markeredgecolor": OTHER_COLOUR,
    "markeredgewidth": 0.9,
}
RING = "_recommended"  # the label of a ring; matplotlib leaves it out of legends
_RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 8.5,
    "markerfacecolor": "none",
    "markeredgecolor": RECOMMENDED_COLOUR,
    "markeredgewidth": 1.1,
}

RC: dict[str, Any] = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.8,
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
    # Outlines in the SVG: it looks the same where the fonts are missing.
    "svg.fonttype": "path",
    # With the date left out (see `write`), equal records give equal bytes.
    "svg.hashsalt": "tanzaku",
}


def draw_ring(axes: Axes, across: float, up: float, **options: Any) -> None:
    """Mark the point of a recommended arm; it has no entry in the legend, see `ring_handle`."""
    axes.plot([across], [up], label=RING, zorder=5, clip_on=False, **_RING, **options)


def ring_handle() -> Line2D:
    """The legend's entry for the rings."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=texts.LEGEND_RECOMMENDED, **_RING)


def mark_decades(axis: Axis, values: Iterable[float]) -> None:
    """Ticks for a logarithmic axis with these positive values on it, in plain numbers.

    With few decades on the axis, powers of ten alone would leave it almost bare.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    found = list(values)
    ratio = max(found) / min(found)
    if 1 < ratio < LEAST_RATIO:
        room = (LEAST_RATIO / ratio) ** 0.5
        set_limits = axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim
        set_limits(min(found) / room, max(found) * room)
    # Around one value alone matplotlib spreads the axis over decades.
    if ratio >= 100 or ratio == 1:
        subs: tuple[float, ...] = (1.0,)
    elif ratio >= 30:
        subs = (1.0, 3.0)
    else:
        subs = (1.0, 2.0, 5.0) if ratio >= 5 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axis.set_major_locator(MaxNLocator(nbins=3) if 1 < ratio < _DECADE_FROM_RATIO else LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:g}"))
    axis.set_minor_locator(NullLocator())


def baseline_colours(arms: Sequence[Arm]) -> list[str]:
    """One for each arm without a rank: its method's; for further arms of a method those of the series, last first."""
    colours = []
    methods = [arm.method for arm in arms]
    for place, arm in enumerate(arms):
        earlier = methods[:place].count(arm.method)
        own = arm.method_class.colour if arm.method_class else OTHER_COLOUR
        colours.append(SERIES_COLOURS[-earlier % len(SERIES_COLOURS)] if earlier else own)
    return colours


def legend_columns(labels: Iterable[str]) -> int:
    """Two, or one where texts are so long that two beside each other would leave the figure."""
    return 2 if all(len(label) <= _SIDE_BY_SIDE for label in labels) else 1


def draw_legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """One legend below the axes. A figure whose legend has more rows than it has room for grows by them."""
    columns = legend_columns(labels) if len(labels) > 2 else 1
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW_INCHES * max(0, rows - _LEGEND_ROWS))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2)


def font_type(figure: Figure) -> int:
    """How a PDF should hold the figure's fonts: as TrueType, which journals ask for, or drawn (Type 3).

    Japanese fonts are often not TrueType, and some viewers don't show them if they are embedded as if they were.
    """
    from matplotlib.text import Text

    families = {family for text in figure.findobj(Text) for family in text.get_fontfamily()}
    return 42 if families <= {BASE_FAMILY, "sans-serif"} else 3


def applied() -> AbstractContextManager[None]:
    """Matplotlib with this style and nothing of the user's own settings, for building and for saving."""
    from matplotlib import style

    return style.context(["default", RC])
