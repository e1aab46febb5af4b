"""How good a classifier is on labelled documents that it has not seen, with intervals, and what it got wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.abstention import Threshold
from tanzaku.analysis.classes import Majority, majority_of
from tanzaku.analysis.reliability import Reliability, reliability_of
from tanzaku.measure.metrics import accuracy_interval, measure

MOST_MISTAKES = 10
Range = tuple[float, float]
"""The ends of a 95 % interval."""


@dataclass(frozen=True)
class ClassEvaluation:
    """One class; intervals are Wilson's, None where the share is undefined."""

    label: str
    documents: int
    predicted: int
    precision: float
    precision_interval: Range | None
    recall: float
    recall_interval: Range | None
    f1: float | None
    """None of a class that neither has a document nor was predicted, which the macro-F1 leaves out."""


@dataclass(frozen=True)
class Mistake:
    """A document that got a wrong label."""

    number: int
    """From 1, in the order of the documents."""
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Answered:
    """What a threshold does on these documents."""

    threshold: Threshold
    answered: int
    wrong: int
    wrong_interval: Range | None
    """Of the share of wrong ones among the answered documents."""


@dataclass(frozen=True)
class Evaluation:
    """Everything about one set of documents; intervals cover other documents of the same kind."""

    documents: int
    correct: int
    accuracy: float
    accuracy_interval: Range
    macro_f1: float
    macro_f1_interval: Range | None
    """None where the documents say nothing of it, as if all are right."""
    majority: Majority
    """What always answering the most frequent class of these documents gives."""
    classes: tuple[ClassEvaluation, ...]
    reliability: Reliability
    answered: Answered | None
    """Where a threshold was asked for."""
    mistakes: tuple[Mistake, ...]
    """The most probable first."""


def evaluate(
    classes: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    *,
    label_names: Sequence[str],
    threshold: Threshold | None = None,
) -> Evaluation:
    """Compare predictions with labels.

    Args:
        classes: True class indices, (documents,) int; at least one document.
        predicted: Predicted ones, (documents,) int.
        probabilities: Of the predicted classes, (documents,) float.
        label_names: In the order of the indices.
        threshold: Whose error rate and coverage are checked.
    """
    measures = measure(classes, predicted, label_names=label_names)
    right = classes == predicted
    return Evaluation(
        documents=measures.documents,
        correct=measures.correct,
        accuracy=measures.accuracy,
        accuracy_interval=measures.accuracy_interval,
        macro_f1=measures.macro_f1,
        macro_f1_interval=macro_f1_interval(classes, predicted, labels=len(label_names)),
        majority=majority_of(measures),
        classes=tuple(_class(index, name, classes, predicted) for index, name in enumerate(label_names)),
        reliability=reliability_of(probabilities, right),
        answered=_answered(threshold, probabilities, right) if threshold else None,
        mistakes=tuple(
            Mistake(int(row) + 1, label_names[classes[row]], label_names[predicted[row]], float(probabilities[row]))
            for row in np.argsort(-probabilities, kind="stable")
            if not right[row]
        )[:MOST_MISTAKES],
    )


def macro_f1_interval(
    classes: np.ndarray, predicted: np.ndarray, *, labels: int, groups: np.ndarray | None = None
) -> Range | None:
    """The 95 % interval of macro-F1: its value and 1.96 standard errors of the bootstrap to either side.

    None where all resamples have the same value, as if all documents are right: that does not make it certain. Over
    groups, with Student's t instead of 1.96, and None where there are too few of them.

    Args:
        classes: True class indices, (documents,) int; at least one document.
        predicted: Predicted ones, (documents,) int.
        labels: How many classes there are.
        groups: The documents' groups, (documents,) int, if there are any.
    """
    from tanzaku.analysis.run_scores import macro_f1_scores
    from tanzaku.analysis.statistics import CONFIDENCE

    scores, quantile = macro_f1_scores(classes, predicted[None], labels=labels, groups=groups), 1.96
    if not scores.decides:
        return None
    if groups is not None:
        from scipy import stats

        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, scores.freedom))
    value, half = float(scores.values[0]), quantile * float(scores.covariance[0, 0]) ** 0.5
    return (max(0.0, value - half), min(1.0, value + half)) if half else None


def _class(index: int, label: str, classes: np.ndarray, predicted: np.ndarray) -> ClassEvaluation:
    documents, called = int((classes == index).sum()), int((predicted == index).sum())
    hits = int(((classes == index) & (predicted == index)).sum())
    return ClassEvaluation(
        label=label,
        documents=documents,
        predicted=called,
        precision=hits / called if called else 0.0,
        precision_interval=accuracy_interval(hits, called) if called else None,
        recall=hits / documents if documents else 0.0,
        recall_interval=accuracy_interval(hits, documents) if documents else None,
        f1=2 * hits / (documents + called) if documents + called else None,
    )


def _answered(threshold: Threshold, probabilities: np.ndarray, right: np.ndarray) -> Answered:
    answers = probabilities >= threshold.probability
    count, wrong = int(answers.sum()), int((answers & ~right).sum())
    return Answered(threshold, count, wrong, accuracy_interval(wrong, count) if count else None)
