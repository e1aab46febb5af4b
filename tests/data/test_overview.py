from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.overview import describe


def test_figures_are_counted_by_split_and_class() -> None:
    dataset = Dataset(
        "d",
        train=Documents(("ab", "ab", "cdef"), ("x", "X", "x")),
        val=Documents(("g",), ("x",)),
        test=Documents(("ＡＢ ", "hij"), ("x", "X")),  # which reads as "ab" does
        label_names=("X", "x"),
    )
    figures = describe(dataset)
    assert figures["rows"] == {"train": 3, "val": 1, "test": 2}
    assert figures["counts"]["X"] == {"train": 1, "val": 0, "test": 1}
    assert figures["characters"]["train"] == {"min": 2, "median": 2, "max": 4}
    assert figures["duplicates"] == {"texts": 1, "rows": 3, "across_splits": 1, "with_several_labels": 1}
    assert len(figures["warnings"]) == 2
    assert "'X' (2 rows) and 'x' (4 rows)" in figures["warnings"][0]
    assert "test: 1 of 2 texts is in train too" in figures["warnings"][1]
