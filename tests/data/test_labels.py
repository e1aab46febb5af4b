import pytest

from tanzaku.data.labels import (
    few_texts,
    joined_labels,
    not_labels,
    one_class,
    plain_label,
    remedies,
    renamed_labels,
    similar_labels,
    small_classes,
    spellings,
)

TEXTS = [f"海に船がある。その{number}つ目の、いくらか長い本文である。終わりまで読む。" for number in range(200)]


@pytest.mark.parametrize(
    "other", ["sports", "ＳＰＯＲＴＳ", "Sports ", "ｽﾎﾟｰﾂ", "Sports\u200b", "\u202eSp\u00adorts", "Sports\ufe0f"]
)
def test_labels_that_differ_in_case_width_space_or_nothing_to_see_are_warned_of(other: str) -> None:
    label = "スポーツ" if other == "ｽﾎﾟｰﾂ" else "Sports"
    (warning,) = similar_labels([label, other, label])
    assert warning.severity == "warning"
    assert "(2 rows)" in warning.message
    assert "(1 row)" in warning.message
    assert warning.message.endswith("Pass --normalize-labels if they mean one class.")
    assert set(spellings([label, other, label]).values()) == {label}


def test_options_that_count_rows_are_advised_only_where_rows_are_few() -> None:
    repeated = ["海"] * 10 + TEXTS[:10]
    (warning,) = few_texts(repeated, ["a"] * 10 + ["b"] * 10)
    assert "'a' has 1. Add documents with other texts." in warning.message
    (warning,) = few_texts(repeated, ["a"] * 3 + ["b"] * 17)
    assert warning.message.endswith("Add documents with other texts.")  # one class would be left
    (warning,) = few_texts(repeated, ["a"] * 3 + ["b"] * 7 + ["c"] * 10)
    assert warning.message.endswith("Add documents with other texts, or pass --drop-small 5.")


def test_what_can_not_be_seen_in_a_label_is_shown() -> None:
    (warning,) = similar_labels(["❤", "❤\ufe0f"])
    assert r"'❤' (1 row) and '❤\ufe0f' (1 row)" in warning.message


def test_labels_that_differ_in_more_are_not_warned_of() -> None:
    labels = ["sport", "sports", "new s", "news", "sport"]
    assert similar_labels(labels) == []
    assert spellings(labels) == {}


def test_spaces_count_only_between_words_of_latin_letters() -> None:
    assert plain_label("返品 ・ 交換") == plain_label("返品・交換\u3000")
    assert plain_label("Hard  Disk") == plain_label("hard disk") != plain_label("harddisk")


def test_a_name_is_the_most_frequent_spelling_in_plain_width() -> None:
    from collections import Counter

    labels = ["ＩＴ", "it", "IT", "ｽﾎﾟｰﾂ", "ｽﾎﾟｰﾂ", "スポーツ ", "IT"]
    names = spellings(labels)
    assert names == {"ＩＴ": "IT", "it": "IT", "ｽﾎﾟｰﾂ": "スポーツ", "スポーツ ": "スポーツ"}
    (note,) = renamed_labels(names, Counter(labels))
    assert "'it' (1 row) and 'ＩＴ' (1 row) became 'IT'" in note.message
    assert "'スポーツ ' (1 row) and 'ｽﾎﾟｰﾂ' (2 rows) became 'スポーツ'" in note.message
    assert renamed_labels({}, Counter(labels)) == []


@pytest.mark.parametrize("separator", [";", "、", ",", "|", "/", "；", "，"])
def test_labels_whose_parts_are_labels_are_several(separator: str) -> None:
    joined, (problem,) = joined_labels(["配送", "返品", f"配送{separator}返品", f"返品{separator} 配送", "請求"])
    assert joined == {f"配送{separator}返品", f"返品{separator} 配送"}
    assert problem.kind == "several-labels"
    assert problem.message.startswith(f"2 of 5 rows have several labels, joined by {separator!r}: ")
    assert "one label" in problem.message


def test_labels_that_are_always_joined_are_several_too() -> None:
    assert joined_labels(["a;b", "b;c", "c;a"] * 3)[0] == {"a;b", "b;c", "c;a"}
    assert joined_labels(["a;b", "c"] * 3) == (set(), [])


def test_classes_below_others_are_not_several() -> None:
    labels = [f"{above}/{below}" for above in ("家電", "家具") for below in ("修理", "返品", "その他")]
    assert joined_labels(labels * 5) == (set(), [])
    assert joined_labels([*labels, "家電"] * 5) == (set(), [])
    assert joined_labels([*labels, "その他/その他"] * 5) == (set(), [])
    assert joined_labels([*labels, "家電/部品/その他", "家電/部品/修理"] * 5) == (set(), [])
    assert joined_labels([*labels, "返品"] * 5)[0] == set(labels)  # a class of its own, and in others


