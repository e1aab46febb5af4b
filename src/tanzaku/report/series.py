"""Which arms make one line against the rank, which are baselines across it, and what to call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import EPOCHS, LEARNING_RATE, RANK, Arm, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats, texts
from tanzaku.report.texts import filled


@dataclass(frozen=True)
class Series:
    """Arms that make one line against the rank."""

    label: str
    arms: tuple[Arm, ...]


def series_of(section: Section) -> list[Series]:
    """The finished arms with a rank, one series per setting of all else, in the order of the table."""
    groups: dict[str, list[Arm]] = {}
    for arm in section.arms:
        if arm.rank is not None and arm.accuracy:
            groups.setdefault(arm.series, []).append(arm)
    labels = distinct_labels([arms[0] for arms in groups.values()])
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


def distinct_labels(arms: Sequence[Arm]) -> list[str]:
    """Method and learning rate (without the rank), and as many further settings as it takes to tell the arms apart."""
    differing = sorted({key for arm in arms for key in arm.settings} - {RANK, LEARNING_RATE, EPOCHS, "method.name"})
    parts = [[arm.title.short or arm.title.en] for arm in arms]
    for key in (LEARNING_RATE, EPOCHS, *differing):
        labels = [", ".join(part) for part in parts]
        for part, arm, label in zip(parts, arms, labels, strict=True):
            rivals = [other for other, same in zip(arms, labels, strict=True) if same == label and other is not arm]
            always = key == LEARNING_RATE and arm.rank is not None
            differs = any(other.settings.get(key) != arm.settings.get(key) for other in rivals)
            # An option that makes a variant of the method goes without saying at its default.
            unsaid = key.startswith("method.") and key not in arm.named_by
            if key in arm.settings and (always or differs) and not unsaid:
                part.append(_label_part(arm, key))
    return [", ".join(part) for part in parts]


def _label_part(arm: Arm, key: str) -> str:
    value = arm.settings[key]
    if key == LEARNING_RATE:
        return f"lr {formats.compact(value)}"
    if key == EPOCHS:
        return filled("{epochs:epoch|epochs}", epochs=value)
    if key in texts.READINGS and value is not None:
        return formats.reading(key, value)
    if key.startswith("method."):
        return formats.method_option(arm, key)
    return f"{key.partition('.')[2].replace('_', ' ')} {formats.plain(value)}"
