"""The scores of a study's runs on the same documents: how they vary together over documents, or over groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

FEWEST_GROUPS = 3
"""With fewer, how groups differ is hardly known: no two classifiers are distinguished then."""
# Of the documents: the standard error of a bootstrapped standard error is then 1.6 % of it; with many documents, for
# the time that it takes, as few as give 5 %.
_MOST_RESAMPLES, _FEWEST_RESAMPLES, _CELLS = 2000, 200, 20_000_000
_RESAMPLING_SEED = 0  # equal records give equal reports
_CELLS_AT_ONCE = 4_000_000  # resamples times documents that are held in memory


@dataclass(frozen=True)
class RunScores:
    """One measure of several runs on the same documents, and how the runs' values vary together over documents."""

    values: np.ndarray
    """(runs,) float64"""
    covariance: np.ndarray
    """(runs, runs) float64: of the values, over samples of as many documents."""
    documents: int
    group_size: float = 1.0
    """Of an average document's group."""
    tosses: float = 0.0
    """What the tosses of each run's own coins add to the variance of one run's value; see `accuracy_scores`."""
    freedom: float = float("inf")
    """Degrees of freedom of the covariance: of groups one less than there are; of documents, as good as infinitely
    many."""

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len(self.values)

    def differences(self, first: Sequence[int], second: Sequence[int]) -> RunScores:
        """The score of each of the first runs less that of the second run at the same place."""
        places = range(len(first))
        signs = np.zeros((len(first), self.runs))  # (differences, runs)
        signs[places, list(first)], signs[places, list(second)] = 1, -1
        return replace(self, values=signs @ self.values, covariance=signs @ self.covariance @ signs.T)

    @property
    def decides(self) -> bool:
        """Whether there are enough groups to tell runs apart; without groups, always."""
        return self.freedom >= FEWEST_GROUPS - 1


def accuracy_scores(correct: np.ndarray, groups: np.ndarray | None = None) -> RunScores:
    """Accuracies, from whether each run took each document right, (runs, documents) bool.

    Two documents are added to the covariance that every run has right by the toss of a coin of its own: for two runs
    that is the variance of Agresti and Min (2005), and two runs that never differ do not look infinitely certain. With
    `groups`, (documents,) int, two groups are added instead.
    """
    right = correct.astype(np.float64)
    if groups is not None:
        return _accuracy_scores_of_groups(right, groups)
    runs, documents = right.shape
    total = documents + 2
    sums = right.sum(axis=1) + 1  # (runs,)
    products = right @ right.T + 0.5 + 0.5 * np.eye(runs)  # (runs, runs)
    covariance = (products - np.outer(sums, sums) / total) / total**2
    return RunScores(right.mean(axis=1), covariance, documents, tosses=0.5 / total**2)


def _accuracy_scores_of_groups(right: np.ndarray, groups: np.ndarray) -> RunScores:
    documents = right.shape[1]
    size, count = group_size(groups), len(np.unique(groups))
    total = documents + 2 * size
    shares = (right.sum(axis=1) + size) / total
    sums = sums_over_groups(right - shares[:, None], groups)
    covariance = sums @ sums.T / total**2 + _of_added_groups(shares, size=size, documents=documents)
    return RunScores(
        right.mean(axis=1),
        covariance,
        documents,
        group_size=size,
        tosses=0.5 * size**2 / total**2,
        freedom=max(1, count - 1),
    )


def _of_added_groups(shares: np.ndarray, *, size: float, documents: int) -> np.ndarray:
    """What two groups that each run has right by the toss of a coin add to the covariance of shares, (runs, runs)."""
    half = 0.5 - shares
    added: np.ndarray = 2 * size**2 * (np.outer(half, half) + 0.25 * np.eye(len(shares)))
    return added / (documents + 2 * size) ** 2


def group_size(groups: np.ndarray | None) -> float:
    """The mean over documents of the size of their group; 1 without groups."""
    if groups is None:
        return 1.0
    sizes = np.unique(groups, return_counts=True)[1]
    return float((sizes**2).sum() / sizes.sum())


