"""What is done about rows and labels, and what is reported of it."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from tanzaku.data.findings import Finding, ProblemsError, has_errors
from tanzaku.data.importing import import_documents, import_splits
from tanzaku.data.intake import LabelledRows, read_labelled, read_parts
from tanzaku.data.options import ReadOptions, size_and_name
from tanzaku.data.prepared import read_manifest, write_prepared
from tanzaku.data.split import Ratios
from tanzaku.errors import DataError, TanzakuWarning

Pairs = list[tuple[str, str]]


def pairs(**sizes: int) -> Pairs:
    return [(f"{label}の本文{number}", label) for label, size in sizes.items() for number in range(size)]


def read(rows: Pairs, **options: Any) -> tuple[LabelledRows, dict[str, Finding]]:
    labelled, findings = read_labelled(rows, ReadOptions(**options))
    assert len({finding.kind for finding in findings}) == len(findings)
    return labelled, {finding.kind: finding for finding in findings}


def test_labels_in_other_spellings_are_warned_of_or_merged() -> None:
    rows = [*pairs(スポーツ=5, IT=5), ("a", "ｽﾎﾟｰﾂ"), ("b", " IT"), ("c", "ＩＴ")]
    labelled, found = read(rows)
    assert set(labelled.labels) == {"スポーツ", "ｽﾎﾟｰﾂ", "IT", " IT", "ＩＴ"}
    assert found["similar-labels"].severity == "warning"
    labelled, found = read(rows, normalize_labels=True)
    assert set(labelled.labels) == {"スポーツ", "IT"}
    assert labelled.renamed == {"ｽﾎﾟｰﾂ": "スポーツ", " IT": "IT", "ＩＴ": "IT"}
    assert (found["renamed-labels"].severity, set(found)) == ("note", {"renamed-labels"})
    assert "' IT' (1 row) and 'ＩＴ' (1 row) became 'IT'" in found["renamed-labels"].message


def test_small_classes_are_merged_by_their_size_after_renaming() -> None:
    rows = [*pairs(配送=5, 請求=4, 退会=2), ("a", "請求 "), ("b", "その他"), ("c", "返金")]
    labelled, found = read(rows, normalize_labels=True, merge_small=(5, "その他"))
    assert sorted(set(labelled.labels)) == ["その他", "請求", "配送"]
    assert labelled.labels.count("その他") == 4
    assert labelled.renamed == {"退会": "その他", "返金": "その他", "請求 ": "請求"}
    assert "fewer than 5 rows became 'その他': '返金' (1 row); '退会' (2 rows)." in found["merged-classes"].message
    labelled, found = read(rows, merge_small=(5, "その他"))
    assert labelled.labels.count("請求") == 0


def test_many_small_classes_are_merged_or_left_out_before_labels_are_taken_for_texts() -> None:
    rows = [*pairs(配送=20, 返品=20), *((f"空{number}", f"その他（自由記述の{number}番目）") for number in range(50))]
    _, found = read(rows)
    assert "text-as-label" in found
    labelled, found = read(rows, merge_small=(5, "その他"))
    assert "text-as-label" not in found
    assert Counter(labelled.labels) == {"配送": 20, "返品": 20, "その他": 50}
    labelled, found = read(rows, drop_small=5)
    assert Counter(labelled.labels) == {"配送": 20, "返品": 20}
    _, found = read(rows[40:], drop_small=5)  # nothing would be left
    assert "text-as-label" in found
    comments = [*rows[40:], *((f"山{number}", "特になし") for number in range(9))]
    _, found = read(comments, merge_small=(5, "その他"))
    assert "text-as-label" in found


def test_small_classes_are_left_out_and_counted() -> None:
    labelled, found = read(pairs(配送=5, 請求=4, 退会=2), drop_small=4)
    assert sorted(set(labelled.labels)) == ["請求", "配送"]
    assert labelled.dropped == {"rows of classes with fewer than 4 rows": 2}
    assert "'退会' (2 rows)" in found["dropped-classes"].message
    labelled, found = read(pairs(配送=5, 請求=4), drop_small=4)
    assert (labelled.dropped, found) == ({}, {})


def test_options_that_contradict_each_other_or_mean_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="--merge-small and --drop-small were both given"):
        ReadOptions(merge_small=(5, "x"), drop_small=5)
    with pytest.raises(DataError, match="N is 1; give 2 or more"):
        ReadOptions(drop_small=1)
    assert size_and_name(" 5: その他 ") == (5, "その他")
    for text in ("5", "その他", "x:y", "5:", ":x"):
        with pytest.raises(DataError, match=r"is not N:NAME; .* such as 5:その他"):
            size_and_name(text)


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    for label in ("山", "海"):
        (tmp_path / "folder" / label).mkdir(parents=True)
        (tmp_path / "folder" / label / "a.txt").write_text(f"{label}へ行く", encoding="utf-8")
    for source, options, useless in (
        (
            tmp_path / "folder",
            {"group_column": "顧客", "sheet": "x"},
            "folder: --group-column, --sheet can't .* them out",
        ),
        (
            [("山へ", "山")],
            {"text_column": "本文", "label_column": "分類"},
            "the list: --text-column, --label-column can't",
        ),
        (
            pd.DataFrame({"text": ["山"], "label": ["a"]}),
            {"delimiter": ";", "quotes": False},
            "--delimiter, --no-quotes",
        ),
        (
            pd.DataFrame({"text": ["山"], "label": ["a"]}),
            {"text_separator": " ", "encoding": "cp932"},
            "--text-separator, --encoding",
        ),
    ):
        with pytest.raises(DataError, match=useless):
            read_labelled(source, ReadOptions(**options))
    pd.DataFrame({"text": ["山"], "label": ["a"]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"a\.csv: --sheet can't have an effect on this. Leave it out."):
        read_labelled(tmp_path / "a.csv", ReadOptions(sheet="x"))
    book = Workbook()
    book.active.append(["text", "label"])
    book.active.append(["海", "b"])
    book.save(tmp_path / "b.xlsx")
    parts, _ = read_parts({"train": tmp_path / "a.csv", "test": tmp_path / "b.xlsx"}, ReadOptions(sheet="Sheet"))
    assert [part.texts for part in parts.values()] == [["山"], ["海"]]  # it has an effect on one of them
    with pytest.raises(DataError, match=r"b\.xlsx: --encoding can't have an effect"):
        read_labelled(tmp_path / "b.xlsx", ReadOptions(encoding="cp932"))


def test_texts_with_several_labels_are_listed_with_the_policy() -> None:
    rows = [*pairs(a=5, b=5), ("届かない", "a"), ("届かない", "b"), ("届かない ", "b"), ("二度", "a"), ("二度", "a")]
    labelled, found = read(rows)
    assert len(labelled) == 15
    assert found["duplicates"].message == "2 texts occur more than once (5 rows)."
    message = found["conflicting-labels"].message
    assert message.startswith("1 text has several labels (3 rows): item 11 'a' and item 12 'b'. All are kept")
    labelled, found = read(rows, conflicts="drop")
    assert labelled.dropped == {"rows whose text has several labels": 3}
    assert "All were left out" in found["conflicting-labels"].message
    assert "届かない" not in "".join(labelled.texts)


def test_texts_that_read_alike_and_rows_of_a_group_are_together() -> None:
    frame = pd.DataFrame(
        {
            "text": ["ＡＢ届く", "ab 届く", "c", "d", "e"],
            "label": ["x", "x", "y", "y", "y"],
            "k": ["1", "2", "2", None, ""],
        }
    )
    rows, findings = read_labelled(frame, ReadOptions(group_column="k"))
    assert rows.groups == ["1", "2", "2", None, None]
    assert rows.together() == [0, 0, 0, 3, 4]
    assert rows.together(duplicates=False) == [0, 1, 1, 3, 4]
    (warning,) = [finding for finding in findings if finding.kind == "no-group"]
    assert "2 rows without a group can be in any split: row 4; row 5." in warning.message
    rows, _ = read_labelled(frame)
    assert rows.together() == [0, 0, 2, 3, 4]
    assert rows.together(duplicates=False) is None


def test_empty_rows_are_left_out_and_counted_and_a_bad_row_does_not_hide_the_others(tmp_path: Path) -> None:
    body = "".join(f"{text},{label}\n" for text, label in pairs(a=10, b=10))
    (tmp_path / "a.csv").write_text(f"text,label\n{body},\n,x\n,\n", encoding="utf-8")
    rows, findings = read_labelled(tmp_path / "a.csv")
    assert rows.dropped == {"rows with only empty cells": 2}
    assert [finding.kind for finding in findings] == ["empty-text"]
    assert len(rows) == 20
    assert has_errors(findings)


def test_no_group_is_in_two_splits_and_every_split_has_every_class(tmp_path: Path) -> None:
    rows = [{"text": f"本文{number}", "label": "ab"[number % 7 < 3], "客": number // 4} for number in range(240)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    reading = ReadOptions(group_column="客")
    preparation = import_documents(path, reading=reading, ratios=Ratios(train=0.6, val=0.2))
    dataset = preparation.dataset
    group_of = {row["text"]: row["客"] for row in rows}
    splits = [dataset.train, dataset.val, dataset.test]
    groups = [{group_of[text] for text in split.texts} for split in splits]
    assert all(not one & other for one, other in itertools.combinations(groups, 2))
    assert [abs(len(split) - size) <= 4 for split, size in zip(splits, (144, 48, 48), strict=True)] == [True] * 3
    assert all(set(split.labels) == {"a", "b"} for split in splits)
    assert preparation.options["group_column"] == "客"
    assert import_documents(path, reading=reading, seed=1).dataset != import_documents(path, reading=reading).dataset


def test_groups_are_respected_where_only_validation_is_taken_and_shared_ones_are_warned_of() -> None:
    def frame(first: int, count: int) -> pd.DataFrame:
        numbers = range(first, first + count)
        return pd.DataFrame(
            {
                "text": [f"本文{n}" for n in numbers],
                "label": ["ab"[n % 2] for n in numbers],
                "k": [n // 4 for n in numbers],
            }
        )

    reading = ReadOptions(group_column="k")
    preparation = import_splits(train=frame(0, 80), test=frame(80, 20), reading=reading, val_size=0.2)
    texts = preparation.dataset.train.texts, preparation.dataset.val.texts
    groups = [{int(text.removeprefix("本文")) // 4 for text in one} for one in texts]
    assert not groups[0] & groups[1]
    assert abs(len(texts[1]) - 16) <= 4
    with pytest.warns(TanzakuWarning, match=r"^test: has groups that train has too: 19\."):
        import_splits(train=frame(0, 78), test=frame(78, 20), val=frame(200, 8), reading=reading)


def test_a_folder_of_splits_is_imported_as_they_are(tmp_path: Path) -> None:
    frame = pd.DataFrame(pairs(a=6, b=6), columns=["text", "label"])
    for number, split in enumerate(("train", "dev", "test")):
        frame.assign(text=frame["text"] + str(number)).to_csv(tmp_path / f"{split}.csv", sep=";", index=False)
    dataset = import_documents(tmp_path).dataset
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [12, 12, 12]
    assert dataset.name == tmp_path.name
    (tmp_path / "dev.csv").unlink()
    dataset = import_documents(tmp_path, ratios=Ratios(train=0.5, val=0.3)).dataset
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [8, 4, 12]


def test_rows_of_several_labels_do_not_hide_what_is_wrong_with_the_others() -> None:
    rows, found = read([*pairs(配送=10, 請求=10, 請求_=1), ("a", "配送;請求"), ("b", "請求")], normalize_labels=True)
    assert set(found) == {"several-labels"}
    assert "配送;請求" not in rows.labels
    with pytest.raises(ProblemsError) as caught:
        import_documents([*pairs(配送=10, 請求=10, 退会=1), ("a", "配送;請求")])
    assert {finding.kind for finding in caught.value.findings} == {"several-labels", "small-class"}


def test_labels_of_all_splits_are_renamed_alike_and_the_manifest_says_so(tmp_path: Path) -> None:
    train = [*pairs(IT=6, 配送=6)]
    test = [("t1", "it"), ("t2", "it"), ("t3", "it"), ("t4", "配送")]
    preparation = import_splits(
        train=train, val=[("v1", "IT"), ("v2", "配送")], test=test, reading=ReadOptions(normalize_labels=True)
    )
    assert preparation.dataset.test.labels == ("IT", "IT", "IT", "配送")
    assert preparation.renamed == {"it": "IT"}
    write_prepared(preparation, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest["renamed"] == {"it": "IT"}
    assert manifest["options"]["normalize_labels"] is True
    assert preparation.notes == ("labels in another spelling: 'it' (3 rows) became 'IT'.",)


def test_groups_have_no_error_values_half_characters_or_words_for_missing_ones() -> None:
    """VLOOKUP writes #N/A, pandas nan: as one group, all these rows would be in the same split."""
    groups = ["1", "#N/A", "\ud83d", "nan", "nan", "NULL", "2"]
    frame = pd.DataFrame({"text": [f"本文{n}" for n in range(7)], "label": ["a", "b"] * 3 + ["a"]})
    frame["k"] = pd.Series(groups, dtype=object)  # Arrow has no half characters
    rows, findings = read_labelled(frame, ReadOptions(group_column="k"))
    found = {finding.kind: finding for finding in findings}
    assert rows.groups == ["1", "nan", "nan", "NULL", "2"]
    assert "row 2" in found["error-value"].message
    assert "row 3" in found["half-character"].message
    assert found["error-value"].severity == found["half-character"].severity == "error"
    assert found["missing-groups"].severity == "warning"
    assert "'NULL' (1 row)" in found["missing-groups"].message
    assert "'nan' (2 rows)" in found["missing-groups"].message


