"""Intervals and tests: closed formulas, references, and what they promise in simulated studies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from tanzaku.study.statistics import (
    accuracy_interval_over_both,
    accuracy_scores,
    compare,
    compare_accuracies,
    exact_mcnemar,
    holm,
    macro_f1_scores,
)

_bits = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(_bits)
def test_mcnemar_is_statsmodels_exact(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs).T
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    assert exact_mcnemar(first, second) == pytest.approx(mcnemar(table, exact=True).pvalue)


@settings(max_examples=5, deadline=None)  # statsmodels collects garbage at every call
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_his_step_down_procedure(p_values: list[float]) -> None:
    expected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        expected[place] = largest
    assert holm(p_values) == pytest.approx(expected)


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
    assert compare(scores, [0], [1]).interval.half_width == pytest.approx(stats.norm.ppf(0.975) * variance**0.5)
    difference = compare_accuracies(correct, [0], [1])
    assert difference.mean == pytest.approx((only_first - only_second) / len(pairs))
    assert difference.p_value == exact_mcnemar(correct[0], correct[1])
    assert difference.test == "mcnemar"


def test_the_difference_of_two_runs_has_newcombes_interval() -> None:
    # With so many documents, the two that `accuracy_scores` adds do not count.
    both, only_first, only_second = 36_000, 12_000, 2_000
    first = np.repeat([True, True, False], [both, only_first, only_second])
    second = np.repeat([True, False, True], [both, only_first, only_second])
    documents = len(first)
    limits = [proportion_confint(int(one.sum()), documents, method="wilson") for one in (first, second)]
    phi = np.corrcoef(first, second)[0, 1]
    down, up = first.mean() - limits[0][0], limits[1][1] - second.mean()
    low = first.mean() - second.mean() - (down**2 - 2 * phi * down * up + up**2) ** 0.5
    assert compare_accuracies(np.stack([first, second]), [0], [1]).interval.low == pytest.approx(low, abs=1e-6)


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


def test_with_far_more_documents_than_seeds_the_comparison_is_welchs() -> None:
    # Documents add next to nothing here, so that what is left is the seeds' means, of which Welch's test speaks.
    generator = np.random.default_rng(3)
    shares = np.array([0.80, 0.84, 0.90, 0.70, 0.75, 0.72])
    correct = generator.random((6, 200_000)) < shares[:, None]
    difference = compare_accuracies(correct, [0, 1, 2], [3, 4, 5])
    means = correct.mean(axis=1)
    assert difference.p_value == pytest.approx(stats.ttest_ind(means[:3], means[3:], equal_var=False).pvalue, rel=0.02)


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


def test_macro_f1_is_resampled_alike_every_time() -> None:
    classes = np.array([0, 1, 1, 0] * 10)
    predicted = np.stack([classes, 1 - classes])
    first, second = (macro_f1_scores(classes, predicted, labels=2) for _ in range(2))
    assert (first.covariance == second.covariance).all()
    assert first.values.tolist() == [1.0, 0.0]


def _macro_f1(classes: np.ndarray, predicted: np.ndarray) -> float:
    scores = []
    for label in np.union1d(classes, predicted):
        right = ((classes == label) & (predicted == label)).sum()
        scores.append(2 * right / ((classes == label).sum() + (predicted == label).sum()))
    return float(np.mean(scores))


STUDIES = 500
_ERROR = 3 * (0.05 * 0.95 / STUDIES) ** 0.5  # three standard errors of a share near 5 %: 2.9 points


def _simulated(
    generator: np.random.Generator, *, seeds: int, documents: int, seed_spread: float, gap: float = 0.0
) -> np.ndarray:
    """Two arms of equal worth (but for `gap`, in logits): whether each run is right, (2 · seeds, documents)."""
    difficulty = generator.normal(0, 1.5, documents)
    skill = 2.0 + generator.normal(0, seed_spread, (2 * seeds, 1)) - gap * (np.arange(2 * seeds) < seeds)[:, None]
    return generator.random((2 * seeds, documents)) < expit(skill + difficulty)


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
    assert truths_within / STUDIES >= 0.95 - _ERROR


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
    assert covered["both"] / STUDIES >= 0.95 - _ERROR


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
