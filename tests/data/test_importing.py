import json
import os
import sys
from pathlib import Path

import pytest

from tanzaku.data.importing import import_documents, import_splits
from tanzaku.data.options import ReadOptions
from tanzaku.data.split import Ratios
from tanzaku.errors import DataError, TanzakuWarning


def write_lines(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text(
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows), encoding="utf-8"
    )
    return path


def numbered(count: int, *, prefix: str = "text") -> list[tuple[str, str]]:
    return [(f"{prefix} {row}", "ab"[row % 2]) for row in range(count)]


def test_one_file_is_split_class_by_class_and_the_options_are_kept(tmp_path: Path) -> None:
    preparation = import_documents(
        write_lines(tmp_path / "mine.jsonl", numbered(40)), ratios=Ratios(train=0.5, val=0.25), seed=7
    )
    dataset = preparation.dataset
    assert (dataset.name, dataset.label_names) == ("mine", ("a", "b"))
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [20, 10, 10]
    assert preparation.options["seed"] == 7
    assert preparation.source["documents"]["file"] == "mine.jsonl"


def test_copies_stay_on_one_side_unless_told_otherwise(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", numbered(40) * 2)
    for together in (True, False):
        dataset = import_documents(path, keep_duplicates_together=together).dataset
        shared = set(dataset.train.texts) & set(dataset.test.texts)
        assert bool(shared) is not together


def test_rows_are_dropped_only_when_asked_and_counted_by_reason(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", [*numbered(40), ("", "a"), ("  ", "b"), ("x", "")])
    with pytest.raises(DataError, match=r"2 of 43 rows have an empty text: line 41; line 42"):
        import_documents(path)
    with pytest.raises(DataError, match=r"1 of 41 rows has no label: .*line 43"):
        import_documents(path, reading=ReadOptions(drop_empty=True))
    preparation = import_documents(path, reading=ReadOptions(drop_empty=True, drop_unlabelled=True))
    assert preparation.dropped == {"rows with an empty text": 2, "rows without a label": 1}
    assert sum(map(len, (preparation.dataset.train, preparation.dataset.val, preparation.dataset.test))) == 40


def test_control_and_invisible_characters_are_counted_and_are_no_text(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", [*numbered(40), ("a\0b\u200bc", "a"), ("\u200b\0", "b")])
    with (
        pytest.warns(TanzakuWarning, match=r"mine\.jsonl: 2 of 42 texts hold control .*: .*line 41; .*line 42\.$"),
        pytest.raises(DataError, match=r"1 of 42 rows has an empty text: .*line 42"),
    ):
        import_documents(path)
    with pytest.warns(TanzakuWarning, match="of which 2 became spaces .* and 2 were left out"):
        preparation = import_documents(path, reading=ReadOptions(drop_empty=True))
    assert (preparation.changed, preparation.dropped) == ({"documents": 2}, {"rows with an empty text": 1})
    dataset = preparation.dataset
    assert "a bc" in {*dataset.train.texts, *dataset.val.texts, *dataset.test.texts}


def test_texts_that_are_alike_when_read_stay_on_one_side(tmp_path: Path) -> None:
    twins = [(f"{text}\u200b", label) for text, label in numbered(40)]
    with pytest.warns(TanzakuWarning, match="40 of 80 texts hold"):
        dataset = import_documents(write_lines(tmp_path / "mine.jsonl", [*numbered(40), *twins])).dataset
    assert not set(dataset.train.texts) & {*dataset.val.texts, *dataset.test.texts}


def test_nothing_left_after_dropping_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no documents\. What was left out: rows with an empty text: 1\."):
        import_documents(write_lines(tmp_path / "mine.jsonl", [("", "a")]), reading=ReadOptions(drop_empty=True))


def test_one_class_and_small_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two classes at least"):
        import_documents(write_lines(tmp_path / "one.jsonl", [("x", "a"), ("y", "a")]))
    with pytest.raises(DataError, match="'c' has 1"):
        import_documents(write_lines(tmp_path / "small.jsonl", [*numbered(40), ("x", "c")]))


def test_similar_labels_and_unread_files_are_warned_of(tmp_path: Path) -> None:
    with pytest.warns(TanzakuWarning, match=r"'A' \(20 rows\) and 'a' \(20 rows\)"):
        import_documents(write_lines(tmp_path / "a.jsonl", [*numbered(40), *((f"t{n}", "A") for n in range(20))]))
    for label in "ab":
        for number in range(10):
            path = tmp_path / "classes" / label / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{label} {number}", encoding="utf-8")
    (tmp_path / "classes" / "notes.md").write_text("x", encoding="utf-8")
    with pytest.warns(TanzakuWarning, match=r"1 file was not read as documents: notes\.md"):
        preparation = import_documents(tmp_path / "classes")
    assert len(preparation.dataset.train) == 16
    assert preparation.dropped == {"files not read as documents": 1}


def test_splits_that_are_given_are_taken_row_for_row(tmp_path: Path) -> None:
    paths = {
        split: write_lines(tmp_path / f"{split}.jsonl", numbered(6, prefix=split)) for split in ("train", "val", "test")
    }
    dataset = import_splits(train=paths["train"], val=paths["val"], test=paths["test"]).dataset
    assert dataset.val.texts == tuple(f"val {row}" for row in range(6))
    assert dataset.test.labels == ("a", "b") * 3


def test_a_missing_validation_set_is_taken_from_train(tmp_path: Path) -> None:
    train = write_lines(tmp_path / "train.jsonl", numbered(40))
    test = write_lines(tmp_path / "test.jsonl", numbered(6, prefix="test"))
    preparation = import_splits(train=train, test=test, val_size=0.25)
    dataset = preparation.dataset
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (30, 10, 6)
    assert sorted(dataset.train.texts + dataset.val.texts) == sorted(text for text, _ in numbered(40))
    assert preparation.options["val_size"] == 0.25


def test_a_class_that_only_test_has_is_refused_and_shared_texts_are_warned_of(tmp_path: Path) -> None:
    train = write_lines(tmp_path / "train.jsonl", numbered(40))
    val = write_lines(tmp_path / "val.jsonl", numbered(4, prefix="val"))
    with pytest.raises(DataError, match=r"test: has classes that train does not have: 'c' \(1 row\)"):
        import_splits(
            train=train, val=val, test=write_lines(tmp_path / "test.jsonl", [("x", "c"), ("y", "a"), ("z", "b")])
        )
    with pytest.warns(TanzakuWarning, match="test: 2 of 3 texts are in train too"):
        import_splits(train=train, val=val, test=write_lines(tmp_path / "test.jsonl", [*numbered(2), ("new", "a")]))


def test_a_cp932_csv_with_other_column_names_is_read(tmp_path: Path) -> None:
    path = tmp_path / "評判.csv"
    body = "本文,評価\n" + "".join(f"感想その{row},{'良い' if row % 2 else '悪い'}\n" for row in range(40))
    path.write_bytes(body.encode("cp932"))
    reading = ReadOptions(text_column="本文", label_column="評価", encoding="cp932")
    dataset = import_documents(path, reading=reading).dataset
    assert dataset.name == "評判"
    assert dataset.label_names == tuple(sorted(("良い", "悪い")))


def test_all_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", [*numbered(40), ("", "a"), ("x", "")])
    with path.open("a", encoding="utf-8") as handle:
        handle.write('[1]\n{"text": 3, "label": "a"}\n{"text": 4, "label": "a"}\n')
    with pytest.raises(DataError) as caught:
        import_documents(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 4 problems:"
    assert "line 43: holds a JSON list" in lines[1]
    assert "line 44: the text is 3, of the type int; line 45: the text is 4, of the type int." in lines[2]
    assert "1 of 42 rows has an empty text: line 41" in lines[3]
    assert "1 of 42 rows has no label: line 42" in lines[4]
    assert len(lines) == 5


def test_rows_of_separators_alone_as_excel_writes_them_are_not_documents(tmp_path: Path) -> None:
    body = "".join(f"{row},text {row},{'ab'[row % 2]}\n" for row in range(40))
    (tmp_path / "a.csv").write_text(f"id,text,label\n{body},,\n,,\n", encoding="utf-8-sig")
    dataset = import_documents(tmp_path / "a.csv").dataset
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 40


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_folder_named_in_shift_jis_is_read_in_the_encoding_that_is_given_or_explained(tmp_path: Path) -> None:
    for label in ("海", "山"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path / "mails") + b"/" + label.encode("cp932")))
        folder.mkdir(parents=True)
        for number in range(20):
            (folder / f"{number}.txt").write_text(f"{label}その{number}", encoding="cp932")
    dataset = import_documents(tmp_path / "mails", reading=ReadOptions(encoding="cp932")).dataset
    assert dataset.label_names == ("山", "海")
    with pytest.raises(DataError, match=r"the name of this folder .* reads as cp932: '海'. Rename it.*convmv"):
        import_documents(tmp_path / "mails")


def test_a_folder_that_is_split_already_is_recognised(tmp_path: Path) -> None:
    from tanzaku.data.importing import split_files

    assert split_files(tmp_path) is None
    for name in ("train.csv", "dev.tsv", "test.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    assert split_files(tmp_path) == {
        "train": tmp_path / "train.csv",
        "val": tmp_path / "dev.tsv",
        "test": tmp_path / "test.jsonl",
    }
    (tmp_path / "val.csv").touch()
    with pytest.raises(DataError, match=r"holds val\.csv, dev\.tsv for val\. .*--val"):
        split_files(tmp_path)
    (tmp_path / "test.jsonl").unlink()
    (tmp_path / "val.csv").unlink()
    with pytest.raises(DataError, match=r"holds train\.csv and no test file"):
        split_files(tmp_path)
