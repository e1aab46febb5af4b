"""The figure of the losses: one row of panels per learning rate, training left, validation right."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tanzaku.analysis.arms import Arm, Section
from tanzaku.report import style, texts
from tanzaku.report.series import baselines_of, series_of
from tanzaku.report.words import filled

_SMOOTHED_PARTS = 25  # the running mean spans one part of so many of a curve
_DARKEST, _LIGHTEST = 0.0, 0.88  # of viridis; beyond, lines fade into the paper
_ROW_INCHES, _LEGEND_INCHES, _LEGEND_LINE_INCHES = 1.15, 0.5, 0.125
_LABEL_CHARACTERS = 22  # of a line beside a row
_SHORT_CHARACTERS = 12  # of a legend's text, where four stand side by side
_MOST_MARKERS = 12  # epochs; with more, the markers run into a band


@dataclass(frozen=True)
class _Line:
    label: str
    arm: Arm
    look: dict[str, Any]


def loss_figure(section: Section) -> Figure | None:
    """Losses against the step; None where no finished run has a history. One line a run, so seeds share a colour."""
    rows = _rows(section)
    if not rows:
        return None
    drawn = [line for lines in rows.values() for line in lines]
    looks = {line.label: line.look for line in sorted(drawn, key=lambda line: line.arm.rank or math.inf)}
    columns = 4 if all(len(label) <= _SHORT_CHARACTERS for label in looks) else style.legend_columns(looks)
    legend_inches = _LEGEND_INCHES + _LEGEND_LINE_INCHES * -(-len(looks) // columns)
    figure = Figure(figsize=(style.WIDTH_INCHES, legend_inches + _ROW_INCHES * len(rows)))
    panels = figure.subplots(len(rows), 2, sharey=True, squeeze=False)
    for (name, lines), (training, validation) in zip(rows.items(), panels, strict=True):
        _draw_row(training, validation, lines)
        lines_of_label = name.replace(", ", "\n", 1).split("\n")
        training.set_ylabel("\n".join(textwrap.fill(line, _LABEL_CHARACTERS) for line in lines_of_label))
    panels[0][0].set_title(texts.AXIS_TRAIN_LOSS)
    panels[0][1].set_title(texts.AXIS_VAL_LOSS)
    panels[0][0].set_ylim(bottom=0)
    for axes in panels[-1]:
        axes.set_xlabel(texts.AXIS_STEP)
    handles = [Line2D([], [], **look) for look in looks.values()]
    figure.legend(handles, [*looks], loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=2)
    return figure


def smoothed(values: Sequence[float]) -> list[float]:
    """Running mean over the values up to each place, over a 25th of all of them: a loss of one batch says little."""
    window = max(1, len(values) // _SMOOTHED_PARTS)
    means = []
    for end in range(1, len(values) + 1):
        recent = values[max(0, end - window) : end]
        means.append(sum(recent) / len(recent))
    return means


def _rows(section: Section) -> dict[str, list[_Line]]:
    """A row for each line of the other figures, coloured by rank; then those without one rank, by epochs."""
    ranks = sorted({arm.rank for arm in section.arms if arm.rank is not None and _has_history(arm)})
    colours = {rank: _rank_colour(place, len(ranks)) for place, rank in enumerate(ranks)}
    rows: dict[str, list[_Line]] = {}
    for series in series_of(section):
        for arm in filter(_has_history, series.arms):
            look: dict[str, Any] = {"color": colours[arm.rank or 1], "linestyle": "-"}
            rows.setdefault(series.label, []).append(_Line(f"r={arm.rank}", arm, look))
    trained = [(label, arm) for label, arm in baselines_of(section) if _has_history(arm)]
    trained_colours = style.baseline_colours([arm for _, arm in trained])
    for index, ((label, arm), colour) in enumerate(zip(trained, trained_colours, strict=True)):
        look = {"color": colour, "linestyle": style.BASELINE_DASHES[index % len(style.BASELINE_DASHES)]}
        name = filled(texts.ROW_SEVERAL if arm.ranks else texts.ROW_OTHERS, epochs=arm.epochs)
        rows.setdefault(name, []).append(_Line(label, arm, look))
    return rows


def _draw_row(training: Axes, validation: Axes, lines: Sequence[_Line]) -> None:
    for line in lines:
        for record in line.arm.finished:
            steps = [step for step, _ in record.training_curve]
            training.plot(
                steps,
                smoothed([loss for _, loss in record.training_curve]),
                marker="o" if len(steps) == 1 else None,
                markersize=2.2,
                linewidth=0.9,
                **line.look,
            )
            validation.plot(
                [epoch.steps for epoch in record.history],
                [epoch.val_loss for epoch in record.history],
                marker="o" if len(record.history) <= _MOST_MARKERS else None,
                markersize=2.2,
                linewidth=0.9,
                **line.look,
            )
    longest = max(record.history[-1].steps for line in lines for record in line.arm.finished if record.history)
    for axes in (training, validation):
        axes.set_xlim(0, 1.03 * longest)
        axes.locator_params(axis="x", nbins=4)
        axes.locator_params(axis="y", nbins=5)


def _has_history(arm: Arm) -> bool:
    return any(record.history for record in arm.finished)


def _rank_colour(place: int, ranks: int) -> str:
    share = place / max(1, ranks - 1)
    return to_hex(colormaps["viridis"](_DARKEST + (_LIGHTEST - _DARKEST) * share))
