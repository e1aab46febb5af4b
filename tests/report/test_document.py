"""The report as a document: what it states, and what it must not."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tanzaku.analysis.arms import sections_of
from tanzaku.report.document import FigureFile, markdown_document
from tanzaku.report.notes import result_notes
from tanzaku.report.write import write_report
from tanzaku.study.record import MODEL_FOLDER, ComputeFacts, RunRecord
from tanzaku.words import Language, words_of
from tests.report.records import (
    baseline,
    costs,
    data_facts,
    environment,
    evidence,
    failed,
    finished,
    lora,
    scores,
    study,
    training,
    write_all,
)


def document(records: Sequence[RunRecord], *, language: Language = "en") -> str:
    figures = {1: [FigureFile("figures/time.svg", "Training seconds against the rank.")]}
    return markdown_document(
        sections_of(records), evidence(records), records=records, figures=figures, packs={}, words=words_of(language)
    )


def test_the_parts_stand_in_order() -> None:
    text = document(study())
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Study report: synthetic",
        "## Group 1: livedoor, small-encoder",
        "### Recommendation",
        "### Results",
        "### Which arms differ",
        "### Pareto fronts",
        "### Results by class",
        "### How these runs differ from those of the thesis",
        "### Data",
        "### How it was measured",
        "### Figures",
    ]
    assert "17 runs: 17 finished, 0 failed, 0 resumed" in text
    assert "![Training seconds against the rank.](figures/time.svg)" in text
    assert "No TF-IDF baseline" not in text


def test_it_says_of_how_many_documents_not_everything_is_read() -> None:
    def runs(partly_read: int) -> list[RunRecord]:
        return [finished(lora(8), accuracy=0.9, seed=seed, partly_read=partly_read) for seed in (1, 2)]

    line = "training documents are longer than what is read of them (max tokens 128)"
    assert document(runs(1234)).count(f"1,234 {line}") == 1
    assert "longer than what is read" not in document(runs(0))


def test_the_document_is_japanese_too() -> None:
    text = document([*study(), failed(lora(8), error="out of memory", seed=7)], language="ja")
    headings = [line for line in text.splitlines() if line.startswith("##")]
    assert headings == [
        "## グループ 1：livedoor、small-encoder",
        "### 推奨",
        "### 結果",
        "### どの手法が異なるか",
        "### パレートフロント",
        "### クラスごとの結果",
        "### 失敗した実行",
        "### 論文の実行との違い",
        "### データ",
        "### 測定の条件",
        "### 図",
    ]
    assert "18 回の実行：完了 17、失敗 1" in text
    assert "LoRA：" in text
    assert "ドロップアウト 0.1" in text
    assert "TF-IDF + SVM：" in text


def test_without_predictions_arms_are_not_compared() -> None:
    records = study()
    (section,), (found,) = sections_of(records), evidence(records)
    (unknown,) = evidence(records, predictions=False)
    words = words_of("en")
    compared = result_notes(section, found, words=words)
    assert not any("predictions" in note for note in compared)
    notes = result_notes(section, unknown, words=words)
    assert "Some runs have no stored predictions, so their arms are not compared." in notes
    explained = "“Better” and “worse”: this p is below 0.05."
    assert any(explained in note for note in compared)
    assert not any(explained in note for note in notes)
    assert "Which arms differ" not in document_without_predictions(records)


def document_without_predictions(records: Sequence[RunRecord]) -> str:
    found = evidence(records, predictions=False)
    return markdown_document(sections_of(records), found, records=records, figures={}, packs={}, words=words_of("en"))


def _advice(text: str) -> list[str]:
    """Each recommendation, which is a paragraph in bold face, with the reason, which is the next paragraph.

    In Markdown, "**…。**" directly before another sentence would not be bold in Japanese.
    """
    paragraphs = text.split("\n\n")
    return [f"{one} {reason}" for one, reason in itertools.pairwise(paragraphs) if one.startswith("**")]


def test_the_recommendation_comes_first_with_its_reason_and_what_the_test_set_says() -> None:
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.80), (8, 0.9), (64, 0.904))]
    text = document(records)
    line = _advice(text)[0]
    assert line.startswith("**Take LoRA r=8.** It is the smallest (1.2 MB) of the 2 arms, out of 3,")
    assert "compared with 90.35 % for LoRA r=64 (9.5 MB)" in line
    assert "The test set leaves open whether it is worse by more than 0.5 points" in line
    assert "so the test set can't confirm it" in document_without_predictions(records)


def test_sizes_that_leave_out_different_things_are_told_with_them() -> None:
    small, whole = costs(seconds=60.0, saved_bytes=28_000), costs(seconds=60.0, saved_bytes=30_000_000)
    head, words = finished({"name": "head"}, accuracy=0.9, costs=small), baseline(accuracy=0.902)
    full = finished({"name": "full"}, accuracy=0.902, costs=whole)
    encoder = "To classify, Head only also needs the encoder."
    dictionary = "To classify, TF-IDF + SVM also needs MeCab's dictionary."
    cases: list[tuple[list[RunRecord], list[str]]] = [
        ([head, words], [encoder, dictionary]),
        ([head, full], [encoder]),
        ([words, full.model_copy(update={"val": scores(0.904, documents=736)})], [dictionary]),
    ]
    for records, expected in cases:
        line = _advice(document(records))[0]
        assert "It is the smallest" in line
        assert f"MB). The sizes are those of what is saved. {' '.join(expected)}" in line
        assert line.count("To classify") == len(expected)
    alike = finished(lora(8), accuracy=0.902)
    assert "The sizes are those" not in _advice(document([head, alike]))[0]
    assert "The sizes are those" not in _advice(document([words]))[0]


def test_all_arms_within_the_margin_are_told_as_all() -> None:
    text = document([finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((8, 0.9), (64, 0.904))])
    assert (
        "It is the smallest (1.2 MB) of the 2 arms, all of which have a mean validation accuracy within 0.5 points"
        in text
    )
    assert "out of" not in text


def test_a_single_thing_is_not_told_as_several() -> None:
    machine = environment(cores=1, threads=1)
    text = document([finished(lora(8), accuracy=0.9, training=training(5e-4, epochs=1), environment=machine)])
    assert "1 run: 1 finished" in text
    assert "- **Machine**: 1 run: Example CPU 3000, 1 core, 1 thread," in text
    assert not re.search(r"(?<![\d.,])1 (runs|epochs|cores|threads)\b", text)


def test_the_computation_of_the_encoder_is_told_and_where_it_differs_within_an_arm() -> None:
    runs = [finished(lora(8), accuracy=0.9, seed=seed) for seed in (1, 2, 3)]
    differ = "computed in different ways"
    text = document(runs)
    assert "- **Computation**: 3 runs: the fast path, float32\n" in text
    assert differ not in text
    other = ComputeFacts(path="transformers", precision="bfloat16")
    text = document([*runs[:2], runs[2].model_copy(update={"compute": other})])
    for line in ("2 runs: the fast path, float32", "1 run: transformers, bfloat16", "Some arms have runs that were"):
        assert f"- **Computation**: {line}" in text
    apart = finished(lora(2), accuracy=0.9).model_copy(update={"compute": other})
    assert differ not in document([*runs, apart])


def test_a_recommended_arm_with_failed_runs_says_so() -> None:
    runs: list[RunRecord] = [
        finished(lora(8), accuracy=0.9, seed=1),
        failed(lora(8), error="loss is nan", seed=2),
    ]
    assert "1 of its 2 runs failed" in _advice(document(runs))[0]
    assert "runs failed" not in _advice(document(runs[:1]))[0]


def test_where_the_best_needs_no_encoder_the_best_that_does_is_told_too() -> None:
    lines = _advice(document(study()))
    assert lines[0].startswith("**Take TF-IDF + SVM.** It has the best mean validation accuracy")
    assert lines[1].startswith(
        "**Of the arms that adapt the encoder, take Full fine-tuning.** Among these, it has the best"
    )


def test_no_rule_is_given_for_a_choice_that_was_not_made() -> None:
    assert "The validation set chose" in document(study())
    text = document([finished(lora(8), accuracy=0.05)])
    assert "**No arm is recommended.**" in text
    assert "The validation set chose" not in text


def test_captions_that_are_sentences_have_no_colon() -> None:
    assert ".:" not in (text := document(study()))
    assert re.search(r"^[^|#\n].*:$", text, re.MULTILINE)  # others have one
    assert "。:" not in (japanese := document(study(), language="ja"))
    assert "。：" not in japanese


def test_a_missing_baseline_is_said() -> None:
    assert "No TF-IDF baseline:" in document([finished(lora(8), accuracy=0.9)])
    assert "No TF-IDF baseline:" in document([failed(baseline().spec["method"], error="x")])


def test_failed_runs_are_listed_with_their_error() -> None:
    text = document([baseline(), failed(lora(8), error="out of memory:\nneeded 3 GB | had <2>", seed=7)])
    assert "### Failed runs" in text
    assert "seed 7): out of memory: needed 3 GB \\| had \\<2>" in text
    assert "2 runs: 1 finished, 1 failed" in text


def test_sections_are_told_apart_and_never_share_a_table() -> None:
    records: list[RunRecord] = [
        baseline(),
        finished(lora(8), accuracy=0.9),
        finished(lora(4), accuracy=0.8, data=data_facts(("a|b", "c"), fingerprint="f" * 64, name="my_own|data")),
    ]
    text = document(records)
    first, second = text.split("## Group 2")
    assert "rank 8" in first
    assert "rank 4" not in first
    assert "rank 4" in second
    assert "rank 8" not in second
    assert "2 groups of runs that can't be compared" in first
    assert "thesis" not in second
    assert "a\\|b" in second


def test_environments_are_listed_with_commit_and_dirty_flag() -> None:
    other = environment(git_dirty=True, threads=16, gpu="NVIDIA H100")
    text = document([finished(lora(2), accuracy=0.9), finished(lora(4), accuracy=0.9, environment=other)])
    assert "commit 0123456789 with uncommitted changes" in text
    assert "16 threads" in text
    assert "GPU NVIDIA H100" in text
    assert "their times may not be comparable" in text
    assert "commit unknown" in document([finished(lora(2), accuracy=0.9, environment=environment(git_commit=None))])


def test_resumed_and_repeated_runs_are_counted() -> None:
    records = [
        finished(lora(8), accuracy=0.9, resumptions=2),
        finished(lora(8), accuracy=0.9, ended="2024-01-01T00:00:00+00:00"),
    ]
    text = document(records)
    assert "1 resumed" in text
    assert "1 finished run repeats the settings" in text


@pytest.mark.usefixtures("no_figures")
def test_a_command_to_pack_is_named_only_where_the_model_is_there(tmp_path: Path) -> None:
    runs = write_all([finished(lora(8), accuracy=0.9)], tmp_path / "my runs")

    def text() -> str:
        write_report(runs, tmp_path / "report")
        return (tmp_path / "report" / "report.md").read_text(encoding="utf-8")

    assert "tanzaku pack" not in text()
    assert "the recommended run can't be packed" in text()
    (runs / "run-00" / MODEL_FOLDER).mkdir()
    assert f"Pack its run: `tanzaku pack '{runs}/run-00' --out BUNDLE`" in text()
    assert "can't be packed" not in text()


def test_each_class_has_its_precision_recall_and_f1() -> None:
    names = tuple(f"class {number:02}" for number in range(30))
    for count, shown in ((9, 9), (30, 20)):
        data = data_facts(names[:count])
        text = document([finished(lora(8), accuracy=0.9, data=data)])
        lines = text.partition("### Results by class")[2].partition("###")[0].splitlines()
        rows = [line for line in lines if line.startswith("| class")]
        assert len(rows) == shown
        assert ("the 20 of 30 classes of livedoor with the lowest F1" in text) == (count == 30)
        # The synthetic scores have the accuracy for every measure.
        assert [cell.strip() for cell in rows[0].split("|")[2:5]] == ["90.00"] * 3
