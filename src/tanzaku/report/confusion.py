"""The figure of the confusions of the arm that does best on the validation set."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats, style, texts
from tanzaku.report.fonts import showable
from tanzaku.report.words import filled

_LONGEST_NAME = 18  # characters; longer ones would leave no room for the matrix
_TITLE_CHARACTERS = 56  # of a line of 8 cm
_DARK_SHARE = 0.3  # of the true class; from here on black figures are hard to read
_MOST_DECIMALS, _MOST_FIGURES = 10, 15  # classes; with more, cells have room for whole per cent, and for none
_MOST_CLASSES = 20  # with more, a matrix in a column of 8 cm can't be read
_PAIRS = 15


@dataclass(frozen=True)
class _Confusion:
    """Counts of all runs of an arm together, by true class (rows) and predicted class (columns)."""

    arm: Arm
    counts: list[list[int]]
    runs: int

    @cached_property
    def shares(self) -> list[list[float]]:
        """Of the true class's documents."""
        sums = [max(1, sum(row)) for row in self.counts]
        return [[cell / total for cell in row] for row, total in zip(self.counts, sums, strict=True)]

    def title(self, text: str) -> str:
        documents = sum(map(sum, self.counts)) // self.runs
        facts = filled(texts.CONFUSION_DOCUMENTS, documents=documents)
        if self.runs > 1:
            facts = texts.CONFUSION_SEEDS.format(documents=facts, runs=self.runs)
        parts = [f"{text}; {facts}"] if len(text) + len(facts) < _TITLE_CHARACTERS else [text, facts]
        return "\n".join([*textwrap.wrap(formats.arm_name(self.arm), _TITLE_CHARACTERS), *parts])


def confusion_figure(section: Section, evidence: Evidence) -> Figure | None:
    """The best arm's confusions over its seeds: a matrix with row percentages, or with many classes the worst pairs."""
    if evidence.best is None:
        return None
    matrices = [record.test.confusion for record in evidence.best.finished]
    counts = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
    confusion = _Confusion(evidence.best, counts, len(matrices))
    if len(counts) > _MOST_CLASSES:
        return _pairs_figure(confusion, section.data.label_names)
    return _matrix_figure(confusion, section.data.label_names)


def _matrix_figure(confusion: _Confusion, label_names: Sequence[str]) -> Figure:
    names, families = showable([_shortened(name) for name in label_names])
    documents = [sum(row) // confusion.runs for row in confusion.counts]
    figure = Figure(figsize=(style.WIDTH_INCHES, style.WIDTH_INCHES))
    axes = figure.add_subplot()
    # With shares themselves, confusions of a few per cent would be as white as none.
    axes.imshow(confusion.shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    axes.set_anchor("N")
    size = 6.5 if len(names) <= _MOST_FIGURES else 5.0
    rows = [f"{name} ({number})" for name, number in zip(names, documents, strict=True)]
    axes.xaxis.set_ticks(range(len(names)), names, fontfamily=families, fontsize=size)
    axes.yaxis.set_ticks(range(len(names)), rows, fontfamily=families, fontsize=size)
    axes.tick_params(length=0)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(visible=False)
    axes.set_xlabel(texts.AXIS_PREDICTED)
    axes.set_ylabel(texts.AXIS_TRUE)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) <= _MOST_FIGURES:
        _write_percentages(axes, confusion.shares)
    figure.suptitle(confusion.title(texts.CONFUSION_TITLE), fontsize=7)
    return figure


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


def _pairs_figure(confusion: _Confusion, label_names: Sequence[str]) -> Figure | None:
    """The pairs of classes that are confused most often, as bars; None where no document was misclassified."""
    pairs = [
        (count / confusion.runs, true, predicted)
        for true, row in enumerate(confusion.counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    if not pairs:
        return None
    worst = sorted(pairs, key=lambda pair: -pair[0])[:_PAIRS]
    names, families = showable([_shortened(name) for name in label_names])
    figure = Figure(figsize=(style.WIDTH_INCHES, 0.8 + 0.26 * len(worst)))
    axes = figure.add_subplot()
    places = range(len(worst))
    axes.barh(places, [documents for documents, _, _ in worst], height=0.6, color=style.SERIES_COLOURS[0])
    labels = [f"{names[true]}\n→ {names[predicted]}" for _, true, predicted in worst]
    axes.yaxis.set_ticks(places, labels, fontfamily=families, fontsize=5.5)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for place, (documents, true, predicted) in zip(places, worst, strict=True):
        share = f" {100 * confusion.shares[true][predicted]:.1f} %"
        axes.text(documents, place, share, va="center", fontsize=5.5)
    axes.set_xlim(right=1.15 * worst[0][0])
    axes.set_xlabel(texts.AXIS_CONFUSED if confusion.runs == 1 else texts.AXIS_CONFUSED_MEAN)
    title = filled(texts.CONFUSED_PAIRS_TITLE, pairs=len(worst), classes=len(names))
    figure.suptitle(confusion.title(title), fontsize=7)
    return figure


def _shortened(name: str) -> str:
    flat = " ".join(name.split())
    # matplotlib reads text between two dollar signs as mathematics.
    shown = flat if len(flat) <= _LONGEST_NAME else flat[: _LONGEST_NAME - 1] + "…"
    return shown.replace("$", r"\$")
