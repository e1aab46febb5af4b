"""The charts of a fit's page: the learning curve, and how far probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from tanzaku.analysis.learning_curve import CurvePoint, Gain, LearningCurve
from tanzaku.drawing.charts import Axis, Chart, Line, Point
from tanzaku.drawing.svg import Drawing, draw
from tanzaku.fitting.sentences import why_no_promise
from tanzaku.fitting.verdict import FitFindings
from tanzaku.report import formats
from tanzaku.report.reliability_chart import reliability_chart
from tanzaku.words import Words


def curve_drawing(findings: FitFindings, *, words: Words) -> Drawing | None:
    """Accuracy by the number of training documents, with what more labels would bring; None where it is not known."""
    curve = findings.curve
    if curve is None:
        return None
    measured = tuple(_measured(point) for point in curve.points)
    expected = tuple(_expected(curve, gain, words=words) for gain in curve.gains)
    chart = Chart(
        key="curve",
        title=words.text("Accuracy by the number of training documents"),
        caption=words.text("Hollow points are expected by a power law through the others. Bars are 95 % intervals."),
        x=Axis(words.text("training documents"), scale="log"),
        y=Axis(words.text("accuracy (%)")),
        lines=(Line(words.text("measured"), measured, 0), Line(words.text("expected"), expected, 1, join="none")),
    )
    return draw(chart, recommended=words.text("recommended"))


def _measured(point: CurvePoint) -> Point:
    return Point(
        x=point.labels,
        y=100 * point.accuracy,
        label=f"{formats.count(point.labels)}: {formats.percent(point.accuracy)} %",
        low=100 * point.interval.low,
        high=100 * point.interval.high,
    )


def _expected(curve: LearningCurve, gain: Gain, *, words: Words) -> Point:
    before = curve.points[-1].accuracy + curve.lift
    mean, low, high = (100 * min(1.0, before + value) for value in (gain.mean, gain.low, gain.high))
    label = words.text("{count} more labels: {accuracy} %", count=formats.count(gain.more), accuracy=f"{mean:.2f}")
    return Point(x=curve.start + gain.more, y=mean, label=label, low=low, high=high, hollow=True)


def reliability_drawing(findings: FitFindings, *, name: str, words: Words) -> Drawing | None:
    """The reliability curve of the recommended candidate; None where none was taken."""
    if findings.reliability is None:
        return None
    return draw(reliability_chart([(name, findings.reliability)], words=words), recommended="")


def answer_rows(findings: FitFindings, *, words: Words) -> Sequence[tuple[str, str, str, str]]:
    """For each error rate: the rate, the share of documents that is answered, the probability from which on, and why
    there is none."""
    return [
        (
            f"{100 * rate:g}",
            formats.NONE if found is None else f"{100 * found.coverage:.0f}",
            formats.NONE if found is None else f"{found.probability:.4f}",
            why_no_promise(rate, documents=findings.held_out, words=words) if found is None else "",
        )
        for rate, found in findings.answers
    ]
