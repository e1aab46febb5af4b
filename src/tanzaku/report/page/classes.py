"""The page's group on the classes: which are taken for which, and precision, recall and F1 of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import ClassResult, class_results
from tanzaku.report import formats
from tanzaku.report.confusion import MOST_CLASSES, Confusion, confusion_of


@dataclass(frozen=True)
class ClassLine:
    """One class in the table of precision, recall and F1, in percent."""

    label: str
    documents: str
    precision: str
    recall: str
    f1: str


@dataclass(frozen=True)
class ArmClasses:
    """What one arm makes of the classes."""

    arm: Arm
    confusion: Confusion
    lines: tuple[ClassLine, ...]
    """In the order of the labels; where there is no matrix, those with the lowest F1, the lowest first."""


def classes_of(section: Section, arms: Sequence[Arm]) -> list[ArmClasses]:
    """For each of some arms with a finished run."""
    return [_of_arm(arm, section) for arm in arms if arm.accuracy]


def _of_arm(arm: Arm, section: Section) -> ArmClasses:
    confusion, results = confusion_of(section, arm), class_results(arm)
    shown = results if confusion.has_matrix else sorted(results, key=lambda one: one.f1)[:MOST_CLASSES]
    return ArmClasses(arm, confusion, tuple(map(_line, shown)))


def _line(result: ClassResult) -> ClassLine:
    return ClassLine(
        label=result.label,
        documents=formats.count(result.support),
        precision=formats.percent(result.precision),
        recall=formats.percent(result.recall),
        f1=formats.percent(result.f1),
    )
