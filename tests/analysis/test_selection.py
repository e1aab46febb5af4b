"""Which candidate is taken: never one at chance level, the smallest that is near the best, and how sure that is."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from tanzaku.analysis.selection import Selectable, hopeless, select
from tanzaku.measure.metrics import wilson_interval

CLASSES = np.arange(200) % 2


def _right(count: int, *, of: np.ndarray = CLASSES, first: int = 0) -> np.ndarray:
    """Predictions of two classes that are right for so many documents from `first` on, in a circle."""
    right = np.zeros(len(of), dtype=bool)
    right[(first + np.arange(count)) % len(of)] = True
    return np.where(right, of, 1 - of)


def test_the_smallest_within_the_margin_or_a_standard_error_is_taken() -> None:
    # Nested errors: the difference of 10 documents in 200 has a standard error of about 1.6 points, that of 2 of 0.7.
    selection = select(
        [Selectable(_right(count), size) for count, size in ((190, 5000), (188, 100), (180, 10))],
        CLASSES,
        labels=2,
        margin=0.01,
        choose_by="accuracy",
    )
    assert (selection.best, selection.recommended) == (0, 1)
    assert selection.order == (1, 0, 2)
    assert [one.at_chance for one in selection.candidates] == [False] * 3
    assert selection.majority == pytest.approx(0.5)
    assert selection.verdict == "open"
    assert not selection.candidates[2].indistinct
    assert selection.smallest_indistinct == 1
    wide = select(
        [Selectable(_right(count), size) for count, size in ((190, 5000), (188, 100), (180, 10))],
        CLASSES,
        labels=2,
        margin=0.1,
        choose_by="macro_f1",
    )
    assert (wide.recommended, wide.verdict) == (2, "confirmed")


def test_of_equals_the_smaller_is_the_best() -> None:
    selection = select(
        [Selectable(_right(150), 9), Selectable(_right(150), 3)], CLASSES, labels=2, margin=0.0, choose_by="accuracy"
    )
    assert (selection.best, selection.recommended, selection.verdict) == (1, 1, None)


def test_of_those_that_are_hardly_larger_the_better_is_taken() -> None:
    sized = ((190, 28_150_040), (187, 28_150_000), (140, 1))
    selection = select(
        [Selectable(_right(count), size) for count, size in sized], CLASSES, labels=2, margin=0.02, choose_by="accuracy"
    )
    assert selection.order == (0, 1, 2)
    assert (selection.recommended, selection.smallest_indistinct) == (0, 0)


def test_a_few_documents_more_than_the_majority_are_still_chance() -> None:
    classes = (np.arange(200) < 60).astype(int)
    lucky = _right(146, of=classes)
    selection = select([Selectable(lucky, 1)], classes, labels=2, margin=0.5, choose_by="accuracy")
    assert selection.candidates[0].accuracy > selection.majority == pytest.approx(0.7)
    assert selection.candidates[0].at_chance
    assert (selection.recommended, selection.smallest_indistinct, selection.order) == (None, None, ())


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), min_size=1, max_size=6), st.floats(0, 0.2))
@settings(max_examples=40)
def test_what_is_recommended_is_near_the_best_and_none_smaller_is(sized: list[tuple[int, int]], margin: float) -> None:
    selection = select(
        [Selectable(_right(count), size) for count, size in sized],
        CLASSES,
        labels=2,
        margin=margin,
        choose_by="accuracy",
    )
    scores = [one.score for one in selection.candidates]
    assert scores[selection.best] == max(scores)
    if selection.recommended is None:
        assert all(
            one.at_chance or (one.from_best is not None and one.from_best.mean < -margin)
            for one in selection.candidates
        )
        return
    assert not selection.candidates[selection.recommended].at_chance
    size = sized[selection.recommended][1]
    for place, one in enumerate(selection.candidates):
        if sized[place][1] < size:
            assert one.at_chance or (one.from_best is not None and one.from_best.mean < -margin)


def test_after_the_recommended_one_comes_the_next_smallest_that_is_good_enough() -> None:
    counts_and_sizes = ((190, 5000), (189, 300), (188, 100), (188, 200), (140, 10), (150, 20))
    selection = select(
        [Selectable(_right(count), size) for count, size in counts_and_sizes],
        CLASSES,
        labels=2,
        margin=0.01,
        choose_by="accuracy",
    )
    assert selection.order == (2, 3, 1, 0, 5, 4)  # then those that are not, the better ones first


def test_only_what_is_surely_worse_by_more_than_the_margin_is_hopeless() -> None:
    candidates = [Selectable(_right(count), 1) for count in (190, 188, 150, 100)]
    assert hopeless(candidates, CLASSES, labels=2, margin=0.01, choose_by="accuracy") == [2, 3]
    assert hopeless(candidates, CLASSES, labels=2, margin=0.3, choose_by="accuracy") == [3]


def test_among_equals_hardly_any_is_hopeless_after_a_few_documents() -> None:
    """Ten equally good candidates, 100 documents in four looks: the best of them looks better than it is."""
    random = np.random.default_rng(0)
    wrongly = 0
    for _ in range(60):
        right = random.random((10, 400)) < 0.7
        dropped: set[int] = set()
        for documents in (100, 200, 300, 400):
            classes = np.arange(documents) % 2
            rows = [Selectable(np.where(one[:documents], classes, 1 - classes), 1) for one in right]
            dropped |= set(hopeless(rows, classes, labels=2, margin=0.005, choose_by="accuracy", looks=4))
        wrongly += bool(dropped)
    assert wrongly <= 3


def test_what_is_hopeless_is_found_by_what_is_chosen_by() -> None:
    """The one is more often right, but only of the frequent class; by macro-F1 it is the worse one."""
    classes = np.array([0] * 180 + [1] * 20)
    frequent, balanced = np.zeros(200, dtype=np.int64), classes.copy()
    balanced[:60] = 1  # all of the rare class, and a third of the frequent one wrong
    candidates = [Selectable(frequent, 1), Selectable(balanced, 1)]
    assert hopeless(candidates, classes, labels=2, margin=0.01, choose_by="accuracy") == [1]
    assert hopeless(candidates, classes, labels=2, margin=0.01, choose_by="macro_f1") == [0]


def test_documents_of_a_group_do_not_count_as_independent() -> None:
    """Of 40 groups of 10 documents, of which all are right or wrong together, as of 40 documents."""
    groups = np.repeat(np.arange(40), 10)
    classes = np.arange(400) % 2
    right = [np.repeat(np.arange(40) < count, 10) for count in (32, 26)]
    candidates = [
        Selectable(np.where(one, classes, 1 - classes), size) for one, size in zip(right, (9, 1), strict=True)
    ]
    options: dict[str, Any] = {"labels": 2, "margin": 0.0, "choose_by": "accuracy"}
    apart, grouped = (select(candidates, classes, **options, groups=one) for one in (None, groups))
    low, high = wilson_interval(0.8, 40, quantile=float(t.ppf(0.975, 39)))
    assert grouped.candidates[0].interval.low == pytest.approx(low, abs=0.01)
    assert grouped.candidates[0].interval.high == pytest.approx(high, abs=0.01)
    assert (apart.candidates[1].indistinct, grouped.candidates[1].indistinct) == (False, False)
    right[1] = np.repeat((np.arange(40) < 29) | (np.arange(40) == 35), 10)
    candidates[1] = Selectable(np.where(right[1], classes, 1 - classes), 1)
    apart, grouped = (select(candidates, classes, **options, groups=one) for one in (None, groups))
    assert (apart.candidates[1].indistinct, grouped.candidates[1].indistinct) == (False, True)
    for by in ("accuracy", "macro_f1"):
        options |= {"choose_by": by}
        assert [hopeless(candidates, classes, **options, groups=one) for one in (None, groups)] == [[1], []]


def _of_groups(wrong: int, *, groups: int) -> np.ndarray:
    """Predictions of two classes, of groups of 50 documents, the last ones of each wrong."""
    classes = np.arange(50 * groups) % 2
    return np.where(np.arange(50 * groups) % 50 < 50 - wrong, classes, 1 - classes)


@pytest.mark.parametrize("choose_by", ["accuracy", "macro_f1"])
def test_few_groups_decide_nothing_by_either_measure(choose_by: Any) -> None:
    """The one is right for 98 %, the other for 70 %, in each group alike."""
    for groups, decided in ((1, []), (2, []), (4, []), (20, [1])):
        candidates = [Selectable(_of_groups(wrong, groups=groups), 1) for wrong in (1, 15)]
        of, classes = np.repeat(np.arange(groups), 50), np.arange(50 * groups) % 2
        found = hopeless(candidates, classes, labels=2, margin=0.0, choose_by=choose_by, looks=4, groups=of)
        assert found == decided


def test_a_standard_error_over_groups_is_one_whatever_the_quantile() -> None:
    """Worse by 16 points in each of 8 groups: more than the standard error, but less than the half-width / 1.96."""
    classes, groups = np.arange(400) % 2, np.repeat(np.arange(8), 50)
    candidates = [Selectable(_of_groups(wrong, groups=8), size) for wrong, size in ((0, 9), (8, 1))]
    selection = select(candidates, classes, labels=2, margin=0.0, choose_by="accuracy", groups=groups)
    difference = selection.candidates[1].from_best
    assert difference is not None
    assert difference.standard_error < 0.16 < difference.interval.half_width / 1.96
    assert [one.at_chance for one in selection.candidates] == [False, False]
    assert selection.recommended == 0


def test_of_equals_hardly_any_is_told_from_the_one_that_looks_best() -> None:
    """Which of ten is the best, the same documents decide: with nine comparisons, one study in ten would be wrong."""
    random, wrongly = np.random.default_rng(0), 0
    classes = np.arange(300) % 2
    for _ in range(200):
        right = random.random((10, 300)) < 0.8
        rows = [Selectable(np.where(one, classes, 1 - classes), 1) for one in right]
        selection = select(rows, classes, labels=2, margin=0.0, choose_by="accuracy")
        wrongly += not all(one.indistinct for one in selection.candidates)
    assert wrongly <= 10


def test_choosing_among_random_candidates_seldom_finds_one() -> None:
    """Of candidates that guess, the best of ten looks better than the majority class by luck."""
    random = np.random.default_rng(0)
    classes = (random.random((60, 160)) < 0.4).astype(int)
    found = 0
    for row in classes:
        guesses = [Selectable((random.random(160) < 0.05).astype(int), 1) for _ in range(10)]
        found += select(guesses, row, labels=2, margin=0.01, choose_by="accuracy").recommended is not None
    assert found <= 12
