"""Which arms make one line against the rank, and in which order arms are shown."""

from __future__ import annotations

from tanzaku.analysis.arms import Arm, Section


def series_of(section: Section) -> list[tuple[Arm, ...]]:
    """The finished arms with a rank, by it: one series per setting of all else, in the order of the section."""
    groups: dict[str, list[Arm]] = {}
    for arm in section.arms:
        if arm.rank is not None and arm.accuracy:
            groups.setdefault(arm.series, []).append(arm)
    return [tuple(sorted(arms, key=lambda arm: arm.rank or 0)) for arms in groups.values()]


def baselines_of(section: Section) -> list[Arm]:
    """The finished arms without a rank."""
    return [arm for arm in section.arms if arm.rank is None and arm.accuracy]


def in_order(section: Section) -> list[Arm]:
    """The arms as tables and charts show them.

    Where arms differ only in their rank, the section's order has a meaning and stays. Otherwise the most accurate on
    the test set comes first, and arms without a finished run come last.
    """
    return list(section.arms) if compares_ranks(section) else by_accuracy(section)


def by_accuracy(section: Section) -> list[Arm]:
    """The most accurate arm on the test set first, and arms without a finished run last."""
    return sorted(section.arms, key=lambda arm: -arm.accuracy.mean if arm.accuracy else 1.0)


def compares_ranks(section: Section) -> bool:
    """Whether arms differ only in their rank."""
    return any(len(arms) > 1 for arms in series_of(section))
