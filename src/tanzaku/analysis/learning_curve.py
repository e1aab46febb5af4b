"""What more labels would bring: a power law through the errors at several numbers of training documents.

Errors of classifiers fall about as a power of the number of training documents (Hestness et al. 2017, arXiv
1712.00409). The law is fitted to the same documents classified after training on different numbers of others, and its
intervals come from resampling these documents. That covers other documents, but not a law that does not hold: far from
the numbers that were measured, the gain is rather smaller, since no error falls below that of wrong labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.statistics import Interval, accuracy_interval_over_both, accuracy_scores

_RESAMPLES = 2000
_SEED = 0  # equal records give equal reports
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class CurvePoint:
    """The accuracy after training on so many documents, with Wilson's 95 % interval over documents."""

    labels: float
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Gain:
    """How much the accuracy rises with so many more training documents, a share, with a 95 % interval."""

    more: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """The measured points, from few to many training documents, and what more would bring."""

    points: tuple[CurvePoint, ...]
    gains: tuple[Gain, ...]


def learning_curve(sizes: Sequence[float], correct: np.ndarray, *, more: Sequence[int]) -> LearningCurve:
    """Fit the law, and say what `more` training documents would bring.

    Args:
        sizes: Training documents of each measurement, two different ones at least.
        correct: Whether each document was classified right after each, (sizes, documents) bool.
        more: Numbers of further training documents, in addition to the largest size.
    """
    order = np.argsort(sizes)
    numbers, right = np.asarray(sizes, dtype=np.float64)[order], correct[order]
    documents = right.shape[1]
    generator = np.random.default_rng(_SEED)
    # Documents that were right after the same trainings are alike: each resample has so many of each kind.
    kinds, alike = np.unique(~right.T, axis=0, return_counts=True)  # (kinds, sizes)
    counts = generator.multinomial(documents, alike / documents, size=_RESAMPLES)  # (resamples, kinds)
    wrong = np.concatenate([alike[None], counts]) @ kinds  # (1 + resamples, sizes)
    gains = _gains(numbers, (wrong + 0.5) / (documents + 1), more=more)  # (1 + resamples, more)
    accuracies = accuracy_scores(right)
    return LearningCurve(
        points=tuple(
            CurvePoint(float(size), float(right[row].mean()), accuracy_interval_over_both(accuracies, [row]))
            for row, size in enumerate(numbers)
        ),
        gains=tuple(
            Gain(number, float(gains[0, column]), *map(float, np.percentile(gains[1:, column], _PERCENTILES)))
            for column, number in enumerate(more)
        ),
    )


def _gains(sizes: np.ndarray, errors: np.ndarray, *, more: Sequence[int]) -> np.ndarray:
    """The falls of the error a·n^-b, b at least 0, that is fitted to each row of errors: (rows, more).

    Logarithms are fitted by least squares; an error with more mistakes is the surer one, so that it weighs more.
    """
    logs, heights = np.log(sizes), np.log(errors)
    weights = errors / errors.sum(axis=1, keepdims=True)
    centre = (weights * logs).sum(axis=1)
    level = (weights * heights).sum(axis=1)
    spread = (weights * (logs - centre[:, None]) ** 2).sum(axis=1)
    slope = (weights * (logs - centre[:, None]) * (heights - level[:, None])).sum(axis=1) / spread
    slope = np.minimum(slope, 0.0)

    def error_at(size: float) -> np.ndarray:
        error: np.ndarray = np.exp(level + slope * (np.log(size) - centre))
        return error

    largest = float(sizes.max())
    return np.stack([error_at(largest) - error_at(largest + number) for number in more], axis=1)
