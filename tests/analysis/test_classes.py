"""What arms make of each class, from confusion matrices that are counted by hand."""

from typing import Any

import pytest

from tanzaku.analysis.arms import Arm, arms_of
from tanzaku.analysis.classes import (
    MOST_CLASSES,
    AveragedClasses,
    Unpredicted,
    averaged_classes,
    class_results,
    majorities_of,
    majority_of,
    never_predicted,
    shown_classes,
)
from tanzaku.study.record import RunRecord
from tests.report.records import data_facts, failed, finished, lora, scores_of

NAMES = ("a", "b", "c")


def _run(test: list[list[int]], val: list[list[int]], *, seed: int = 1) -> RunRecord:
    facts: dict[str, Any] = {"data": data_facts(NAMES), "test": scores_of(test, NAMES), "val": scores_of(val, NAMES)}
    return finished(lora(8), accuracy=0.5, seed=seed, **facts)


def _arm(*runs: RunRecord) -> Arm:
    (arm,) = arms_of(runs)
    return arm


def test_a_classs_scores_are_means_over_the_runs() -> None:
    val = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    first, second = _run([[8, 2, 0], [1, 3, 0], [0, 0, 1]], val), _run([[10, 0, 0], [2, 2, 0], [0, 1, 0]], val, seed=2)
    a, b, c = class_results(_arm(first, second))
    assert [one.label for one in (a, b, c)] == ["a", "b", "c"]
    assert [one.support for one in (a, b, c)] == [10, 4, 1]
    assert (a.recall, b.recall, c.recall) == pytest.approx((0.9, 5 / 8, 0.5))
    assert (a.precision, b.precision, c.precision) == pytest.approx(
        (
            (8 / 9 + 10 / 12) / 2,
            (3 / 5 + 2 / 3) / 2,
            0.5,  # in the second run it is never predicted
        )
    )
    assert a.f1 == pytest.approx((16 / 19 + 20 / 22) / 2)
    assert class_results(_arm(failed(lora(8), error="boom"))) == ()


def test_a_class_without_test_documents_has_no_recall_and_is_not_among_the_worst() -> None:
    first = _run([[8, 2, 0], [0, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    _, predicted, missing = class_results(_arm(first))
    assert (predicted.precision, predicted.recall, predicted.f1) == (0.0, None, 0.0)
    assert (missing.precision, missing.recall, missing.f1) == (None, None, None)
    labels = [f"class-{number:02}" for number in range(MOST_CLASSES + 5)]
    confusion = [[10 * (row == column) for column in range(len(labels))] for row in range(len(labels))]
    confusion[3], confusion[7][7], confusion[7][8] = [0] * len(labels), 5, 5
    found = scores_of(confusion, labels)
    shown = shown_classes(_arm(first.model_copy(update={"test": found})))
    assert len(shown) == MOST_CLASSES
    assert [one.label for one in shown[:2]] == [labels[7], labels[8]]
    assert labels[3] not in [one.label for one in shown]


def test_macro_f1_averages_the_classes_that_occur() -> None:
    val = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    two, three = _run([[5, 0, 0], [0, 5, 0], [0, 0, 0]], val), _run([[4, 0, 1], [0, 5, 0], [0, 0, 0]], val, seed=2)
    assert averaged_classes(_arm(two)) == AveragedClasses(2, 2, 3)
    assert averaged_classes(_arm(two, three)) == AveragedClasses(2, 3, 3)
    assert averaged_classes(_arm(failed(lora(8), error="boom"))) is None


def test_the_majority_class_is_each_sets_own() -> None:
    run = _run([[2, 0, 0], [0, 5, 1], [0, 0, 2]], [[3, 0, 0], [0, 1, 0], [0, 0, 0]])
    found = majorities_of([_arm(run)])
    assert found is not None
    assert (found.validation.label, found.validation.accuracy) == ("a", 0.75)
    assert (found.test.label, found.test.accuracy) == ("b", 0.6)
    # Always answering it is measured as a run is.
    constant = scores_of([[3, 0, 0], [1, 0, 0], [0, 0, 0]], NAMES)
    assert found.validation.macro_f1 == pytest.approx(constant.macro_f1)
    assert found.test.macro_f1 == pytest.approx(scores_of([[0, 2, 0], [0, 6, 0], [0, 2, 0]], NAMES).macro_f1)
    assert (found.test.value("accuracy"), found.test.value("macro_f1")) == (0.6, found.test.macro_f1)
    assert majority_of(scores_of([[1, 0, 0], [0, 1, 0], [0, 0, 0]], NAMES)).label == "a"
    assert majorities_of([_arm(failed(lora(8), error="boom"))]) is None


def test_a_class_is_never_predicted_only_where_neither_set_has_it() -> None:
    always_a = [[3, 0, 0], [2, 0, 0], [1, 0, 0]]
    with_b = [[3, 0, 0], [1, 1, 0], [1, 0, 0]]
    all_three = [[3, 0, 0], [0, 2, 0], [0, 0, 1]]
    assert never_predicted(_arm(_run(always_a, with_b))) == (Unpredicted("c", 2, 1),)
    assert never_predicted(_arm(_run(with_b, always_a))) == (Unpredicted("c", 2, 1),)
    assert never_predicted(_arm(_run(always_a, always_a), _run(all_three, always_a, seed=2))) == (
        Unpredicted("b", 4, 1),
        Unpredicted("c", 2, 1),
    )
    assert never_predicted(_arm(_run(all_three, all_three))) == ()
    # A class without a document can't be predicted rightly.
    assert never_predicted(_arm(_run([[3, 0, 0], [0, 2, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]))) == ()
