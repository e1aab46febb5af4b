"""Whether probabilities mean what they say: the reliability curve and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tanzaku.measure.metrics import accuracy_interval

_MOST_BINS = 15
_FEWEST_IN_BIN = 20  # of fewer documents a share says little
_DRAWS, _SEED = 500, 0
_CELLS_AT_ONCE = 4_000_000  # drawn, so that a million documents do not take gigabytes


@dataclass(frozen=True)
class Bin:
    """Documents of about equal probability."""

    documents: int
    probability: float
    """The mean."""
    accuracy: float
    interval: tuple[float, float]
    """95 % interval of the accuracy (Wilson)."""


@dataclass(frozen=True)
class Reliability:
    """How far the probabilities of predicted classes are from the shares that are right."""

    documents: int
    error: float
    """The expected calibration error: the mean distance between probability and accuracy of the bins, by documents."""
    error_by_chance: float
    """What it would be on average if every probability were right: chance makes it larger than 0 on few documents."""
    bins: tuple[Bin, ...]
    """As many documents in each as can be, the least probable first."""


def reliability_of(probabilities: np.ndarray, correct: np.ndarray) -> Reliability:
    """The reliability curve of some documents (DeGroot and Fienberg 1983), and its error.

    Bins have equal numbers of documents, which biases the error less than bins of equal width (Nixon et al. 2019, arXiv
    1904.01685; Roelofs et al. 2022, arXiv 2012.08668). What is left of the bias is estimated as in Bröcker and Smith
    (2007), by drawing which documents are right with their own probabilities.

    Args:
        probabilities: Of the predicted classes, (documents,) float.
        correct: Whether these are right, (documents,) bool; at least one document.
    """
    documents = len(probabilities)
    order = np.argsort(probabilities, kind="stable")
    probabilities, correct = probabilities[order], correct[order].astype(np.float64)
    count = max(1, min(_MOST_BINS, documents // _FEWEST_IN_BIN))
    starts = np.array([part[0] for part in np.array_split(np.arange(documents), count)])
    sizes = np.diff(np.append(starts, documents))
    generator = np.random.default_rng(_SEED)
    expected = np.add.reduceat(probabilities, starts)  # (bins,), right answers

    def errors(right: np.ndarray) -> np.ndarray:
        distances: np.ndarray = np.abs(np.add.reduceat(right, starts, axis=-1) - expected).sum(axis=-1) / documents
        return distances

    by_chance = 0.0
    block = max(1, _CELLS_AT_ONCE // documents)
    for start in range(0, _DRAWS, block):
        drawn = generator.random((min(block, _DRAWS - start), documents)) < probabilities
        by_chance += float(errors(drawn.astype(np.float64)).sum())

    right = np.add.reduceat(correct, starts)
    return Reliability(
        documents=documents,
        error=float(errors(correct)),
        error_by_chance=by_chance / _DRAWS,
        bins=tuple(
            Bin(int(size), float(mean), float(hits / size), accuracy_interval(round(float(hits)), int(size)))
            for size, mean, hits in zip(sizes, expected / sizes, right, strict=True)
        ),
    )
