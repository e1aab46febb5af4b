"""The page's part on the classes: precision, recall and F1 of each, and which are taken for which.

Counts are means over an arm's runs, so that they are numbers of test documents however many runs there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import ClassResult, class_results
from tanzaku.report import formats

MOST_CLASSES = 20  # with more, a matrix fits no page: the most confused pairs and the worst classes are shown instead


@dataclass(frozen=True)
class Cell:
    """How often one class was predicted for the documents of another or of itself."""

    documents: str
    """Mean over the runs; empty for none."""
    share: float
    """Of the true class's documents."""

    @property
    def percent(self) -> str:
        """The share, with one decimal."""
        return f"{100 * self.share:.1f}"


@dataclass(frozen=True)
class Pair:
    """A class and another one that it is taken for."""

    true_class: str
    predicted_class: str
    cell: Cell


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
    runs: int
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """The confusion matrix by true class; empty where there are too many classes for it."""
    pairs: tuple[Pair, ...]
    """Where there is no matrix: those pairs that concern most documents."""
    lines: tuple[ClassLine, ...]
    """In the order of the labels; where there is no matrix, those with the lowest F1, the lowest first."""


def classes_of(section: Section, arms: Sequence[Arm]) -> list[ArmClasses]:
    """For each of some arms with a finished run."""
    few = len(section.data.label_names) <= MOST_CLASSES
    return [_of_arm(arm, section.data.label_names, few=few) for arm in arms if arm.accuracy]


def _of_arm(arm: Arm, labels: Sequence[str], *, few: bool) -> ArmClasses:
    matrices = [record.test.confusion for record in arm.finished]
    counts = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]
    runs = len(matrices)
    whole = all(count % runs == 0 for row in counts for count in row)
    results = class_results(arm)
    shown = results if few else sorted(results, key=lambda one: one.f1)[:MOST_CLASSES]
    return ArmClasses(
        arm=arm,
        runs=runs,
        rows=tuple(
            (label, tuple(_cell(count, sum(row), runs, whole=whole) for count in row))
            for label, row in zip(labels, counts, strict=True)
        )
        if few
        else (),
        pairs=() if few else _most_confused(labels, counts, runs, whole=whole),
        lines=tuple(map(_line, shown)),
    )


def _most_confused(
    labels: Sequence[str], counts: Sequence[Sequence[int]], runs: int, *, whole: bool
) -> tuple[Pair, ...]:
    wrong = [
        (count, true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    found = sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:MOST_CLASSES]
    return tuple(
        Pair(labels[true], labels[predicted], _cell(count, sum(counts[true]), runs, whole=whole))
        for count, true, predicted in found
    )


def _cell(count: int, of_class: int, runs: int, *, whole: bool) -> Cell:
    """`whole` says that the means of all the cells beside it are whole numbers, so that none needs a decimal."""
    documents = f"{count / runs:,.0f}" if whole else f"{count / runs:,.1f}"
    return Cell(documents if count else "", count / max(1, of_class))


def _line(result: ClassResult) -> ClassLine:
    return ClassLine(
        label=result.label,
        documents=formats.count(result.support),
        precision=formats.percent(result.precision),
        recall=formats.percent(result.recall),
        f1=formats.percent(result.f1),
    )
