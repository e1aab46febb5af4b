"""What the runs of a study say together: intervals, and tests of two arms on the same documents.

Two things make an accuracy vary: training (another seed gives another model) and the documents (another test set gives
another share of correct ones). Each function says which of the two it covers.

- Wilson's interval (`measure.metrics.accuracy_interval`) covers documents, for one model.
- `accuracy_interval_over_both` and `compare` cover both. Every run is measured on the same documents, so a run's score
  is the arm's mean, plus what its seed adds, plus what these documents add to all runs alike, plus a rest. That is the
  design of studies in which several readers read the same cases, with a seed as reader and a document as case:
  Obuchowski and Rockette (1995), with the degrees of freedom of Hillis (2007, "A comparison of denominator degrees of
  freedom methods for multiple observer ROC analysis"). The runs of two arms count as independent, equal seeds or not,
  unless each of the one took over the training of one of the other: these are compared in pairs. With two seeds that
  differ much, `accuracy_interval_over_both` covers some 90 % instead of 95 %; from three on it is close.
- `exact_mcnemar` covers documents, for one model against one other.

Documents of a group, such as those of one customer, are not independent of each other. Given their groups, the
functions take the variance over groups instead of documents (that of a share of samples in clusters of unequal sizes,
Cochran 1977, chapter 9A), the t distribution with as many degrees of freedom as groups less one, and for Wilson's and
Newcombe's intervals the number of independent documents that would give this variance, at most the number that there is
(Korn and Graubard 1998; Dean and Pagano 2015 compare such intervals). Fewer than `FEWEST_GROUPS` groups decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np

from tanzaku.analysis.run_scores import RunScores, accuracy_scores, group_size, sums_over_groups
from tanzaku.measure.metrics import wilson_interval

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
_NORMAL_QUANTILE = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_NO_ERROR = 1e-9  # what rounding may leave of a standard error of 0


@dataclass(frozen=True)
class Interval:
    """A 95 % interval. `kind`: Wilson's, which covers documents, or one that covers seeds and documents."""

    low: float
    high: float
    kind: Literal["wilson", "both"]
    over_groups: bool = False
    """Whether it covers other groups of documents, where those of a group are not independent of each other."""

    @property
    def half_width(self) -> float:
        """Half of the distance between the ends."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference:
    """One arm's mean less another's, with its 95 % interval and a two-sided p-value, before any correction."""

    mean: float
    interval: Interval
    p_value: float
    test: Literal["mcnemar", "t"]
    quantile: float = _NORMAL_QUANTILE
    """How many standard errors the interval's half-width is: the normal distribution's or Student's t, or less where
    the interval ends at ±1."""

    @property
    def standard_error(self) -> float:
        """That the interval stands for."""
        return self.interval.half_width / self.quantile


Outcome = Literal["better", "worse", "not distinguishable"]


def outcome_of(difference: Difference, *, p_value: float) -> Outcome:
    """Of the first arm compared with the second, by a p-value that is corrected for all that was compared."""
    if p_value >= SIGNIFICANCE:
        return "not distinguishable"
    return "better" if difference.mean > 0 else "worse"


def accuracy_interval_over_both(accuracies: RunScores, runs: Sequence[int]) -> Interval:
    """95 % interval of an arm's accuracy over seeds and documents; of one run, Wilson's, over documents alone.

    Args:
        accuracies: From `accuracy_scores`.
        runs: Places of the arm's runs.
    """
    variance, freedom = _arm_variance(accuracies, list(runs))
    low, high = _wilson(accuracies, list(runs), variance=variance, freedom=freedom)
    over_groups = bool(np.isfinite(accuracies.freedom))
    return Interval(low, high, "wilson" if len(runs) == 1 else "both", over_groups)


def compare(scores: RunScores, first: Sequence[int], second: Sequence[int], *, in_pairs: bool = False) -> Difference:
    """The first runs' mean less the second's, tested on the same documents.

    Covers documents, and the seeds of each side that has several runs; the seed of a side with one run is not covered.

    Args:
        scores: Of all runs.
        first: Places of one arm's runs.
        second: Places of another's, none of them the first's.
        in_pairs: Whether the runs at the same place of both share a training, so that what it adds to a score is in
            the difference of the two only as far as it is not common to them. There are as many of both.

    Returns:
        With a p-value of 1 and an interval of all differences where there are fewer than `FEWEST_GROUPS` groups, or
        where no sample of the few documents shows how the difference varies, which does not make it certain.
    """
    from scipy import stats

    mean = float(scores.values[list(first)].mean() - scores.values[list(second)].mean())
    if in_pairs:
        variance, freedom = _variance(scores.differences(first, second), [list(range(len(first)))], signs=[1])
    else:
        variance, freedom = _variance(scores, [list(first), list(second)], signs=[1, -1])
    error = variance**0.5
    if not scores.decides or (error < _NO_ERROR < abs(mean)):
        return Difference(mean, Interval(-1.0, 1.0, kind="both"), 1.0, test="t")
    if (
        error < _NO_ERROR
    ):  # equal on these documents, and so on every resample: as with `accuracy_scores`' two documents
        error = 1 / (scores.documents + 2)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    # No difference of shares is outside.
    interval = Interval(max(-1.0, mean - quantile * error), min(1.0, mean + quantile * error), kind="both")
    p_value = float(2 * stats.t.sf(abs(mean) / error, freedom))
    return Difference(mean, interval, p_value, test="t", quantile=interval.half_width / error)


def compare_accuracies(
    correct: np.ndarray,
    first: Sequence[int],
    second: Sequence[int],
    groups: np.ndarray | None = None,
    *,
    in_pairs: bool = False,
) -> Difference:
    """As `compare`, with McNemar's exact p-value where each side has one run, and an interval that suits shares.

    The interval is Newcombe's (1998, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", method 10): both arms' Wilson intervals, squared and added with regard to how they vary
    together. Unlike mean ± 1.96 standard errors it holds its promise where two arms seldom differ. Of arms of several
    runs it is the same of their means, with intervals over seeds and documents; of several pairs of runs, that of
    `compare`.

    Args:
        correct: Whether each run took each document right, (runs, documents) bool.
        first: Places of one arm's runs.
        second: Places of another's.
        groups: The documents' groups, (documents,) int, if there are any. The p-value is then that of `compare`.
        in_pairs: As for `compare`.
    """
    scores = accuracy_scores(correct[[*first, *second]], groups)
    one, other = list(range(len(first))), list(range(len(first), scores.runs))
    tested = compare(scores, one, other, in_pairs=in_pairs)
    if not scores.decides or (in_pairs and len(one) > 1):
        return tested
    correlation = _correlation(correct[[*first, *second]], one, other, groups)
    interval = _newcombe(scores, one, other, correlation=correlation)
    if scores.runs > 2 or groups is not None:
        return replace(tested, interval=interval)
    return Difference(tested.mean, interval, exact_mcnemar(*correct[[*first, *second]]), test="mcnemar")


def exact_mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """McNemar's exact two-sided p-value: whether one of two models is right oftener where just one of them is.

    Args:
        first: Whether one model took each document right, (documents,) bool.
        second: Whether the other did.
    """
    from scipy import stats

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Sequence[float], *, comparisons: int | None = None) -> list[float]:
    """Holm's corrected p-values (1979): the probability that any below 0.05 is a false alarm is at most 5 %.

    Args:
        p_values: Before the correction.
        comparisons: How many there are, if more than these: the others count as less certain than any of these.
    """
    ascending = np.argsort(p_values, kind="stable")
    factors = (comparisons or len(p_values)) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[ascending] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[ascending] * factors))
    return corrected.tolist()


def holm_with_best(p_values: Sequence[float]) -> list[float]:
    """As `holm`, of all other candidates compared with the one that is the best on the same documents.

    Which one that is, the documents decide: every pair of candidates could have been among these comparisons, so that
    as many count as there are pairs.
    """
    candidates = len(p_values) + 1
    return holm(p_values, comparisons=candidates * (candidates - 1) // 2)


def _variance(scores: RunScores, arms: Sequence[list[int]], *, signs: Sequence[int]) -> tuple[float, float]:
    """The variance of a sum of arms' means, each with its sign, over seeds and documents; and its degrees of freedom.

    With the covariance K over documents, the spread of an arm's S values holds what the seeds add and what the
    documents add to each run by itself, (mean of K's diagonal) - (mean of the rest). What the documents add to an arm's
    runs alike is the rest of the documents' part. Where runs of two arms resemble each other, as with equal seeds, it
    would be less than 0, which Hillis (2007) does not let it be: else nothing would be left of the seeds, which count
    as independent.
    Never less than the documents' part.
    """
    weights = np.zeros(scores.runs)
    for runs, sign in zip(arms, signs, strict=True):
        weights[runs] += sign / len(runs)
    documents = float(weights @ scores.covariance @ weights)
    apart = by_itself = seeds_noise = 0.0
    for runs in arms:
        count = len(runs)
        if count < 2:
            continue
        block = scores.covariance[np.ix_(runs, runs)]
        own = float((np.trace(block) - (block.sum() - np.trace(block)) / (count - 1)) / count)
        spread = float(scores.values[runs].var(ddof=1))
        by_itself += own / count
        apart += max(own, spread) / count
        seeds_noise += (spread / count) ** 2 / (count - 1)
    alike = max(0.0, documents - by_itself)
    variance = alike + apart
    noise = (alike + by_itself) ** 2 / scores.freedom + seeds_noise  # of both parts, by Satterthwaite
    return variance, variance**2 / noise if noise > 0 else float("inf")


def _arm_variance(accuracies: RunScores, runs: list[int]) -> tuple[float, float]:
    """As `_variance` of one arm by itself, of which all runs toss the same coins: those of their own would average out,
    and runs that agree on every document would look more certain than one of them."""
    variance, freedom = _variance(accuracies, [runs], signs=[1])
    return variance + accuracies.tosses * (1 - 1 / len(runs)), freedom


def _wilson(accuracies: RunScores, runs: list[int], *, variance: float, freedom: float) -> tuple[float, float]:
    """Wilson's interval for as many independent documents as would give the variance, as for samples in clusters
    (Dean and Pagano 2015), with Student's t for the seeds."""
    from scipy import stats

    share = float(accuracies.values[runs].mean())
    size, documents = accuracies.group_size, accuracies.documents
    added = (share * documents + size) / (documents + 2 * size)  # with the two documents or groups of `accuracy_scores`
    effective = max(1.0, added * (1 - added) / variance - 2)
    if np.isfinite(accuracies.freedom):  # documents of a group are seldom more different than others, but may look so
        effective = min(effective, documents)
    return wilson_interval(share, effective, quantile=float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)))


