"""The reliability curve: the share of correct labels against their probability."""

from __future__ import annotations

from collections.abc import Sequence

from tanzaku.analysis.reliability import Reliability
from tanzaku.drawing.charts import Axis, Chart, Line, Point
from tanzaku.report import formats
from tanzaku.report.chart_data import ChartData
from tanzaku.words import Words

_TICKS = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)


def reliability_chart(found: Sequence[tuple[str, Reliability]], *, words: Words, recommended: str = "") -> Chart:
    """One line for each classifier, and the diagonal of probabilities that are exactly right.

    Args:
        found: The classifiers' names and curves.
        words: The language.
        recommended: The name of the recommended one, if any.
    """
    lines = [
        Line(name, tuple(_points(name, one)), look, recommended=name == recommended)
        for look, (name, one) in enumerate(found)
    ]
    diagonal = Line("", (Point(0, 0, ""), Point(100, 100, "")), None, marked=False)
    return Chart(
        key="calibration",
        title=words.text("Reliability of the probabilities"),
        caption=words.text(
            "On the thin line, a probability is exactly the share of correct labels; below it, the classifier is too "
            "sure. Each point has equally many documents. Bars are 95 % intervals."
        ),
        x=Axis(words.text("mean probability (%)"), ticks=_TICKS, limits=(0, 100)),
        y=Axis(words.text("correct labels (%)"), ticks=_TICKS, limits=(0, 100)),
        lines=(diagonal, *lines),
        note=words.joined(_error(name, one, words=words) for name, one in found),
    )


def reliability_of_arms(data: ChartData) -> Chart | None:
    """Of the recommended and the best arm, each by its run that is best on the validation set; None without any."""
    found = [(data.name(arm), one) for arm, one in data.evidence.reliabilities]
    recommended = next((data.name(arm) for arm, _ in data.evidence.reliabilities if data.is_recommended(arm)), "")
    return reliability_chart(found, words=data.words, recommended=recommended) if found else None


def _points(name: str, found: Reliability) -> list[Point]:
    return [
        Point(
            x=100 * one.probability,
            y=100 * one.accuracy,
            label=f"{name}: {formats.percent(one.probability)} → {formats.percent(one.accuracy)} %",
            low=100 * one.interval[0],
            high=100 * one.interval[1],
        )
        for one in found.bins
    ]


def _error(name: str, found: Reliability, *, words: Words) -> str:
    return words.text(
        "{name}: the expected calibration error is {error} points on {documents}; if every probability were right, "
        "chance would make it {chance}.",
        name=name,
        error=formats.percent(found.error),
        chance=formats.percent(found.error_by_chance),
        documents=words.plural("{n:,} document", "{n:,} documents", found.documents),
    )
