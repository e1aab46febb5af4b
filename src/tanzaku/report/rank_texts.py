"""One adapter at several ranks in words: what it costs, what it is compared with, and the names of its lines."""

from __future__ import annotations

from collections.abc import Sequence

from tanzaku.analysis.rank_curves import CurveLine, RankCurve
from tanzaku.report import formats
from tanzaku.words import Words


def cost_sentences(curve: RankCurve, *, words: Words) -> list[str]:
    """What one run of the arm costs, compared with the separately trained arms and with the one of the largest rank."""
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
