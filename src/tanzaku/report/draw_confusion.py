"""Confusions as a matplotlib figure: a matrix with row percentages, or with many classes the pairs confused most."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from tanzaku.analysis.confusion import Confusion, Pair
from tanzaku.drawing import style
from tanzaku.drawing.style import plain, text_width, wrapped
from tanzaku.report.fonts import showable
from tanzaku.words import Words

_LONGEST_NAME = 18  # characters; longer ones would leave no room for the matrix
_TITLE_CHARACTERS = 56  # of a line of 8 cm
_DARK_SHARE = 0.3  # of the true class; from here on black figures are hard to read
_MOST_DECIMALS, _MOST_FIGURES = 10, 15  # classes; with more, cells have room for whole per cent, and for none


def draw_confusion(confusion: Confusion, *, name: str, words: Words) -> Figure:
    """The figure of one arm's confusions; `name` is the arm's."""
    labels = showable([_shortened(label) for label in confusion.labels], words=words)
    shown = dict(zip(confusion.labels, labels, strict=True))
    draw = _draw_matrix if confusion.has_matrix else _draw_pairs
    figure, heading = draw(confusion, shown, words=words)
    documents = words.plural(
        "{n:,} test document", "{n:,} test documents", sum(map(sum, confusion.counts)) // confusion.runs
    )
    if confusion.runs > 1:
        documents = words.text("{documents} × {runs} seeds", documents=documents, runs=confusion.runs)
    parts = [words.text("; ").join([heading, documents])]
    if text_width(parts[0]) > _TITLE_CHARACTERS:
        parts = [heading, documents]
    figure.suptitle("\n".join([wrapped(name, _TITLE_CHARACTERS), *parts]), fontsize=7)
    return figure


def _draw_matrix(confusion: Confusion, labels: dict[str, str], *, words: Words) -> tuple[Figure, str]:
    shares = [[cell.share for cell in cells] for _, cells in confusion.rows]
    figure = Figure(figsize=(style.WIDTH_INCHES, style.WIDTH_INCHES))
    axes = figure.add_subplot()
    # With shares themselves, confusions of a few per cent would be as white as none.
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    axes.set_anchor("N")
    size = 6.5 if len(labels) <= _MOST_FIGURES else 5.0
    rows = [f"{label} ({count})" for label, count in zip(labels.values(), confusion.documents, strict=True)]
    axes.xaxis.set_ticks(range(len(labels)), [*labels.values()], fontsize=size)
    axes.yaxis.set_ticks(range(len(labels)), rows, fontsize=size)
    axes.tick_params(length=0)
    for text in axes.get_xticklabels():
        text.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    axes.set_xlabel(words.text("predicted class"))
    axes.set_ylabel(words.text("true class"))
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(labels) <= _MOST_FIGURES:
        _write_percentages(axes, shares)
    return figure, words.text("row percentages")


def _write_percentages(axes: Axes, shares: Sequence[Sequence[float]]) -> None:
    """Each cell's share of its row in per cent; zeros are left out, so that confusions stand out."""
    decimals = 1 if len(shares) <= _MOST_DECIMALS else 0
    for row, cells in enumerate(shares):
        for column, share in enumerate(cells):
            if share:
                text = f"{100 * share:.{decimals}f}"
                colour = "white" if share > _DARK_SHARE else "black"
                shown = "<1" if text == "0" else text
                axes.text(column, row, shown, ha="center", va="center", fontsize=5.5, color=colour)


def _draw_pairs(confusion: Confusion, labels: dict[str, str], *, words: Words) -> tuple[Figure, str]:
    pairs: list[Pair] = confusion.pairs
    figure = Figure(figsize=(style.WIDTH_INCHES, 0.8 + 0.24 * len(pairs)))
    axes = figure.add_subplot()
    places = range(len(pairs))
    axes.barh(places, [pair.cell.documents for pair in pairs], height=0.6, color=style.COLOURS[0])
    names = [f"{labels[pair.true_class]}\n→ {labels[pair.predicted_class]}" for pair in pairs]
    axes.yaxis.set_ticks(places, names, fontsize=5.5)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for place, pair in zip(places, pairs, strict=True):
        axes.text(pair.cell.documents, place, f" {100 * pair.cell.share:.1f} %", va="center", fontsize=5.5)
    axes.set_xlim(right=1.15 * pairs[0].cell.documents)
    axes.set_xlabel(
        words.text("misclassified documents")
        if confusion.runs == 1
        else words.text("misclassified documents, mean of the runs")
    )
    return figure, words.text(
        "the {pairs} most frequent confusions of {classes} classes", pairs=len(pairs), classes=len(labels)
    )


def _shortened(name: str) -> str:
    flat = " ".join(name.split())
    return plain(flat if len(flat) <= _LONGEST_NAME else flat[: _LONGEST_NAME - 1] + "…")
