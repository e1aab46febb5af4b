"""What more labels would bring: a power law through the errors at several numbers of training documents.

Errors of classifiers fall about as a power of the number of training documents (Hestness et al. 2017, arXiv
1712.00409). Of a gain, four things are uncertain, and its interval covers all of them:

- which documents were classified: they are resampled;
- which documents were trained on, in the measurements and in the classifier that more labels are added to: an accuracy
  varies by some c·sqrt(e(1 - e)/n) with other training documents, for an error e after n of them;
- which labels are added: by the part of the same variance that new documents account for;
- the law itself, whose exponent need not be the same beyond the measured numbers.

c and the last one's size come from TF-IDF on real documents (`python -m benchmarks.promises`), where the intervals
cover the gain after a training on more labels in about 95 % of the cases. An interval that left out the last three
would cover it in half of them.

Where documents have groups, whole groups are resampled. Resamples of m groups vary too little, and how much is known
from m - 1 differences only, so that deviations from the measured errors are widened as for Student's t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tanzaku.analysis.run_scores import FEWEST_GROUPS, accuracy_scores
from tanzaku.analysis.statistics import CONFIDENCE, Interval, accuracy_interval_over_both

_RESAMPLES = 2000
_SEED = 0  # equal records give equal reports
_PERCENTILES = (2.5, 97.5)
_TRAINING = 0.5
"""c: what other training documents change, see above."""
_DRIFT = 0.03
"""The standard deviation of what the exponent may be beyond the measured numbers, around what it was."""


@dataclass(frozen=True)
class CurvePoint:
    """The accuracy after training on so many documents, with Wilson's 95 % interval over documents."""

    labels: float
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Gain:
    """How much the accuracy changes with so many more training documents, a share, with a 95 % interval."""

    more: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """The measured points, from few to many training documents, and what more would bring."""

    points: tuple[CurvePoint, ...]
    gains: tuple[Gain, ...]
    """Of the classifier that was trained on `start` documents."""
    start: float
    lift: float
    """How much more accurate that classifier is expected to be than the last point, a share."""


def learning_curve(
    sizes: Sequence[float],
    correct: np.ndarray,
    *,
    trainings: int,
    start: float,
    more: Sequence[int],
    groups: np.ndarray | None = None,
) -> LearningCurve | None:
    """Fit the law, and say what `more` training documents would bring.

    Args:
        sizes: Training documents of each measurement, two different ones at least.
        correct: Whether each document was classified right after each, (sizes, documents) bool.
        trainings: How many classifiers classified the documents after each size, such as one a fold.
        start: Training documents of the classifier that labels would be added to.
        more: Numbers of further training documents, in addition to `start`.
        groups: The documents' groups, (documents,) int, if there are any: whole groups are resampled.

    Returns:
        None where there are fewer than `FEWEST_GROUPS` groups, of which nobody knows how much they differ from others.
    """
    if groups is not None and len(np.unique(groups)) < FEWEST_GROUPS:
        return None
    order = np.argsort(sizes)
    numbers, right = np.asarray(sizes, dtype=np.float64)[order], correct[order]
    generator = np.random.default_rng(_SEED)
    # (1 + resamples, sizes); the first are the measured ones
    errors = _resampled(right, generator) if groups is None else _resampled_groups(right, groups, generator)
    noise = generator.standard_normal(errors.shape) * _training_error(errors, numbers * trainings)
    noise[0] = 0.0
    least = 0.5 / (right.shape[1] + 1)
    law = _Law.fit(numbers, np.maximum(errors + noise, least))
    gains = _realised(law, start, more=more, generator=generator)  # (1 + resamples, more)
    accuracies = accuracy_scores(right, groups)
    return LearningCurve(
        points=tuple(
            CurvePoint(float(size), float(right[row].mean()), accuracy_interval_over_both(accuracies, [row]))
            for row, size in enumerate(numbers)
        ),
        gains=tuple(
            Gain(number, float(gains[0, column]), *map(float, np.percentile(gains[1:, column], _PERCENTILES)))
            for column, number in enumerate(more)
        ),
        start=start,
        lift=float(law.error(numbers[-1])[0] - law.error(start)[0]),
    )


