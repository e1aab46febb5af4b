"""The tables' cells, from records to text."""

from collections.abc import Sequence

import pytest

from tanzaku.analysis.arms import Section, sections_of
from tanzaku.analysis.settings import differing_settings, shared_settings
from tanzaku.report.render import Table
from tanzaku.report.tables import data_table, results_table
from tanzaku.report.thesis_table import thesis_table
from tanzaku.study.record import RunRecord
from tanzaku.words import words_of
from tests.report.records import baseline, data_facts, evidence, failed, finished, lora, scores, study, training


def section_of(records: Sequence[RunRecord]) -> Section:
    (section,) = sections_of(records)
    return section


def results_of(records: Sequence[RunRecord]) -> Table:
    (found,) = evidence(records)
    return results_table(section_of(records), found, words=words_of("en"))


def rows_of(table: Table) -> list[dict[str, str]]:
    headings = [column.heading for column in table.columns]
    return [dict(zip(headings, row, strict=True)) for row in table.rows]


def test_a_lora_row_has_the_figures_and_the_thesis_s() -> None:
    row = rows_of(results_of([finished(lora(64), accuracy=0.9)]))[0]
    expected = {
        "Method": "LoRA",
        "Learning rate": "5e-4",
        "Scale": "1",
        "Runs": "1",
        "Test accuracy (%)": "89.99",
        "Interval covers": "documents",
        "Thesis: accuracy (%)": "93.35",
        "Thesis: table": "3.2",
        "Saved (MB)": "9.5",
        "Thesis: saved (MB)": "9.5",
        "Trainable parameters": "2,366,217",
        "Training (s)": "116",
        "Training with evaluation (s)": "128",
        "Thesis: training (s)": "826",
        "Peak memory (MB)": "1,234",
        "Epochs run / best": "5 / 5",
    }
    assert {key: row[key] for key in expected} == expected
    assert "Lowest–highest (s.d.)" not in row
    assert "Peak GPU memory (MB)" not in row


def test_a_part_without_a_rate_of_its_own_has_the_learning_rate() -> None:
    own = finished(lora(8), accuracy=0.9, training=training(5e-4, head_learning_rate=2e-3))
    same = finished(lora(8), accuracy=0.8, training=training(1e-3, head_learning_rate=None))
    rates = {row["Learning rate"]: row["Head learning rate"] for row in rows_of(results_of([own, same]))}
    assert rates == {"5e-4": "2e-3", "1e-3": "1e-3"}


def test_seeds_make_one_row_with_their_spread() -> None:
    runs = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.90, 0.92))]
    (row,) = rows_of(results_of(runs))
    assert row["Runs"] == "2"
    assert row["Test accuracy (%)"] == "90.99"
    assert row["Interval covers"] == "documents, seeds"
    assert row["Lowest–highest (s.d.)"] == "89.99–92.00 (1.42)"
    low, high = map(float, row["95 % interval (%)"].split("–"))
    # Wider than the documents alone would make it, and about the mean.
    assert low < 89.99 < 90.99 < 92.00 < high


def test_failed_runs_have_their_row_or_their_note() -> None:
    runs: list[RunRecord] = [
        finished(lora(8), accuracy=0.9, seed=1),
        failed(lora(8), error="x", seed=2),
        failed(lora(4), error="y"),
    ]
    rows = rows_of(results_of(runs))
    assert [(row["Method"], row["Runs"]) for row in rows] == [
        ("LoRA r=8", "1 + 1 failed"),
        ("LoRA r=4", "0 + 1 failed"),
    ]
    assert rows[0]["Test accuracy (%)"] == "89.99"
    assert rows[1]["Test accuracy (%)"] == "failed"


def test_the_most_accurate_arm_comes_first_unless_ranks_are_compared() -> None:
    runs: list[RunRecord] = [
        baseline(accuracy=0.85),
        finished({"name": "head"}, accuracy=0.7),
        finished({"name": "full"}, accuracy=0.9),
        finished(lora(8), accuracy=0.8),
    ]
    rows = rows_of(results_of(runs))
    assert [row["Method"] for row in rows] == ["Full fine-tuning", "TF-IDF + SVM", "LoRA", "Head only"]
    rows = rows_of(results_of([*runs, finished(lora(2), accuracy=0.95)]))
    assert [row["Method"] for row in rows] == [
        "TF-IDF + SVM",
        "Head only",
        "Full fine-tuning",
        "LoRA r=2",
        "LoRA r=8",
    ]


