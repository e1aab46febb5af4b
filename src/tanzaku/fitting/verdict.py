"""What a fit found, in figures: the candidates, which of them to take, its mistakes, what more labels would bring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tanzaku.analysis.abstention import Threshold
from tanzaku.analysis.learning_curve import LearningCurve
from tanzaku.analysis.mistakes import excerpt
from tanzaku.analysis.reliability import Reliability
from tanzaku.analysis.selection import Selected, Selection
from tanzaku.fitting.budgets import Costs
from tanzaku.fitting.candidates import Form
from tanzaku.fitting.race import Behind, Reason
from tanzaku.measure.metrics import Measures
from tanzaku.study.naming import Name
from tanzaku.study.record import FinishedRun
from tanzaku.words import Language

_CONFUSIONS = 8
_EXAMPLES = 10


@dataclass(frozen=True)
class TriedCandidate:
    """A candidate in one form: what it costs, how it did, or why it dropped out."""

    arm: Mapping[str, Any]
    """As in a study file."""
    names: Mapping[Language, Name]
    """The arm's, in each language."""
    form: Form
    costs: Costs | None
    least_bytes: int
    reason: Reason | None
    detail: str
    needed_seconds: float | None
    """How much more time it would have needed; None where it had enough, or where that is not known."""
    behind: Behind | None
    """How it compared with the best when it dropped out for being worse."""
    selected: Selected | None
    """None where it dropped out."""
    recommended: bool = False
    best: bool = False
    """The most accurate one of those that were left."""

    @property
    def name(self) -> Name:
        """The arm's in English."""
        return self.names["en"]


@dataclass(frozen=True)
class Confusion:
    """So many documents of a class were taken for another."""

    true_class: str
    taken_for: str
    documents: int


@dataclass(frozen=True)
class WrongExample:
    """A document that the recommended candidate got wrong when it was not trained on it."""

    text: str
    """Its beginning."""
    true_class: str
    taken_for: str


@dataclass(frozen=True)
class Mistakes:
    """What the recommended candidate gets wrong of the documents that it was not trained on."""

    wrong: int
    documents: int
    confusions: tuple[Confusion, ...]
    """The most frequent ones."""
    recalls: tuple[tuple[str, float, int], ...]
    """Each class with the share of its documents that were recognised, and their number: the worst first."""
    examples: tuple[WrongExample, ...]


@dataclass(frozen=True)
class Final:
    """The classifier that was written."""

    record: FinishedRun
    form: Form
    costs: Costs
    test: Measures
    """Of the bundle itself, in its form, on the test documents; the record's are of the model that was trained."""
    train_documents: int
    val_documents: int
    """That were not trained on, but chose the epoch and calibrated the probabilities."""


@dataclass(frozen=True)
class FitFindings:
    """Everything that a fit found."""

    name: str
    documents: int
    test_documents: int
    label_names: tuple[str, ...]
    folds: int
    """Rounds that were completed."""
    planned_folds: int
    time_over: bool
    """Whether there was no time for the other rounds."""
    only_trained: int
    """How many documents were trained on in every fold, and classified in none."""
    without_test: tuple[str, ...]
    """The classes that the test set has no documents of."""
    margin: float
    selection: Selection | None
    """None where no candidate was left."""
    candidates: tuple[TriedCandidate, ...]
    final: Final | None
    mistakes: Mistakes | None
    curve: LearningCurve | None
    reliability: Reliability | None = None
    """Of the recommended candidate's probabilities, on documents that it was not trained on."""
    answers: tuple[tuple[float, Threshold | None], ...] = ()
    """By the largest share of its answers that may be wrong, from which probability on it answers; None where no
    threshold promises that."""
    held_out: int = 0
    """Documents by which `answers` are promised: those of the folds, or one of each of their groups."""
    groups: int | None = None
    """Of the documents of the folds; None where no column has groups."""

    @property
    def more_to_try(self) -> bool:
        """Whether there was something for which there was no time."""
        return self.time_over or any(one.reason == "time" for one in self.candidates)

    @property
    def without_time(self) -> int:
        """How many candidates were not compared, or not on all folds, because there was no time."""
        return sum(one.reason == "time" for one in self.candidates)

    @property
    def recommended(self) -> TriedCandidate | None:
        """The candidate that was taken."""
        return next((one for one in self.candidates if one.recommended), None)


def mistakes_of(
    texts: Sequence[str], classes: np.ndarray, predicted: np.ndarray, *, label_names: Sequence[str]
) -> Mistakes:
    """Count and list what was predicted wrongly.

    Args:
        texts: The documents.
        classes: Their class indices, (documents,) int.
        predicted: The predicted ones, (documents,) int.
        label_names: In the order of the classes.
    """
    wrong = np.flatnonzero(classes != predicted)
    pairs = Counter((int(classes[row]), int(predicted[row])) for row in wrong)
    totals = Counter(classes.tolist())
    right = Counter(classes[classes == predicted].tolist())
    recalls = sorted(((right[one] / count, one) for one, count in totals.items()))
    return Mistakes(
        wrong=len(wrong),
        documents=len(classes),
        confusions=tuple(
            Confusion(label_names[true], label_names[taken], count)
            for (true, taken), count in pairs.most_common(_CONFUSIONS)
        ),
        recalls=tuple((label_names[one], recall, totals[one]) for recall, one in recalls),
        examples=tuple(
            WrongExample(excerpt(texts[row]), label_names[classes[row]], label_names[predicted[row]])
            for row in wrong[:_EXAMPLES]
        ),
    )