def _resampled(right: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The share of wrong documents after each size, and of as many resampled ones: (1 + resamples, sizes)."""
    documents = right.shape[1]
    # Documents that were right after the same trainings are alike: each resample has so many of each kind.
    kinds, alike = np.unique(~right.T, axis=0, return_counts=True)  # (kinds, sizes)
    counts = generator.multinomial(documents, alike / documents, size=_RESAMPLES)  # (resamples, kinds)
    wrong = np.concatenate([alike[None], counts]) @ kinds  # (1 + resamples, sizes)
    errors: np.ndarray = (wrong + 0.5) / (documents + 1)
    return errors


def _resampled_groups(right: np.ndarray, groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As `_resampled`, of whole groups, three at least; deviations are wider by √(m/(m - 1)) for m groups, and by the
    quantile of Student's t in relation to the normal distribution's."""
    from scipy import stats

    _, places = np.unique(groups, return_inverse=True)
    members = np.bincount(places)
    wrong_of = np.stack([np.bincount(places, weights=row) for row in ~right], axis=1)  # (groups, sizes)
    drawn = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size=_RESAMPLES)
    counts = np.concatenate([np.ones((1, len(members)), dtype=int), drawn])
    errors: np.ndarray = (counts @ wrong_of + 0.5) / (counts @ members + 1)[:, None]
    freedom, level = len(members) - 1, (1 + CONFIDENCE) / 2
    wider = (len(members) / freedom) ** 0.5 * float(stats.t.ppf(level, freedom) / stats.norm.ppf(level))
    widened: np.ndarray = np.clip(errors[0] + wider * (errors - errors[0]), 0.0, 1.0)
    return widened


def _training_error(errors: np.ndarray, documents: np.ndarray | float) -> np.ndarray:
    """The standard deviation of an error over other training documents."""
    deviation: np.ndarray = _TRAINING * np.sqrt(errors * (1 - errors) / documents)
    return deviation


@dataclass(frozen=True)
class _Law:
    """Errors e = exp(level)·(n / exp(centre))^slope, with a slope of at most 0: three arrays (laws,)."""

    centre: np.ndarray
    level: np.ndarray
    slope: np.ndarray

    @classmethod
    def fit(cls, sizes: np.ndarray, errors: np.ndarray) -> _Law:
        """Through each row of errors (laws, sizes).

        Logarithms are fitted by least squares; an error with more mistakes is the surer one, so that it weighs more.
        """
        logs, heights = np.log(sizes), np.log(errors)
        weights = errors / errors.sum(axis=1, keepdims=True)
        centre = (weights * logs).sum(axis=1)
        level = (weights * heights).sum(axis=1)
        spread = (weights * (logs - centre[:, None]) ** 2).sum(axis=1)
        slope = (weights * (logs - centre[:, None]) * (heights - level[:, None])).sum(axis=1) / spread
        return cls(centre, level, np.minimum(slope, 0.0))

    def error(self, size: float) -> np.ndarray:
        """After training on so many documents, (laws,)."""
        error: np.ndarray = np.exp(self.level + self.slope * (np.log(size) - self.centre))
        return error


def _realised(law: _Law, start: float, *, more: Sequence[int], generator: np.random.Generator) -> np.ndarray:
    """What a training on more labels would bring, (laws, more): the first law's expectation, and of each further one
    a gain that is drawn."""
    before = np.minimum(law.error(start), 1.0)
    slope = law.slope + _DRIFT * generator.standard_normal(len(before)) * (np.arange(len(before)) > 0)
    columns = []
    for number in more:
        gain = before * (1 - ((start + number) / start) ** slope)
        # The documents that stay vary the accuracies before and after alike; the new ones are such a share.
        noise = _training_error(before, start) * (number / (start + number)) ** 0.5
        noise[0] = 0.0
        columns.append(gain + noise * generator.standard_normal(len(before)))
    return np.stack(columns, axis=1)
