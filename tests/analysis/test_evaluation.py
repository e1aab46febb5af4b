"""What an evaluation can say, and what it can't."""

import numpy as np

from tanzaku.analysis.evaluation import evaluate
from tanzaku.cli.evaluation_text import evaluation_text


def test_documents_that_are_all_right_make_no_measure_certain() -> None:
    classes = np.array([0, 1, 2] * 4)
    found = evaluate(classes, classes, np.full(12, 0.9), label_names=("a", "b", "c"))
    assert (found.macro_f1, found.macro_f1_interval) == (1.0, None)
    assert found.accuracy_interval[0] < 0.8
    assert "100.0 % (–)" in evaluation_text(found, ["x"] * 12)
    assert "(100.0–100.0)" not in evaluation_text(found, ["x"] * 12)
