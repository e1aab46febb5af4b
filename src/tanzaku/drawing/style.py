"""How figures look: drawn for a column of 8 cm, told apart by shape and dash as well as by colour."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

WIDTH_INCHES = 3.15  # 8 cm, a column of a two-column paper

# Okabe and Ito's palette, safe for the common kinds of colour blindness, ordered so that neighbours differ in grey too;
# then three darker colours. With six markers, no look is repeated before the eighteenth.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#6A3D9A", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
RULE_DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (8, 1, 1, 1, 1, 1)))
FRONT_COLOUR = "#555555"
DARKEST, LIGHTEST = 0.0, 0.88  # of viridis, for lines in the order of a quantity; beyond, lines fade into the paper
BASE_FAMILY = "DejaVu Sans"  # matplotlib brings it along, so figures look the same everywhere

_FIRST_WIDE, _WIDE = 0x2E80, 1.9  # from here on characters are Japanese, and so many Latin ones wide
_UNBROKEN = re.compile("[\u2e80-\uffef]|[^ \u2e80-\uffef]+ ?| ")
_WORD_JOINER = "\u2060"  # keeps "5e-4" in one line of the page; fonts lack it
_HOLLOW: dict[str, Any] = {"marker": "o", "linestyle": "none", "markerfacecolor": "white"}
PUBLISHED: dict[str, Any] = {**_HOLLOW, "markeredgecolor": FRONT_COLOUR, "markeredgewidth": 0.9}
RING: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markersize": 8.5,
    "markerfacecolor": "none",
    "markeredgecolor": "#D4006A",
    "markeredgewidth": 1.1,
}

_RC: dict[str, Any] = {
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


def plain(text: str) -> str:
    """`text` as matplotlib shows it unchanged: it reads text between two dollar signs as mathematics."""
    return text.replace(_WORD_JOINER, "").replace("$", r"\$")


def text_width(text: str) -> float:
    """About how wide a text is, in Latin characters."""
    return sum(_WIDE if ord(character) >= _FIRST_WIDE else 1 for character in text)


def wrapped(text: str, width: float) -> str:
    """`text` on lines of at most so many Latin characters; between Japanese characters there may be a break too."""
    lines = [""]
    for part in _UNBROKEN.findall(plain(text)):
        if lines[-1] and text_width(lines[-1] + part.rstrip(" ")) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip(" ") for line in lines)


def look(index: int | None, *, shades: int = 0) -> dict[str, Any]:
    """Colour, marker and dash of a line; those of the thin line of a Pareto front for None.

    Args:
        index: The line's look.
        shades: Where not 0, looks are steps on a scale of so many colours, and lines are solid.
    """
    if index is None:
        return {"color": FRONT_COLOUR, "linestyle": "-", "linewidth": 0.8, "marker": "", "zorder": 1}
    marker = MARKERS[index % len(MARKERS)]
    if not shades:
        return {"color": COLOURS[index % len(COLOURS)], "marker": marker, "linestyle": DASHES[index % len(DASHES)]}
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    share = DARKEST + (LIGHTEST - DARKEST) * index / max(1, shades - 1)
    return {"color": to_hex(colormaps["viridis"](share)), "marker": marker, "linestyle": "-"}


def applied(families: Sequence[str] = (BASE_FAMILY,)) -> AbstractContextManager[None]:
    """Matplotlib with this style and nothing of the user's own settings, for building and for saving.

    Args:
        families: Of the fonts; the first that has a character is taken for it.
    """
    from matplotlib import style

    # Japanese fonts are often not TrueType, and some viewers don't show them if a PDF embeds them as if they were, as
    # journals ask for: with them, its characters are drawn (Type 3).
    font_type = 42 if list(families) == [BASE_FAMILY] else 3
    return style.context(["default", _RC, {"font.family": list(families), "pdf.fonttype": font_type}])