def test_the_baseline_has_dashes_where_it_has_nothing() -> None:
    row = rows_of(results_of([baseline(), finished(lora(8), accuracy=0.9)]))[0]
    assert row["Method"] == "TF-IDF + SVM"
    assert {row[key] for key in ("Learning rate", "Scale", "Thesis: accuracy (%)", "Epochs run / best")} == {"–"}


@pytest.mark.parametrize(
    "record",
    [
        finished(lora(8), accuracy=0.9, data=data_facts(("beauty", "travel"))),
        finished(lora(8, targets="all-linear"), accuracy=0.9),
    ],
    ids=["other data", "other settings"],
)
def test_the_thesis_has_no_column_where_no_arm_has_a_row_of_it(record: RunRecord) -> None:
    headings = [column.heading for column in results_of([record]).columns]
    assert not [heading for heading in headings if heading.startswith("Thesis")]


def test_one_s_own_data_has_its_own_training_documents_by_class() -> None:
    data = data_facts(("beauty", "travel")).model_copy(update={"train_documents_per_class": (2000, 945)})
    table = data_table(section_of([finished(lora(8), accuracy=0.9, data=data)]), words=words_of("en"))
    assert table is not None
    assert [column.heading for column in table.columns] == ["Class", "Training", "Validation", "Test"]
    assert [row[:2] for row in table.rows] == [("beauty", "2,000"), ("travel", "945"), ("All", "2,945")]


def test_settings_that_differ_have_columns_and_the_others_are_shared() -> None:
    section = section_of(study())
    assert differing_settings(section.arms) == ["training.patience"]
    shared = shared_settings(section.arms)
    assert shared["lora.dropout"] == 0.1
    assert shared["training.epochs"] == 5
    assert "training.patience" not in shared
    rows = rows_of(results_of(study()))
    assert [row["Patience"] for row in rows[:4]] == ["–", "3", "5", "3"]


def test_a_patience_without_end_is_told_from_no_patience_at_all() -> None:
    endless = finished(lora(4), accuracy=0.9, training=training(5e-4, patience=None))
    rows = rows_of(results_of([baseline(), endless, finished(lora(8), accuracy=0.9)]))
    assert [row["Patience"] for row in rows] == ["–", "none", "3"]


def test_the_data_table_is_table_3_1s_columns() -> None:
    table = data_table(section_of(study()), words=words_of("en"))
    assert table is not None
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["livedoor-homme"] == ("327", "82", "256", "204", "51", "257")
    assert rows["All"] == ("2,945", "736", "3,686", "2,945", "736", "3,687")


def test_without_a_finished_run_there_is_no_data_table() -> None:
    assert data_table(section_of([failed(lora(8), error="x")]), words=words_of("en")) is None


def test_the_comparison_says_what_is_not_like_the_thesis() -> None:
    rows = {row[0]: row[1:] for row in thesis_table(section_of(study()), words=words_of("en")).rows}
    assert rows["Tokens read per document"] == ("128", "512", "no")
    assert rows["Encoder"] == ("small-encoder", "cl-tohoku/bert-base-japanese", "no")
    assert rows["Batch size"] == ("8", "8", "yes")
    assert rows["Patience (epochs)"][::2] == ("3, 5", "yes")
    assert rows["GPU"] == ("none", "NVIDIA GeForce RTX 2070", "no")
    other = [finished(lora(8), accuracy=0.9, training=training(5e-4, patience=2))]
    assert {row[0]: row[3] for row in thesis_table(section_of(other), words=words_of("en")).rows}[
        "Patience (epochs)"
    ] == "no"


def test_gpu_memory_has_a_column_where_there_is_a_gpu() -> None:
    record = finished(lora(8), accuracy=0.9)
    assert record.costs
    on_gpu = record.model_copy(
        update={"costs": record.costs.model_copy(update={"peak_gpu_memory_bytes": 2_500_000_000})}
    )
    (row,) = rows_of(results_of([on_gpu]))
    assert row["Peak GPU memory (MB)"] == "2,500"


def test_synthetic_scores_are_consistent() -> None:
    made = scores(0.9)
    assert sum(map(sum, made.confusion)) == made.documents == 3686
    assert sum(score.support for score in made.per_class.values()) == 3686
