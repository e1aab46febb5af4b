"""Probabilities that mean what they say: temperature scaling, fitted on documents that nothing was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# How far the logarithm of a factor usually lies from its method's typical one. Guo et al. (2017, arXiv 1706.04599)
# report temperatures from 1 to 2.6 for networks that were trained with cross-entropy.
_SPREAD = 0.5
_FARTHEST = 5.0  # the logarithm's distance from the typical one that is searched: 148 times as much
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
    (factor,) = fit_factors([scores], classes, typical=[1 / typical])
    information = _information(scores.astype(np.float64) * factor)
    return Calibration(1 / factor, len(scores), information / (information + _SPREAD**-2))


def fit_factors(
    parts: Sequence[np.ndarray], classes: np.ndarray, *, typical: Sequence[float], spread: float = _SPREAD
) -> tuple[float, ...]:
    """Fit positive factors on the scores of several classifiers with which the probabilities of their sum are best.

    The factors w minimise the negative log-likelihood of the classes under softmax(Σ wᵢ·scoresᵢ) plus Σ (ln wᵢ - ln
    typicalᵢ)² / (2 · spread²): logistic regression on the classifiers' scores (stacking, Ting and Witten 1999, Journal
    of Artificial Intelligence Research 10), with a prior that keeps a few documents from deciding much.

    Args:
        parts: The scores of each classifier for documents that none of them was trained on, (documents, labels) float;
            of no documents, the factors are `typical`.
        classes: The documents' class indices, (documents,) int.
        typical: The factor that each classifier's scores usually need.
        spread: How far the logarithm of a factor usually lies from that of the typical one.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    scores = np.stack(parts).astype(np.float64)  # (classifiers, documents, labels)
    rows, center = np.arange(len(classes)), np.log(typical)

    def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
        weighted = np.exp(logarithms)[:, None, None] * scores
        log_probabilities = log_softmax(weighted.sum(axis=0), axis=1)  # (documents, labels)
        errors = np.exp(log_probabilities)
        errors[rows, classes] -= 1
        distances = logarithms - center
        value = (distances**2).sum() / (2 * spread**2) - log_probabilities[rows, classes].sum()
        return float(value), (weighted * errors).sum(axis=(1, 2)) + distances / spread**2

    bounds = [(middle - _FARTHEST, middle + _FARTHEST) for middle in center]
    return tuple(np.exp(minimize(loss, center, jac=True, bounds=bounds, method="L-BFGS-B").x).tolist())


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
