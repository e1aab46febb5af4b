"""The page's table of results, its confusion matrices, and the strip that shows the test set's verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tanzaku.report import formats
from tanzaku.report.arms import Arm, Section
from tanzaku.report.comparisons import cost_of
from tanzaku.report.evidence import Comparison, Evidence, Recommendation
from tanzaku.report.words import Words
from tanzaku.study.statistics import Interval


@dataclass(frozen=True)
class Whisker:
    """An interval and its middle as shares of the width that all arms together span."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class ResultLine:
    """One arm in the table of results."""

    arm: Arm
    name: str
    recommended: bool
    best: bool
    accuracy: str
    interval: Interval | None
    whisker: Whisker | None
    macro_f1: str
    megabytes: str
    seconds: str
    compared: tuple[Comparison | None, ...]
    """With each reference; None with itself and where predictions are missing."""


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts over an arm's runs, with each cell's share of its true class."""

    arm: Arm
    runs: int
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


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


def lines_of(section: Section, evidence: Evidence, *, words: Words, name: Callable[[Arm], str]) -> list[ResultLine]:
    """One line an arm, in the section's order."""
    intervals = [evidence.interval(arm) for arm in section.arms]
    known = [interval for interval in intervals if interval]
    span = (min((one.low for one in known), default=0.0), max((one.high for one in known), default=1.0))
    return [
        ResultLine(
            arm=arm,
            name=name(arm),
            recommended=bool(evidence.recommendation and evidence.recommendation.arm == arm),
            best=evidence.best == arm,
            accuracy=formats.percent(arm.accuracy.mean) if arm.accuracy else words("results.failed"),
            interval=interval,
            whisker=_whisker(arm, interval, span),
            macro_f1=formats.percent(arm.macro_f1.mean) if arm.macro_f1 else "–",
            megabytes=formats.megabytes(cost_of(arm, "saved_bytes") / 1e6) if arm.cost("saved_bytes") else "–",
            seconds=formats.seconds(cost_of(arm, "train_seconds")) if arm.cost("train_seconds") else "–",
            compared=tuple(_with(evidence, arm, reference) for reference in evidence.references),
        )
        for arm, interval in zip(section.arms, intervals, strict=True)
    ]


def confusions(section: Section, arms: Sequence[Arm]) -> list[ConfusionMatrix]:
    """One matrix an arm, its runs' counts added."""
    matrices = []
    for arm in arms:
        found = [record.test.confusion for record in arm.finished if record.test]
        counts = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*found, strict=True)]
        rows = tuple(
            (label, tuple((cell, round(cell / max(1, sum(row)), 3)) for cell in row))
            for label, row in zip(section.data.label_names, counts, strict=True)
        )
        matrices.append(ConfusionMatrix(arm, len(found), rows))
    return matrices


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


def _whisker(arm: Arm, interval: Interval | None, span: tuple[float, float]) -> Whisker | None:
    if interval is None or arm.accuracy is None or span[1] <= span[0]:
        return None
    low, middle, high = (
        round(100 * (share - span[0]) / (span[1] - span[0]), 1)
        for share in (interval.low, arm.accuracy.mean, interval.high)
    )
    return Whisker(low, middle, high)


def _with(evidence: Evidence, arm: Arm, reference: Arm) -> Comparison | None:
    return next((one for one in evidence.against(reference) if one.arm == arm), None)
