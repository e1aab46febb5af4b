"""The tables of what is inferred: arms against the best and the recommended one, and the Pareto fronts."""

from __future__ import annotations

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.evidence import Comparison, Evidence
from tanzaku.report import formats, texts
from tanzaku.report.render import Column, Table

_SEEDS = {"both": texts.COVERS_SEEDS, "one": texts.COVERS_ONE, "none": texts.COVERS_DOCUMENTS}


def reference_tables(evidence: Evidence) -> list[Table]:
    """One table a reference: every arm against the best, against the recommended one where that is another, and
    against the best and the recommended one of those with an encoder where the best of all does without."""
    return [
        Table(
            caption=texts.COMPARED_WITH.format(arm=formats.arm_name(reference)),
            columns=(
                Column(texts.ARM),
                *(
                    Column(heading, numeric=True)
                    for heading in (texts.DIFFERENCE, texts.DIFFERENCE_INTERVAL, texts.P_HOLM)
                ),
                Column(texts.OUTCOME),
                *(
                    Column(heading, numeric=True)
                    for heading in (texts.F1_DIFFERENCE, texts.DIFFERENCE_INTERVAL, texts.P_HOLM)
                ),
                Column(texts.TEST_BY),
                Column(texts.COVERS),
            ),
            rows=tuple(map(_row, evidence.against(reference))),
        )
        for reference in evidence.references
    ]


def front_table(section: Section, evidence: Evidence) -> Table | None:
    """The arms that are on a front, from the smallest; None where there is none."""
    members = front_members(section, evidence)
    if not members:
        return None
    return Table(
        caption=texts.FRONT,
        columns=(
            Column(texts.ARM),
            *(Column(heading, numeric=True) for heading in (texts.ACCURACY, texts.SIZE, texts.TRAIN_SECONDS)),
            Column(texts.ON_SIZE_FRONT),
            Column(texts.ON_TIME_FRONT),
        ),
        rows=tuple(
            (
                formats.arm_name(arm),
                formats.percent(arm.accuracy.mean) if arm.accuracy else texts.NONE,
                formats.megabytes(cost_of(arm, "saved_bytes") / 1e6),
                formats.seconds(cost_of(arm, "train_seconds")),
                texts.YES if size else texts.NO,
                texts.YES if time else texts.NO,
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


def _row(comparison: Comparison) -> tuple[str, ...]:
    return (
        formats.arm_name(comparison.arm),
        formats.points(comparison.accuracy.mean),
        formats.points_interval(comparison.accuracy.interval),
        formats.p_value(comparison.accuracy_p),
        texts.OUTCOMES[comparison.outcome],
        formats.points(comparison.macro_f1.mean),
        formats.points_interval(comparison.macro_f1.interval),
        formats.p_value(comparison.macro_f1_p),
        texts.MCNEMAR if comparison.accuracy.test == "mcnemar" else texts.STUDENT_TEST,
        _SEEDS[comparison.seeds_covered],
    )
