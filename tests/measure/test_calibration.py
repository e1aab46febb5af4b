"""Temperature scaling against its definition, what it never changes, and what it does with few documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import log_softmax

from tanzaku.measure.calibration import fit_factors, fit_temperature, rounded_down, softmax


def _drawn(documents: int, *, temperature: float, seed: int, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and classes drawn with the probabilities softmax(scores / temperature)."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 3, (documents, labels))
    return scores, (scores / temperature + random.gumbel(size=scores.shape)).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_many_documents_is_found_whatever_is_typical(temperature: float) -> None:
    scores, classes = _drawn(20_000, temperature=temperature, seed=1)
    for typical in (0.4, 1.0):
        found = fit_temperature(scores, classes, typical=typical)
        assert found.temperature == pytest.approx(temperature, rel=0.03)
        assert found.documents == 20_000
        assert found.evidence > 0.999


def test_it_is_the_mode_of_likelihood_and_prior() -> None:
    scores, classes = _drawn(30, temperature=2.0, seed=2)
    found = fit_temperature(scores, classes, typical=0.7)

    def loss(temperature: float) -> float:
        likelihood = log_softmax(scores / temperature, axis=1)[np.arange(30), classes].sum()
        return float(np.log(temperature / 0.7) ** 2 / (2 * 0.5**2) - likelihood)

    assert all(loss(found.temperature) <= loss(found.temperature * factor) for factor in (0.98, 0.999, 1.001, 1.02))
    # The curvature of the likelihood, in ln T, is what the documents know; its expectation is near it.
    step = 1e-3
    curvature = (loss(found.temperature * np.exp(step)) + loss(found.temperature * np.exp(-step))) - 2 * loss(
        found.temperature
    )
    assert found.evidence == pytest.approx(1 - 4 / (curvature / step**2), abs=0.1)


def test_few_documents_move_it_little_and_documents_without_a_mistake_not_to_zero() -> None:
    scores, _ = _drawn(5000, temperature=1.0, seed=3)
    right = scores.argmax(axis=1)
    temperatures = [fit_temperature(scores[:count], right[:count]).temperature for count in (1, 20, 5000)]
    assert 0.75 < temperatures[0] < 1
    assert temperatures == sorted(temperatures, reverse=True)
    assert temperatures[-1] > 0.01
    evidence = [fit_temperature(scores[:count], right[:count]).evidence for count in (1, 4)]
    assert 0 < evidence[0] < evidence[1] < 0.5


def test_scores_that_say_nothing_leave_the_typical_temperature() -> None:
    found = fit_temperature(np.zeros((50, 3)), np.zeros(50, dtype=int), typical=0.4)
    assert found.temperature == pytest.approx(0.4, rel=1e-3)
    assert found.evidence == 0
    none = fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int), typical=0.4)
    assert none.temperature == pytest.approx(0.4, rel=1e-3)
    assert (none.documents, none.evidence) == (0, 0)


def test_calibrated_probabilities_have_a_lower_loss_on_other_documents_than_wrong_ones() -> None:
    scores, classes = _drawn(4000, temperature=2.5, seed=4)
    found = fit_temperature(scores[:300], classes[:300])
    rows = np.arange(2000, 4000)

    def loss(temperature: float) -> float:
        probabilities = softmax(scores[rows], temperature=temperature)
        return float(-np.log(probabilities[np.arange(2000), classes[rows]]).mean())

    assert loss(found.temperature) < loss(1.0) - 0.1
    assert loss(found.temperature) < loss(2.5) + 0.01


def _parts(documents: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The scores of two classifiers, and classes drawn with the probabilities of 0.5 · the first + 3 · the second."""
    random = np.random.default_rng(seed)
    parts = random.normal(0, 1, (2, documents, 4)) * np.array([2, 0.5])[:, None, None]
    logits = 0.5 * parts[0] + 3 * parts[1]
    return parts, (logits + random.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("typical", [(1.0, 1.0), (0.2, 5.0)])
def test_the_factors_of_many_documents_are_found_whatever_is_typical(typical: tuple[float, float]) -> None:
    parts, classes = _parts(40_000, seed=5)
    assert fit_factors(list(parts), classes, typical=typical) == pytest.approx((0.5, 3), rel=0.05)


def test_the_factors_are_the_mode_of_likelihood_and_prior() -> None:
    parts, classes = _parts(40, seed=6)
    found = np.array(fit_factors(list(parts), classes, typical=(1.0, 2.0)))

    def loss(factors: np.ndarray) -> float:
        logits = (factors[:, None, None] * parts).sum(axis=0)
        likelihood = log_softmax(logits, axis=1)[np.arange(40), classes].sum()
        return float((np.log(factors / np.array([1.0, 2.0])) ** 2).sum() / (2 * 0.5**2) - likelihood)

    for factor in (0.97, 1.03):
        for other in (0.97, 1.0, 1.03):
            assert loss(found) < loss(found * np.array([factor, other]))
            assert loss(found) < loss(found * np.array([other, factor]))


def test_without_documents_the_factors_are_the_typical_ones() -> None:
    assert fit_factors([np.zeros((0, 3))] * 2, np.zeros(0, int), typical=(0.5, 4)) == pytest.approx((0.5, 4))


_SCORES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-1e4, 1e4, width=32)
)


@given(scores=_SCORES, temperature=st.floats(1e-3, 1e3), pick=st.integers(0, 4))
def test_no_temperature_changes_a_label(scores: np.ndarray, temperature: float, pick: int) -> None:
    classes = np.full(len(scores), pick % scores.shape[1])
    for one in (temperature, fit_temperature(scores, classes).temperature):
        probabilities = softmax(scores, temperature=one)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        labels = scores.argmax(axis=1)
        assert (probabilities[np.arange(len(scores)), labels] == probabilities.max(axis=1)).all()


@given(value=st.floats(0, 1), step=st.integers(0, 10_000))
def test_rounding_down_keeps_every_threshold_of_four_decimals(value: float, step: int) -> None:
    (rounded,) = rounded_down(np.array([value]))
    assert value - 1e-4 < rounded <= value + 1e-12
    assert rounded_down(np.array([step / 10_000]))[0] == step / 10_000
    if abs(value - step / 10_000) > 1e-9:
        assert (rounded >= step / 10_000) == (value >= step / 10_000)
