"""Which classes an arm takes for which: counts and shares over its runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tanzaku.analysis.arms import Arm, Section
from tanzaku.analysis.classes import MOST_CLASSES


@dataclass(frozen=True)
class Cell:
    """How often one class was predicted for the documents of another or of itself."""

    documents: float
    """Mean over the runs."""
    share: float
    """Of the true class's documents."""


@dataclass(frozen=True)
class Pair:
    """A class and another one that it is taken for."""

    true_class: str
    predicted_class: str
    cell: Cell


@dataclass(frozen=True)
class Confusion:
    """The confusions of one arm over its runs."""

    arm: Arm
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """Test documents of all runs together, by true class (rows) and predicted class (columns)."""
    runs: int

    @property
    def has_matrix(self) -> bool:
        """Whether there are few enough classes for the whole matrix; of more, reports show the most confused pairs."""
        return len(self.labels) <= MOST_CLASSES

    @property
    def documents(self) -> list[int]:
        """Test documents of each class."""
        return [sum(row) // self.runs for row in self.counts]

    @cached_property
    def rows(self) -> list[tuple[str, list[Cell]]]:
        """The matrix by true class."""
        return [
            (label, [self._cell(count, sum(row)) for count in row])
            for label, row in zip(self.labels, self.counts, strict=True)
        ]

    @cached_property
    def pairs(self) -> list[Pair]:
        """The pairs of classes that concern most documents."""
        wrong = [
            (count, true, predicted)
            for true, row in enumerate(self.counts)
            for predicted, count in enumerate(row)
            if count and true != predicted
        ]
        return [
            Pair(self.labels[true], self.labels[predicted], self._cell(count, sum(self.counts[true])))
            for count, true, predicted in sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:MOST_CLASSES]
        ]

    @cached_property
    def decimals(self) -> int:
        """Of a mean number of documents: none where all means are whole numbers."""
        return int(any(count % self.runs for row in self.counts for count in row))

    def _cell(self, count: int, of_class: int) -> Cell:
        return Cell(count / self.runs, count / max(1, of_class))


def confusion_of(section: Section, arm: Arm) -> Confusion:
    """Of an arm with a finished run."""
    matrices = [record.test.confusion for record in arm.finished]
    counts = tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*matrices, strict=True))
    return Confusion(arm, tuple(section.data.label_names), counts, len(matrices))
