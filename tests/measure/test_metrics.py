"""Measures against scikit-learn, and intervals against their closed formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from tanzaku.measure.metrics import ClassMeasures, accuracy_interval, measure


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    classes, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    found = measure(classes, predicted, label_names=["a", "b", "c", "d"])
    assert found.accuracy == accuracy_score(classes, predicted)
    assert found.accuracy_interval == accuracy_interval(found.correct, len(pairs))
    # Without `labels`, scikit-learn averages the classes that occur among the true or the predicted ones.
    assert found.macro_f1 == pytest.approx(f1_score(classes, predicted, average="macro", zero_division=0))
    confusion = np.array(found.confusion)
    assert confusion.sum() == found.documents == len(pairs)
    assert confusion.trace() == found.correct
    assert [scores.support for scores in found.per_class.values()] == confusion.sum(axis=1).tolist()


def test_a_class_without_documents_or_predictions_is_no_failure() -> None:
    right = measure(np.array([0, 1, 1]), np.array([0, 1, 1]), label_names=["a", "b", "c"])
    assert (right.accuracy, right.macro_f1) == (1.0, 1.0)
    assert right.per_class["c"] == ClassMeasures(precision=0.0, recall=0.0, f1=0.0, support=0)
    # But one that was predicted by mistake counts, with F1 0: a and b have 2/3.
    wrong = measure(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 2]), label_names=["a", "b", "c"])
    assert wrong.macro_f1 == pytest.approx(4 / 9)


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
    narrower = accuracy_interval(correct, documents, confidence=0.5)
    assert narrower[1] - narrower[0] < high - low


@pytest.mark.parametrize("documents", [16, 40, 138])
def test_the_interval_of_a_share_of_one_ends_at_one(documents: int) -> None:
    # Rounding takes Wilson's formula to just over 1 for these.
    assert accuracy_interval(documents, documents)[1] == 1.0


def test_the_thesis_test_set_has_an_interval_of_eight_tenths() -> None:
    low, high = accuracy_interval(round(0.93 * 3686), 3686)
    assert 100 * (high - low) / 2 == pytest.approx(0.82, abs=0.02)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="can't be compared"):
        measure(np.array([], dtype=int), np.array([], dtype=int), label_names=["a"])
    with pytest.raises(ValueError, match="can't be compared"):
        measure(np.array([0]), np.array([0, 0]), label_names=["a"])
