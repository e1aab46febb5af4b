"""`tanzaku evaluate`, against scikit-learn and by its files."""

import csv
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from sklearn.metrics import f1_score
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.errors import TanzakuError
from tanzaku.ship.classifier import Classifier
from tests import bundles
from tests.ship.conftest import Study, study

__all__ = ["study"]  # the fixture


def _evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def _fails(*arguments: object) -> str:
    done = _evaluate(*arguments)
    assert isinstance(done.exception, TanzakuError)
    return str(done.exception)


@pytest.fixture(scope="module")
def labels(study: Study) -> list[str]:
    """Every seventh is wrong, so that there are mistakes."""
    names = study.dataset.label_names
    given = [names.index(label) for label in study.dataset.test.labels]
    return [names[(index + (row % 7 == 0)) % len(names)] for row, index in enumerate(given)]


@pytest.fixture(scope="module")
def labelled(study: Study, labels: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "labelled.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["本文", "分類"])
        rows.writerows(zip(study.dataset.test.texts, labels, strict=True))
    return path


COLUMNS = ("--column", "本文", "--label-column", "分類")


def test_its_measures_are_those_of_the_predictions(study: Study, labels: list[str], labelled: Path) -> None:
    bundle = study.bundles["tfidf-svm"]
    done = _evaluate(bundle, labelled, *COLUMNS, "--format", "json", "--error-rate", "40%", "--confidence", "60%")
    assert done.exit_code == 0, (done.stderr, done.exception)
    found = json.loads(done.stdout)
    predictions = Classifier.load(bundle)(study.dataset.test.texts)
    predicted, given = np.array([one.label for one in predictions]), np.array(labels)
    probabilities = np.array([one.probability for one in predictions])
    assert found["documents"] == 30
    assert found["accuracy"] == pytest.approx((predicted == given).mean())
    assert found["macro_f1"] == pytest.approx(f1_score(given, predicted, average="macro"))
    low, high = found["macro_f1_interval"]
    assert low < found["macro_f1"] < high
    assert found["majority"]["accuracy"] == max((given == name).mean() for name in set(labels))
    for one in found["classes"]:
        called, true = predicted == one["label"], given == one["label"]
        assert (one["documents"], one["predicted"]) == (true.sum(), called.sum())
        assert one["recall"] == pytest.approx((called & true).sum() / true.sum())
        assert one["recall_interval"][0] < one["recall"] < one["recall_interval"][1]
    assert found["reliability"]["documents"] == 30
    wrong = np.flatnonzero(predicted != given)
    expected = sorted(wrong, key=lambda row: -probabilities[row])[:10]
    assert [one["number"] - 1 for one in found["mistakes"]] == expected
    assert [one["text"] for one in found["mistakes"]] == [study.dataset.test.texts[row] for row in expected]
    threshold = found["answered"]["threshold"]["probability"]
    assert found["answered"]["answered"] == (probabilities >= threshold).sum()
    assert found["answered"]["wrong"] == ((probabilities >= threshold) & (predicted != given)).sum()


def test_the_text_is_80_columns_wide_and_has_every_part(study: Study, labelled: Path) -> None:
    done = _evaluate(study.bundles["tfidf-svm"], labelled, *COLUMNS, "--error-rate", "40%", "--confidence", "60%")
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert max(map(cell_len, done.stdout.splitlines())) <= 80
    for part in (
        "30 documents; ranges are 95 % intervals.",
        "Accuracy:",
        "Macro-F1:",
        "Always the most frequent class: ",
        "Precision (%)",
        "expected calibration error",
        "With 60 % confidence",
        "mistakes, those with the highest probabilities first",
    ):
        assert part in done.stdout


def test_its_folder_has_the_numbers_the_text_and_the_curve(study: Study, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    done = _evaluate(study.bundles["tfidf-svm"], labelled, *COLUMNS, "--out", out)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert {path.name for path in out.iterdir()} == {
        "evaluation.json",
        "evaluation.txt",
        "reliability.svg",
        "reliability.png",
        "reliability.pdf",
    }
    assert (out / "evaluation.txt").read_text(encoding="utf-8") == done.stdout
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["documents"] == 30
    assert "is not empty" in _fails(tmp_path / "no bundle", labelled, *COLUMNS, "--out", out)  # said before all else


def test_a_sheet_that_is_not_read_is_reported(study: Study, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for name in ("1月", "2月"):
        sheet = book.create_sheet(name)
        for row in (["text", "label"], ["海", study.dataset.label_names[0]]):
            sheet.append(row)
    book.save(path := tmp_path / "months.xlsx")
    done = _evaluate(study.bundles["tfidf-svm"], path)
    assert done.exit_code == 0, done.exception
    warning = f"warning: {path}: only the sheet '1月' was read, not '2月'; use --sheet to read another."
    assert done.stderr.splitlines() == [warning]


def test_bad_files_are_errors_with_a_remedy(study: Study, labelled: Path, tmp_path: Path) -> None:
    bundle = study.bundles["tfidf-svm"]
    assert "no column named 'text'" in _fails(bundle, labelled)
    assert "with --label-column" in _fails(bundle, labelled, "--column", "本文")
    assert "there is no such file" in _fails(bundle, tmp_path / "none.csv")
    path = tmp_path / "odd.csv"
    path.write_text("text,label\n海,海\n谷,谷\n谷,谷\n", encoding="utf-8")
    assert "labels that the bundle does not have: '谷' (2). The bundle's labels are: " in _fails(bundle, path)
    path.write_text("text,label\n海,海\n谷,\n", encoding="utf-8")
    assert "row 2 (line 3) has no label in the column 'label'" in _fails(bundle, path)
    path.write_text("text,label\n", encoding="utf-8")
    assert "there are no documents to evaluate on" in _fails(bundle, path)
    (tmp_path / "texts.txt").write_text("海\n", encoding="utf-8")
    assert "no columns that could be kept. Give a table that has the labels" in _fails(bundle, tmp_path / "texts.txt")
    path.write_text("text,label,label\n海,海,山\n", encoding="utf-8")
    assert "2 columns are named 'label', so they can't be told apart. Rename all but one, or name" in _fails(
        bundle, path
    )
    label = study.dataset.label_names[0]
    path.write_text(f"id,id,text,label\n1,2,海,{label}\n", encoding="utf-8")
    assert _evaluate(bundle, path).exit_code == 0


def test_labels_are_the_same_in_every_form_of_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of macOS have their names in NFD, and so had the labels of data that was made of them."""
    composed, decomposed = "が", unicodedata.normalize("NFD", "ぎ")
    names = dict(zip(bundles.DATASET.label_names, (composed, decomposed, "山"), strict=True))
    train = replace(bundles.DATASET.train, labels=tuple(names[label] for label in bundles.DATASET.train.labels))
    monkeypatch.setattr(bundles, "DATASET", replace(bundles.DATASET, label_names=tuple(names.values()), train=train))
    bundle = bundles.make_bundle(tmp_path / "bundle", tmp_path, "tfidf-svm", {})
    given = [composed, unicodedata.normalize("NFD", composed), decomposed, " ぎ ", "山"]
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"海,{label}\n" for label in given), encoding="utf-8")
    done = _evaluate(bundle, path, "--format", "json")
    assert done.exit_code == 0, done.exception
    found = {one["label"]: one["documents"] for one in json.loads(done.stdout)["classes"]}
    assert found == {composed: 2, decomposed: 2, "山": 1}


def test_labels_are_read_as_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dict(zip(bundles.DATASET.label_names, ("true", "false", "1"), strict=True))
    train = replace(bundles.DATASET.train, labels=tuple(names[label] for label in bundles.DATASET.train.labels))
    dataset = replace(bundles.DATASET, label_names=tuple(names.values()), train=train)
    monkeypatch.setattr(bundles, "DATASET", dataset)
    bundle = bundles.make_bundle(tmp_path / "bundle", tmp_path, "tfidf-svm", {})
    given = [True, False, 1, 1.0, "true", " 1\u3000"]
    rows = [{"text": f"海{number}", "label": label} for number, label in enumerate(given)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = _evaluate(bundle, path, "--format", "json")
    assert done.exit_code == 0, done.exception
    found = {one["label"]: one["documents"] for one in json.loads(done.stdout)["classes"]}
    assert found == {"true": 2, "false": 1, "1": 3}
    path.write_text('{"text": "海", "label": ["true", "1"]}\n', encoding="utf-8")
    assert "line 1: the label is ['true', '1'], of the type list. Tanzaku gives each document one label" in _fails(
        bundle, path
    )
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["海", "山"], "label": [1.0, float("nan")]}), table)
    assert "row 2 has no label" in _fails(bundle, table)
    path.write_text('{"text": "海", "label": "1"}\n\n{"text": "海", "lable": "1"}\n', encoding="utf-8")
    assert "rows.jsonl: line 3: there is no column named 'label'. The columns are: 'text', 'lable'." in _fails(
        bundle, path
    )