def test_a_split_that_is_empty_once_small_classes_are_left_out_is_an_error() -> None:
    with pytest.raises(ProblemsError) as caught:
        import_splits(train=pairs(a=9, b=9), test=pairs(c=2), val_size=0.2, reading=ReadOptions(drop_small=5))
    assert any(one.kind == "empty-split" and one.source == "test" for one in caught.value.findings)


def test_small_classes_are_those_that_are_small_without_conflicting_rows() -> None:
    rows = [*pairs(配送=20, 請求=20, 退会=5), ("届かない", "退会"), ("届かない", "配送")]
    labelled, found = read(rows, drop_small=6, conflicts="drop")
    assert Counter(labelled.labels) == {"配送": 20, "請求": 20}
    assert "'退会' (5 rows)" in found["dropped-classes"].message
    labelled, found = read(rows, merge_small=(6, "その他"), conflicts="drop")
    assert Counter(labelled.labels) == {"配送": 20, "請求": 20, "その他": 5}
    assert "'退会' (5 rows)" in found["merged-classes"].message


@given(
    rows=st.lists(st.tuples(st.integers(0, 12).map("本文その{}です".format), st.sampled_from("abc")), min_size=1),
    fewest=st.integers(2, 5),
)
def test_no_class_is_small_and_no_text_has_several_labels_once_both_are_left_out(rows: Pairs, fewest: int) -> None:
    labelled, _ = read_labelled(rows, ReadOptions(drop_small=fewest, conflicts="drop"))
    assert all(size >= fewest for size in Counter(labelled.labels).values())
    assert len(set(zip(labelled.texts, labelled.labels, strict=True))) == len(set(labelled.texts))
    assert len(labelled) + sum(labelled.dropped.values()) == len(rows)


