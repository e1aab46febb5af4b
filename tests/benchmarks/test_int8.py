"""The benchmark of exports in 8 bits: what it counts."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.int8 import REFERENCE, compare_forms
from tanzaku.ship.classifier import Classifier
from tests.bundles import DATASET, make_bundle


def test_forms_are_compared_with_the_reference(tmp_path: Path) -> None:
    first = Classifier.load(make_bundle(tmp_path / "one", tmp_path, "tfidf-svm", {"analyzer": "character"}))
    options = {"analyzer": "character", "longest_ngram": 1, "penalty": 0.01}
    other = Classifier.load(make_bundle(tmp_path / "other", tmp_path, "tfidf-svm", options))
    texts = DATASET.test.texts
    classes = np.array([first.label_names.index(label) for label in DATASET.test.labels])
    found = compare_forms({REFERENCE: first, "other": other}, texts, classes, rounds=3)
    labels = {name: one.scores(texts).argmax(axis=1) for name, one in ((REFERENCE, first), ("other", other))}
    assert found[REFERENCE]["flips"] == 0
    assert found["other"]["flips"] == (labels["other"] != labels[REFERENCE]).sum()
    for name, one in found.items():
        assert one["accuracy"] == pytest.approx((labels[name] == classes).mean())
        assert len(one["seconds"]) == len(one["processor_seconds"]) == 3
    medians = [float(np.median(found[name]["processor_seconds"])) for name in (REFERENCE, "other")]
    assert found["other"]["times_as_fast"] == pytest.approx(medians[0] / medians[1])
