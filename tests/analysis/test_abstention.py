"""The promise of a threshold: by hand, in its limits, and by simulation of many validation sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from tanzaku.analysis.abstention import (
    choose_threshold,
    fewest_documents,
    lowest_promise,
    one_of_each,
    p_values_of_first,
)
from tanzaku.analysis.run_scores import accuracy_scores
from tanzaku.analysis.statistics import accuracy_interval_over_both, compare_accuracies
from tanzaku.measure.calibration import fit_temperature, rounded_down, softmax


def _documents(right: list[float], wrong: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([*right, *wrong]), np.array([True] * len(right) + [False] * len(wrong))


@pytest.mark.parametrize(("rate", "count"), [(0.02, 149), (0.05, 59), (0.01, 299), (0.5, 5)])
def test_so_many_documents_without_a_mistake_are_needed(rate: float, count: int) -> None:
    assert fewest_documents(error_rate=rate) == count
    assert (1 - rate) ** count <= 0.05 < (1 - rate) ** (count - 1)
    probabilities = np.linspace(0.5, 0.99, count)
    found = choose_threshold(probabilities, np.ones(count, dtype=bool), error_rate=rate)
    assert found is not None
    assert (found.probability, found.answered, found.wrong, found.coverage) == (0.5, count, 0, 1.0)
    assert choose_threshold(probabilities[1:], np.ones(count - 1, dtype=bool), error_rate=rate) is None


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.floats(0.001, 0.6))
def test_the_p_values_are_those_of_the_binomial_test(correct: list[bool], rate: float) -> None:
    right = np.array(correct)
    expected = binom.cdf(np.cumsum(~right), np.arange(1, len(right) + 1), rate)
    np.testing.assert_allclose(p_values_of_first(right, error_rate=rate), expected, rtol=0, atol=1e-11)


def test_the_p_values_of_many_documents_are_exact() -> None:
    right = np.random.default_rng(0).random(100_000) > 0.02
    expected = binom.cdf(np.cumsum(~right), np.arange(1, 100_001), 0.021)
    np.testing.assert_allclose(p_values_of_first(right, error_rate=0.021), expected, rtol=0, atol=1e-9)


def test_the_lowest_threshold_is_the_last_whose_upper_bound_holds() -> None:
    """80 right ones, then a wrong one, then right ones: Clopper and Pearson's bound is below 10 % again from 46 on."""
    right = np.linspace(0.99, 0.6, 80).tolist()
    probabilities, correct = _documents([*right, 0.4], [0.5, 0.3, 0.2])
    found = choose_threshold(probabilities, correct, error_rate=0.1)
    assert found is not None
    bounds = {
        threshold: beta.ppf(0.95, wrong + 1, answered - wrong)
        for threshold in probabilities
        for answered in (int((probabilities >= threshold).sum()),)
        for wrong in (int((~correct[probabilities >= threshold]).sum()),)
    }
    assert found.probability == min(threshold for threshold, bound in bounds.items() if bound <= 0.1) == 0.2
    assert found.wrong == 3


def test_a_threshold_after_one_that_failed_is_not_tested() -> None:
    right = [*np.linspace(0.99, 0.9, 28), *np.linspace(0.5, 0.4, 20)]
    probabilities, correct = _documents(right, [0.7, 0.69, 0.68])
    found = choose_threshold(probabilities, correct, error_rate=0.15)
    # The whole would pass by itself: 3 of 51. The sequence ends at the first mistakes.
    assert binom.cdf(3, 51, 0.15) > 0.05 or found is not None
    assert found is not None
    assert found.wrong <= 1


def test_documents_of_one_probability_are_answered_together_or_not() -> None:
    probabilities, correct = _documents([0.9] * 60 + [0.8] * 30, [0.8] * 30)
    found = choose_threshold(probabilities, correct, error_rate=0.05)
    assert found is not None
    assert (found.probability, found.answered, found.wrong) == (0.9, 60, 0)


@given(
    rows=st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=300),
    rate=st.floats(0.01, 0.9),
    confidence=st.floats(0.5, 0.999),
)
def test_what_is_promised_passes_its_own_test(rows: list[tuple[int, bool]], rate: float, confidence: float) -> None:
    probabilities = np.array([row[0] / 50 for row in rows])
    correct = np.array([row[1] for row in rows], dtype=bool)
    found = choose_threshold(probabilities, correct, error_rate=rate, confidence=confidence)
    if found is None:
        return
    answered = probabilities >= found.probability
    assert (found.documents, found.answered) == (len(rows), answered.sum())
    assert found.wrong == (~correct[answered]).sum()
    assert binom.cdf(found.wrong, found.answered, rate) <= 1 - confidence + 1e-12


def test_the_lowest_promise_is_a_round_rate() -> None:
    found = lowest_promise(np.full(40, 0.9), np.ones(40, dtype=bool))
    assert found is not None
    assert found.error_rate == 0.08  # 1 - 0.05 ** (1 / 40) is 7.2 %
    assert lowest_promise(np.full(3, 0.9), np.ones(3, dtype=bool)) is None


