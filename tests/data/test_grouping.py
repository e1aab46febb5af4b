from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.data.grouping import assign_groups, linked_groups, same_text, together

SHARES = (0.8, 0.1, 0.1)


def test_texts_that_read_alike_are_the_same() -> None:
    assert same_text("ＡＢＣ 届きません\u200b\n") == same_text("abc届きません")
    assert same_text("abc") != same_text("abd")


def test_rows_that_agree_in_any_column_are_together_also_indirectly() -> None:
    assert together(["a", "b", "a", "c", "b"]) == [0, 1, 0, 3, 1]
    assert together(["a", "b", "a", "c"], ["x", "y", None, "y"]) == [0, 1, 0, 1]
    assert together(["a", "b", "c"], [None, None, None]) == [0, 1, 2]
    assert together(["a", "b", "c", "d"], ["w", "x", "x", "w"], ["1", "1", "2", "3"]) == [0, 0, 0, 0]


def test_groups_are_linked_where_a_number_has_several() -> None:
    groups = ["a", "b", "b", "c", "d", None, None]
    assert linked_groups(groups, together(groups)) == 0
    assert linked_groups(groups, together(groups, ["x", "x", "y", "z", None, "z", "w"])) == 2
    assert linked_groups(groups, [0] * 7) == 4


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=1, max_size=150),
    seed=st.integers(0, 100),
)
def test_every_row_is_in_one_part_and_no_group_in_two(rows: list[tuple[str, int]], seed: int) -> None:
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    parts = assign_groups(labels, groups, shares=SHARES, seed=seed)
    assert sorted(row for part in parts for row in part) == list(range(len(rows)))
    assert sum(len({groups[row] for row in part}) for part in parts) == len(set(groups))
    assert parts == assign_groups(labels, groups, shares=SHARES, seed=seed)


def test_parts_have_about_their_share_of_every_class() -> None:
    # 120 groups of one to six rows; class c is rare, and some groups have rows of two classes.
    labels, groups = [], []
    for group in range(120):
        for row in range(group % 6 + 1):
            labels.append("c" if group % 12 == 0 else "ab"[(group // 3 + (row == 5)) % 2])
            groups.append(group)
    totals = Counter(labels)
    for seed in range(5):
        parts = assign_groups(labels, groups, shares=SHARES, seed=seed)
        for part, share in zip(parts, SHARES, strict=True):
            counts = Counter(labels[row] for row in part)
            for label in "abc":
                assert abs(counts[label] - share * totals[label]) <= 6, (seed, share, label, counts)
    assert parts != assign_groups(labels, groups, shares=SHARES, seed=0)


def test_a_class_of_three_groups_is_in_every_part() -> None:
    labels = ["a"] * 60 + ["b"] * 33
    groups = [*range(60), *[100] * 30, 101, 102, 102]
    for seed in range(10):
        parts = assign_groups(labels, groups, shares=SHARES, seed=seed)
        assert all({labels[row] for row in part} == {"a", "b"} for part in parts)
        assert 60 in parts[0], "the largest group is in the largest part"
