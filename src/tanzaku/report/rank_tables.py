"""The tables of one adapter at several ranks, and what they cost in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tanzaku.analysis.arms import Arm, Estimate
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import CurveLine, RankCurve, RankRow
from tanzaku.report import formats, texts
from tanzaku.report.render import Column, Table
from tanzaku.report.words import Words, words_of

_Cell = Callable[[RankRow], str]


def rank_tables(evidence: Evidence) -> list[Table]:
    """One table an arm that was measured at several ranks: a row a rank."""
    return [_table(curve) for curve in evidence.curves]


def cost_sentences(curve: RankCurve, *, words: Words) -> list[str]:
    """What one run of the arm costs, beside the separately trained arms and beside the one of the largest rank."""
    sentences = [
        words(
            "ranks.cost",
            training=formats.seconds(curve.train_seconds),
            measuring=formats.seconds(curve.measuring_seconds),
            seconds=formats.seconds(curve.train_seconds + curve.measuring_seconds),
            ranks=len(curve.rows),
        )
    ]
    if curve.separate_seconds is not None:
        count, seconds = len(curve.separate), formats.seconds(curve.separate_seconds)
        sentences.append(words("ranks.cost_separate", count=count, seconds=seconds))
    if curve.largest_seconds is not None:
        rank, seconds = curve.rows[-1].rank, formats.seconds(curve.largest_seconds)
        sentences.append(words("ranks.cost_largest", rank=rank, seconds=seconds))
    return sentences


def line_labels(lines: Sequence[CurveLine], names: Sequence[str], *, words: Words) -> list[str]:
    """The names of lines with how they came about: cut from a rank, or each rank trained.

    Args:
        lines: Those of `rank_curves.lines_of`.
        names: Of their arms, without the rank.
        words: Of the language.
    """
    labels = []
    for line, name in zip(lines, names, strict=True):
        if line.separate:
            labels.append(words("chart.curve_separate", label=name))
        else:
            rank = line.arm.rank
            labels.append(name if rank is None else words("chart.curve_cut", label=name, rank=rank))
    return labels


def _table(curve: RankCurve) -> Table:
    columns: list[tuple[Column, _Cell]] = [
        (Column(texts.RANK, numeric=True), lambda row: str(row.rank)),
        (Column(texts.RUNS, numeric=True), lambda row: str(len(row.measured))),
        (Column(texts.ACCURACY, numeric=True), lambda row: _percent(row.accuracy)),
        (Column(texts.INTERVAL, numeric=True), lambda row: formats.interval(row.interval)),
        (Column(texts.INTERVAL_KIND), lambda row: formats.interval_kind(row.interval)),
        (Column(texts.MACRO_F1, numeric=True), lambda row: _percent(row.macro_f1)),
        (Column(texts.SIZE, numeric=True), lambda row: megabytes(row.saved_bytes)),
    ]
    if curve.separate:
        columns += _separate_columns(curve.arm)
    return Table(
        caption=words_of("en")("ranks.caption", arm=formats.arm_name(curve.arm)),
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in curve.rows),
    )


def _separate_columns(arm: Arm) -> list[tuple[Column, _Cell]]:
    def difference(row: RankRow) -> str:
        return formats.points(row.difference.mean) if row.difference else texts.NONE

    def interval(row: RankRow) -> str:
        return formats.points_interval(row.difference.interval) if row.difference else texts.NONE

    def p_value(row: RankRow) -> str:
        return texts.NONE if row.p_value is None else formats.p_value(row.p_value)

    return [
        (Column(texts.SEPARATE_ACCURACY, numeric=True), lambda row: _separate_accuracy(row, arm)),
        (Column(texts.DIFFERENCE, numeric=True), difference),
        (Column(texts.DIFFERENCE_INTERVAL, numeric=True), interval),
        (Column(texts.P_HOLM, numeric=True), p_value),
        (Column(texts.OUTCOME), lambda row: texts.OUTCOMES[row.outcome] if row.outcome else texts.NONE),
    ]


def megabytes(size: Estimate | None) -> str:
    """A mean size in MB."""
    return formats.megabytes(size.mean / 1e6) if size else texts.NONE


def _percent(value: Estimate | None) -> str:
    return formats.percent(value.mean) if value else texts.NONE


def _separate_accuracy(row: RankRow, arm: Arm) -> str:
    if row.separate is arm:
        return texts.ITSELF
    return _percent(row.separate.accuracy) if row.separate else texts.NONE
