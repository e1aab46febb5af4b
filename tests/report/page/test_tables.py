"""What the page's tables and charts show of arms, classes and the thesis's figures."""

import re

import pytest

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.classes import MOST_CLASSES
from tanzaku.analysis.confusion import confusion_of
from tanzaku.report.chart_data import ChartData
from tanzaku.report.page.results import lines_of
from tanzaku.study.record import RunRecord
from tanzaku.words import words_of
from tests.report.page.pages import page, seeds_study
from tests.report.page.trees import Tree
from tests.report.records import (
    LIVEDOOR,
    baseline,
    costs,
    data_facts,
    evidence,
    failed,
    finished,
    lora,
    scores,
    scores_of,
    study,
    training,
)

OWN = data_facts(("billing", "delivery", "returns"), fingerprint="a" * 64, name="inquiries")


def test_the_most_accurate_arm_comes_first_and_failed_ones_last() -> None:
    records: list[RunRecord] = [
        failed(lora(32), error="boom"),
        finished(lora(2), accuracy=0.8),
        finished(lora(8), accuracy=0.9),
        baseline(accuracy=0.85),
    ]
    tree = Tree(page(records, predictions=False))
    for caption in ("All arms", "What each arm costs"):
        names = [row["Arm"] for row in tree.table(caption)]
        assert [re.sub(" (lr|recommended|best).*", "", name) for name in names[:4]] == [
            "LoRA r=8",
            "TF-IDF + SVM",
            "LoRA r=2",
            "LoRA r=32",
        ]
        assert tree.table(caption)[3]["Accuracy (%)"] == "failed"


def test_costs_say_how_fast_an_arm_classifies() -> None:
    record = finished(lora(8), accuracy=0.9, costs=costs(rank=8, seconds=100.0, test_seconds=7.372))
    (row,) = Tree(page([record], predictions=False)).table("What each arm costs")
    assert row["ms per document"] == "2.00"  # 7.372 s for 3,686 documents
    assert row["Documents per second"] == "500"
    assert row["Training (s)"] == "100"
    assert row["Peak memory (MB)"] == "1,234"


def test_always_answering_the_most_frequent_class_is_a_row_of_its_own() -> None:
    row = Tree(page(seeds_study(), predictions=False)).table("All arms")[-1]
    assert row["Arm"] == "Always the most frequent class sports-watch"
    assert row["Accuracy (%)"] == "12.21"  # 450 of 3,686


@pytest.mark.parametrize("records", [study(), [finished(lora(8), accuracy=0.9)]], ids=["study", "one arm"])
def test_the_thesis_stands_in_tables_and_charts_where_an_arm_has_its_settings(records: list[RunRecord]) -> None:
    text = page(records, predictions=False)
    results, spent = Tree(text).table("All arms"), Tree(text).table("What each arm costs")
    name = "LoRA r=8 lr 5e-4" if len(records) > 1 else "LoRA"
    (arm,) = [row for row in results if row["Arm"].startswith(name)]
    assert arm["Thesis (%)"] == "93.22 Table 3.2"
    (arm,) = [row for row in spent if row["Arm"].startswith(name)]
    assert arm["Thesis (MB)"] == "1.2"
    charts = {title: chart for title, chart in _charts(text) if title in ("Accuracy", "Training time", "Size on disk")}
    if len(records) > 1:
        assert all("(thesis)" in charts[title] for title in ("Accuracy", "Size on disk"))
        assert charts["Accuracy"].count("LoRA r=8, lr 5e-4: 93.22 (thesis)") == 1
        assert "Full fine-tuning: 95.23 (thesis)" in charts["Accuracy"]
        # Another machine took the thesis's seconds.
        assert "the thesis" not in charts["Training time"]


@pytest.mark.parametrize(
    "records",
    [
        [finished(lora(rank), accuracy=0.9, data=OWN) for rank in (2, 8)],
        [finished(lora(rank, dropout=0.2), accuracy=0.9) for rank in (2, 8)],
    ],
    ids=["own data", "other settings"],
)
def test_nothing_is_said_of_the_thesis_where_no_arm_has_its_data_and_settings(records: list[RunRecord]) -> None:
    text = page([*records, baseline(data=records[0].data)], predictions=False)
    assert "thesis" not in Tree(text).words.lower()
    assert "Hollow, dotted" not in text


