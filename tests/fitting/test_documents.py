"""What a fit reads: tables, columns of any library, and what `tanzaku data import` wrote."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.inquiries import inquiries
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.importing import import_documents
from tanzaku.data.loading import load_dataset
from tanzaku.data.options import ReadOptions
from tanzaku.data.prepared import write_prepared
from tanzaku.errors import DataError, SpecError, TanzakuWarning
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.job import folders, study_name
from tanzaku.fitting.options import FitOptions
from tanzaku.fitting.splits import split_for_fit

TEXTS, LABELS = inquiries(60)


@pytest.mark.parametrize(
    "columns",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), np.array(LABELS)),
        (np.array(TEXTS), np.array(LABELS)),
        (pd.Series(TEXTS), pd.Series(LABELS, index=range(5, 65))),
        (pa.chunked_array([TEXTS]), pa.array(LABELS)),
    ],
)
def test_texts_and_labels_are_columns_of_any_library(columns: Any) -> None:
    read = labelled(columns, ReadOptions())
    assert (list(read.documents.texts), list(read.documents.labels)) == (TEXTS, LABELS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((TEXTS, LABELS[:-1]), "there are 60 texts and 59 labels; give each text its label"),
        ((np.array(TEXTS), pd.Series(LABELS[:-2])), "there are 60 texts and 58 labels"),
        ((np.array(TEXTS).reshape(-1, 1), LABELS), r"an array has the shape \(60, 1\); texts and labels are columns"),
        ((TEXTS, pd.Series([None, *LABELS[1:]])), "1 of 60 rows has no label: item 1"),
    ],
)
def test_columns_that_do_not_fit_are_named(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled(columns, ReadOptions())


def _grouped(folder: Path) -> Path:
    """200 documents of 25 groups, prepared."""
    texts, labels = inquiries(200)
    table = pd.DataFrame({"text": texts, "label": labels, "g": [row // 8 for row in range(200)]})
    write_prepared(import_documents(table, reading=ReadOptions(group_column="g")), folder)
    return folder


def test_prepared_data_keeps_its_groups(tmp_path: Path) -> None:
    for source in (_grouped(tmp_path), load_dataset(tmp_path)):
        read = labelled(source, ReadOptions())
        assert len(set(read.groups)) == 25
        assert read.documents.groups is not None
        whole = split_for_fit(read.documents, read.groups, name="inquiries", seed=42).whole
        of_split = [set(split.groups or ()) for split in (whole.train, whole.val, whole.test)]
        assert all(of_split)
        assert not (of_split[0] | of_split[1]) & of_split[2]


def test_options_without_effect_on_prepared_data_are_refused(tmp_path: Path) -> None:
    folder = _grouped(tmp_path)
    for options, message in (
        ({"text_column": "nonsense", "label_column": "nolabel"}, "--text-column, --label-column can't have an effect"),
        ({"group_column": "g"}, "--group-column can't have an effect on it. Leave that out, or give the original"),
        ({"drop_small": 1000}, "is prepared data, .*: --drop-small can't"),
        ({"quotes": False}, "--no-quotes"),
    ):
        with pytest.raises(DataError, match=message):
            labelled(folder, ReadOptions(**options))


def test_small_classes_of_prepared_data_are_warned_about() -> None:
    train, val, test = (Documents((f"{split}甲", f"{split}乙"), ("a", "b")) for split in ("一", "二", "三"))
    with pytest.warns(TanzakuWarning, match="classes with fewer than 5 different texts .*'a' has 3; 'b' has 3"):
        labelled(Dataset("few", train, val, test, ("a", "b")), ReadOptions())


def test_a_folder_that_is_split_already_is_to_be_prepared_first(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("text,label\n海,a\n山,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"split already\. Prepare them with `tanzaku data import "):
        labelled(str(tmp_path), ReadOptions())


def test_rows_that_repeat_a_text_are_warned_about_unless_groups_say_so() -> None:
    frame = pd.DataFrame({"text": [f"文書{number // 2}" for number in range(40)], "label": ["a", "a", "b", "b"] * 10})
    with pytest.warns(TanzakuWarning, match="20 of 40 rows repeat the text of another row"):
        labelled(frame, ReadOptions())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labelled(frame.assign(group=frame.text), ReadOptions(group_column="group"))
    assert not [one for one in caught if "repeat" in str(one.message)]


def test_what_was_left_out_and_merged_is_said() -> None:
    rows = [*[(f"海{number}", "a") for number in range(9)], *[(f"山{number}", "b ") for number in range(9)]]
    frame = pd.DataFrame([*rows, *[(f"空{number}", "c") for number in range(3)], ("", "a")], columns=["text", "label"])
    options = ReadOptions(drop_empty=True, drop_small=5, normalize_labels=True)
    read = labelled(frame, options)
    assert read.tidied == (
        "Left out: 1 row with an empty text.",
        "Labels in another spelling: 'b ' (9 rows) became 'b'.",
        "Classes of fewer than 5 rows were left out: 'c' (3 rows).",
    )
    assert len(read.documents) == 18


@pytest.mark.parametrize("given", [{"group": "customer"}, {"label": "分類"}, {"text": "本文"}])
def test_columns_beside_the_reading_that_replaces_them_are_refused(given: dict[str, str]) -> None:
    reading = ReadOptions(drop_empty=True)
    assert FitOptions.of({"reading": reading}).read_options == reading
    with pytest.raises(SpecError, match="reading was given together with text, label or group"):
        FitOptions.of({"reading": reading, **given})


def test_documents_of_different_japanese_names_have_folders_of_their_own() -> None:
    found = [folders(None, None, name=name)[0].name for name in ("問い合わせ", "レビュー 2026/11", "a b", "…")]
    assert found == ["fit-問い合わせ", "fit-レビュー-2026-11", "fit-a-b", "fit-fit"]
    assert study_name("問い合わせ") == "fit"  # a study's name has other characters only
