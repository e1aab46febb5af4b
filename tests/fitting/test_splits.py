"""Documents set aside for the test, and folds: every document is tested once, classes and groups are heeded."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.errors import DataError
from tanzaku.fitting.splits import Splits, fewer, split_for_fit, warnings_of


def _documents(labels: list[str]) -> Documents:
    return Documents(tuple(f"text {row}" for row in range(len(labels))), tuple(labels))


def _all(dataset: Dataset) -> list[str]:
    return [*dataset.train.texts, *dataset.val.texts, *dataset.test.texts]


@given(st.lists(st.sampled_from("abc"), min_size=12, max_size=60), st.integers(0, 3), st.data())
@settings(max_examples=60)
def test_each_document_is_tested_once_and_no_class_or_group_is_torn(
    labels: list[str], seed: int, data: st.DataObject
) -> None:
    groups = data.draw(st.lists(st.integers(0, 20), min_size=len(labels), max_size=len(labels)))
    documents = _documents(labels)
    try:
        splits = split_for_fit(documents, groups, name="made", seed=seed, folds=3)
    except DataError:
        assert (
            min(len({group for group, one in zip(groups, labels, strict=True) if one == label}) for label in labels) < 4
        )
        reject()
    others = {*splits.whole.train.texts, *splits.whole.val.texts}
    assert sorted(_all(splits.whole)) == sorted(documents.texts)
    tested = Counter(text for fold in splits.folds for text in fold.test.texts)
    assert set(tested.values()) <= {1}
    assert set(tested) <= others
    group_of = dict(zip(documents.texts, groups, strict=True))
    for dataset in (splits.whole, *splits.folds):
        parts = [{group_of[text] for text in part.texts} for part in (dataset.train, dataset.val, dataset.test)]
        assert all(map(len, (dataset.train, dataset.val, dataset.test)))
        assert set(dataset.train.labels) == set(labels)
        assert not parts[0] & parts[2]
    for fold in splits.folds:
        assert set(_all(fold)) <= others


def test_shares_are_those_of_each_class() -> None:
    labels = ["a"] * 100 + ["b"] * 50
    splits = split_for_fit(_documents(labels), range(150), name="made", seed=0)
    assert Counter(splits.whole.test.labels) == {"a": 20, "b": 10}
    assert [len(fold.test) for fold in splits.folds] == [24] * 5
    assert Counter(splits.folds[0].test.labels) == {"a": 16, "b": 8}
    assert Counter(splits.folds[0].val.labels) == {"a": 6, "b": 3} or len(splits.folds[0].val) in (9, 10)


def test_one_fold_is_enough_if_it_is_large() -> None:
    labels = [str(number % 2) for number in range(7000)]
    splits = split_for_fit(_documents(labels), range(7000), name="made", seed=0)
    assert [len(fold.test) for fold in splits.folds] == [1120]


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_fewer_documents_have_every_class(share: float) -> None:
    labels = ["a"] * 60 + ["b"] * 40 + ["c"] * 5
    fold = split_for_fit(_documents(labels), range(105), name="made", seed=0).folds[0]
    less = fewer(fold, share=share, seed=0)
    assert set(less.train.labels) == {"a", "b", "c"}
    assert set(less.train.texts) < set(fold.train.texts)
    assert np.isclose(len(less.train), share * len(fold.train), atol=3)
    assert less.test == fold.test


@pytest.mark.parametrize(("classes", "each"), [(10, 2), (10, 3), (193, 2), (193, 3), (2, 3)])
def test_classes_of_a_few_documents_leave_no_split_empty_and_train_has_most(classes: int, each: int) -> None:
    labels = [f"class {row % classes}" for row in range(classes * each)]
    splits = split_for_fit(_documents(labels), range(len(labels)), name="made", seed=42)
    assert len(splits.folds) == 5
    for dataset in (splits.whole, *splits.folds):
        assert set(dataset.train.labels) == set(labels)
        assert all(map(len, (dataset.train, dataset.val, dataset.test)))
        assert len(dataset.train) > 0.5 * len(_all(dataset))
    assert len(splits.whole.test) <= max(1, round(0.25 * len(labels)))


@pytest.mark.parametrize("labels", [[str(row) for row in range(10)], list("aabb")])
def test_too_few_documents_are_refused_with_the_remedy(labels: list[str]) -> None:
    """No option is named, since each would leave one class at most."""
    with pytest.raises(DataError, match=r"there are too few documents: .*has [12].*Add documents\."):
        split_for_fit(_documents(labels), range(len(labels)), name="made", seed=42)


@pytest.mark.parametrize(("count", "found"), [(2, "'a' has 2; 'b' has 2"), (3, "'a' has 3; 'b' has 3")])
def test_too_few_groups_are_refused_with_how_many_are_needed(count: int, found: str) -> None:
    labels, groups = ["a", "b"] * 30, [row // 2 % count for row in range(60)]
    with pytest.raises(DataError, match=f"documents of 4 groups at least .*: {found}.*--group-column"):
        split_for_fit(_documents(labels), groups, name="made", seed=42, by_column=True)
    groups = [row // 2 % 4 for row in range(60)]
    splits = split_for_fit(_documents(labels), groups, name="made", seed=42, by_column=True)
    assert [len(set(fold.test.labels)) for fold in splits.folds] == [2, 2, 2]


@pytest.mark.parametrize(("count", "large", "each"), [(200, 140, 4), (6000, 1500, 660)])
def test_a_group_larger_than_a_fold_is_trained_on_in_every_fold(count: int, large: int, each: int) -> None:
    labels = [str(row % 2) for row in range(count)]
    groups = [0 if row < large else row // 10 for row in range(count)]
    splits = split_for_fit(_documents(labels), groups, name="made", seed=42, by_column=True)
    assert splits.large_groups == (large,)
    assert [str(one) for one in warnings_of(splits)] == [
        f"1 group is larger than a fold, with {large:,} documents: trained on in every fold, and never classified "
        "there. What is measured concerns the other groups only."
    ]
    huge = {f"text {row}" for row in range(large)}
    assert len(splits.folds) > 1
    for fold in splits.folds:
        assert huge <= {*fold.train.texts, *fold.val.texts}
        assert len(fold.test) == pytest.approx(each, abs=10)


def test_a_single_fold_decides_only_if_it_has_many_groups() -> None:
    """Of 8,000 documents a fold has 1,280: enough, but not where they are nearly one group."""
    labels = [str(row % 2) for row in range(8000)]
    some = split_for_fit(_documents(labels), [row // 1000 for row in range(8000)], name="made", seed=0)
    many = split_for_fit(_documents(labels), [row // 10 for row in range(8000)], name="made", seed=0)
    assert (len(some.folds), len(many.folds)) == (5, 1)
    assert (some.large_groups, warnings_of(many)) == ((), [])


def _of_groups(groups: list[int]) -> Splits:
    names, labels = tuple(map(str, groups)), tuple(str(row % 2) for row in range(len(groups)))
    documents = Documents(tuple(f"text {row}" for row in range(len(groups))), labels, groups=names)
    return split_for_fit(documents, groups, name="made", seed=42, by_column=True)


@pytest.mark.parametrize("choose_by", ["accuracy", "macro_f1"])
def test_groups_that_could_not_tell_a_good_classifier_from_chance_are_warned_about(choose_by: Any) -> None:
    few, many = (_of_groups([row // 40 for row in range(40 * count)]) for count in (5, 20))
    assert (few.groups, many.groups) == (4, 16)
    (found,) = (one for one in warnings_of(few, choose_by=choose_by) if one.kind == "few-groups")
    assert "are of 4 groups, and those of a group do not count as independent" in found.message
    assert "Add documents of other groups" in found.message
    assert warnings_of(many, choose_by=choose_by) == []


def test_groups_that_can_decide_nothing_are_refused() -> None:
    """Of five groups, one is larger than a fold, one is tested in the end, and one chooses the epoch."""
    groups = np.repeat(np.arange(5), [80, 10, 10, 10, 10]).tolist()
    with pytest.raises(DataError, match=r"would classify are of [12] groups?: with fewer than 3.*other groups"):
        _of_groups(groups)


def test_documents_that_no_fold_classifies_are_counted() -> None:
    labels = ["a"] * 30 + ["b"] * 30 + ["c", "d"]
    splits = split_for_fit(_documents(labels), range(62), name="made", seed=0)
    assert splits.without_test == ("c", "d")
    assert splits.only_trained == 2
    others = len(splits.whole.train) + len(splits.whole.val)
    assert splits.documents + splits.only_trained == others
    groups = [0 if row < 140 else row for row in range(200)]
    splits = split_for_fit(_documents(["a", "b"] * 100), groups, name="made", seed=42)
    assert (splits.only_trained, splits.without_test) == (140, ())
    assert split_for_fit(_documents(["a", "b"] * 4000), range(8000), name="made", seed=0).only_trained == 0


def test_sizes_that_are_not_the_usual_ones_are_warned_about() -> None:
    """Of classes with a single document, none can be tested; of classes with two, half could be, but is not."""
    single = [f"class {row}" for row in range(50)]
    splits = split_for_fit(_documents([*single, *"ab" * 5]), range(60), name="made", seed=42)
    (found,) = warnings_of(splits)
    sizes = [len(part) for part in (splits.whole.train, splits.whole.val, splits.whole.test)]
    assert str(found).startswith(
        f"of 60 documents, {sizes[0]} are trained on in the end, {sizes[1]} choose the epoch and {sizes[2]} are the "
        "test set. It would be 72%, 8% and 20% if"
    )
    for labels in ([f"class {row % 193}" for row in range(386)], ["a", "b"] * 5, ["a", "b", "c"] * 50):
        assert warnings_of(split_for_fit(_documents(labels), range(len(labels)), name="made", seed=42)) == []
