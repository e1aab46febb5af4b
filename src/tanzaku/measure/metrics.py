"""How well a split was classified."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

# What of the validation set arms are chosen by.
ChooseBy = Literal["accuracy", "macro_f1"]
DEFAULT_CHOOSE_BY: ChooseBy = "accuracy"


@dataclass(frozen=True)
class ClassMeasures:
    """One class: precision, recall and F1 (0 where undefined), and how many documents are of it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Measures:
    """A classified split. `confusion[i][j]` counts documents of class i that were taken for j."""

    documents: int
    correct: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    per_class: dict[str, ClassMeasures]
    confusion: tuple[tuple[int, ...], ...]


def accuracy_interval(correct: int, documents: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), which holds its coverage near 0 and 1 too."""
    from scipy.special import ndtri

    return wilson_interval(correct / documents, documents, quantile=float(ndtri((1 + confidence) / 2)))


def wilson_interval(share: float, documents: float, *, quantile: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of so many documents, which need not be a whole number.

    Args:
        share: From 0 to 1.
        documents: Above 0.
        quantile: Standard errors to either side: 1.96 of a normal distribution cover 95 %.
    """
    squared = quantile**2
    denominator = 1 + squared / documents
    center = (share + squared / (2 * documents)) / denominator
    half = quantile * (share * (1 - share) / documents + squared / (4 * documents**2)) ** 0.5 / denominator
    return max(0.0, center - half), min(1.0, center + half)


def measure(classes: np.ndarray, predicted: np.ndarray, *, label_names: Sequence[str]) -> Measures:
    """Compare true and predicted class indices, both (documents,).

    Macro-F1 is the plain mean over the classes that occur among the true or the predicted ones, as scikit-learn's
    `f1_score(average="macro")` computes it: of a class that neither has, the documents say nothing.

    Raises:
        ValueError: There are no documents, or the two differ in length.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if len(classes) == 0 or len(classes) != len(predicted):
        raise ValueError(f"{len(classes)} classes and {len(predicted)} predictions can't be compared")
    indices = list(range(len(label_names)))
    columns = precision_recall_fscore_support(classes, predicted, labels=indices, zero_division=0)
    per_class = {
        name: ClassMeasures(float(precision), float(recall), float(f1), int(support))
        for name, precision, recall, f1, support in zip(label_names, *columns, strict=True)
    }
    confusion = confusion_matrix(classes, predicted, labels=indices)  # (labels, labels)
    occurring = confusion.sum(axis=0) + confusion.sum(axis=1) > 0  # (labels,)
    correct = int((np.asarray(classes) == np.asarray(predicted)).sum())
    return Measures(
        documents=len(classes),
        correct=correct,
        accuracy=correct / len(classes),
        accuracy_interval=accuracy_interval(correct, len(classes)),
        macro_f1=float(np.mean(columns[2][occurring])),
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )
