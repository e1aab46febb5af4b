"""Intervals and tests: closed formulas, references, and what they promise in simulated studies."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from tanzaku.analysis import run_scores, statistics
from tanzaku.analysis.run_scores import RunScores, accuracy_scores, accuracy_scores_from_counts, macro_f1_scores
from tanzaku.analysis.statistics import (
    Difference,
    Interval,
    accuracy_interval_over_both,
    compare,
    compare_accuracies,
    exact_mcnemar,
    holm,
    holm_with_best,
    outcome_of,
)
from tanzaku.measure.metrics import wilson_interval

_bits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(_bits)
def test_mcnemar_is_statsmodels_exact(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs).T
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    assert exact_mcnemar(first, second) == pytest.approx(mcnemar(table, exact=True).pvalue)


@settings(max_examples=5, deadline=None)  # statsmodels collects garbage at every call
@given(st.lists(st.floats(0, 0.05), min_size=2, max_size=12))
def test_holm_is_his_step_down_procedure(p_values: list[float]) -> None:
    expected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        expected[place] = largest
    assert holm(p_values) == pytest.approx(expected)


def test_holm_multiplies_the_smallest_by_all_and_the_largest_by_one() -> None:
    assert holm([0.02, 0.01, 0.04]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9, 0.4]) == pytest.approx([1.0, 1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 9))
def test_comparisons_that_are_not_given_count_as_those_that_show_nothing(p_values: list[float], others: int) -> None:
    found = holm(p_values, comparisons=len(p_values) + others)
    assert found == pytest.approx(holm([*p_values, *[1.0] * others])[: len(p_values)])


def test_with_the_best_on_the_same_documents_every_pair_counts() -> None:
    # Four candidates have six pairs.
    assert holm_with_best([0.001, 0.004, 0.3]) == pytest.approx([0.006, 0.02, 1.0])
    assert holm_with_best([0.04]) == pytest.approx([0.04])
    assert holm_with_best([]) == []


def test_an_outcome_takes_a_corrected_p_below_five_percent() -> None:
    better = Difference(0.01, Interval(0.0, 0.02, kind="both"), 0.001, test="t")
    worse = replace(better, mean=-0.01)
    assert [outcome_of(better, p_value=p) for p in (0.0499, 0.05, 0.2)] == [
        "better",
        "not distinguishable",
        "not distinguishable",
    ]
    assert outcome_of(worse, p_value=0.0499) == "worse"


@given(_bits)
def test_one_run_has_wilsons_interval(pairs: list[tuple[bool, bool]]) -> None:
    correct = np.array(pairs).T
    interval = accuracy_interval_over_both(accuracy_scores(correct), [0])
    expected = proportion_confint(int(correct[0].sum()), len(pairs), method="wilson")
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)
    assert interval.kind == "wilson"


@settings(deadline=None)
@given(_bits)
def test_one_run_each_is_tested_by_mcnemar_with_the_variance_of_agresti_and_min(pairs: list[tuple[bool, bool]]) -> None:
    correct = np.array(pairs).T
    only_first, only_second = int((correct[0] & ~correct[1]).sum()), int((~correct[0] & correct[1]).sum())
    total = len(pairs) + 2
    variance = (only_first + only_second + 1 - (only_first - only_second) ** 2 / total) / total**2
    scores = accuracy_scores(correct)
    by_t = compare(scores, [0], [1])
    assert by_t.standard_error == pytest.approx(variance**0.5)
    ends = by_t.mean + np.array([-1, 1]) * stats.norm.ppf(0.975) * variance**0.5
    assert (by_t.interval.low, by_t.interval.high) == pytest.approx(ends.clip(-1, 1).tolist())
    difference = compare_accuracies(correct, [0], [1])
    assert difference.mean == pytest.approx((only_first - only_second) / len(pairs))
    assert difference.p_value == exact_mcnemar(correct[0], correct[1])
    assert difference.test == "mcnemar"


def _right(both: int, only_first: int, only_second: int, neither: int) -> np.ndarray:
    """(2, documents) bool"""
    cells = [both, only_first, only_second, neither]
    return np.stack([np.repeat([True, True, False, False], cells), np.repeat([True, False, True, False], cells)])


def _newcombe_10(a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Method 10 as Newcombe (1998) writes it, of a table of pairs."""
    n = a + b + c + d
    first, second = (a + b) / n, (a + c) / n
    (low_1, high_1), (low_2, high_2) = (proportion_confint(count, n, method="wilson") for count in (a + b, a + c))
    product = (a + b) * (c + d) * (a + c) * (b + d)
    excess = a * d - b * c
    phi = (excess if excess < 0 else max(0.0, excess - n / 2)) / product**0.5 if product else 0.0
    down = (first - low_1) ** 2 - 2 * phi * (first - low_1) * (high_2 - second) + (high_2 - second) ** 2
    up = (second - low_2) ** 2 - 2 * phi * (second - low_2) * (high_1 - first) + (high_1 - first) ** 2
    return first - second - down**0.5, first - second + up**0.5


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(0, 40)] * 4).filter(any))
def test_the_difference_of_two_runs_has_newcombes_interval(cells: tuple[int, int, int, int]) -> None:
    interval = compare_accuracies(_right(*cells), [0], [1]).interval
    assert (interval.low, interval.high) == pytest.approx(_newcombe_10(*cells), abs=1e-9)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        # Fagerland, Lydersen and Laake (2014, "Recommended tests and confidence intervals for paired binomial
        # proportions"), of airway hyper-responsiveness before and after a transplantation.
        ((1, 1, 7, 12), -0.507, -0.026),
        # An arm without an error is correlated with none: both Wilson intervals, squared and added.
        ((95, 5, 0, 0), 0.0033, 0.1118),
    ],
)
def test_newcombes_interval_is_the_published_one(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = compare_accuracies(_right(*cells), [0], [1]).interval
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.0005)


def test_the_variance_is_the_seeds_and_the_documents_each_once() -> None:
    """Obuchowski and Rockette's, with Hillis's degrees of freedom, by hand."""
    values = np.array([0.90, 0.86, 0.80, 0.82, 0.78])
    covariance = np.full((5, 5), 1e-4) + np.diag([3e-4, 3e-4, 1e-4, 2e-4, 3e-4])
    found = compare(RunScores(values, covariance, documents=500), [0, 1], [2, 3, 4])
    # The documents' part: what all runs share cancels out, and each run's own averages out over its arm.
    documents = 3e-4 / 2 + (1e-4 + 2e-4 + 3e-4) / 9
    # The seeds' part: the spread of an arm's values, less what the documents add to each run by itself.
    first, second = (0.02**2 + 0.02**2) / 1, (0.0**2 + 0.02**2 + 0.02**2) / 2
    variance = documents + (first - 3e-4) / 2 + (second - 2e-4) / 3
    freedom = variance**2 / ((first / 2) ** 2 / 1 + (second / 3) ** 2 / 2)
    half_width = stats.t.ppf(0.975, freedom) * variance**0.5
    assert found.mean == pytest.approx(0.08)
    assert found.interval.half_width == pytest.approx(half_width)
    assert found.p_value == pytest.approx(2 * stats.t.sf(0.08 / variance**0.5, freedom))


def test_without_any_variance_a_difference_is_unsure_and_none_is_none() -> None:
    scores = RunScores(np.array([0.9, 0.9, 0.8]), np.zeros((3, 3)), documents=500)
    same, apart = compare(scores, [0], [1]), compare(scores, [0], [2])
    assert (same.mean, same.p_value) == (0.0, 1.0)
    assert (same.interval.low, same.interval.high) == pytest.approx((-1.96 / 502, 1.96 / 502), rel=1e-3)
    assert (apart.p_value, apart.interval.half_width, apart.test) == (1.0, 1.0, "t")


def test_of_several_runs_newcombes_interval_is_of_their_means() -> None:
    # Runs of an arm that are alike add nothing to one of them, but for the coin that `accuracy_scores` tosses.
    first, second = _right(880, 100, 15, 5)
    correct = np.stack([first, first, first, second, second, second])
    interval = compare_accuracies(correct, [0, 1, 2], [3, 4, 5]).interval
    assert (interval.low, interval.high) == pytest.approx(_newcombe_10(880, 100, 15, 5), abs=1e-4)
    assert interval.high - 0.085 != pytest.approx(0.085 - interval.low, abs=1e-4)
    assert interval.kind == "both"


def test_newcombes_interval_of_several_runs_has_the_degrees_of_freedom_of_their_difference() -> None:
    random = np.random.default_rng(3)
    hard = random.random(60)  # what is hard for all makes the arms vary together
    correct = np.stack([hard < share for share in (0.95, 0.75, 0.7, 0.5)]) ^ (random.random((4, 60)) < 0.1)
    first, second = [0, 1], [2, 3]
    scores = accuracy_scores(correct)
    values, covariance = scores.values, scores.covariance

    def seeds(runs: list[int]) -> tuple[float, float]:
        """What two seeds add to the variance of their mean, and the spread of that mean."""
        a, b = runs
        spread = float(values[runs].var(ddof=1))
        own = (covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]) / 2
        return max(0.0, spread - own) / 2, spread / 2

    noise = sum(seeds(runs)[1] ** 2 for runs in (first, second))
    signs = np.array([1, 1, -1, -1]) / 2
    variance = signs @ covariance @ signs + seeds(first)[0] + seeds(second)[0]
    quantile = stats.t.ppf(0.975, variance**2 / noise)
    ends = []
    for runs in (first, second):
        share = values[runs].mean()
        # The two runs of an arm share the coins, of which each run's are half of its own here.
        own = covariance[np.ix_(runs, runs)].mean() + seeds(runs)[0] + 0.5 / 62**2 / 2
        added = (share * 60 + 1) / 62
        documents = max(1.0, added * (1 - added) / own - 2)
        low, high = wilson_interval(share, documents, quantile=quantile)
        ends.append((share - low, high - share))
    (down_1, up_1), (down_2, up_2) = ends
    together = statistics._correlation(correct, first, second)
    mean = values[first].mean() - values[second].mean()
    interval = compare_accuracies(correct, first, second).interval
    assert together > 0.2
    assert interval.low == pytest.approx(mean - (down_1**2 + up_2**2 - 2 * together * down_1 * up_2) ** 0.5)
    assert interval.high == pytest.approx(mean + (up_1**2 + down_2**2 - 2 * together * up_1 * down_2) ** 0.5)


def test_seeds_that_differ_less_than_the_documents_make_them_add_nothing() -> None:
    covariance = np.full((4, 4), 1e-4) + np.diag([4e-4] * 4)
    found = compare(RunScores(np.array([0.9, 0.9, 0.8, 0.8]), covariance, documents=500), [0, 1], [2, 3])
    assert found.interval.half_width == pytest.approx(stats.norm.ppf(0.975) * (4e-4 / 2 + 4e-4 / 2) ** 0.5)


def test_an_interval_over_both_is_wilsons_for_as_many_independent_documents() -> None:
    scores = RunScores(np.array([0.9, 0.86]), np.full((2, 2), 1e-4) + np.diag([2e-4, 4e-4]), documents=998)
    interval = accuracy_interval_over_both(scores, [0, 1])
    spread, own = 0.02**2 + 0.02**2, 3e-4
    variance = 1e-4 + own / 2 + (spread - own) / 2
    freedom = variance**2 / (spread / 2) ** 2
    share, added = 0.88, (0.88 * 998 + 1) / 1000
    effective = added * (1 - added) / variance - 2
    alpha = 2 * stats.norm.sf(stats.t.ppf(0.975, freedom))
    expected = proportion_confint(share * effective, effective, alpha=alpha, method="wilson")
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.kind == "both"


@pytest.mark.parametrize("groups", [None, np.arange(100) // 4], ids=["documents", "groups"])
def test_runs_that_agree_on_every_document_are_no_more_certain_than_one(groups: np.ndarray | None) -> None:
    for wrong in (0, 3, 40):
        correct = np.ones((5, 100), dtype=bool)
        correct[:, :wrong] = False
        scores = accuracy_scores(correct, groups)
        one, five = (accuracy_interval_over_both(scores, range(runs)) for runs in (1, 5))
        assert (five.low, five.high) == pytest.approx((one.low, one.high))
        once, often = (
            compare_accuracies(np.ones((2 * runs, 100), dtype=bool), range(runs), range(runs, 2 * runs), groups)
            for runs in (1, 5)
        )
        assert often.interval.half_width == pytest.approx(once.interval.half_width)


def test_without_predictions_runs_count_as_wrong_on_the_same_documents() -> None:
    alike, apart = np.ones((2, 200), dtype=bool), np.ones((2, 200), dtype=bool)
    alike[:, :20] = False
    apart[0, :20] = apart[1, 20:40] = False
    half_widths = [
        accuracy_interval_over_both(scores, [0, 1]).half_width
        for scores in (accuracy_scores(apart), accuracy_scores(alike), accuracy_scores_from_counts([180, 180], 200))
    ]
    assert 0 < half_widths[0] < half_widths[1]
    assert half_widths[2] == pytest.approx(half_widths[1])
    assert accuracy_scores_from_counts([180, 170], 200).values.tolist() == [0.9, 0.85]
    groups = np.arange(200) // 10  # each right or wrong as a whole
    known, unknown = (
        accuracy_interval_over_both(scores, [0, 1])
        for scores in (accuracy_scores(alike, groups), accuracy_scores_from_counts([180, 180], 200, groups))
    )
    assert known.half_width < unknown.half_width < 1.1 * known.half_width
    assert unknown.half_width > 2 * half_widths[2]
    assert unknown.over_groups


@given(_bits)
def test_without_predictions_one_run_has_wilsons_interval(pairs: list[tuple[bool, bool]]) -> None:
    right, documents = sum(first for first, _ in pairs), len(pairs)
    interval = accuracy_interval_over_both(accuracy_scores_from_counts([right], documents), [0])
    expected = proportion_confint(right, documents, method="wilson")
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)
    assert interval.kind == "wilson"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_a_comparison_turned_round_is_the_same(seed: int, first: int, second: int) -> None:
    correct = np.random.default_rng(seed).random((first + second, 40)) < 0.8
    one = compare_accuracies(correct, range(first), range(first, first + second))
    other = compare_accuracies(correct, range(first, first + second), range(first))
    assert one.mean == pytest.approx(-other.mean)
    assert one.p_value == pytest.approx(other.p_value)
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))
    assert 0 <= one.p_value <= 1
    assert one.interval.low <= one.mean <= one.interval.high


def test_runs_that_never_differ_are_not_distinguishable_and_not_infinitely_certain() -> None:
    same = np.tile(np.random.default_rng(0).random(200) < 0.9, (4, 1))
    difference = compare_accuracies(same, [0, 1], [2, 3])
    assert (difference.mean, difference.p_value) == (0.0, 1.0)
    assert difference.interval.half_width > 0.001


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("flipped", [0, 1, 10])
def test_arms_whose_equal_seeds_resemble_each_other_are_not_distinguishable(seeds: int, flipped: int) -> None:
    """Their runs count as independent, so the difference is as unsure as what the arms' own spreads make it."""
    generator = np.random.default_rng(seeds)
    first = generator.random((seeds, 2000)) < 0.9
    second = first.copy()
    second[0, :flipped] ^= True
    by_accuracy = compare_accuracies(np.concatenate([first, second]), range(seeds), range(seeds, 2 * seeds))
    classes = generator.integers(0, 2, 2000)
    predicted = np.where(np.concatenate([first, second]), classes, 1 - classes)
    scores = macro_f1_scores(classes, predicted, labels=2, resamples=200)
    by_f1 = compare(scores, range(seeds), range(seeds, 2 * seeds))
    for found in (by_accuracy, by_f1):
        assert outcome_of(found, p_value=found.p_value) == "not distinguishable"
        assert found.interval.low <= 0 <= found.interval.high
    # Over test documents, the accuracy of one run has a standard error of 0.0067 here.
    wide = stats.t.ppf(0.975, seeds - 1) * 0.0067 * (2 / seeds) ** 0.5
    assert by_f1.interval.half_width < 2 * wide
    assert by_accuracy.interval.half_width < 2 * wide


def test_what_runs_of_two_arms_have_in_common_takes_nothing_from_their_seeds() -> None:
    """By hand: equal seeds would cancel out, were their runs not counted as independent."""
    values = np.array([0.90, 0.86, 0.89, 0.86])
    pair = np.array([[4e-4, 1e-4], [1e-4, 4e-4]])
    found = compare(RunScores(values, np.block([[pair, pair], [pair, pair]]), documents=500), [0, 1], [2, 3])
    first, second = 0.04**2 / 2, 0.03**2 / 2
    variance = max(first, 3e-4) / 2 + max(second, 3e-4) / 2
    freedom = variance**2 / ((first / 2) ** 2 + (second / 2) ** 2)
    assert found.interval.half_width == pytest.approx(stats.t.ppf(0.975, freedom) * variance**0.5)


def test_no_interval_of_a_difference_is_wider_than_all_differences() -> None:
    """Two seeds that differ much leave Student's t with one degree of freedom."""
    generator = np.random.default_rng(4)
    correct = generator.random((4, 300)) < np.array([0.2, 0.8, 0.5, 0.6])[:, None]
    classes = generator.integers(0, 2, 300)
    scores = macro_f1_scores(classes, np.where(correct, classes, 1 - classes), labels=2)
    found = compare(scores, [0, 1], [2, 3])
    assert (found.interval.low, found.interval.high) == (-1.0, 1.0)
    # The standard error is that of the seeds, and not what half of the cut interval would be with its quantile.
    values = scores.values
    seeds = (np.var(values[:2], ddof=1) / 2 + np.var(values[2:], ddof=1) / 2) ** 0.5
    assert found.standard_error == pytest.approx(seeds, rel=0.1)


def test_with_far_more_documents_than_seeds_the_comparison_is_welchs() -> None:
    # Documents add next to nothing here, so that what is left is the seeds' means, of which Welch's test speaks.
    generator = np.random.default_rng(3)
    shares = np.array([0.80, 0.84, 0.90, 0.70, 0.75, 0.72])
    correct = generator.random((6, 200_000)) < shares[:, None]
    difference = compare_accuracies(correct, [0, 1, 2], [3, 4, 5])
    means = correct.mean(axis=1)
    assert difference.p_value == pytest.approx(stats.ttest_ind(means[:3], means[3:], equal_var=False).pvalue, rel=0.02)


@pytest.mark.parametrize("shares", [(0.80, 0.84, 0.90, 0.81, 0.86, 0.91), (0.80, 0.84, 0.90, 0.91, 0.81, 0.86)])
def test_with_far_more_documents_than_seeds_runs_that_share_trainings_are_tested_in_pairs(
    shares: tuple[float, ...],
) -> None:
    correct = np.random.default_rng(3).random((6, 200_000)) < np.array(shares)[:, None]
    difference = compare_accuracies(correct, [0, 1, 2], [3, 4, 5], in_pairs=True)
    means = correct.mean(axis=1)
    expected = stats.ttest_rel(means[:3], means[3:])
    assert difference.p_value == pytest.approx(expected.pvalue, rel=0.05)
    interval = expected.confidence_interval()
    assert (difference.interval.low, difference.interval.high) == pytest.approx(tuple(interval), rel=0.05)


def test_one_pair_of_runs_is_compared_as_any_two_are() -> None:
    correct = np.random.default_rng(5).random((2, 200)) < 0.8
    assert compare_accuracies(correct, [0], [1], in_pairs=True) == compare_accuracies(correct, [0], [1])


def test_macro_f1_is_scikit_learns_and_its_variance_the_bootstraps() -> None:
    generator = np.random.default_rng(5)
    classes = generator.integers(0, 3, 150)
    predicted = np.where(generator.random((2, 150)) < 0.8, classes, generator.integers(0, 3, (2, 150)))
    predicted[1, 0] = 3  # a class that only the second run's predictions have, and another that nothing has
    scores = macro_f1_scores(classes, predicted, labels=5)
    for run, value in zip(predicted, scores.values, strict=True):
        assert value == pytest.approx(f1_score(classes, run, average="macro", zero_division=0))
    draws = []
    for _ in range(1000):
        rows = generator.integers(0, 150, 150)
        draws.append([_macro_f1(classes[rows], run[rows]) for run in predicted])
    assert np.sqrt(scores.covariance.diagonal()) == pytest.approx(np.std(draws, axis=0), rel=0.1)
    ours = compare(scores, [0], [1]).interval.half_width
    assert ours == pytest.approx(1.96 * np.std(np.subtract(*np.array(draws).T)), rel=0.1)


