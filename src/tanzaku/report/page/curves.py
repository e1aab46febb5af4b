"""The page's tables of one adapter at several ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import RankCurve, RankRow
from tanzaku.analysis.statistics import Interval
from tanzaku.report import formats
from tanzaku.report.rank_tables import cost_sentences, megabytes
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
            caption=words.text("{arm}: the trained adapter at each rank", arm=name(curve.arm)),
            rows=tuple(_row(row, curve, words) for row in curve.rows),
            has_separate=bool(curve.separate),
            cost=tuple(cost_sentences(curve, words=words)),
        )
        for curve in evidence.curves
    ]


def _row(row: RankRow, curve: RankCurve, words: Words) -> CurveRow:
    separate = row.separate.accuracy if row.separate else None
    return CurveRow(
        row=row,
        accuracy=formats.percent(row.accuracy.mean) if row.accuracy else "–",
        interval=row.interval,
        separate=(
            words.text("itself") if row.separate is curve.arm else formats.percent(separate.mean) if separate else "–"
        ),
        megabytes=megabytes(row.saved_bytes),
    )
