"""What is inferred from records and predictions: comparisons, recommendation, intervals, fronts."""

from pathlib import Path

import numpy as np
import pytest

from tanzaku.errors import RecordError
from tanzaku.report import texts
from tanzaku.report.arms import sections_of
from tanzaku.report.comparisons import front_table, reference_tables
from tanzaku.report.evidence import evidence_of
from tanzaku.report.predictions import RunPredictions, predictions_of, run_key
from tanzaku.study.record import RunRecord, write_predictions
from tanzaku.study.statistics import exact_mcnemar, holm
from tests.report.records import baseline, evidence, finished, lora, predictions_like, study, write_all


def _seeds(rank: int, *accuracies: float) -> list[RunRecord]:
    return [finished(lora(rank), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate(accuracies)]


def test_one_run_arms_are_compared_by_mcnemar_with_holms_correction() -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.88), (4, 0.897), (8, 0.9))]
    (found,) = evidence(records, margin=0.0)
    assert [(one.arm.rank, one.reference.rank) for one in found.comparisons] == [(2, 8), (4, 8)]
    correct = [np.equal(*map(np.array, predictions_like(record))) for record in records]
    expected = holm([exact_mcnemar(correct[0], correct[2]), exact_mcnemar(correct[1], correct[2])])
    assert [one.accuracy_p for one in found.comparisons] == pytest.approx(expected)
    assert [one.seeds_covered for one in found.comparisons] == ["none", "none"]
    assert [one.outcome for one in found.comparisons] == ["worse", "worse"]


def test_what_the_documents_do_not_tell_apart_is_said_to_be_so() -> None:
    (found,) = evidence([finished(lora(2), accuracy=0.9), finished(lora(4), accuracy=0.9)])
    (one,) = found.comparisons
    assert (one.outcome, one.accuracy.mean) == ("not distinguishable", 0.0)
    (table,) = reference_tables(found)
    assert table.rows[0][4] == texts.NOT_DISTINGUISHABLE


def test_a_pair_of_references_is_corrected_for_once() -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (8, 0.9), (64, 0.904))]
    (found,) = evidence(records)
    assert found.recommendation is not None
    assert (found.recommendation.arm.rank, found.recommendation.best.rank) == (8, 64)
    pairs = [(one.reference.rank, one.arm.rank) for one in found.comparisons]
    assert pairs == [(64, 2), (64, 8), (8, 2), (8, 64)]
    raw = {pair: one.accuracy.p_value for pair, one in zip(pairs, found.comparisons, strict=True)}
    corrected = holm([raw[64, 2], raw[64, 8], raw[8, 2]])
    told = {pair: one.accuracy_p for pair, one in zip(pairs, found.comparisons, strict=True)}
    assert [told[64, 2], told[64, 8], told[8, 2]] == pytest.approx(corrected)
    assert told[64, 8] == told[8, 64]


def test_seeds_are_in_the_tests_where_both_arms_have_several() -> None:
    records = [*_seeds(2, 0.88, 0.90), *_seeds(8, 0.89, 0.91, 0.90), *_seeds(64, 0.895)]
    (found,) = evidence(records, margin=0.0)
    assert found.recommendation is not None
    assert found.recommendation.best.rank == 8
    by_rank = {one.arm.rank: one for one in found.comparisons}
    assert (by_rank[2].seeds_covered, by_rank[64].seeds_covered) == ("both", "one")
    assert {one.accuracy.test for one in found.comparisons} == {"t"}
    assert by_rank[2].outcome == "not distinguishable"
    (section,) = sections_of(records)
    assert [arm.rank for arm, _ in found.intervals] == [2, 8]
    for arm, interval in found.intervals:
        assert arm.accuracy is not None
        assert interval.low < arm.accuracy.mean < interval.high
    assert len(section.arms) == 3


def test_the_validation_set_chooses_and_the_test_set_contradicts() -> None:
    small, large = finished(lora(2), accuracy=0.85), finished(lora(64), accuracy=0.9)
    small = small.model_copy(update={"val": large.val})
    (found,) = evidence([small, large])
    assert found.recommendation is not None
    assert found.recommendation.arm.rank == 2
    assert found.recommendation.is_best
    lucky = finished(lora(64), accuracy=0.902)
    (found,) = evidence([small, large.model_copy(update={"val": lucky.val})])
    assert found.recommendation is not None
    assert (found.recommendation.arm.rank, found.recommendation.best.rank) == (2, 64)
    assert found.recommendation.verdict == "contradicted"
    (wide,) = evidence([small, large.model_copy(update={"val": lucky.val})], margin=0.1)
    assert wide.recommendation is not None
    assert wide.recommendation.verdict == "confirmed"


def test_without_predictions_nothing_is_compared_but_the_choice_stands() -> None:
    (found,) = evidence(study(), predictions=False)
    assert found.predictions_missing
    assert found.comparisons == ()
    assert found.recommendation is not None
    assert found.recommendation.verdict is None


def test_the_front_is_in_a_table_from_the_smallest() -> None:
    records = [
        baseline(),
        *(finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (4, 0.7), (8, 0.9))),
    ]
    (section,) = sections_of(records)
    (found,) = evidence(records)
    table = front_table(section, found)
    assert table is not None
    assert [(row[0].partition(",")[0], row[-2], row[-1]) for row in table.rows] == [
        ("LoRA r=2", "yes", "no"),
        ("LoRA r=8", "yes", "no"),
        ("TF-IDF + SVM", "yes", "yes"),
    ]


def test_predictions_that_do_not_fit_their_record_are_an_error(tmp_path: Path) -> None:
    record = finished(lora(8), accuracy=0.9)
    folder = write_all([record], tmp_path) / "run-00"
    classes, predicted = predictions_like(record)
    assert predictions_of({run_key(record): folder}, [record])[run_key(record)].classes.tolist() == classes
    write_predictions(folder, classes=classes[:-1], predicted=predicted[:-1])
    with pytest.raises(RecordError, match=r"predictions\.csv has 3685 documents"):
        predictions_of({run_key(record): folder}, [record])


def test_predictions_of_other_documents_are_an_error() -> None:
    records = [finished(lora(2), accuracy=0.9), finished(lora(4), accuracy=0.9)]
    (section,) = sections_of(records)
    known = {run_key(record): RunPredictions(*map(np.array, predictions_like(record))) for record in records}
    first = known[run_key(records[0])]
    known[run_key(records[0])] = RunPredictions(first.classes[::-1].copy(), first.predicted[::-1].copy())
    with pytest.raises(RecordError, match="other test documents"):
        evidence_of(section, known, margin=0.005)