@pytest.mark.filterwarnings("ignore:.*several labels")
@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        ({"conflicts": "drop"}, "--conflicts drop left out 18 rows."),
        ({"drop_small": 50}, "--drop-small 50 left out 20 rows."),
        (
            {"conflicts": "drop", "drop_small": 3},
            "--conflicts drop left out 18 rows and --drop-small 3 left out 2 rows.",
        ),
    ],
)
def test_nothing_left_by_options_about_labels_is_one_error(options: dict[str, Any], left_out: str) -> None:
    """As in data with a row for each label of a text."""
    rows = [(f"本文その{number}", label) for number in range(9) for label in ("配送", "返品")]
    rows += [("届かない", "配送"), ("返したい", "返品")] if options != {"conflicts": "drop"} else []
    with pytest.raises(ProblemsError) as caught:
        import_documents(rows, reading=ReadOptions(**options))
    assert str(caught.value).startswith(f"the list: there are no documents left: {left_out}")
    assert len(caught.value.findings) == 1


def test_a_split_whose_texts_all_have_several_labels_is_an_error() -> None:
    train, test = pairs(a=20, b=20), [(f"試験{number}", label) for number in range(4) for label in "ab"]
    for val in (None, [("検証1", "a"), ("検証2", "b")]):
        with (
            pytest.warns(TanzakuWarning, match="4 texts have several labels"),
            pytest.raises(
                ProblemsError, match=r"^test: there are no documents left: --conflicts drop left out 8 rows\."
            ),
        ):
            import_splits(train=train, val=val, test=test, reading=ReadOptions(conflicts="drop"))


