import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.data.dataset import Documents
from tanzaku.data.prepared import documents_by_split
from tanzaku.data.split import THESIS_RATIOS, Ratios, hold_out, split_documents, split_rows
from tanzaku.data.validate import unusual_sizes
from tanzaku.errors import DataError

CLASSES = st.lists(st.integers(12, 60), min_size=2, max_size=4).map(
    lambda sizes: [label for label, size in zip("abcd", sizes, strict=False) for _ in range(size)]
)
LABELS = CLASSES.flatmap(st.permutations)
RATIOS = st.sampled_from([THESIS_RATIOS, Ratios(train=0.6, val=0.15), Ratios(train=0.8, val=0.1)])


@settings(deadline=None, max_examples=50)
@given(labels=LABELS, ratios=RATIOS, seed=st.integers(0, 2**32 - 1))
def test_a_split_is_a_partition_with_the_ratios_in_each_class_and_the_same_each_time(
    labels: list[str], ratios: Ratios, seed: int
) -> None:
    split = split_rows(labels, ratios=ratios, seed=seed)
    assert sorted([*split.train, *split.val, *split.test]) == list(range(len(labels)))
    assert split == split_rows(labels, ratios=ratios, seed=seed)
    for label in set(labels):
        found = tuple(sum(labels[row] == label for row in side) for side in (split.train, split.val, split.test))
        assert found == ratios.counts(labels.count(label))


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(9, 30), min_size=1, max_size=20), ratios=RATIOS)
def test_a_split_by_class_never_has_unusual_sizes(sizes: list[int], ratios: Ratios) -> None:
    labels = tuple(str(number) for number, size in enumerate(sizes) for _ in range(size))
    dataset = split_documents(Documents(labels, labels), name="d", ratios=ratios)
    shares = {"train": ratios.train, "val": ratios.val, "test": ratios.test}
    assert unusual_sizes(documents_by_split(dataset), shares) == []


@settings(deadline=None, max_examples=50)
@given(labels=LABELS, seed=st.integers(0, 1000), data=st.data())
def test_no_group_straddles_and_without_groups_of_several_rows_nothing_changes(
    labels: list[str], seed: int, data: st.DataObject
) -> None:
    groups = list(range(len(labels)))
    assert split_rows(labels, ratios=THESIS_RATIOS, seed=seed, groups=groups) == split_rows(
        labels, ratios=THESIS_RATIOS, seed=seed
    )
    for row in data.draw(st.lists(st.integers(1, len(labels) - 1), max_size=3)):
        groups[row] = 0
    split = split_rows(labels, ratios=THESIS_RATIOS, seed=seed, groups=groups)
    sides = [{groups[row] for row in side} for side in (split.train, split.val, split.test)]
    assert all(not first & second for first, second in itertools.combinations(sides, 2))
    assert sorted([*split.train, *split.val, *split.test]) == list(range(len(labels)))


def test_many_duplicates_keep_the_ratios_of_the_distinct_rows() -> None:
    labels = ["a", "b"] * 100
    groups = [row // 4 for row in range(200)]  # each group has rows of both classes, and counts where its first row is
    labels[::8] = ["b"] * 25
    split = split_rows(labels, ratios=Ratios(train=0.5, val=0.25), groups=groups)
    assert [len(side) for side in (split.train, split.val, split.test)] == [96, 48, 56]


@pytest.mark.parametrize(("ratios", "needed"), [(THESIS_RATIOS, 9), (Ratios(train=0.8, val=0.1), 6)])
def test_a_class_that_is_too_small_to_split_is_refused_at_exactly_the_stated_size(ratios: Ratios, needed: int) -> None:
    assert ratios.smallest_class == needed
    enough = ["a"] * 40 + ["b"] * needed
    split = split_rows(enough, ratios=ratios)
    assert all("b" in {enough[row] for row in side} for side in (split.train, split.val, split.test))
    with pytest.raises(DataError, match=rf"needs {needed} rows at least .* 'b' has {needed - 1}"):
        split_rows(enough[:-1], ratios=ratios)


def test_a_class_with_only_copies_of_another_class_is_refused() -> None:
    labels = ["a"] * 20 + ["b"] * 20
    with pytest.raises(DataError, match=r"needs \d+ different texts \(identical ones count once\) at least.*'b' has 0"):
        split_rows(labels, ratios=THESIS_RATIOS, groups=[*range(20), *range(20)])


@pytest.mark.parametrize(("train", "val", "name"), [(0.0, 0.1, "train"), (0.5, 1.0, "val"), (100, 0.1, "train")])
def test_what_is_no_share_is_named_without_a_percentage(train: float, val: float, name: str) -> None:
    value = train if name == "train" else val
    with pytest.raises(DataError, match=rf"^{name} size {value:g} is not a share between 0 and 1\.$"):
        Ratios(train=train, val=val)


def test_a_percentage_is_told_from_a_share() -> None:
    with pytest.raises(DataError, match=r"train size 80 is not a share between 0 and 1; for 80 % give 0.8"):
        Ratios(train=80, val=0.1)


def test_a_size_just_over_one_percent_is_taken_for_a_percentage_too() -> None:
    with pytest.raises(DataError, match=r"^train size 1\.5 is not a share between 0 and 1; for 1\.5 % give 0\.015\.$"):
        Ratios(train=1.5, val=0.1)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (0.9, 0.1),
        (0.0, 0.1),
        (0.5, 0.0),
        (0.5, 0.0009),
        (0.0009, 0.5),
        (-1, 0.5),
        (0.5, 0.6),
        (float("nan"), 0.1),
        (1, 1),
    ],
)
def test_shares_that_leave_a_split_without_rows_are_refused(train: float, val: float) -> None:
    with pytest.raises(DataError, match=r"each of the three shares|is not a share between 0 and 1"):
        Ratios(train=train, val=val)


