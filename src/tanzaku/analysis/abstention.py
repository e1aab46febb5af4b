"""Which texts to answer so that few of the answers are wrong: a threshold on the probability, with a promise.

The promise: with the stated confidence, over validation sets of that size, the error rate among all texts whose
probability reaches the threshold is at most the one that was asked for. It is made by fixed-sequence testing, as in
"Learn then Test" (Angelopoulos et al. 2021, arXiv 2110.01052), with the exact binomial test of each threshold. The test
needs independent documents: of documents in groups, `one_of_each` takes some.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

DEFAULT_CONFIDENCE = 0.95
_ROUNDING = 1e-9
_SEED = 0  # equal documents give equal promises
_MOST_STARTS = 5
_FOR_EACH_START = 4  # times the fewest documents that can promise anything
_RATES = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4)
HIGHEST_ROUND_RATE = _RATES[-1]


@dataclass(frozen=True)
class Threshold:
    """The lowest probability that is answered, and what was seen of it on held-out documents."""

    probability: float
    error_rate: float
    """That is promised."""
    confidence: float
    documents: int
    """Held-out documents."""
    answered: int
    """Of them, those that reach the probability."""
    wrong: int
    """Of those."""
    cross_validated: bool = False
    """Whether the documents are those of a cross-validation, each classified by a model that was not trained on it,
    and not by the classifier that the threshold is for."""
    grouped: bool = False
    """Whether they are one of each group of documents."""

    @property
    def coverage(self) -> float:
        """The share of the held-out documents that is answered."""
        return self.answered / self.documents


def choose_threshold(
    probabilities: np.ndarray, correct: np.ndarray, *, error_rate: float, confidence: float = DEFAULT_CONFIDENCE
) -> Threshold | None:
    """The lowest threshold of which the promise can be made; None where it can be made of none.

    Thresholds are tested from the highest on. The null hypothesis of each is that more than `error_rate` of what it
    answers is wrong; a threshold is tested only after a higher one was accepted, with the level that this one used
    (Wiens 2003, the fallback procedure). With many documents, the sequence starts at up to five places that share the
    level, so that one mistake among the most probable documents does not end it.

    The tests need documents that had no part in the model. Of a run's validation set this is not wholly so: the
    temperature, the best epoch and the arm were chosen on it. Those of a cross-validation only chose the arm, but were
    classified by other models. The promise also assumes that the error rate does not fall with a lower probability, and
    that new texts are like these documents.

    Args:
        probabilities: Of the predicted classes of held-out documents, (documents,) float.
        correct: Whether these are right, (documents,) bool.
        error_rate: From 0 to 1, both excluded.
        confidence: Likewise.
    """
    documents = len(probabilities)
    fewest = fewest_documents(error_rate=error_rate, confidence=confidence)
    starts = min(_MOST_STARTS, max(1, documents // (_FOR_EACH_START * fewest)))
    level = (1 - confidence) / starts
    first = fewest_documents(error_rate=error_rate, confidence=1 - level)
    order = np.argsort(-probabilities, kind="stable")
    thresholds, answered, wrong = _by_threshold(probabilities[order], correct[order])
    tested = answered >= first  # of fewer documents the test could say nothing
    thresholds, answered, wrong = thresholds[tested], answered[tested], wrong[tested]
    p_values = p_values_of_first(correct[order], error_rate=error_rate)[answered - 1]
    begins = [first * (documents / first) ** (start / starts) for start in range(starts)]
    added = np.bincount(np.searchsorted(answered, begins), minlength=len(answered) + 1) * level
    chosen, available = None, 0.0
    for place, p_value in enumerate(p_values):
        available += added[place]
        if p_value <= available + _ROUNDING:
            chosen = place
        else:
            available = 0.0
    if chosen is None:
        return None
    found = float(thresholds[chosen]), int(answered[chosen]), int(wrong[chosen])
    return Threshold(found[0], error_rate, confidence, documents, answered=found[1], wrong=found[2])


def one_of_each(groups: np.ndarray) -> np.ndarray:
    """The rows, in order, of one document of each group, drawn at random; equal groups give equal rows.

    Documents of a group are often right or wrong together, so that the binomial test would take them for more evidence
    than they are. One of each are independent of each other, so that the test is exact for them, whatever the
    correlation within groups; what is promised is the error rate where each group counts alike.

    Args:
        groups: The documents' groups, (documents,) int.
    """
    order = np.random.default_rng(_SEED).permutation(len(groups))
    _, first = np.unique(groups[order], return_index=True)
    rows: np.ndarray = np.sort(order[first])
    return rows


def fewest_documents(*, error_rate: float, confidence: float = DEFAULT_CONFIDENCE) -> int:
    """How many documents without a mistake it takes at least to promise an error rate: (1 - rate)ⁿ ≤ 1 - confidence."""
    return math.ceil(math.log(1 - confidence) / math.log1p(-error_rate) - _ROUNDING)


def lowest_promise(
    probabilities: np.ndarray, correct: np.ndarray, *, confidence: float = DEFAULT_CONFIDENCE
) -> Threshold | None:
    """The threshold of the lowest round error rate that can be promised; None where not even 40 % can be.

    It is for advice: a rate that is chosen after looking at what can be promised is no longer covered.
    """
    found = (choose_threshold(probabilities, correct, error_rate=rate, confidence=confidence) for rate in _RATES)
    return next((threshold for threshold in found if threshold), None)


def p_values_of_first(correct: np.ndarray, *, error_rate: float) -> np.ndarray:
    """P-values of the exact binomial test that more than `error_rate` of the first 1, 2, … documents are wrong.

    With w(n) of the first n wrong, it is P(X(n) ≤ w(n)), where X(n) is binomial. From one document to the next,

        P(X(n + 1) ≤ w) = P(X(n) ≤ w) - error_rate · P(X(n) = w),

    so all follow from sums, and the runtime needs no scipy. They are exact to about 1e-11.

    Args:
        correct: In their order, (documents,) bool.
        error_rate: From 0 to 1, both excluded.

    Returns:
        (documents,) float64.
    """
    wrong = ~correct
    count, mistakes = np.arange(len(wrong)), np.cumsum(wrong) - wrong  # before each document
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(wrong) + 1)))])

    def mass(successes: np.ndarray, trials: np.ndarray) -> np.ndarray:
        ways = log_factorial[trials] - log_factorial[successes] - log_factorial[trials - successes]
        found: np.ndarray = np.exp(
            ways + successes * math.log(error_rate) + (trials - successes) * math.log1p(-error_rate)
        )
        return found

    added = np.where(wrong, mass(mistakes + wrong, count + 1), 0.0) - error_rate * mass(mistakes, count)
    p_values: np.ndarray = np.clip(1 + np.cumsum(added), 0, 1)
    return p_values


def _by_threshold(ordered: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every threshold that answers other documents, the highest first; how many it answers; how many of them wrong."""
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
    return ordered[last], last + 1, np.cumsum(~correct)[last]
