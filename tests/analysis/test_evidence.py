"""What is inferred from records and predictions: comparisons, recommendation, intervals, fronts."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.evidence import Evidence, evidence_of
from tanzaku.analysis.predictions import RunPredictions, predictions_of, run_key
from tanzaku.analysis.statistics import Interval, compare_accuracies, exact_mcnemar, holm
from tanzaku.errors import RecordError
from tanzaku.measure.metrics import ChooseBy
from tanzaku.report.latex_tables import latex_document
from tanzaku.report.notes import result_notes
from tanzaku.report.render import Table
from tanzaku.report.sentences import recommendation_lines
from tanzaku.report.tables import comparison_table, front_table
from tanzaku.study.predictions import write_predictions
from tanzaku.study.record import RunRecord
from tanzaku.study.runs import StoredRun
from tanzaku.words import words_of
from tests.report.records import (
    baseline,
    evidence,
    finished,
    lora,
    predictions_like,
    run_predictions,
    scores,
    study,
    write_all,
)


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


def _wrong(rank: int, wrong: int) -> RunRecord:
    """A run that takes so many of 3,686 test documents wrong, each of them one that a worse run takes wrong too."""
    return finished(lora(rank), accuracy=1 - wrong / 3686)


def _compared(records: list[RunRecord], found: Evidence) -> Table:
    (section,) = sections_of(records)
    return comparison_table(section, found, found.references[0], words=words_of("en"))


def test_the_correction_counts_where_it_changes_the_outcome() -> None:
    # Six documents that only the best takes right: McNemar's p is 2 / 2 ** 6 = 0.03 for each of three arms.
    records: list[RunRecord] = [_wrong(2, 366), _wrong(4, 366), _wrong(8, 366), _wrong(64, 360)]
    (found,) = evidence(records, margin=0.0)
    assert [one.accuracy.p_value for one in found.comparisons] == pytest.approx([2 / 2**6] * 3)
    assert [one.accuracy_p for one in found.comparisons] == pytest.approx([3 * 2 / 2**6] * 3)
    assert {one.outcome for one in found.comparisons} == {"not distinguishable"}
    assert [row[3] for row in _compared(records, found).rows] == ["0.0938"] * 3
    (alone,) = evidence([_wrong(8, 366), _wrong(64, 360)], margin=0.0)
    assert [one.outcome for one in alone.comparisons] == ["worse"]


def test_every_comparison_is_corrected_as_statsmodels_does() -> None:
    records = [_wrong(rank, wrong) for rank, wrong in ((2, 369), (4, 368), (8, 367), (32, 365), (64, 360))]
    (found,) = evidence(records, margin=0.0)
    raw = [one.accuracy.p_value for one in found.comparisons]
    assert raw == pytest.approx([2 / 2**9, 2 / 2**8, 2 / 2**7, 2 / 2**5])
    assert [one.accuracy_p for one in found.comparisons] == pytest.approx(multipletests(raw, method="holm")[1])
    raw = [one.macro_f1.p_value for one in found.comparisons]
    corrected = [one.macro_f1_p for one in found.comparisons]
    assert corrected == pytest.approx(multipletests(raw, method="holm")[1])
    assert max(after - before for before, after in zip(raw, corrected, strict=True)) > 0.001


def test_the_validation_documents_say_how_much_they_could_decide() -> None:
    # On 736 validation documents; the best takes 7 more right than the second, and 20 more than the third.
    records = [finished(lora(rank), accuracy=1 - wrong / 736) for rank, wrong in ((2, 95), (8, 82), (64, 75))]
    (found,) = evidence(records, margin=0.005)
    assert found.recommendation is not None
    decision = found.recommendation.decision
    assert decision.documents == 736
    assert decision.margin_documents == pytest.approx(3.68)
    assert decision.indistinct is not None
    # 2 / 2 ** 7 = 0.016 stays below 0.05: of the three pairs, the larger p is multiplied by two.
    assert [arm.rank for arm in decision.indistinct] == []
    records.append(finished(lora(4), accuracy=1 - 81 / 736))
    (found,) = evidence(records, margin=0.005)
    assert found.recommendation is not None
    assert found.recommendation.decision.indistinct is not None
    # Now there are six pairs: 5 * 0.016 = 0.08 and 4 * 0.03 = 0.12.
    assert [arm.rank for arm in found.recommendation.decision.indistinct] == [4, 8]
    (line,) = recommendation_lines([found], words=words_of("en"))
    assert "The choice rests on 736 validation documents; the margin of 0.5 points is 3.7 of them." in line
    assert "On these documents, 2 of the 3 other arms can't be distinguished from the best: LoRA r=4" in line


def test_points_of_macro_f1_are_no_documents() -> None:
    records = [finished(lora(2), accuracy=0.9), finished(lora(8), accuracy=0.89)]
    (line,) = recommendation_lines(evidence(records, choose_by="macro_f1"), words=words_of("en"))
    assert "The choice rests on 736 validation documents. On these documents" in line


def test_where_no_interval_can_be_estimated_no_margin_is_named() -> None:
    (found,) = evidence([finished(lora(2), accuracy=0.9), finished(lora(8), accuracy=0.904)])
    recommended = found.recommendation
    assert recommended is not None
    assert recommended.difference is not None
    assert "would be confirmed" in recommendation_lines([found], words=words_of("en"))[0]
    nothing_known = replace(recommended.difference, interval=Interval(-1.0, 1.0, kind="both"))
    few = replace(found, recommendation=replace(recommended, difference=nothing_known))
    (line,) = recommendation_lines([few], words=words_of("en"))
    assert "no interval can be estimated for this" in line
    assert "would be confirmed" not in line


def test_few_validation_documents_are_said_to_decide_little() -> None:
    def few(record: RunRecord, wrong: int) -> RunRecord:
        return record.model_copy(update={"val": scores(1 - wrong / 20, documents=20)})

    records = [few(finished(lora(2), accuracy=0.9), 3), few(finished(lora(8), accuracy=0.9), 2)]
    (found,) = evidence(records)
    (line,) = recommendation_lines([found], words=words_of("en"))
    assert "The choice rests on 20 validation documents; the margin of 0.5 points is less than one of them" in line
    assert "On these documents, no other arm can be distinguished from the best." in line
    assert "The choice rests" not in recommendation_lines(evidence(records[:1]), words=words_of("en"))[0]
    (unknown,) = evidence(records, predictions=False)
    assert unknown.recommendation is not None
    assert unknown.recommendation.decision.indistinct is None
    assert (
        "it is not known which arms differ significantly from the best"
        in recommendation_lines([unknown], words=words_of("en"))[0]
    )
    far = [*records, few(finished(lora(64), accuracy=0.9), 18)]
    (apart,) = evidence([far[1], far[2]])
    assert (
        "On these documents, every other arm differs significantly from the best."
        in recommendation_lines([apart], words=words_of("en"))[0]
    )


def test_predictions_of_other_validation_documents_are_an_error() -> None:
    records = [finished(lora(2), accuracy=0.9), finished(lora(4), accuracy=0.9)]
    (section,) = sections_of(records)
    known = {run_key(record): run_predictions(record) for record in records}
    first = known[run_key(records[0])]
    assert first.validation is not None
    turned = RunPredictions(first.validation.classes[::-1].copy(), first.validation.predicted[::-1].copy())
    known[run_key(records[0])] = replace(first, validation=turned)
    with pytest.raises(RecordError, match=r"their validation predictions have other documents"):
        evidence_of(section, known, margin=0.005)


def test_a_deterministic_arm_has_an_interval_of_its_documents() -> None:
    """Its seeds are equal; an interval over seeds only has no width."""
    alike = [baseline(accuracy=0.9, seed=seed) for seed in (1, 2, 3)]
    for predictions in (True, False):
        (found,) = evidence(alike, predictions=predictions)
        ((arm, interval),) = found.intervals
        assert arm.accuracy is not None
        low, high = proportion_confint(round(0.9 * 3686), 3686, method="wilson")
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-4)
        assert found.interval(arm) == interval


def test_what_the_documents_do_not_tell_apart_is_said_to_be_so() -> None:
    records: list[RunRecord] = [finished(lora(2), accuracy=0.9), finished(lora(4), accuracy=0.9)]
    (found,) = evidence(records)
    (one,) = found.comparisons
    assert (one.outcome, one.accuracy.mean) == ("not distinguishable", 0.0)
    table = _compared(records, found)
    assert table.rows[0][4] == "not distinguishable"


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
    assert [(arm.rank, interval.kind) for arm, interval in found.intervals] == [
        (2, "both"),
        (8, "both"),
        (64, "wilson"),
    ]
    for arm, interval in found.intervals:
        assert arm.accuracy is not None
        assert interval.low < arm.accuracy.mean < interval.high
    assert len(section.arms) == 3


@pytest.mark.parametrize("choose_by", ["accuracy", "macro_f1"])
def test_arms_that_share_their_trainings_are_compared_in_pairs(choose_by: ChooseBy) -> None:
    """Each seed gains about as much, but the seeds are far apart."""
    trained = _seeds(2, 0.88, 0.80, 0.84)
    gained = [
        finished(lora(8), accuracy=accuracy, seed=seed, trained_by=trained[seed].run_id)
        for seed, accuracy in enumerate((0.899, 0.822, 0.861))
    ]
    independent = [run.model_copy(update={"trained_by": None}) for run in gained]
    differences = {}
    partly = [*gained[:2], independent[2]]
    for name, runs in (("in pairs", gained), ("independent", independent), ("partly in pairs", partly)):
        (found,) = evidence([*trained, *runs], choose_by=choose_by)
        (comparison,) = found.comparisons
        assert comparison.arm.rank == 2
        differences[name] = (comparison.accuracy, comparison.macro_f1)
    for measure in (0, 1):
        in_pairs, *others = (of_arms[measure] for of_arms in differences.values())
        assert {one.mean for one in others} == {in_pairs.mean}
        assert all(one.p_value > 0.2 for one in others)
        assert in_pairs.p_value < 0.01
        assert in_pairs.interval.high < 0


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
    records: list[RunRecord] = [
        baseline(),
        *(finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (4, 0.7), (8, 0.9))),
    ]
    (section,) = sections_of(records)
    (found,) = evidence(records)
    table = front_table(section, found, words=words_of("en"))
    assert table is not None
    assert [(row[0].partition(",")[0], row[-2], row[-1]) for row in table.rows] == [
        ("LoRA r=2", "yes", "no"),
        ("LoRA r=8", "yes", "no"),
        ("TF-IDF + SVM", "yes", "yes"),
    ]


def test_a_predicted_class_that_there_is_not_is_an_error(tmp_path: Path) -> None:
    record = finished(lora(8), accuracy=0.9)
    folder = write_all([record], tmp_path) / "run-00"
    classes, predicted = predictions_like(record)
    wrong = next(row for row, pair in enumerate(zip(classes, predicted, strict=True)) if pair[0] != pair[1])
    predicted[wrong] = len(record.data.label_names)
    write_predictions(folder, classes=classes, predicted=predicted)
    with pytest.raises(RecordError, match=rf"predictions\.csv, line {wrong + 2}: "):
        predictions_of([StoredRun(record, folder)])


def test_predictions_that_do_not_fit_their_record_are_an_error(tmp_path: Path) -> None:
    record = finished(lora(8), accuracy=0.9)
    folder = write_all([record], tmp_path) / "run-00"
    classes, predicted = predictions_like(record)
    assert predictions_of([StoredRun(record, folder)])[run_key(record)].classes.tolist() == classes
    write_predictions(folder, classes=classes[:-1], predicted=predicted[:-1])
    with pytest.raises(RecordError, match=r"predictions\.csv has 3685 documents"):
        predictions_of([StoredRun(record, folder)])


def test_intervals_and_tests_are_over_the_groups_of_documents(tmp_path: Path) -> None:
    """Sorted predictions: the documents of a group are nearly all right or all wrong."""
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (8, 0.82))]
    sections = sections_of(records)
    known = {}
    for record in records:
        test, val = (predictions_like(record, split=split) for split in ("test", "val"))
        groups = np.arange(len(test[0])) // 20
        validation = RunPredictions(*map(np.array, val), groups=np.arange(len(val[0])) // 20)
        known[run_key(record)] = RunPredictions(*map(np.array, test), groups=groups, validation=validation)
    found = evidence_of(sections[0], known, margin=0.005)
    (ungrouped,) = evidence(records)
    assert (found.groups, ungrouped.groups) == (185, None)
    correct = np.stack([known[run_key(record)].predicted == known[run_key(record)].classes for record in records])
    (comparison,), (as_independent,) = found.comparisons, ungrouped.comparisons
    assert comparison.accuracy == compare_accuracies(correct, [0], [1], groups)
    assert comparison.accuracy_p > as_independent.accuracy_p
    assert comparison.macro_f1_p > as_independent.macro_f1_p
    for arm in sections[0].arms:
        wide, narrow = found.interval(arm), ungrouped.interval(arm)
        assert wide is not None
        assert narrow is not None
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
        assert (wide.over_groups, narrow.over_groups) == (True, False)
    latex = latex_document(sections, [found], words=words_of("en"))
    tested = (
        "p of accuracy: t test over seeds and groups of documents; p of macro-F1: t test with bootstrapped variance;"
    )
    assert tested in " ".join(latex.split())
    assert "Wilson's, over groups of documents." in " ".join(latex.split())
    assert "McNemar" not in latex
    notes = " ".join(result_notes(sections[0], found, words=words_of("en")))
    assert "the interval covers other groups of" in notes
    assert not re.search("covers other (test )?documents|and other documents together", notes)
    assert "McNemar" in latex_document(sections, [ungrouped], words=words_of("en"))
    assert any("belong to groups" in note for note in result_notes(sections[0], found, words=words_of("en")))
    few = replace(found, groups=2)
    assert any("fewer than 3 groups" in note for note in result_notes(sections[0], few, words=words_of("en")))
    assert not any("fewer than 3" in note for note in result_notes(sections[0], found, words=words_of("en")))
    assert not any("belong to groups" in note for note in result_notes(sections[0], ungrouped, words=words_of("en")))


def test_predictions_of_other_documents_are_an_error() -> None:
    records = [finished(lora(2), accuracy=0.9), finished(lora(4), accuracy=0.9)]
    (section,) = sections_of(records)
    known = {run_key(record): RunPredictions(*map(np.array, predictions_like(record))) for record in records}
    first = known[run_key(records[0])]
    known[run_key(records[0])] = RunPredictions(first.classes[::-1].copy(), first.predicted[::-1].copy())
    with pytest.raises(RecordError, match=r"their test predictions have other documents"):
        evidence_of(section, known, margin=0.005)


def test_the_one_run_of_a_deterministic_method_counts_for_every_seed() -> None:
    seeds = [finished(lora(8), accuracy=0.93 + seed / 100, seed=seed) for seed in range(3)]
    alone = finished(lora(2), accuracy=0.85)
    (found,) = evidence([baseline(accuracy=0.9), *seeds, alone])
    covered = {
        comparison.arm.method + str(comparison.arm.rank): comparison.seeds_covered for comparison in found.comparisons
    }
    assert covered == {"tfidf-svmNone": "both", "lora2": "one"}
    kinds = {arm.method + str(arm.rank): interval.kind for arm, interval in found.intervals}
    assert kinds == {"tfidf-svmNone": "wilson", "lora2": "wilson", "lora8": "both"}