@settings(deadline=None, max_examples=30)
@given(labels=LABELS, share=st.floats(0.05, 0.5), seed=st.integers(0, 1000))
def test_held_out_rows_and_the_others_are_all_rows(labels: list[str], share: float, seed: int) -> None:
    kept, taken = hold_out(labels, share=share, seed=seed)
    assert sorted([*kept, *taken]) == list(range(len(labels)))
    assert {labels[row] for row in kept} == {labels[row] for row in taken} == set(labels)
    assert abs(len(taken) / len(labels) - share) < 0.1


@pytest.mark.parametrize("share", [1.0, 0.0, 0.9991, 0.0009])
def test_a_held_out_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(DataError, match=rf"^val size {share:g} is not between 0\.001 and 0\.999\.$"):
        hold_out(["a", "a", "b", "b"], share=share)


def test_the_smallest_and_the_largest_share_hold_one_row_out_or_keep_one() -> None:
    assert [len(side) for side in hold_out(["a"] * 1000, share=0.001)] == [999, 1]
    assert [len(side) for side in hold_out(["a"] * 1000, share=0.999)] == [1, 999]


def test_a_class_needs_rows_enough_for_both_sides_of_a_hold_out() -> None:
    assert [len(side) for side in hold_out(["a", "a"], share=0.5)] == [1, 1]
    for share, needed in ((0.5, 2), (0.7, 4)):
        with pytest.raises(DataError, match=rf"needs {needed} rows at least .* 'b' has {needed - 1}"):
            hold_out(["a"] * 8 + ["b"] * (needed - 1), share=share)


def test_a_hold_out_follows_its_seed_and_its_groups() -> None:
    labels = ["a", "b"] * 30
    assert hold_out(labels, share=0.3, seed=1) == hold_out(labels, share=0.3, seed=1)
    assert hold_out(labels, share=0.3, seed=1) != hold_out(labels, share=0.3, seed=2)
    groups = [row // 6 for row in range(60)]
    groups[1::2] = [group + 100 for group in groups[1::2]]
    kept, taken = hold_out(labels, share=0.3, groups=groups)
    assert not {groups[row] for row in kept} & {groups[row] for row in taken}


def test_the_smallest_share_is_a_thousandth() -> None:
    assert Ratios(train=0.5, val=0.001).test == 0.499
    assert Ratios(train=0.001, val=0.5).test == 0.499
    assert Ratios(train=0.5, val=0.499).test == 0.001


def test_documents_are_split_as_their_rows_are() -> None:
    labels = ("a", "b") * 30
    documents = Documents(tuple(f"text {row}" for row in range(60)), labels)
    groups = [row // 2 for row in range(60)]
    groups[30:] = range(100, 130)
    ratios = Ratios(train=0.5, val=0.25)
    split = split_rows(labels, ratios=ratios, seed=7, groups=groups)
    assert split != split_rows(labels, ratios=ratios, groups=groups)
    assert split != split_rows(labels, ratios=ratios, seed=7)
    dataset = split_documents(documents, name="mine", ratios=ratios, seed=7, groups=groups)
    assert dataset.name == "mine"
    for found, rows in ((dataset.train, split.train), (dataset.val, split.val), (dataset.test, split.test)):
        assert found.texts == tuple(f"text {row}" for row in rows)
        assert found.labels == tuple(labels[row] for row in rows)


def test_label_names_are_in_alphabetical_order() -> None:
    labels = ("り", "a", "Z") * 10
    dataset = split_documents(Documents(tuple(map(str, range(30))), labels), name="d", ratios=THESIS_RATIOS)
    assert dataset.label_names == ("Z", "a", "り")
    assert list(dict.fromkeys(dataset.train.labels)) == ["Z", "a", "り"]