def _correlation(correct: np.ndarray, first: list[int], second: list[int], groups: np.ndarray | None = None) -> float:
    """Of two arms' mean accuracies, as Newcombe's method 10 estimates it.

    A positive covariance is reduced by half a document, or half a group, down to 0, and an arm that is right
    everywhere, or nowhere, is correlated with none. With one run each and n documents, of which both take a right,
    only the first b, only the second c, and neither d, it is his φ = (ad - bc - n/2) / √((a + b)(c + d)(a + c)(b + d)).
    """
    right = correct.astype(np.float64)
    documents = right.shape[1]
    sums = sums_over_groups(right - right.mean(axis=1, keepdims=True), groups)
    means = RunScores(right.mean(axis=1), sums @ sums.T / documents**2, documents)
    variances = [_variance(means, [runs], signs=[1])[0] for runs in (first, second)]
    covariance = float(means.covariance[np.ix_(first, second)].mean())
    if covariance > 0:
        covariance = max(0.0, covariance - group_size(groups) ** 2 / (2 * documents**2))
    return covariance / (variances[0] * variances[1]) ** 0.5 if min(variances) > 0 else 0.0


def _newcombe(accuracies: RunScores, first: list[int], second: list[int], *, correlation: float) -> Interval:
    _, freedom = _variance(accuracies, [first, second], signs=[1, -1])
    below, above = [], []
    for runs in (first, second):
        variance, _ = _arm_variance(accuracies, runs)
        low, high = _wilson(accuracies, runs, variance=variance, freedom=freedom)
        mean = float(accuracies.values[runs].mean())
        below.append(mean - low)
        above.append(high - mean)
    mean = float(accuracies.values[first].mean() - accuracies.values[second].mean())
    down = below[0] ** 2 + above[1] ** 2 - 2 * correlation * below[0] * above[1]
    up = above[0] ** 2 + below[1] ** 2 - 2 * correlation * above[0] * below[1]
    return Interval(mean - max(down, 0.0) ** 0.5, mean + max(up, 0.0) ** 0.5, kind="both")
