"""The thesis's figures in the charts against the rank: lines for arms with a rank, rules for those without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.report import formats, thesis
from tanzaku.report.page.charts import Line, Point, Rule
from tanzaku.report.series import Series, baselines_of
from tanzaku.report.thesis import Published
from tanzaku.report.words import Words


@dataclass(frozen=True)
class PublishedFigures:
    """What the thesis adds to one chart."""

    lines: tuple[Line, ...]
    rules: tuple[Rule, ...]


def published_figures(
    section: Section, series: Sequence[tuple[str, Series]], *, key: str, words: Words, name: Callable[[Arm], str]
) -> PublishedFigures:
    """Accuracies and sizes that the thesis has for these arms; its seconds are another machine's and are left out.

    Args:
        section: The arms; where its data is not the thesis's, there is nothing to show.
        series: The lines of the chart with their labels, in the order of their looks.
        key: What the chart shows: "accuracy", "size" or "time".
        words: Of the page's language.
        name: An arm's name.
    """
    if key == "time" or not thesis.is_thesis_data(section.data):
        return PublishedFigures((), ())
    lines = []
    for look, (label, one) in enumerate(series):
        points = tuple(
            Point(float(arm.rank or 1), value, words("chart.of_thesis", label=f"{name(arm)}: {told}"), hollow=True)
            for arm in one.arms
            if (row := thesis.published_for(arm))
            for value, told in (_value(row, key),)
        )
        if points:
            lines.append(Line(words("chart.of_thesis", label=label), points, look, published=True))
    rules = [
        Rule(words("chart.of_thesis", label=name(arm)), _value(row, key)[0], len(series) + place)
        for place, (_, arm) in enumerate(baselines_of(section))
        if (row := thesis.published_for(arm))
    ]
    return PublishedFigures(tuple(lines), tuple(rules))


def _value(row: Published, key: str) -> tuple[float, str]:
    if key == "accuracy":
        return row.accuracy_percent, formats.percent(row.accuracy_percent / 100)
    size = thesis.published_megabytes(row)
    return size, formats.megabytes(size)
