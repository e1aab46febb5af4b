"""Probabilities that mean what they say: temperature scaling, fitted on documents that nothing was trained on."""

import math
from dataclasses import dataclass

import numpy as np

# How far the logarithm of a temperature usually lies from its method's typical one. Guo et al. (2017, arXiv 1706.04599)
# report temperatures from 1 to 2.6 for networks that were trained with cross-entropy.
_SPREAD = 0.5
_FARTHEST = 5.0  # the logarithm's distance from the typical one that is searched: a factor of 148
_STEPS = 10_000  # of a probability, where it is rounded


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities: softmax(scores / temperature)."""

    temperature: float
    documents: int
    """On which it was fitted."""
    evidence: float
    """The documents' share of what decided the temperature; the rest is the method's typical temperature."""


def fit_temperature(scores: np.ndarray, classes: np.ndarray, *, typical: float = 1.0) -> Calibration:
    """Fit the temperature with which the probabilities of held-out documents are best (Guo et al. 2017).

    The temperature T minimises the negative log-likelihood of the classes plus (ln T - ln typical)² / (2 · 0.5²): the
    mode of its posterior with a normal prior on ln T. A few documents move it little from `typical`, and one on which
    no document is wrong does not become 0. With many documents the prior has no weight: `evidence` is the expected
    Fisher information of the documents about ln T, as a share of that sum with the prior's.

    Args:
        scores: Of documents that were not trained on, (documents, labels) float; of none, the temperature is `typical`.
        classes: Their class indices, (documents,) int.
        typical: The temperature that the method's scores usually need.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    scores = scores.astype(np.float64)
    rows, center = np.arange(len(scores)), math.log(typical)

    def loss(logarithm: float) -> float:
        log_probabilities = log_softmax(scores * math.exp(-logarithm), axis=1)  # (documents, labels)
        prior = (logarithm - center) ** 2 / (2 * _SPREAD**2)
        return float(prior - log_probabilities[rows, classes].sum())

    bounds = (center - _FARTHEST, center + _FARTHEST)
    temperature = math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)
    information = _information(scores / temperature)
    return Calibration(temperature, len(scores), information / (information + _SPREAD**-2))


def _information(logits: np.ndarray) -> float:
    """Expected Fisher information about ln T: the variance of a logit under its document's probabilities, summed."""
    probabilities = softmax(logits)
    means = (probabilities * logits).sum(axis=1, keepdims=True)
    return float((probabilities * (logits - means) ** 2).sum())


def softmax(scores: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of the same shape, (documents, labels) float64; the largest score has the largest probability."""
    scores = scores.astype(np.float64)
    exponentials = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def rounded_down(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities to four decimals, never above the exact ones.

    A threshold of four decimals then keeps the same documents before and after.
    """
    steps: np.ndarray = np.floor(probabilities * _STEPS + 1e-9) / _STEPS
    return np.round(steps, 4)