def sums_over_groups(rows: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """The sums of each row over each group, (rows, groups); without groups, the rows themselves."""
    if groups is None:
        return rows
    _, places = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(places, weights=row) for row in rows])


def accuracy_scores_from_counts(correct: Sequence[int], documents: int, groups: np.ndarray | None = None) -> RunScores:
    """Accuracies of runs whose predictions are not known, only how many of the documents each took right.

    As if the runs were wrong on the same documents, as far as the counts allow, and right or wrong on whole groups:
    nothing averages out over the runs or within a group, so that an interval is too wide rather than too narrow.
    """
    counts = np.asarray(correct, dtype=np.float64)
    size = group_size(groups)
    total = documents + 2 * size
    shares = (counts + size) / total
    errors = np.sqrt(shares * (1 - shares) * size / total)  # (runs,), with `accuracy_scores`' two documents or groups
    freedom = float("inf") if groups is None else max(1, len(np.unique(groups)) - 1)
    return RunScores(counts / documents, np.outer(errors, errors), documents, group_size=size, freedom=freedom)


def macro_f1_scores(
    classes: np.ndarray,
    predicted: np.ndarray,
    *,
    labels: int,
    resamples: int | None = None,
    groups: np.ndarray | None = None,
) -> RunScores:
    """Macro-F1 of runs, its covariance by the bootstrap: the same resampled documents for all of them.

    Args:
        classes: The true class indices, (documents,) int.
        predicted: The predicted ones, (runs, documents) int.
        labels: How many classes there are. Of each run and resample, those are averaged that occur among the true or
            the predicted ones, as in `measure.metrics.measure`.
        resamples: How often as many documents are drawn with replacement; 2,000 times, or down to 200 where there are
            more than 10,000 documents.
        groups: The documents' groups, (documents,) int: whole groups are drawn instead of documents. Since the
            bootstrap's variance of m groups is too small by (m - 1)/m, and may be nothing at all where runs are equally
            good in each of a few groups, it is corrected by that, and the two groups of `accuracy_scores` are added.
    """
    documents = len(classes)
    kinds, places = np.unique(np.arange(documents) if groups is None else groups, return_inverse=True)
    resamples = resamples or min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, _CELLS // documents))
    generator = np.random.default_rng(_RESAMPLING_SEED)
    at_once = max(1, min(resamples, _CELLS_AT_ONCE // documents))
    parts = []
    for start in range(0, resamples, at_once):
        weights = _resampled(generator, len(kinds), times=min(at_once, resamples - start))[:, places]
        parts.append(_macro_f1(classes, predicted, labels=labels, weights=weights))
    values = _macro_f1(classes, predicted, labels=labels, weights=np.ones((1, documents), dtype=np.float32))[0]
    covariance = np.atleast_2d(np.cov(np.concatenate(parts), rowvar=False))
    if groups is None:
        return RunScores(values, covariance, documents)
    size, freedom = group_size(groups), max(1, len(kinds) - 1)
    covariance = covariance * len(kinds) / freedom + _of_added_groups(values, size=size, documents=documents)
    return RunScores(values, covariance, documents, group_size=size, freedom=freedom)


def _resampled(generator: np.random.Generator, documents: int, *, times: int) -> np.ndarray:
    """How often each document was drawn, (times, documents) float32."""
    drawn = generator.integers(0, documents, (times, documents)) + documents * np.arange(times)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=times * documents)
    return counts.reshape(times, documents).astype(np.float32)


def _macro_f1(classes: np.ndarray, predicted: np.ndarray, *, labels: int, weights: np.ndarray) -> np.ndarray:
    """Macro-F1 of every run under every weighting of the documents, (weightings, runs)."""
    one_hot = np.eye(labels, dtype=np.float32)
    support = weights @ one_hot[classes]  # (weightings, labels)
    columns = []
    for run in predicted:
        right = weights @ (one_hot[classes] * (classes == run)[:, None])
        sizes = support + weights @ one_hot[run]
        scores = np.divide(2 * right, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        columns.append(scores.sum(axis=1) / (sizes > 0).sum(axis=1))
    return np.stack(columns, axis=1).astype(np.float64)
