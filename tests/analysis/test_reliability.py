"""The calibration error by hand, of calibrated and of overconfident documents, and without its chance."""

import numpy as np
import pytest

from tanzaku.analysis.reliability import reliability_of
from tanzaku.measure.metrics import accuracy_interval


def test_bins_have_equal_numbers_of_documents_and_the_error_is_their_mean_distance() -> None:
    probabilities = np.array([0.9] * 20 + [0.5] * 20)
    correct = np.array([True] * 20 + [True] * 5 + [False] * 15)
    found = reliability_of(probabilities, correct)
    assert [(one.documents, one.accuracy) for one in found.bins] == [(20, 0.25), (20, 1.0)]
    assert [one.probability for one in found.bins] == pytest.approx([0.5, 0.9])
    assert found.error == pytest.approx((0.25 + 0.1) / 2)
    assert found.bins[0].interval == accuracy_interval(5, 20)
    assert found.documents == 40
    # A binomial of 20 documents is off by 0.088 and 0.053 on average.
    assert found.error_by_chance == pytest.approx((0.088 + 0.053) / 2, abs=0.008)


def test_few_documents_have_one_bin_and_many_fifteen() -> None:
    assert len(reliability_of(np.array([0.7]), np.array([True])).bins) == 1
    assert len(reliability_of(np.full(39, 0.7), np.ones(39, dtype=bool)).bins) == 1
    many = reliability_of(np.linspace(0.3, 1, 1000), np.ones(1000, dtype=bool))
    assert len(many.bins) == 15
    assert sum(one.documents for one in many.bins) == 1000
    assert {one.documents for one in many.bins} == {66, 67}


@pytest.mark.parametrize("documents", [60, 400, 4000])
def test_the_error_of_calibrated_documents_is_the_one_by_chance(documents: int) -> None:
    random = np.random.default_rng(documents)
    differences = []
    for _ in range(40):
        probabilities = random.uniform(0.4, 1, documents)
        found = reliability_of(probabilities, random.random(documents) < probabilities)
        differences.append(found.error - found.error_by_chance)
    assert abs(np.mean(differences)) < 4 * np.std(differences) / 40**0.5


def test_drawing_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    probabilities = random.uniform(0.6, 1, 100)
    correct = random.random(100) < probabilities
    whole = reliability_of(probabilities, correct)
    for cells in (7 * 100 + 99, 99):  # 7 draws at once, and 3 at last; and one by one
        monkeypatch.setattr("tanzaku.analysis.reliability._CELLS_AT_ONCE", cells)
        assert reliability_of(probabilities, correct).error_by_chance == pytest.approx(whole.error_by_chance)


def test_overconfidence_is_seen() -> None:
    random = np.random.default_rng(1)
    probabilities = random.uniform(0.6, 1, 3000)
    found = reliability_of(probabilities, random.random(3000) < probabilities - 0.1)
    assert found.error == pytest.approx(0.1, abs=0.02)
    assert found.error > 3 * found.error_by_chance