def test_the_recommended_arm_is_marked_in_every_chart_that_shows_it() -> None:
    text = page(seeds_study(), predictions=False)
    charts = dict(_charts(text))
    assert {"Accuracy", "Accuracy and size", "Accuracy and training time", "Training time"} <= set(charts)
    for title, chart in charts.items():
        shown = "LoRA r=8" in chart or "r=8</li>" in chart or 'r=8 <span class="badge' in chart
        plot, legend = chart.split('<ul class="legend">')
        rings = plot.count('class="ring"')
        assert rings + legend.count("badge recommended") == shown, title
        if rings:
            # Never paler than the others: the point inside the ring is filled, where it is on the front at least.
            assert re.search(r"LoRA r=8: .*?class=\"ring\"", plot, re.DOTALL)
            assert legend.count('class="ring"') == 1


def test_a_recommended_arm_without_a_rank_has_a_ring_too() -> None:
    records: list[RunRecord] = [baseline(accuracy=0.95), *(finished(lora(rank), accuracy=0.9) for rank in (2, 8))]
    charts = dict(_charts(page(records, predictions=False)))
    for title in ("Accuracy", "Training time", "Size on disk"):
        plot, legend = charts[title].split('<ul class="legend">')
        assert plot.count('class="ring"') == 2  # of all arms, and of those that adapt the encoder
        assert re.search(r"<title>TF-IDF \+ SVM: [^<]*</title>(<path class=\"bar\"[^>]*>)?<path class=\"ring\"", plot)
        assert legend.count('class="ring"') == 1


def test_there_is_no_chart_against_a_single_rank() -> None:
    titles = [title for title, _ in _charts(page([baseline(), finished(lora(8), accuracy=0.9)], predictions=False))]
    assert "Size on disk" not in titles
    assert "Accuracy and size" in titles


def test_classes_have_the_mean_precision_recall_and_f1_of_the_runs() -> None:
    test = scores(0.9)
    changed = test.per_class["peachy"].model_copy(update={"precision": 0.5, "recall": 0.25, "f1": 0.75})
    other = test.model_copy(update={"per_class": {**test.per_class, "peachy": changed}})
    records = [finished(lora(8), accuracy=0.9, seed=seed, test=found) for seed, found in ((1, test), (2, other))]
    rows = Tree(page(records, predictions=False)).table("LoRA: precision, recall and F1")
    assert [row["Class"] for row in rows] == list(LIVEDOOR)
    assert rows[LIVEDOOR.index("peachy")] == {
        "Class": "peachy",
        "Documents": "422",
        "Precision (%)": "70.00",
        "Recall (%)": "57.50",
        "F1 (%)": "82.50",
    }


def test_the_matrix_has_percentages_of_the_row_and_documents_of_one_run() -> None:
    records = [finished(lora(8), accuracy=0.9, seed=seed) for seed in range(5)]
    (section,) = sections_of(records)
    found = confusion_of(section, section.arms[0])
    for (label, cells), counts in zip(found.rows, scores(0.9).confusion, strict=True):
        assert tuple(cell.documents for cell in cells) == tuple(counts), label
        assert sum(cell.share for cell in cells) == pytest.approx(1, abs=1e-3)
        assert [cell.share for cell in cells] == pytest.approx([count / sum(counts) for count in counts], abs=1e-4)
    text = page(records, predictions=False)
    assert "18,430" not in text  # 3,686 documents times five seeds
    assert "means over the runs, each on the same 3,686 test documents" in Tree(text).words
    row = Tree(text).table("LoRA: how the documents")[0]
    assert row["true class ↓ / predicted →"] == "dokujo-tsushin"
    count = scores(0.9).confusion[0][0]
    assert row["dokujo-tsushin"] == f"{100 * count / 435:.1f} {count}"


def test_percentages_of_classes_are_rounded_once() -> None:
    test = scores_of([[420, 15], [0, 10]], ("a", "b"))
    record = finished(lora(8), accuracy=0.9, test=test, data=data_facts(("a", "b"), fingerprint="a" * 64))
    (section,) = sections_of([record])
    assert confusion_of(section, section.arms[0]).rows[0][1][1].share == 15 / 435
    row = Tree(page([record], predictions=False)).table("LoRA: how the documents")[0]
    assert row["b"] == "3.4 15"  # 3.448; 3.45 would become 3.5


