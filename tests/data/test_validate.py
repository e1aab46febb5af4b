import warnings

import pytest

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.raw import RawDocuments, RowError, listed
from tanzaku.data.validate import (
    check_class_sizes,
    check_classes,
    check_rows,
    check_splits,
    warn_of_shared_texts,
    warn_of_similar_labels,
)
from tanzaku.errors import DataError, TanzakuWarning


def rows(*pairs: tuple[str, str]) -> RawDocuments:
    return RawDocuments(
        [text for text, _ in pairs], [label for _, label in pairs], [f"row {n}" for n in range(len(pairs))]
    )


def documents(labels: str) -> Documents:
    return Documents(tuple(f"text {n}" for n in range(len(labels))), tuple(labels))


def dataset(train: str, val: str, test: str) -> Dataset:
    return Dataset("d", documents(train), documents(val), documents(test), tuple(sorted(set(train))))


def test_rows_in_order_pass() -> None:
    check_rows(rows(("a", "x"), ("b", "y")))


@pytest.mark.parametrize("nothing", ["\0", "\u200b\ufeff", " \u202a\x7f ", "\u3164"])
def test_texts_and_labels_of_nothing_to_see_are_empty(nothing: str) -> None:
    with pytest.raises(DataError, match="1 of 2 rows has an empty text: row 1"):
        check_rows(rows(("a", "x"), (nothing, "x")))
    with pytest.raises(DataError, match="1 of 2 rows has no label: row 1"):
        check_rows(rows(("a", "x"), ("a", nothing)))


def test_the_first_five_empty_rows_are_named_and_the_others_counted() -> None:
    bad = rows(*[(" \u3000", "x")] * 7, ("a", "x"))
    with pytest.raises(
        DataError, match=r"7 of 8 rows have an empty text: row 0; row 1; row 2; row 3; row 4; and 2 more.*--drop-empty"
    ):
        check_rows(bad)


def test_missing_labels_and_half_characters_are_refused() -> None:
    with pytest.raises(DataError, match=r"1 of 2 rows has no label: row 1\. .*--drop-unlabelled"):
        check_rows(rows(("a", "x"), ("b", " ")))
    with pytest.raises(DataError, match=r"row 0.*ud800"):
        check_rows(rows(("a\ud800", "x")))


def test_all_kinds_of_faults_are_said_at_once() -> None:
    documents = rows(("", "x"), ("a", ""), ("a\ud800", "x"))
    documents.refuse(RowError("row 7: has 3 fields", "Enclose it."))
    documents.refuse(RowError("row 9: has 4 fields", "Enclose it."))
    with pytest.raises(DataError) as caught:
        check_rows(documents)
    assert str(caught.value).splitlines() == [
        "row 7: has 3 fields; row 9: has 4 fields. Enclose it.",
        "1 of 3 rows has an empty text: row 0. Fill them, or pass --drop-empty to leave them out.",
        "1 of 3 rows has no label: row 1. Fill them, or pass --drop-unlabelled to leave them out.",
        "1 of 3 rows has half a surrogate pair, which is not a character: row 2. "
        "Correct the escapes (\\ud800 to \\udfff).",
    ]


def test_swapped_columns_are_seen_and_long_labels_are_cut() -> None:
    texts = [f"海に船がある。その{number}つ目の、いくらか長い本文である。終わりまで読む。" for number in range(9)]
    with pytest.raises(DataError, match=r"9 different labels and only 2 different texts.*seem to be swapped") as caught:
        check_classes(texts, texts=["a", "b", "b"] * 3)
    assert "終わりまで読む" not in str(caught.value)
    check_classes(["a", "b", "c"], texts=["海に船", "海に船", "海に船"])


def test_one_class_is_too_few() -> None:
    with pytest.raises(DataError, match="all documents have the label 'x'"):
        check_classes(["x", "x"], texts=["a", "b"])


@pytest.mark.parametrize(
    "other", ["sports", "ＳＰＯＲＴＳ", "Sports ", "ｽﾎﾟｰﾂ", "Sports\u200b", "\u202eSp\u00adorts", "Sports\ufe0f"]
)
def test_labels_that_differ_in_case_width_space_or_nothing_to_see_are_warned_of(other: str) -> None:
    label = "スポーツ" if other == "ｽﾎﾟｰﾂ" else "Sports"
    with pytest.warns(
        TanzakuWarning, match=r"taken as different classes: .*\(2 rows\).*\(1 row\)|\(1 row\).*\(2 rows\)"
    ):
        warn_of_similar_labels([label, other, label])


def test_what_can_not_be_seen_in_a_label_is_shown() -> None:
    with pytest.warns(TanzakuWarning, match=r"'❤' \(1 row\) and '❤\\ufe0f' \(1 row\)"):
        warn_of_similar_labels(["❤", "❤\ufe0f"])


def test_labels_that_differ_in_more_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_similar_labels(["sport", "sports", "sport"])


