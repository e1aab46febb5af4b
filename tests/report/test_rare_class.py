"""One document in a thousand is of another class: what the report says of arms that never find it."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tanzaku.analysis.arms import sections_of
from tanzaku.cli import app
from tanzaku.report.document import markdown_document
from tanzaku.report.sentences import recommendation_lines
from tanzaku.study.record import RunRecord
from tanzaku.words import words_of
from tests.report.page.pages import page
from tests.report.page.trees import Tree
from tests.report.records import baseline, costs, data_facts, evidence, finished, lora, scores_of, write_all

NAMES = ("frequent", "rare")
BLIND = [[1000, 0], [1, 0]]
FINDS = [[1000, 0], [0, 1]]
FINDS_WITH_A_MISTAKE = [[999, 1], [0, 1]]
THREE = ("frequent", "other", "rare")


def _head(val: list[list[int]], *, names: tuple[str, ...] = NAMES, **changes: Any) -> RunRecord:
    small = costs(seconds=60.0, saved_bytes=28_000, trainable_parameters=6_921)
    return finished({"name": "head"}, accuracy=0.5, **_facts(val, names=names), costs=small, **changes)


def _tfidf(val: list[list[int]], *, names: tuple[str, ...] = NAMES, **changes: Any) -> RunRecord:
    return baseline(**_facts(val, names=names), **changes)


def _facts(val: list[list[int]], *, names: tuple[str, ...]) -> dict[str, Any]:
    found = scores_of(val, names)
    return {"data": data_facts(names), "val": found, "test": found}


def _texts(records: list[RunRecord]) -> tuple[str, str, str]:
    """The Markdown, and the page in both languages."""
    markdown = markdown_document(
        sections_of(records), evidence(records), records=records, figures={}, packs={}, words=words_of("en")
    )
    english, japanese = (page(records, language=one).replace("\u00a0", " ") for one in ("en", "ja"))
    return markdown, english, japanese


def _lines(records: list[RunRecord], *, choose_by: Any = "accuracy") -> str:
    return "\n".join(recommendation_lines(evidence(records, choose_by=choose_by), words=words_of("en")))


def test_an_arm_that_only_answers_the_frequent_class_is_passed_over() -> None:
    """It is smaller by far and within the margin: 99.90 % are right."""
    markdown, english, japanese = _texts([_tfidf(FINDS), _head(BLIND)])
    assert "**Take TF-IDF + SVM.**" in markdown
    for text in (markdown, english):
        assert (
            "Within the margin, but not better than always answering “frequent”, the most frequent class (99.90 %), "
            "and therefore not recommended: Head only"
        ) in text
        assert "right for 99.90 % of the validation documents" in text
    assert "最も多いクラス「frequent」を常に答える場合（99.90 %）を上回らないため、推奨の対象になりません" in japanese


def test_where_no_arm_is_better_nothing_is_recommended() -> None:
    """A mistake for each rare document found: as accurate as to answer the frequent class only."""
    records = [_tfidf(FINDS_WITH_A_MISTAKE), _head(BLIND)]
    markdown, english, japanese = _texts(records)
    for text in (markdown, english):
        assert "No arm is recommended." in text
        assert "than always answering “frequent”, the most frequent class (99.90 %)" in text
        assert "Where rare classes matter, pass" in text
        assert "Compared with Head only" in markdown  # of equally accurate arms, the smaller is the best
    assert "推奨できるものはありません。" in japanese
    assert "tanzaku pack" not in english
    assert "choose-by" not in _lines([_head(BLIND)], choose_by="macro_f1")


@pytest.mark.usefixtures("no_figures")
def test_the_study_file_or_the_command_says_what_chooses(tmp_path: Path) -> None:
    def said(record: RunRecord) -> RunRecord:
        return record.model_copy(update={"spec": {**record.spec, "choose_by": "macro_f1"}})

    runs = write_all([said(_tfidf(FINDS_WITH_A_MISTAKE)), said(_head(BLIND))], tmp_path)
    by_study = CliRunner().invoke(app, ["study", "report", str(runs)])
    assert by_study.stderr.startswith("Take TF-IDF + SVM. It has the best mean validation macro-F1 (83.31 %)")
    assert "Next: tanzaku pack" not in by_study.stderr  # there is no model beside the record
    text = (runs / "report" / "report.html").read_text(encoding="utf-8")
    assert "--choose-by macro_f1" in Tree(text).words
    asked = CliRunner().invoke(app, ["study", "report", str(runs), "--choose-by", "accuracy"])
    assert asked.exit_code == 0
    assert asked.stderr.startswith("No arm is recommended.")
    write_all([_head(FINDS, seed=7)], tmp_path / "later")
    mixed = CliRunner().invoke(app, ["study", "report", str(runs)])
    assert mixed.exit_code != 0
    assert "different values of choose_by (accuracy, macro_f1)" in str(mixed.exception)


@pytest.mark.parametrize("choose_by", ["accuracy", "macro_f1"])
def test_a_recommended_arm_that_never_predicts_a_class_is_warned_of(choose_by: Any) -> None:
    blind = [[40, 0, 0], [0, 40, 0], [1, 1, 0]]
    sees = [[35, 3, 2], [3, 37, 0], [0, 0, 2]]
    records = [_head(blind, names=THREE), _tfidf(sees, names=THREE)]
    (found,) = evidence(records, choose_by=choose_by)
    assert found.recommendation is not None
    lines = _lines(records, choose_by=choose_by).splitlines()[0]
    if choose_by == "accuracy":
        assert found.recommendation.arm.method == "head"
        assert "Warning: it never predicts “rare” (4 documents in the validation and test sets)." in lines
        assert "Arms that predict every class: TF-IDF + SVM." in lines
        assert "pass --choose-by macro_f1" in lines
    else:
        assert found.recommendation.arm.method == "tfidf-svm"
        assert "Warning" not in lines


def test_a_class_that_only_some_seeds_predict_is_warned_of_too() -> None:
    blind, sees = [[40, 0, 0], [0, 40, 0], [1, 1, 0]], [[40, 0, 0], [0, 40, 0], [0, 0, 2]]
    records = [_head(blind, names=THREE, seed=1), _head(sees, names=THREE, seed=2)]
    lines = _lines(records)
    assert "Warning: some of its 2 runs never predict “rare”." in lines
    assert "Warning: it never" not in lines
    assert "Arms that predict every class" not in lines


def test_classes_that_the_test_set_lacks_are_named_below_the_results() -> None:
    absent = [[5, 0, 0], [0, 5, 0], [0, 0, 0]]
    records = [_head(absent, names=THREE), finished(lora(8), accuracy=0.5, **_facts(absent, names=THREE))]
    markdown, english, japanese = _texts(records)
    for text in (markdown, english):
        assert "or among a run's predictions, here 2 of 3. There are no test documents of “rare”." in text.replace(
            "&#39;", "'"
        )
    assert "ここでは 3 クラスのうち 2" in japanese
    assert "There are no test documents" not in _texts([_head([[5, 0, 0], [0, 5, 0], [0, 0, 1]], names=THREE)])[0]
