"""The page's tables of results and of costs, and the strip that shows the test set's verdict."""

from __future__ import annotations

from dataclasses import dataclass

from tanzaku.analysis.arms import Arm
from tanzaku.analysis.evidence import Comparison, Evidence, Recommendation
from tanzaku.analysis.series import by_accuracy
from tanzaku.analysis.statistics import Interval
from tanzaku.analysis.thesis import Published
from tanzaku.drawing.charts import Forest
from tanzaku.drawing.svg import Whisker, whisker
from tanzaku.report.chart_data import ChartData
from tanzaku.report.front_charts import forest_of, forest_row
from tanzaku.report.names import page_details
from tanzaku.words import Words


@dataclass(frozen=True)
class ResultLine:
    """One arm in the tables of results and of costs."""

    arm: Arm
    name: str
    """The method and its rank."""
    details: str
    """What else tells it from the other arms."""
    recommended: str
    """The badge of a recommended arm; empty for others."""
    best: bool
    whisker: Whisker | None
    milliseconds: float | None
    """To classify one test document."""
    compared: tuple[Comparison | None, ...]
    """With each reference; None with itself and where predictions are missing."""
    published: Published | None
    """The thesis's figures for this arm."""


@dataclass(frozen=True)
class Strip:
    """The interval of (recommended - best) on a line from `start` to `end`, in percentage points."""

    interval: Interval
    mean: float
    margin: float
    start: float
    end: float

    def place(self, points: float) -> float:
        """Where a number of points stands, in percent of the width."""
        return round(100 * (points - self.start) / (self.end - self.start), 2)


def lines_of(data: ChartData) -> list[ResultLine]:
    """One line an arm, the most accurate on the test set first and those without a finished run last.

    Arms that lie beyond the axis of `forest_of` have no whisker.
    """
    forest = forest_of(data)
    return [_line(arm, data, forest) for arm in by_accuracy(data.section)]


def _line(arm: Arm, data: ChartData, forest: Forest | None) -> ResultLine:
    row = forest_row(arm, data)
    return ResultLine(
        arm=arm,
        name=arm.full_name(data.words).with_rank,
        details=page_details(arm, words=data.words),
        recommended=_badge(arm, data.evidence, data.words),
        best=data.evidence.best == arm,
        whisker=whisker(forest, row) if forest and row else None,
        milliseconds=data.section.milliseconds_per_document(arm),
        compared=tuple(data.evidence.comparison(arm, reference) for reference in data.evidence.references),
        published=data.published(arm),
    )


def strip(recommendation: Recommendation) -> Strip | None:
    """None where there is no difference to show."""
    difference = recommendation.difference
    if difference is None:
        return None
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    margin = 100 * recommendation.margin
    start, end = min(low, -margin, 0.0), max(high, margin, 0.0)
    room = 0.12 * (end - start)
    return Strip(difference.interval, 100 * difference.mean, margin, start - room, end + room)


def _badge(arm: Arm, evidence: Evidence, words: Words) -> str:
    if evidence.recommendation and evidence.recommendation.arm == arm:
        return words.text("recommended")
    return words.text("recommended with the encoder") if arm in evidence.recommended else ""