_POPULATION = 100_000


def _population(*, temperature: float, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and classes that are the drawn ones, or with the probability `noise` any one."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 2.2, (_POPULATION, 3)).astype(np.float32)
    classes = (scores / temperature + random.gumbel(size=scores.shape)).argmax(axis=1)
    any_class = random.integers(0, 3, _POPULATION)
    return scores, np.where(random.random(_POPULATION) < noise, any_class, classes)


@pytest.mark.parametrize(("temperature", "noise"), [(1.0, 0.0), (0.6, 0.02), (2.0, 0.0)])
@pytest.mark.parametrize(("documents", "rate"), [(150, 0.1), (736, 0.05), (2000, 0.08)])
def test_the_true_error_exceeds_the_rate_in_at_most_a_twentieth_of_the_validation_sets(
    temperature: float, noise: float, documents: int, rate: float
) -> None:
    """With the temperature fitted on the same documents, as runs do it: that costs the promise nothing visible."""
    scores, classes = _population(temperature=temperature, noise=noise, seed=documents)
    wrong = scores.argmax(axis=1) != classes
    random, sets = np.random.default_rng(5), 120
    exceeded = answered = 0
    for _ in range(sets):
        rows = random.choice(_POPULATION, documents, replace=False)
        fitted = fit_temperature(scores[rows], classes[rows]).temperature
        probabilities = rounded_down(softmax(scores[rows], temperature=fitted).max(axis=1))
        found = choose_threshold(probabilities, ~wrong[rows], error_rate=rate)
        if found:
            answers = softmax(scores, temperature=fitted).max(axis=1) >= found.probability
            answered += 1
            exceeded += wrong[answers].mean() > rate
    # Monte Carlo error: of 120 sets with a chance of 5 % each, more than 11 exceed in one test of fifty.
    assert exceeded <= binom.ppf(0.98, sets, 0.05)
    if (temperature, documents) in {(1.0, 736), (0.6, 2000), (1.0, 2000)}:
        assert answered > sets / 3  # the promise is not kept by answering nothing


def test_a_lower_confidence_answers_more() -> None:
    scores, classes = _population(temperature=1.0, noise=0.0, seed=9)
    probabilities = softmax(scores[:1500]).max(axis=1)
    correct = scores[:1500].argmax(axis=1) == classes[:1500]
    found = [choose_threshold(probabilities, correct, error_rate=0.05, confidence=one) for one in (0.99, 0.8)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].answered < found[1].answered
    assert math.isclose(found[0].coverage, found[0].answered / 1500)


def test_one_document_of_each_group_is_drawn_at_random() -> None:
    groups = np.repeat(np.arange(300), np.arange(300) % 4 + 1)
    rows = one_of_each(groups)
    assert groups[rows].tolist() == list(range(300))
    assert rows.tolist() == one_of_each(groups).tolist()
    place = rows - np.searchsorted(groups, np.arange(300))
    assert np.bincount(place[3::4], minlength=4).min() > 5  # of groups of four, each of the four


@pytest.mark.parametrize("correlation", [0.9, 0.3])
def test_promises_and_intervals_hold_for_documents_in_groups(correlation: float) -> None:
    """Of 50 groups of 8 documents, which are right or wrong together more often than others."""
    random, draws = np.random.default_rng(0), 300
    groups = np.repeat(np.arange(50), 8)
    broken, covered, falsely, naive = 0, 0, 0, 0
    for _ in range(draws):
        base = random.uniform(0.5, 1, 50)  # how probable the labels of a group are, and how often they are right
        probabilities = np.clip(np.repeat(base, 8) + random.normal(0, 0.01, 400), 0, 1)
        right = np.stack([_together(random, base, correlation) for _ in range(2)])
        rows = one_of_each(groups)
        found = choose_threshold(probabilities[rows], right[0][rows], error_rate=0.2)
        broken += found is not None and (1 - max(0.5, found.probability)) / 2 > 0.2
        whole = choose_threshold(probabilities, right[0], error_rate=0.2)
        naive += whole is not None and (1 - max(0.5, whole.probability)) / 2 > 0.2
        interval = accuracy_interval_over_both(accuracy_scores(right, groups), [0])
        covered += interval.low <= 0.75 <= interval.high
        falsely += compare_accuracies(right, [0], [1], groups).p_value < 0.05
    assert broken <= 0.08 * draws  # 5 % and three standard errors
    assert covered >= 0.92 * draws
    assert falsely <= 0.08 * draws
    assert correlation < 0.9 or naive > broken


def _together(random: np.random.Generator, base: np.ndarray, correlation: float) -> np.ndarray:
    """Whether documents are right: by a number of their group, or else by one of their own."""
    own, common = random.random((50, 8)), random.random((50, 1))
    found: np.ndarray = (np.where(random.random((50, 8)) < correlation, common, own) < base[:, None]).ravel()
    return found