def grouped(texts: list[str], groups: list[int]) -> pd.DataFrame:
    """Documents of two classes in turn."""
    labels = ["ab"[row % 2] for row in range(len(texts))]
    return pd.DataFrame({"text": texts, "label": labels, "k": groups})


def test_groups_that_equal_texts_link_are_named_with_the_option_that_separates_them() -> None:
    """A text that every group has makes a single one of them."""
    groups = [row // 4 for row in range(80)]
    texts = [f"本文その{row}" if row % 4 else "よろしくお願いします" for row in range(80)]
    reading = ReadOptions(group_column="k")
    with pytest.raises(ProblemsError) as caught:
        import_documents(grouped(texts, groups), reading=reading)
    assert str(caught.value) == (
        "the DataFrame: a class needs documents of 3 groups at least to be split: 'a' has 1; 'b' has 1. 20 groups are "
        "linked by equal texts, and those that are linked count as one. Pass --split-duplicates, or name another "
        "column with --group-column."
    )
    with pytest.warns(TanzakuWarning, match="in train too"):
        import_documents(grouped(texts, groups), reading=reading, keep_duplicates_together=False)
    with pytest.raises(
        ProblemsError, match=r"'a' has 1; 'b' has 1\. 2 groups .* Add documents of other groups, or name"
    ):
        import_documents(grouped(texts, [row // 40 for row in range(80)]), reading=reading)
    texts = [f"本文その{row}" for row in range(80)]
    with pytest.raises(ProblemsError, match=r"'a' has 2; 'b' has 2\. Add documents of other groups, or name another"):
        import_documents(grouped(texts, [row // 40 for row in range(80)]), reading=reading)


def test_splits_of_other_sizes_than_those_asked_for_are_warned_of() -> None:
    texts, groups = [f"本文その{row}" for row in range(100)], [0] * 60 + [1] * 30 + [2] * 10
    reading = ReadOptions(group_column="k")
    with pytest.warns(
        TanzakuWarning, match=r"train 60 \(about 80\), val \d+ \(about 10\), test \d+ \(about 10\)\. Docu"
    ):
        import_documents(grouped(texts, groups), reading=reading)
    test = grouped(["試験1", "試験2"], [8, 9])
    with pytest.warns(TanzakuWarning, match=r"train 60 \(about 90\), val 40 \(about 10\)\. Documents of a group stay"):
        import_splits(train=grouped(texts, [0] * 60 + [1] * 40), test=test, reading=reading)
    with pytest.warns(TanzakuWarning, match="and so do equal texts unless --split-duplicates is given"):
        import_documents([("届かない", "a")] * 60 + pairs(a=20, b=20))
