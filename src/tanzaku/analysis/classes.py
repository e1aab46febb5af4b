"""What arms make of each class: precision, recall and F1, classes that they never predict, and what always answering
the most frequent class would give."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Arm, Section
from tanzaku.measure.metrics import ChooseBy, Measures
from tanzaku.study.record import Scores

MOST_CLASSES = 20  # that a table or a matrix has room for


@dataclass(frozen=True)
class ClassResult:
    """One class of the test set: means over the runs of an arm, 0 where a run's is undefined.

    Means, not counts of all runs together, as the arm's accuracy and macro-F1 are means over its runs. Of a class
    without test documents there is no recall, and nothing at all where no run predicts it.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    """Test documents of the class."""


@dataclass(frozen=True)
class AveragedClasses:
    """How many classes macro-F1 is the mean of, which may differ between runs."""

    lowest: int
    highest: int
    total: int
    """Classes that there are."""


@dataclass(frozen=True)
class Majority:
    """What always answering the most frequent class of a set gives on it, shares."""

    label: str
    accuracy: float
    macro_f1: float

    def value(self, measure: ChooseBy) -> float:
        """One of the two."""
        return self.accuracy if measure == "accuracy" else self.macro_f1


@dataclass(frozen=True)
class Majorities:
    """That of both sets, each by its own most frequent class; records don't hold the training set's."""

    validation: Majority
    test: Majority


@dataclass(frozen=True)
class Unpredicted:
    """A class that runs of an arm predict for no validation and no test document, though there are some of it."""

    label: str
    documents: int
    """Validation and test documents of the class."""
    runs: int
    """Runs that never predict it."""


def class_results(arm: Arm) -> tuple[ClassResult, ...]:
    """The classes in the order of the labels; none where no run finished."""
    runs = [record.test for record in arm.finished]
    return tuple(_class_result(runs, place, label) for place, label in enumerate(runs[0].per_class if runs else ()))


def _class_result(runs: Sequence[Scores], place: int, label: str) -> ClassResult:
    scores = [run.per_class[label] for run in runs]
    support = scores[0].support
    known = support > 0 or any(row[place] for run in runs for row in run.confusion)
    return ClassResult(
        label=label,
        precision=statistics.fmean(one.precision for one in scores) if known else None,
        recall=statistics.fmean(one.recall for one in scores) if support else None,
        f1=statistics.fmean(one.f1 for one in scores) if known else None,
        support=support,
    )


def shown_classes(arm: Arm) -> Sequence[ClassResult]:
    """Those that reports show: all in the order of the labels; of many, those with the lowest F1, the lowest first."""
    found = class_results(arm)
    if len(found) <= MOST_CLASSES:
        return found
    return sorted(found, key=lambda one: math.inf if one.f1 is None else one.f1)[:MOST_CLASSES]


def averaged_in(scores: Scores) -> int:
    """How many classes the macro-F1 of a classified set averages: those among the true or the predicted ones."""
    predicted = map(sum, zip(*scores.confusion, strict=True))
    return sum(sum(row) + column > 0 for row, column in zip(scores.confusion, predicted, strict=True))


def averaged_classes(arm: Arm) -> AveragedClasses | None:
    """Of the test set, over the runs of an arm; None where no run finished."""
    runs = [record.test for record in arm.finished]
    counts = [averaged_in(scores) for scores in runs]
    return AveragedClasses(min(counts), max(counts), len(runs[0].per_class)) if runs else None


def averaged_over(section: Section) -> AveragedClasses | None:
    """Likewise, over all arms of a section."""
    counts = [found for arm in section.arms if (found := averaged_classes(arm))]
    if not counts:
        return None
    return AveragedClasses(min(one.lowest for one in counts), max(one.highest for one in counts), counts[0].total)


def majority_of(scores: Scores | Measures) -> Majority:
    """Of a classified set; of equally frequent classes, the first."""
    supports = {label: one.support for label, one in scores.per_class.items()}
    label = max(supports, key=lambda label: supports[label])
    share = supports[label] / scores.documents
    # Precision is the class's share and recall 1; every other class that occurs has F1 0.
    macro_f1 = 2 * share / (1 + share) / sum(support > 0 for support in supports.values())
    return Majority(label, share, macro_f1)


def majorities_of(arms: Sequence[Arm]) -> Majorities | None:
    """Of the documents that all these arms share; None where none has a finished run."""
    run = next((record for arm in arms for record in arm.finished), None)
    return Majorities(majority_of(run.val), majority_of(run.test)) if run else None


def never_predicted(arm: Arm) -> tuple[Unpredicted, ...]:
    """The classes that some run of the arm never predicts, in the order of the labels."""
    runs = [(record.val, record.test) for record in arm.finished]
    found = []
    for place, label in enumerate(runs[0][1].per_class if runs else ()):
        documents = sum(sum(scores.confusion[place]) for scores in runs[0])
        missing = [run for run in runs if not any(row[place] for scores in run for row in scores.confusion)]
        if documents and missing:
            found.append(Unpredicted(label, documents, len(missing)))
    return tuple(found)


def documents_per_class(section: Section) -> list[list[int]] | None:
    """Training, validation and test documents of each class, and of all; then the thesis's, where the data is its own.

    The documents of the validation and test sets are those of the first run that finished; None without one.
    """
    scored = next((record for arm in section.arms for record in arm.finished), None)
    if scored is None:
        return None
    data = scored.data
    counts = [
        [train, scored.val.per_class[name].support, scored.test.per_class[name].support]
        for name, train in zip(data.label_names, data.train_documents_per_class, strict=True)
    ]
    if thesis.is_thesis_data(data):
        published = [thesis.TABLE_3_1[name] for name in data.label_names]
        counts = [[*row, each.train, each.val, each.test] for row, each in zip(counts, published, strict=True)]
    return [*counts, [sum(column) for column in zip(*counts, strict=True)]]
