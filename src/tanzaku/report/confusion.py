"""The figure of the confusions of the arm that does best on the validation set."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from tanzaku.report import formats, style, texts
from tanzaku.report.arms import Section
from tanzaku.report.evidence import Evidence
from tanzaku.report.fonts import showable
from tanzaku.report.words import filled

_LONGEST_NAME = 18  # characters; longer ones would leave no room for the matrix
_DARK_SHARE = 0.3  # of the true class; from here on black figures are hard to read
_MOST_COUNTS = 15  # classes; with more, the cells are too small for figures


def confusion_figure(section: Section, evidence: Evidence) -> Figure | None:
    """Counts over the seeds of the best arm by validation accuracy; the shade is the share of the true class."""
    if evidence.best is None:
        return None
    arm = evidence.best
    matrices = [record.test.confusion for record in arm.finished if record.test]
    counts = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
    names, families = showable([_shortened(name) for name in section.data.label_names])
    figure = Figure(figsize=(style.WIDTH_INCHES, style.WIDTH_INCHES))
    axes = figure.add_subplot()
    shares = [[cell / max(1, sum(row)) for cell in row] for row in counts]
    # With shares themselves, confusions of a few per cent would be as white as none.
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    _label_axes(axes, names, families)
    if len(names) <= _MOST_COUNTS:
        _write_counts(axes, counts, shares)
    title = texts.CONFUSION_TITLE if len(matrices) == 1 else texts.CONFUSION_SEEDS
    documents = sum(map(sum, counts))
    figure.suptitle(filled(title, arm=formats.arm_name(arm), documents=documents, runs=len(matrices)), fontsize=7)
    return figure


def _label_axes(axes: Axes, names: Sequence[str], families: Sequence[str]) -> None:
    size = 6.5 if len(names) <= _MOST_COUNTS else max(2.5, 100 / len(names))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(names)), names, fontfamily=list(families), fontsize=size)
        axis.set_tick_params(length=0)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    axes.set_xlabel(texts.AXIS_PREDICTED)
    axes.set_ylabel(texts.AXIS_TRUE)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_counts(axes: Axes, counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]]) -> None:
    """Each cell's count; zeros are left out, so that confusions stand out."""
    for row, (numbers, row_shares) in enumerate(zip(counts, shares, strict=True)):
        for column, (number, share) in enumerate(zip(numbers, row_shares, strict=True)):
            if number:
                colour = "white" if share > _DARK_SHARE else "black"
                axes.text(column, row, str(number), ha="center", va="center", fontsize=5.5, color=colour)


def _shortened(name: str) -> str:
    flat = " ".join(name.split())
    # matplotlib reads text between two dollar signs as mathematics.
    shown = flat if len(flat) <= _LONGEST_NAME else flat[: _LONGEST_NAME - 1] + "…"
    return shown.replace("$", r"\$")
