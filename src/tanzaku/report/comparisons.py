"""The tables of what is inferred: arms against the best and the recommended one, and the Pareto fronts."""

from __future__ import annotations

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Comparison, Evidence
from tanzaku.report import formats
from tanzaku.report.render import Column, Table
from tanzaku.report.terms import OUTCOMES, SEEDS_COVERED
from tanzaku.report.words import Words


def reference_tables(evidence: Evidence, *, words: Words) -> list[Table]:
    """One table a reference: every arm against the best, against the recommended one where that is another, and
    against the best and the recommended one of those with an encoder where the best of all does without."""
    return [
        Table(
            caption=words.text("Compared with {arm}", arm=reference.full_name(words)),
            columns=(
                Column(words.text("Arm")),
                Column(words.text("Accuracy: difference (points)"), numeric=True),
                Column(words.text("95 % interval"), numeric=True),
                Column(words.text("p (Holm)"), numeric=True),
                Column(words.text("Outcome")),
                Column(words.text("Macro-F1: difference (points)"), numeric=True),
                Column(words.text("95 % interval"), numeric=True),
                Column(words.text("p (Holm)"), numeric=True),
                Column(words.text("Statistical test")),
                Column(words.text("Interval covers")),
            ),
            rows=tuple(_row(one, words) for one in evidence.against(reference)),
        )
        for reference in evidence.references
    ]


def front_table(section: Section, evidence: Evidence, *, words: Words) -> Table | None:
    """The arms that are on a front, from the smallest; None where there is none."""
    members = front_members(section, evidence)
    if not members:
        return None
    return Table(
        caption=words.text("Pareto fronts"),
        columns=(
            Column(words.text("Arm")),
            Column(words.text("Test accuracy (%)"), numeric=True),
            Column(words.text("Saved (MB)"), numeric=True),
            Column(words.text("Training (s)"), numeric=True),
            Column(words.text("Size front")),
            Column(words.text("Time front")),
        ),
        rows=tuple(
            (
                str(arm.full_name(words)),
                formats.percent(arm.accuracy.mean) if arm.accuracy else formats.NONE,
                formats.megabytes(cost_of(arm, "saved_bytes") / 1e6),
                formats.seconds(cost_of(arm, "train_seconds")),
                words.text("yes") if size else words.text("no"),
                words.text("yes") if time else words.text("no"),
            )
            for arm, size, time in members
        ),
    )


def front_members(section: Section, evidence: Evidence) -> list[tuple[Arm, bool, bool]]:
    """The arms that are on the front of size or of time, and on which, from the smallest."""
    members = [
        (arm, size, time)
        for arm, size, time in zip(section.arms, evidence.size_front, evidence.time_front, strict=True)
        if size or time
    ]
    return sorted(members, key=lambda member: cost_of(member[0], "saved_bytes"))


def cost_of(arm: Arm, name: str) -> float:
    """The mean of one of the fields of `Costs`; not a number where no run has it."""
    value = arm.cost(name)
    return value.mean if value else float("nan")


def _row(comparison: Comparison, words: Words) -> tuple[str, ...]:
    return (
        str(comparison.arm.full_name(words)),
        formats.points(comparison.accuracy.mean),
        formats.points_interval(comparison.accuracy.interval, words=words),
        formats.p_value(comparison.accuracy_p),
        words.text(OUTCOMES[comparison.outcome]),
        formats.points(comparison.macro_f1.mean),
        formats.points_interval(comparison.macro_f1.interval, words=words),
        formats.p_value(comparison.macro_f1_p),
        "McNemar" if comparison.accuracy.test == "mcnemar" else "t",
        words.text(SEEDS_COVERED[comparison.seeds_covered]),
    )
