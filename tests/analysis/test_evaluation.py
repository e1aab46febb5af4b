"""What an evaluation can say, and what it can't."""

import numpy as np
import pytest

from tanzaku.analysis.evaluation import evaluate
from tanzaku.cli.evaluation_text import evaluation_text


def test_a_class_that_does_not_occur_has_no_f1() -> None:
    """The macro-F1 is the mean of those that are shown."""
    found = evaluate(np.array([0, 0, 1]), np.array([0, 2, 1]), np.full(3, 0.9), label_names=("a", "b", "c", "d"))
    scores = [one.f1 for one in found.classes]
    assert scores == [2 / 3, 1.0, 0.0, None]
    assert found.macro_f1 == pytest.approx(np.mean([score for score in scores if score is not None]))
    (row,) = (line for line in evaluation_text(found, ["x"] * 3).splitlines() if line.startswith("d "))
    assert row.split() == ["d", "0", "–", "–", "–"]


def test_documents_that_are_all_right_make_no_measure_certain() -> None:
    classes = np.array([0, 1, 2] * 4)
    found = evaluate(classes, classes, np.full(12, 0.9), label_names=("a", "b", "c"))
    assert (found.macro_f1, found.macro_f1_interval) == (1.0, None)
    assert found.accuracy_interval[0] < 0.8
    assert "100.0 % (–)" in evaluation_text(found, ["x"] * 12)
    assert "(100.0–100.0)" not in evaluation_text(found, ["x"] * 12)
