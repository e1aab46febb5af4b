"""Measures against scikit-learn, and intervals against their closed formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from tanzaku.measure.metrics import accuracy_interval, measure


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    classes, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    found = measure(classes, predicted, label_names=["a", "b", "c", "d"])
    assert found.accuracy == accuracy_score(classes, predicted)
    expected = f1_score(classes, predicted, labels=[0, 1, 2, 3], average="macro", zero_division=0)
    assert found.macro_f1 == pytest.approx(expected)
    confusion = np.array(found.confusion)
    assert confusion.sum() == found.documents == len(pairs)
    assert confusion.trace() == found.correct
    assert [scores.support for scores in found.per_class.values()] == confusion.sum(axis=1).tolist()


@given(correct=st.integers(0, 500), more=st.integers(0, 500))
def test_the_interval_is_wilsons(correct: int, more: int) -> None:
    documents = correct + more
    if documents == 0:
        return
    z, share = 1.959963984540054, correct / documents
    centre = (share + z * z / (2 * documents)) / (1 + z * z / documents)
    half = z / (1 + z * z / documents) * math.sqrt(share * (1 - share) / documents + (z / (2 * documents)) ** 2)
    low, high = accuracy_interval(correct, documents)
    assert low == pytest.approx(max(0, centre - half), abs=1e-9)
    assert high == pytest.approx(min(1, centre + half), abs=1e-9)


def test_the_thesis_test_set_has_an_interval_of_eight_tenths() -> None:
    low, high = accuracy_interval(round(0.93 * 3686), 3686)
    assert 100 * (high - low) / 2 == pytest.approx(0.82, abs=0.02)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="can't be compared"):
        measure(np.array([], dtype=int), np.array([], dtype=int), label_names=["a"])
    with pytest.raises(ValueError, match="can't be compared"):
        measure(np.array([0]), np.array([0, 0]), label_names=["a"])