def test_small_classes_are_named_with_their_sizes() -> None:
    with pytest.raises(DataError, match=r"needs 4 rows at least .* 'b' has 3; 'c' has 1"):
        check_class_sizes({"c": 1, "a": 4, "b": 3}, needed=4)


@pytest.mark.parametrize(("split", "data"), [("val", ("ab", "abc", "ab")), ("test", ("ab", "ab", "abc"))])
def test_a_class_that_train_has_not_is_refused(split: str, data: tuple[str, str, str]) -> None:
    with pytest.raises(DataError, match=rf"{split}: has classes that train does not have: 'c' \(1 row\).*'a'; 'b'"):
        check_splits(dataset(*data))


def test_a_class_that_only_train_has_is_warned_of_and_an_empty_split_refused() -> None:
    with pytest.warns(TanzakuWarning, match="test: has no documents of 'b'"):
        check_splits(dataset("ab", "ab", "a"))
    with pytest.raises(DataError, match="val: holds no documents"):
        check_splits(dataset("ab", "", "a"))


def test_two_classes_are_enough() -> None:
    check_classes(["x", "y", "x"], texts=["a", "b", "c"])


@pytest.mark.parametrize(("count", "end"), [(5, "row 4"), (6, "row 4; and 1 more"), (1005, "row 4; and 1,000 more")])
def test_of_more_than_five_the_others_are_counted(count: int, end: str) -> None:
    items = [f"row {number}" for number in range(count)]
    assert listed(items) == f"row 0; row 1; row 2; row 3; {end}"
    assert listed(items[:1]) == "row 0"


def test_an_empty_train_split_is_named() -> None:
    with pytest.raises(DataError, match=r"^train: holds no documents"):
        check_splits(dataset("", "a", "a"))


@pytest.mark.parametrize(("split", "texts"), [("val", ("one", "three")), ("test", ("four", "two"))])
def test_texts_of_train_in_another_split_are_counted(split: str, texts: tuple[str, str]) -> None:
    def of(*texts: str) -> Documents:
        return Documents(texts, ("a",) * len(texts))

    parts = {"val": of("five"), "test": of("six"), split: of(*texts)}
    with pytest.warns(TanzakuWarning) as caught:
        warn_of_shared_texts(Dataset("d", of("one", "two"), parts["val"], parts["test"], ("a",)))
    (warning,) = caught
    assert str(warning.message).startswith(f"{split}: 1 of 2 texts is in train too")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shared_texts(Dataset("d", of("one", "two"), of("five"), of("six"), ("a",)))


def _message(error: pytest.ExceptionInfo[DataError]) -> str:
    return str(error.value)


def test_every_error_ends_with_its_remedy() -> None:
    with pytest.raises(DataError) as caught:
        check_classes(["ああ", "いい", "うう"], texts=["a", "b", "b"])
    assert _message(caught).endswith(
        ": 'ああ'; 'いい'; 'うう'. The columns seem to be swapped: name them with --text-column and --label-column."
    )
    with pytest.raises(DataError) as caught:
        check_classes(["x", "x"], texts=["a", "b"])
    assert _message(caught).endswith(
        "a classifier needs two classes at least. Check that --label-column names the right column."
    )
    with pytest.raises(DataError) as caught:
        check_class_sizes({"a": 4, "b": 3}, needed=4)
    assert _message(caught).endswith(
        ": 'b' has 3. Add documents, merge the class with another, or change --train-size and --val-size."
    )
    with pytest.raises(DataError) as caught:
        check_splits(dataset("ab", "abc", "ab"))
    assert _message(caught).endswith(
        "Add documents of them to train, remove them, or check the labels' spelling; train's classes are: 'a'; 'b'."
    )
    with pytest.warns(TanzakuWarning, match=r"Spell them alike if they mean one class\.$"):
        warn_of_similar_labels(["Sports", "sports"])


@pytest.mark.parametrize(
    ("labels", "texts"),
    [(["ああ", "いい", "うう"], ["a", "b", "c"]), (["a", "b", "c"], ["あ", "あ", "い"])],
    ids=["as many labels as texts", "labels as long as texts"],
)
def test_columns_are_only_swapped_where_labels_are_more_and_longer(labels: list[str], texts: list[str]) -> None:
    check_classes(labels, texts=texts)


def test_a_label_of_just_the_width_that_is_shown_is_not_cut() -> None:
    width = 30
    with pytest.raises(DataError, match=f"label '{'x' * width}':"):
        check_classes(["x" * width] * 2, texts=["a", "b"])
    with pytest.raises(DataError, match=f"label '{'x' * width}…':"):
        check_classes(["x" * (width + 1)] * 2, texts=["a", "b"])


def test_several_shared_texts_are_in_train_too() -> None:
    shared = Documents(("one", "two", "six"), ("a", "a", "a"))
    with pytest.warns(TanzakuWarning, match="^val: 2 of 3 texts are in train too"):
        warn_of_shared_texts(Dataset("d", Documents(("one", "two"), ("a", "a")), shared, Documents((), ()), ("a",)))