def test_the_arm_recommended_with_the_encoder_is_marked_in_the_tables_too() -> None:
    records: list[RunRecord] = [baseline(accuracy=0.95), *(finished(lora(rank), accuracy=0.9) for rank in (2, 8))]
    tree = Tree(page(records, predictions=False))
    for caption in ("All arms", "What each arm costs"):
        first, second, third = (row["Arm"] for row in tree.table(caption)[:3])
        assert first == "TF-IDF + SVM recommended best on validation"
        assert second.endswith(" recommended with the encoder")
        assert "recommended" not in third


def test_arms_that_are_no_better_than_the_most_frequent_class_do_not_stretch_the_intervals() -> None:
    good = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.88), (8, 0.9))]
    whiskers = []
    for records in (good, [*good, finished({"name": "head"}, accuracy=0.05)]):
        data = ChartData(sections_of(records)[0], evidence(records)[0], words_of("en"))
        lines = {line.arm.method + str(line.arm.rank): line for line in lines_of(data)}
        whiskers.append({name: line.whisker for name, line in lines.items()})
    assert whiskers[1].pop("headNone") is None
    assert whiskers[0] == whiskers[1]
    assert all(whiskers[0].values())


def test_documents_have_a_decimal_where_the_mean_of_the_runs_is_not_whole() -> None:
    records = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.9, 0.8))]
    (section,) = sections_of(records)
    found = confusion_of(section, section.arms[0])
    first, second = scores(0.9).confusion[0][0], scores(0.8).confusion[0][0]
    assert found.rows[0][1][0].documents == (first + second) / 2
    row = Tree(page(records, predictions=False)).table("LoRA: how the documents")[0]
    assert row["dokujo-tsushin"].endswith(f" {(first + second) / 2:.1f}")


def test_many_classes_are_shown_by_their_most_confused_pairs_and_worst_scores() -> None:
    names = tuple(f"class-{number:03}" for number in range(500))
    facts = data_facts(names, fingerprint="f" * 64, name="many")
    methods = [({"name": "full"}, 5e-5), *((lora(rank), 5e-4) for rank in (2, 8, 32))]
    records: list[RunRecord] = [baseline(accuracy=0.7, data=facts)]
    for method, rate in methods:
        test = scores(0.8, label_names=names)
        counts = [list(row) for row in test.confusion]
        counts[7][7] -= 3
        counts[7][9] += 3
        worst = test.per_class[names[300]].model_copy(update={"f1": 0.1})
        test = test.model_copy(
            update={
                "confusion": tuple(map(tuple, counts)),
                "per_class": {**test.per_class, names[300]: worst},
                "correct": test.correct - 3,
                "accuracy": (test.correct - 3) / test.documents,
            }
        )
        settings = training(rate)
        records.append(finished(method, accuracy=0.8, learning_rate=rate, training=settings, data=facts, test=test))
    text = page(records, predictions=False)
    assert len(text.encode()) < 1_000_000
    assert text.count("<td") + text.count("<th") < 2000
    tree = Tree(text)
    arm = next(caption for caption in tree.captions if "most confused pairs" in caption).split(":")[0]
    pairs = tree.table(f"{arm}: the {MOST_CLASSES} most confused pairs")
    assert len(pairs) == MOST_CLASSES
    assert (pairs[0]["true class"], pairs[0]["predicted class"]) == ("class-007", "class-009")
    rows = tree.table(f"{arm}: the {MOST_CLASSES} of 500 classes with the lowest F1")
    assert len(rows) == MOST_CLASSES
    assert rows[0]["Class"] == "class-300"
    assert rows[0]["F1 (%)"] == "10.00"


def test_as_many_classes_as_fit_have_a_matrix() -> None:
    for size, matrix in ((MOST_CLASSES, True), (MOST_CLASSES + 1, False)):
        facts = data_facts(tuple(f"class-{number}" for number in range(size)), fingerprint="f" * 64)
        text = page([finished(lora(8), accuracy=0.9, data=facts)], predictions=False)
        assert ('class="confusion"' in text) == matrix
        assert ("most confused pairs" in text) != matrix


def _charts(text: str) -> list[tuple[str, str]]:
    """Each chart's title and markup."""
    figures = re.findall(r"<figure.*?</figure>", text.replace("\u2060", "").replace("\u00a0", " "), flags=re.DOTALL)
    return [(match[1], one) for one in figures if (match := re.search(r"<strong>(.*?)</strong>", one))]