def test_a_separator_in_the_name_of_a_class_is_not_mistaken() -> None:
    assert joined_labels(["食品、飲料", "衣類", "配送/返品", "a;", "配送"]) == (set(), [])


def test_swapped_columns_are_seen_and_long_labels_are_cut() -> None:
    (problem,) = not_labels(TEXTS[:9], ["a", "b", "b"] * 3)
    assert problem.kind == "swapped-columns"
    assert problem.message.startswith("there are 9 different labels in 9 rows and only 2 different texts: ")
    assert "終わりまで読む" not in problem.message
    assert not_labels(["a", "b", "c"], ["海に船", "海に船", "海に船"]) == []


@pytest.mark.parametrize(
    ("labels", "texts"),
    [(["ああ", "いい", "うう"], ["a", "b", "c"]), (["a", "b", "c"], ["あ", "あ", "い"])],
    ids=["as many labels as texts", "labels as long as texts"],
)
def test_columns_are_only_swapped_where_labels_are_more_and_longer(labels: list[str], texts: list[str]) -> None:
    assert not_labels(labels, texts) == []


def test_many_different_labels_are_texts_or_numbers() -> None:
    titles = [f"件名{number}" for number in range(193)] + ["件名0"] * 7
    (problem,) = not_labels(titles, TEXTS, suggestion="--label-column 分類")
    assert problem.kind == "text-as-label"
    assert problem.message.startswith("there are 193 different labels in 200 rows: ")
    assert problem.message.endswith("Probably: --label-column 分類.")
    (problem,) = not_labels([f"{number / 7:.2f}" for number in range(200)], TEXTS)
    assert problem.kind == "numbers"
    assert not_labels([f"c{number % 100}" for number in range(200)], TEXTS) == []
    assert not_labels([f"c{number % 101}" for number in range(200)], TEXTS)
    assert not_labels([f"c{number}" for number in range(19)], TEXTS[:19]) == []
    assert not_labels([f"c{number}" for number in range(20)], TEXTS[:20])


def test_one_class_is_too_few() -> None:
    (problem,) = one_class(["x", "x"])
    assert problem.message.startswith("all documents have the label 'x': a classifier needs two classes at least.")
    assert one_class(["x", "y", "x"]) == []


def test_small_classes_are_named_with_their_sizes_and_the_options_that_help() -> None:
    (problem,) = small_classes({"c": 1, "a": 4, "b": 3}, needed=4)
    assert problem.message.startswith(
        "a class needs 4 rows at least to be split in these ratios: 'b' has 3; 'c' has 1."
    )
    assert problem.message.endswith(
        "Add documents, pass --merge-small 4:その他, or change --train-size and --val-size."
    )
    assert small_classes({"a": 4}, needed=4) == []


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({"a": 9, "b": 9, "c": 2, "d": 3}, "pass --merge-small 5:その他 or --drop-small 5"),
        ({"a": 9, "b": 9, "c": 2}, "pass --drop-small 5"),  # alone, it stays as small under another name
        ({"a": 9, "b": 9, "その他": 2}, "pass --drop-small 5"),
        ({"a": 9, "その他": 9, "c": 2}, "pass --merge-small 5:その他 or --drop-small 5"),
        ({"a": 9, "c": 2, "d": 3}, "pass --merge-small 5:その他"),  # without them, one class would be left
        ({"その他": 9, "c": 2}, None),
        ({"a": 9, "b": 9}, None),  # it is other texts that are few
        ({"c": 4, "d": 4}, None),
    ],
)
def test_only_options_that_leave_two_large_classes_are_advised(sizes: dict[str, int], options: str | None) -> None:
    """What is advised does away with all small classes: tried out on the sizes."""
    assert remedies("Add some", sizes, fewest=5) == (f"Add some, or {options}." if options else "Add some.")
    merged = {label: size for label, size in sizes.items() if size >= 5}
    merged["その他"] = merged.get("その他", 0) + sum(size for size in sizes.values() if size < 5)
    if min(sizes.values()) >= 5:
        return
    assert ("--merge" in (options or "")) == (len(merged) > 1 and min(merged.values()) >= 5)
    assert ("--drop" in (options or "")) == (sum(size >= 5 for size in sizes.values()) > 1)


def test_a_label_of_just_the_width_that_is_shown_is_not_cut() -> None:
    width = 30
    assert f"label '{'x' * width}':" in one_class(["x" * width] * 2)[0].message
    assert f"label '{'x' * width}…':" in one_class(["x" * (width + 1)] * 2)[0].message
