"""The tables of one adapter at several ranks, and what they cost in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tanzaku.analysis.arms import Arm, Estimate
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import CurveLine, RankCurve, RankRow
from tanzaku.report import formats
from tanzaku.report.render import Column, Table
from tanzaku.report.terms import INTERVAL_KINDS, OUTCOMES
from tanzaku.report.words import Words

_Cell = Callable[[RankRow], str]


def rank_tables(evidence: Evidence, *, words: Words) -> list[Table]:
    """One table an arm that was measured at several ranks: a row a rank."""
    return [_table(curve, words) for curve in evidence.curves]


def cost_sentences(curve: RankCurve, *, words: Words) -> list[str]:
    """What one run of the arm costs, beside the separately trained arms and beside the one of the largest rank."""
    sentences = [
        words.text(
            "The whole table takes one run: {training} s of training and {measuring} s to measure {ranks}, {seconds} "
            "s in total.",
            training=formats.seconds(curve.train_seconds),
            measuring=formats.seconds(curve.measuring_seconds),
            seconds=formats.seconds(curve.train_seconds + curve.measuring_seconds),
            ranks=words.plural("{n} rank", "{n} ranks", len(curve.rows)),
        )
    ]
    if curve.separate_seconds is not None:
        sentences.append(
            words.plural(
                "One run of the arm trained at one of these ranks takes {seconds} s of training.",
                "One run of each of the {n} arms trained at these ranks takes {seconds} s of training in total.",
                len(curve.separate),
                seconds=formats.seconds(curve.separate_seconds),
            )
        )
    if curve.largest_seconds is not None:
        rank, seconds = curve.rows[-1].rank, formats.seconds(curve.largest_seconds)
        sentences.append(
            words.text(
                "One run at only the largest rank, r={rank}, takes {seconds} s of training.", rank=rank, seconds=seconds
            )
        )
    return sentences


def separate_note(*, words: Words) -> str:
    """What the columns of separately trained arms compare."""
    return words.text(
        "Compared with the arm that was trained only at that rank, with otherwise the same settings. “Not "
        "distinguishable”: the difference may be due to chance (Holm's corrected p is 0.05 or more, over all rows of "
        "these tables). Where one side has a single run, the variation between its seeds is not covered."
    )


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
            labels.append(words.text("{label}, each rank trained", label=name))
        else:
            rank = line.arm.rank
            labels.append(name if rank is None else words.text("{label}, cut from r={rank}", label=name, rank=rank))
    return labels


def _table(curve: RankCurve, words: Words) -> Table:
    columns: list[tuple[Column, _Cell]] = [
        (Column(words.text("Rank"), numeric=True), lambda row: str(row.rank)),
        (Column(words.text("Runs"), numeric=True), lambda row: str(len(row.measured))),
        (Column(words.text("Test accuracy (%)"), numeric=True), lambda row: _percent(row.accuracy)),
        (Column(words.text("95 % interval (%)"), numeric=True), lambda row: formats.interval(row.interval)),
        (
            Column(words.text("Interval covers")),
            lambda row: words.text(INTERVAL_KINDS[row.interval.kind]) if row.interval else formats.NONE,
        ),
        (Column(words.text("Macro-F1 (%)"), numeric=True), lambda row: _percent(row.macro_f1)),
        (Column(words.text("Saved (MB)"), numeric=True), lambda row: megabytes(row.saved_bytes)),
    ]
    if curve.separate:
        columns += _separate_columns(curve.arm, words)
    return Table(
        caption=words.text("{arm}: the trained adapter at each rank", arm=curve.arm.full_name(words)),
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in curve.rows),
    )


def _separate_columns(arm: Arm, words: Words) -> list[tuple[Column, _Cell]]:
    def difference(row: RankRow) -> str:
        return formats.points(row.difference.mean) if row.difference else formats.NONE

    def interval(row: RankRow) -> str:
        return formats.points_interval(row.difference.interval, words=words) if row.difference else formats.NONE

    def p_value(row: RankRow) -> str:
        return formats.NONE if row.p_value is None else formats.p_value(row.p_value)

    return [
        (
            Column(words.text("Trained separately: accuracy (%)"), numeric=True),
            lambda row: _separate_accuracy(row, arm, words),
        ),
        (Column(words.text("Accuracy: difference (points)"), numeric=True), difference),
        (Column(words.text("95 % interval"), numeric=True), interval),
        (Column(words.text("p (Holm)"), numeric=True), p_value),
        (Column(words.text("Outcome")), lambda row: words.text(OUTCOMES[row.outcome]) if row.outcome else formats.NONE),
    ]


def megabytes(size: Estimate | None) -> str:
    """A mean size in MB."""
    return formats.megabytes(size.mean / 1e6) if size else formats.NONE


def _percent(value: Estimate | None) -> str:
    return formats.percent(value.mean) if value else formats.NONE


def _separate_accuracy(row: RankRow, arm: Arm, words: Words) -> str:
    if row.separate is arm:
        return words.text("itself")
    return _percent(row.separate.accuracy) if row.separate else formats.NONE
