"""The page's part on one adapter at several ranks: a table an arm, and accuracy against the rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import CurveLine, RankCurve, RankRow, lines_of
from tanzaku.analysis.statistics import Interval
from tanzaku.report import formats
from tanzaku.report.page.charts import Axis, Chart, Drawing, Line, Point, draw
from tanzaku.report.page.naming import series_name
from tanzaku.report.rank_tables import cost_sentences, line_labels, megabytes
from tanzaku.report.series import distinct_labels, recommended_of
from tanzaku.report.words import Words


@dataclass(frozen=True)
class CurveRow:
    """One rank of an adapter, as the table has it."""

    row: RankRow
    accuracy: str
    interval: Interval | None
    """The one that covers most."""
    separate: str
    """The accuracy of the arm that was trained at this rank alone."""
    megabytes: str


@dataclass(frozen=True)
class CurveTable:
    """An arm that was measured at several ranks."""

    caption: str
    rows: tuple[CurveRow, ...]
    has_separate: bool
    """Whether there are separately trained arms to compare with."""
    cost: tuple[str, ...]
    """Sentences on what it cost."""


def curve_tables(evidence: Evidence, *, words: Words, name: Callable[[Arm], str]) -> list[CurveTable]:
    """One table an arm that was measured at several ranks."""
    return [
        CurveTable(
            caption=words("ranks.caption", arm=name(curve.arm)),
            rows=tuple(_row(row, curve, words) for row in curve.rows),
            has_separate=bool(curve.separate),
            cost=tuple(cost_sentences(curve, words=words)),
        )
        for curve in evidence.curves
    ]


def curve_charts(section: Section, evidence: Evidence, *, words: Words) -> list[Drawing]:
    """Accuracy with its interval against the rank, one line an adapter and one for separately trained ranks."""
    lines = lines_of(evidence.curves, evidence.intervals)
    if not lines:
        return []
    names = [series_name(line.arm, arms=section.arms, words=words) for line in lines]
    labels = line_labels(lines, names, words=words)
    if len(set(labels)) < len(labels):
        labels = line_labels(lines, distinct_labels([line.arm for line in lines]), words=words)
    ranks = sorted({float(rank) for line in lines for rank, _, _ in line.points})
    chart = Chart(
        key="curves",
        title=words("chart.rank_curves"),
        caption=words("chart.rank_curves_caption"),
        x=Axis(words("axis.rank"), scale="log", ticks=tuple(ranks)),
        y=Axis(words("axis.accuracy")),
        lines=tuple(
            Line(label, _points(label, line, evidence), look)
            for look, (label, line) in enumerate(zip(labels, lines, strict=True))
        ),
    )
    return [draw(chart)]


def _row(row: RankRow, curve: RankCurve, words: Words) -> CurveRow:
    separate = row.separate.accuracy if row.separate else None
    return CurveRow(
        row=row,
        accuracy=formats.percent(row.accuracy.mean) if row.accuracy else "–",
        interval=row.interval,
        separate=(
            words("ranks.itself") if row.separate is curve.arm else formats.percent(separate.mean) if separate else "–"
        ),
        megabytes=megabytes(row.saved_bytes),
    )


def _points(label: str, line: CurveLine, evidence: Evidence) -> tuple[Point, ...]:
    return tuple(_point(label, *point, chosen=_is_chosen(line, point[0], evidence)) for point in line.points)


def _is_chosen(line: CurveLine, rank: int, evidence: Evidence) -> bool:
    """Whether a point is a recommended arm as it was trained."""
    return any(
        arm.rank == rank and (arm.series == line.arm.series if line.separate else arm == line.arm)
        for arm in recommended_of(evidence)
    )


def _point(label: str, rank: int, accuracy: float, interval: Interval | None, *, chosen: bool) -> Point:
    told = formats.percent(accuracy) + (f" ({formats.interval(interval)})" if interval else "")
    return Point(
        x=float(rank),
        y=100 * accuracy,
        label=f"{label}, r={rank}: {told}",
        low=100 * interval.low if interval else None,
        high=100 * interval.high if interval else None,
        chosen=chosen,
    )