def _guessed(documents: int, *, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """True classes (documents,), and what two runs make of them (2, documents)."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 3, documents)
    wrong = generator.random((2, documents)) < 0.2
    return classes, np.where(wrong, generator.integers(0, 3, (2, documents)), classes)


def test_macro_f1_is_resampled_alike_every_time() -> None:
    classes, predicted = _guessed(60)
    first, second = (macro_f1_scores(classes, predicted, labels=3) for _ in range(2))
    assert (first.covariance == second.covariance).all()
    assert first.documents == 60
    right = macro_f1_scores(classes, np.stack([classes, (classes + 1) % 3]), labels=3)
    assert right.values.tolist() == [1.0, 0.0]


def test_documents_that_every_sample_has_alike_decide_nothing() -> None:
    """Five documents, all right or all wrong: no resample differs from them, which proves nothing."""
    classes = np.array([0, 0, 1, 1, 1])
    scores = macro_f1_scores(classes, np.stack([classes, 1 - classes, classes]), labels=2)
    found = compare(scores, [0], [1])
    assert (found.mean, found.p_value) == (1.0, 1.0)
    assert (found.interval.low, found.interval.high) == (-1.0, 1.0)
    same = compare(scores, [0], [2])
    assert (same.mean, same.p_value) == (0.0, 1.0)
    assert (same.interval.low, same.interval.high) == pytest.approx((-0.28, 0.28), abs=1e-3)


def test_equal_runs_differ_as_little_by_macro_f1_as_by_accuracy() -> None:
    """And ten documents do not show that they are equal within a point."""
    classes, predicted = _guessed(10)
    twice = predicted[[0, 0]]
    by_f1 = compare(macro_f1_scores(classes, twice, labels=3), [0], [1]).interval
    by_accuracy = compare(accuracy_scores(twice == classes), [0], [1]).interval
    assert (by_f1.low, by_f1.high) == pytest.approx((by_accuracy.low, by_accuracy.high))
    assert by_f1.low < -0.1


def test_resamples_come_in_parts_that_fit_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    classes, predicted = _guessed(60)
    whole = macro_f1_scores(classes, predicted, labels=3, resamples=50)
    monkeypatch.setattr(run_scores, "_CELLS_AT_ONCE", 7 * 60 + 59)  # 7 resamples at once, and 1 at last
    assert macro_f1_scores(classes, predicted, labels=3, resamples=50).covariance == pytest.approx(whole.covariance)
    monkeypatch.setattr(run_scores, "_CELLS_AT_ONCE", 59)
    assert macro_f1_scores(classes, predicted, labels=3, resamples=50).covariance == pytest.approx(whole.covariance)


def test_as_many_resamples_are_drawn_as_are_asked_for() -> None:
    classes, predicted = _guessed(60)
    assert np.isfinite(macro_f1_scores(classes, predicted, labels=3, resamples=2).covariance).all()


@pytest.mark.parametrize(("documents", "cells", "resamples"), [(60, 100_000, 1666), (60, 1e9, 2000), (60, 1000, 200)])
def test_of_many_documents_fewer_resamples_are_drawn(
    monkeypatch: pytest.MonkeyPatch, documents: int, cells: float, resamples: int
) -> None:
    classes, predicted = _guessed(documents)
    expected = macro_f1_scores(classes, predicted, labels=3, resamples=resamples)
    monkeypatch.setattr(run_scores, "_CELLS", int(cells))
    found = macro_f1_scores(classes, predicted, labels=3)
    assert found.covariance == pytest.approx(expected.covariance, rel=1e-9)


def _macro_f1(classes: np.ndarray, predicted: np.ndarray) -> float:
    scores = []
    for label in np.union1d(classes, predicted):
        right = ((classes == label) & (predicted == label)).sum()
        scores.append(2 * right / ((classes == label).sum() + (predicted == label).sum()))
    return float(np.mean(scores))


STUDIES = 500
_ERROR = 3 * (0.05 * 0.95 / STUDIES) ** 0.5  # three standard errors of a share near 5 %: 2.9 points
_MOST = 0.99  # covered; where seeds add next to nothing, some 98 % are


def _simulated(
    generator: np.random.Generator, *, seeds: int, documents: int, seed_spread: float, gap: float = 0.0
) -> np.ndarray:
    """Two arms of equal worth (but for `gap`, in logits): whether each run is right, (2 · seeds, documents)."""
    difficulty = generator.normal(0, 1.5, documents)
    skill = 2.0 + generator.normal(0, seed_spread, (2 * seeds, 1)) - gap * (np.arange(2 * seeds) < seeds)[:, None]
    correct: np.ndarray = generator.random((2 * seeds, documents)) < expit(skill + difficulty)
    return correct


def _true_accuracy(seed_spread: float, gap: float = 0.0) -> float:
    """The accuracy over all seeds and documents, by the quadrature of Gauss and Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = (1.5**2 + seed_spread**2) ** 0.5
    return float((weights * expit(2.0 - gap + spread * nodes)).sum() / weights.sum())


@pytest.mark.parametrize(
    ("seeds", "seed_spread"), [(1, 0.0), (2, 0.1), (3, 0.0), (3, 0.1), (3, 0.3), (5, 0.3)], ids=lambda value: str(value)
)
def test_in_simulated_studies_errors_are_as_rare_as_promised(seeds: int, seed_spread: float) -> None:
    generator = np.random.default_rng(round(100 * seed_spread) + seeds)
    truth = _true_accuracy(seed_spread)
    false_alarms = covered = truths_within = 0
    for _ in range(STUDIES):
        correct = _simulated(generator, seeds=seeds, documents=300, seed_spread=seed_spread)
        difference = compare_accuracies(correct, range(seeds), range(seeds, 2 * seeds))
        false_alarms += difference.p_value < 0.05
        covered += difference.interval.low <= 0 <= difference.interval.high
        interval = accuracy_interval_over_both(accuracy_scores(correct[:seeds]), range(seeds))
        truths_within += interval.low <= truth <= interval.high
    assert false_alarms / STUDIES <= 0.05 + _ERROR
    assert covered / STUDIES >= 0.95 - _ERROR
    assert 0.95 - _ERROR <= truths_within / STUDIES <= _MOST
    if seeds == 1 or seed_spread >= 0.3:  # else seeds add next to nothing, and the interval is wider than need be
        assert covered / STUDIES <= 0.95 + _ERROR
        assert truths_within / STUDIES <= 0.95 + _ERROR


@pytest.mark.parametrize(("seed_spread", "short"), [(0.1, "seeds alone"), (0.6, "documents alone")])
def test_in_simulated_studies_only_the_interval_over_both_keeps_its_promise(seed_spread: float, short: str) -> None:
    generator = np.random.default_rng(7)
    truth = _true_accuracy(seed_spread)
    covered = {"seeds alone": 0, "documents alone": 0, "both": 0}
    for _ in range(STUDIES):
        correct = _simulated(generator, seeds=5, documents=300, seed_spread=seed_spread)[:5]
        accuracies = correct.mean(axis=1)
        low, high = stats.t.interval(0.95, 4, loc=accuracies.mean(), scale=stats.sem(accuracies))
        covered["seeds alone"] += low <= truth <= high
        low, high = proportion_confint(int(correct[0].sum()), 300, method="wilson")
        covered["documents alone"] += low <= truth <= high
        interval = accuracy_interval_over_both(accuracy_scores(correct), range(5))
        covered["both"] += interval.low <= truth <= interval.high
    assert covered[short] / STUDIES < 0.9
    assert 0.95 - _ERROR <= covered["both"] / STUDIES <= _MOST


def test_in_simulated_studies_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(11)
    found = sum(
        compare_accuracies(
            _simulated(generator, seeds=3, documents=1000, seed_spread=0.1, gap=0.8), range(3), range(3, 6)
        ).p_value
        < 0.05
        for _ in range(100)
    )
    assert found >= 90


@pytest.mark.parametrize(("gap", "least", "most"), [(0.0, 0.0, 0.05 + _ERROR), (0.5, 0.8, 1.0)])
def test_in_simulated_studies_runs_that_share_trainings_are_told_apart(gap: float, least: float, most: float) -> None:
    """What a seed adds is the same for both runs of a pair; it hides the difference where they count as independent."""
    generator = np.random.default_rng(19)
    found = {True: 0, False: 0}
    for _ in range(STUDIES):
        skill = 2.0 + generator.normal(0, 0.5, (5, 1))
        difficulty = generator.normal(0, 1.5, 400)
        correct = np.concatenate([generator.random((5, 400)) < expit(skill + difficulty - less) for less in (gap, 0.0)])
        for in_pairs in found:
            tested = compare_accuracies(correct, range(5), range(5, 10), in_pairs=in_pairs)
            found[in_pairs] += tested.p_value < 0.05
    assert least <= found[True] / STUDIES <= most
    assert found[False] / STUDIES < 0.5


def test_in_simulated_studies_of_several_seeds_groups_count_and_not_their_documents() -> None:
    """40 groups of 6 documents that are as difficult as each other."""
    generator, groups = np.random.default_rng(17), np.repeat(np.arange(40), 6)
    alarms, within = {"groups": 0, "documents": 0}, {"groups": 0, "documents": 0}
    truth = _true_accuracy(0.1)
    for _ in range(STUDIES):
        skill = 2.0 + generator.normal(0, 0.1, (4, 1))
        # Each arm has groups of its own that it finds difficult.
        difficulty = np.repeat(generator.normal(0, 1.5, (2, 40)), 6, axis=1)
        correct = generator.random((4, 240)) < expit(skill + np.repeat(difficulty, 2, axis=0))
        for name, counted in (("groups", groups), ("documents", None)):
            alarms[name] += compare_accuracies(correct, [0, 1], [2, 3], counted).p_value < 0.05
            interval = accuracy_interval_over_both(accuracy_scores(correct[:2], counted), range(2))
            within[name] += interval.low <= truth <= interval.high
    assert alarms["groups"] / STUDIES <= 0.05 + _ERROR
    assert within["groups"] / STUDIES >= 0.95 - _ERROR
    assert alarms["documents"] / STUDIES > 0.1
    assert within["documents"] / STUDIES < 0.9


def test_in_simulated_studies_macro_f1_raises_no_more_false_alarms_than_promised() -> None:
    generator = np.random.default_rng(13)
    studies, alarms = 150, 0
    for _ in range(studies):
        classes = generator.integers(0, 3, 200)
        correct = _simulated(generator, seeds=2, documents=200, seed_spread=0.1)
        predicted = np.where(correct, classes, (classes + generator.integers(1, 3, (4, 200))) % 3)
        scores = macro_f1_scores(classes, predicted, labels=3, resamples=200)
        alarms += compare(scores, [0, 1], [2, 3]).p_value < 0.05
    assert alarms / studies <= 0.05 + 3 * (0.05 * 0.95 / studies) ** 0.5


def test_groups_of_one_document_are_as_documents_and_equal_documents_as_one() -> None:
    correct = np.random.default_rng(3).random((3, 50)) < 0.8
    documents, groups = accuracy_scores(correct), accuracy_scores(correct, np.arange(50)[::-1] + 7)
    assert np.allclose(documents.covariance, groups.covariance)
    assert groups.freedom == 49
    copies = accuracy_scores(np.repeat(correct, 4, axis=1), np.repeat(np.arange(50), 4))
    assert np.allclose(copies.covariance, documents.covariance)
    found, of_copies = (
        compare_accuracies(right, [0], [1], group)
        for right, group in ((correct, np.arange(50)), (np.repeat(correct, 4, axis=1), np.repeat(np.arange(50), 4)))
    )
    assert of_copies.interval.low == pytest.approx(found.interval.low)
    assert of_copies.p_value == pytest.approx(found.p_value)


def test_macro_f1_is_as_uncertain_over_few_groups_as_the_accuracy() -> None:
    classes, groups = np.arange(240) % 2, np.repeat(np.arange(4), 60)
    right = np.arange(240) % 60 < np.array([[57], [42]])  # in each group alike
    predicted = np.where(right, classes, 1 - classes)
    of_f1 = compare(macro_f1_scores(classes, predicted, labels=2, groups=groups), [0], [1])
    of_accuracy = compare_accuracies(right, [0], [1], groups)
    assert of_f1.p_value == pytest.approx(of_accuracy.p_value, rel=0.1)
    assert of_f1.p_value > 0.1
    one_group = np.zeros(240, dtype=int)
    of_f1 = compare(macro_f1_scores(classes, predicted, labels=2, groups=one_group), [0], [1])
    of_accuracy = compare_accuracies(right, [0], [1], one_group)
    for found in (of_f1, of_accuracy):
        assert (found.p_value, found.interval.low, found.interval.high) == (1.0, -1.0, 1.0)
