"""The page's tables of results and of costs, and the strip that shows the test set's verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Comparison, Evidence, Recommendation
from tanzaku.analysis.statistics import Interval
from tanzaku.report import formats
from tanzaku.report.chart_data import ChartData
from tanzaku.report.charts import Forest
from tanzaku.report.comparisons import cost_of
from tanzaku.report.draw_svg import Whisker, whisker
from tanzaku.report.front_charts import forest_of, forest_row
from tanzaku.report.names import page_details
from tanzaku.report.series import recommended_of
from tanzaku.report.thesis import Published
from tanzaku.report.words import Words


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
    accuracy: str
    interval: Interval | None
    whisker: Whisker | None
    macro_f1: str
    megabytes: str
    parameters: str
    seconds: str
    milliseconds: str
    """To classify one test document."""
    per_second: str
    """Test documents classified."""
    memory: str
    """In MB."""
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
    arms = sorted(data.section.arms, key=lambda arm: -arm.accuracy.mean if arm.accuracy else 1.0)
    forest = forest_of(data)
    return [_line(arm, data, forest) for arm in arms]


def _line(arm: Arm, data: ChartData, forest: Forest | None) -> ResultLine:
    section, evidence, words = data.section, data.evidence, data.words
    row = forest_row(arm, data)
    interval = evidence.interval(arm)
    milliseconds = milliseconds_per_document(arm, section)
    return ResultLine(
        arm=arm,
        name=arm.full_name(words).head,
        details=page_details(arm, words=words),
        recommended=_badge(arm, evidence, words),
        best=evidence.best == arm,
        accuracy=formats.percent(arm.accuracy.mean) if arm.accuracy else words.text("failed"),
        interval=interval,
        whisker=whisker(forest, row) if forest and row else None,
        macro_f1=formats.percent(arm.macro_f1.mean) if arm.macro_f1 else "–",
        megabytes=_cost(arm, "saved_bytes", lambda size: formats.megabytes(size / 1e6)),
        parameters=_cost(arm, "trainable_parameters", formats.count),
        seconds=_cost(arm, "train_seconds", formats.seconds),
        milliseconds=formats.milliseconds(milliseconds) if milliseconds else "–",
        per_second=formats.rate(1000 / milliseconds) if milliseconds else "–",
        memory=_cost(arm, "peak_memory_bytes", lambda size: formats.count(size / 1e6)),
        compared=tuple(_with(evidence, arm, reference) for reference in evidence.references),
        published=data.published(arm),
    )


def milliseconds_per_document(arm: Arm, section: Section) -> float | None:
    """What classifying a test document took, the mean over the arm's runs; None where no run has it."""
    seconds = arm.cost("test_seconds")
    return 1000 * seconds.mean / section.data.test_documents if seconds and seconds.mean > 0 else None


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
    return words.text("recommended with the encoder") if arm in recommended_of(evidence) else ""


def _cost(arm: Arm, name: str, write: Callable[[float], str]) -> str:
    return write(cost_of(arm, name)) if arm.cost(name) else "–"


def _with(evidence: Evidence, arm: Arm, reference: Arm) -> Comparison | None:
    return next((one for one in evidence.against(reference) if one.arm == arm), None)
