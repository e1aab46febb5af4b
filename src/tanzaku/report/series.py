"""Which arms make one line against the rank, which are baselines across it, and what to call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import RANK, Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report.names import unbroken
from tanzaku.study.naming import ENGLISH, Namer, Words


@dataclass(frozen=True)
class Series:
    """Arms that make one line against the rank."""

    label: str
    arms: tuple[Arm, ...]


def series_of(section: Section, *, words: Words = ENGLISH) -> list[Series]:
    """The finished arms with a rank, one series per setting of all else, in the order of the table."""
    groups: dict[str, list[Arm]] = {}
    for arm in section.arms:
        if arm.rank is not None and arm.accuracy:
            groups.setdefault(arm.series, []).append(arm)
    labels = legend_names([arms[0] for arms in groups.values()], words=words)
    return [
        Series(label, tuple(sorted(arms, key=lambda arm: arm.rank or 0)))
        for label, arms in zip(labels, groups.values(), strict=True)
    ]


def baselines_of(section: Section) -> list[Arm]:
    """The finished arms without a rank."""
    return [arm for arm in section.arms if arm.rank is None and arm.accuracy]


def in_order(section: Section) -> list[Arm]:
    """The arms as tables and charts show them.

    Where arms differ only in their rank, the section's order has a meaning and stays. Otherwise the most accurate on
    the test set comes first, and arms without a finished run come last.
    """
    if compares_ranks(section):
        return list(section.arms)
    return sorted(section.arms, key=lambda arm: -arm.accuracy.mean if arm.accuracy else 1.0)


def compares_ranks(section: Section) -> bool:
    """Whether arms differ only in their rank."""
    return any(len(series.arms) > 1 for series in series_of(section))


def recommended_of(evidence: Evidence) -> list[Arm]:
    """The arms that are recommended: of all, and of those that adapt the encoder."""
    return [found.arm for found in (evidence.recommendation, evidence.among_encoders) if found]


def legend_names(arms: Sequence[Arm], *, words: Words = ENGLISH) -> list[str]:
    """Short names without the rank: what distinguishes lines against the rank, of each of which this is one arm."""
    settings = [{key: value for key, value in arm.settings.items() if key != RANK} for arm in arms]
    namer = Namer(settings)
    return [unbroken(namer.short(one, words=words)) for one in settings]
