"""The table of candidates, and what they are called. For the page and the terminal."""

from __future__ import annotations

from tanzaku.fitting.verdict import FitFindings, TriedCandidate
from tanzaku.report import formats
from tanzaku.report.names import joined
from tanzaku.report.render import Column, Table
from tanzaku.words import Words, message

_NARROWEST = 20  # characters of a column of words, in a terminal
_FORMS = {
    "text": "",
    "whole": message("with the encoder"),
    "int8": message("with the encoder, 8 bits"),
    "int4": message("with the encoder, 4 bits"),
    "stored": message("with the encoder"),
    "adapter": message("adapter only"),
}
REASONS = {
    "megabytes": message("larger than --max-mb allows"),
    "milliseconds": message("slower than --max-ms allows"),
    "memory": message("more memory than --max-memory-mb allows"),
    "time": message("no time left"),
    "failed": message("failed"),
}


def candidate_name(candidate: TriedCandidate, *, words: Words) -> str:
    """The arm with the form in which it is packed."""
    name = str(candidate.names[words.language])
    if not (form := _FORMS[candidate.form]):
        return name
    return words.text("{name} ({form})", name=name, form=words.text(form))


def candidate_parts(candidate: TriedCandidate, *, words: Words) -> tuple[str, str]:
    """The method with its rank, and what else there is to its name."""
    name = candidate.names[words.language]
    form = _FORMS[candidate.form]
    return joined(name.with_rank), ", ".join([*map(joined, name.details), *([words.text(form)] if form else [])])


def by_size(findings: FitFindings) -> list[TriedCandidate]:
    """The candidates in the order of the table, the smallest first."""
    return sorted(findings.candidates, key=_size)


def candidates_table(findings: FitFindings, *, words: Words) -> Table:
    """Every candidate: how it did and what it costs, or why it dropped out; the smallest first."""
    by_f1 = is_by_f1(findings)
    columns = (
        Column(words.text("Candidate")),
        Column(words.text("Accuracy (%)"), numeric=True, place=1),
        Column(words.text("95 % interval"), numeric=True, place=7),
        *((Column(words.text("Macro-F1 (%)"), numeric=True, place=2),) if by_f1 else ()),
        Column(words.text("Difference from the best"), numeric=True, place=6),
        Column(words.text("Total size (MB)"), numeric=True, place=3),
        Column(words.text("ms per document"), numeric=True, place=5),
        Column(words.text("Documents per second"), numeric=True, place=8),
        Column(words.text("Memory (MB)"), numeric=True, place=9),
        Column(words.text("Remarks"), place=4, narrowest=_NARROWEST),
    )
    caption = words.text("All candidates, the smallest first")
    return Table(caption, columns, tuple(_row(one, words, by_f1=by_f1) for one in by_size(findings)))


def _row(one: TriedCandidate, words: Words, *, by_f1: bool) -> tuple[str, ...]:
    selected, costs = one.selected, one.costs
    difference = selected.from_best if selected else None
    return (
        candidate_name(one, words=words),
        formats.percent(selected.accuracy) if selected else formats.NONE,
        formats.interval(selected.interval if selected else None),
        *((formats.percent(selected.score) if selected else formats.NONE,) if by_f1 else ()),
        formats.points(difference.mean) if difference else formats.NONE,
        megabytes_of(one, words),
        formats.milliseconds(costs.milliseconds) if costs else formats.NONE,
        formats.rate(costs.documents_per_second) if costs else formats.NONE,
        formats.count(costs.memory_bytes / 1e6) if costs else formats.NONE,
        remark(one, words=words),
    )


def remark(one: TriedCandidate, *, words: Words) -> str:
    """Whether a candidate was taken, and if not, what else there is to report of it."""
    if one.recommended:
        return words.text("recommended")
    if one.reason is not None:
        return _why(one, words)
    if one.selected is None:
        return ""
    if one.selected.at_chance:
        return words.text("not distinguishable from always answering the most frequent class")
    if one.best:
        return words.text("best")
    return words.text("not distinguishable from the best") if one.selected.indistinct else ""


def _why(one: TriedCandidate, words: Words) -> str:
    """Why a candidate dropped out."""
    if one.reason == "worse" and (behind := one.behind) is not None:
        return words.text(
            "worse than the best: {score} % compared with {best} % on {documents} ({folds})",
            score=formats.percent(behind.score),
            best=formats.percent(behind.best),
            documents=words.plural("{n:,} document", "{n:,} documents", behind.documents),
            folds=words.plural("{n} fold", "{n} folds", behind.folds),
        )
    if one.reason == "time" and one.needed_seconds is not None:
        return words.text(
            "no time left; it would need about {duration} more", duration=_about(one.needed_seconds, words)
        )
    text = words.text(REASONS[one.reason]) if one.reason else ""
    return f"{text}: {one.detail}" if one.detail else text


def _about(seconds: float, words: Words) -> str:
    if seconds < 90:
        return words.text("{seconds:.0f} s", seconds=seconds)
    return words.text("{minutes:.0f} min", minutes=seconds / 60)


def is_by_f1(findings: FitFindings) -> bool:
    """Whether candidates were compared by macro-F1, and not by the accuracy."""
    return findings.selection is not None and findings.selection.choose_by == "macro_f1"


def megabytes_of(one: TriedCandidate, words: Words) -> str:
    """The bundle's size, or the least that is known of it."""
    if one.costs is not None and one.costs.total_bytes:
        return formats.megabytes(one.costs.total_bytes / 1e6)
    if not one.least_bytes:
        return formats.NONE
    return words.text("{megabytes} or more", megabytes=formats.megabytes(one.least_bytes / 1e6))


def _size(one: TriedCandidate) -> float:
    return one.costs.total_bytes if one.costs is not None and one.costs.total_bytes else one.least_bytes
