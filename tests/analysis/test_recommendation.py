"""The choice by the validation set, the verdict of the test set, and the front."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanzaku.analysis.recommendation import SAME_SIZE, Candidate, Choice, choose, non_inferiority, pareto_front
from tanzaku.analysis.statistics import Interval, compare_accuracies

_accuracies = st.integers(0, 50).map(lambda correct: correct / 50)
_sizes = st.integers(1, 6).map(lambda size: 1000.0 * size)
_candidates = st.lists(st.builds(Candidate, _accuracies, _sizes), min_size=1, max_size=8)


def test_the_smallest_within_the_margin_is_recommended() -> None:
    candidates = [Candidate(0.950, 400e6), Candidate(0.946, 5e6), Candidate(0.9449, 1e6), Candidate(0.945, 2e6)]
    choice = choose(candidates, margin=0.005, majority=0.0)
    assert choice is not None
    assert (choice.best, choice.recommended, choice.within_margin) == (0, 3, (0, 1, 3))
    wider = choose(candidates, margin=0.01, majority=0.0)
    assert wider is not None
    assert wider.recommended == 2


def test_without_a_margin_only_as_accurate_a_one_is_taken() -> None:
    choice = choose([Candidate(0.95, 3e6), Candidate(0.95, 2e6), Candidate(0.94, 1e6)], margin=0.0, majority=0.0)
    assert choice is not None
    assert (choice.best, choice.recommended) == (1, 1)


@pytest.mark.parametrize(
    ("best", "other", "margin", "within"),
    [
        (0.92, 0.82, 0.1, True),  # 0.92 - 0.1 is more than 0.82, by a rounding error
        (0.52, 0.47, 0.05, True),
        (0.95, 0.945, 0.005, True),
        (0.904, 0.8989, 0.005, False),
        (0.9, 0.9, 0.0, True),
        (0.3, 0.1 + 0.2, 0.0, True),
        (0.1 + 0.2, 0.3, 0.0, True),  # as good, but for a rounding error
        (0.9, 0.8999, 0.0, False),
    ],
)
def test_an_arm_at_the_margin_is_within_it(best: float, other: float, margin: float, within: bool) -> None:
    choice = choose([Candidate(best, 2e6), Candidate(other, 1e6)], margin=margin, majority=0.1)
    assert choice is not None
    assert (choice.recommended == 1, 1 in choice.within_margin) == (within, within)


def test_ties_go_to_the_smaller_then_to_the_better_then_to_the_first() -> None:
    def chosen(*candidates: tuple[float, float], margin: float = 0.01) -> tuple[int, int | None]:
        choice = choose([Candidate(*candidate) for candidate in candidates], margin=margin, majority=0.1)
        assert choice is not None
        return choice.best, choice.recommended

    assert chosen((0.9, 3.0), (0.9, 2.0), (0.9, 4.0)) == (1, 1)
    assert chosen((0.9, 9.0), (0.893, 1.0), (0.895, 1.0)) == (0, 2)
    assert chosen((0.9, 9.0), (0.895, 1.0), (0.895, 1.0)) == (0, 1)
    assert chosen((0.9, 1.0), (0.9, 1.0)) == (0, 0)
    # Files that differ in the digits of their metadata only are as small as each other.
    assert chosen((0.9061, 27_793_727), (0.9015, 27_793_708)) == (0, 0)
    assert chosen((0.9061, 1020), (0.9015, 1000)) == (0, 1)
    assert chosen((0.9, 1009), (0.9, 1000)) == (1, 1)


def test_what_is_not_better_than_the_most_frequent_class_is_passed_over() -> None:
    candidates = [Candidate(0.95, 9.0), Candidate(0.948, 1.0), Candidate(0.949, 5.0), Candidate(0.6, 0.1)]
    choice = choose(candidates, margin=0.005, majority=0.948)
    assert choice == Choice(best=0, recommended=2, within_margin=(0, 2), passed_over=(1,))
    none = choose(candidates, margin=0.005, majority=0.95)
    assert none == Choice(best=0, recommended=None, within_margin=(), passed_over=(0, 1, 2))
    # Better by a rounding error only is not better.
    by_error = choose([Candidate(0.1 + 0.2, 1.0)], margin=0.005, majority=0.3)
    assert by_error is not None
    assert by_error.recommended is None
    by_little = choose([Candidate(0.3 + 1e-6, 1.0)], margin=0.005, majority=0.3)
    assert by_little is not None
    assert by_little.recommended == 0


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.005, 0.01, "open"), (-0.01, -0.005, "open"), (-0.005 + 1e-12, 0.01, "confirmed")],
)
def test_an_interval_that_ends_at_the_margin_decides_nothing(low: float, high: float, verdict: str) -> None:
    assert non_inferiority(Interval(low, high, kind="both"), margin=0.005) == verdict


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose([], margin=0.005, majority=0.0) is None


@given(_candidates, st.integers(0, 20).map(lambda points: points / 100))
def test_no_smaller_arm_comes_within_the_margin(candidates: list[Candidate], margin: float) -> None:
    choice = choose(candidates, margin=margin, majority=-1.0)
    assert choice is not None
    assert choice.recommended is not None
    best, recommended = candidates[choice.best], candidates[choice.recommended]
    assert best.score == max(one.score for one in candidates)
    assert recommended.score >= best.score - margin - 1e-6
    for one in candidates:
        if (1 + SAME_SIZE) * one.saved_bytes < recommended.saved_bytes:
            assert one.score < best.score - margin + 1e-6


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.004, 0.01, "confirmed"), (-0.006, 0.01, "open"), (-0.02, -0.006, "contradicted"), (-0.02, -0.004, "open")],
)
def test_the_verdict_is_where_the_interval_lies(low: float, high: float, verdict: str) -> None:
    assert non_inferiority(Interval(low, high, kind="both"), margin=0.005) == verdict


@pytest.mark.parametrize(("only_large", "only_small", "margin"), [(0.03, 0.02, 0.01), (0.045, 0.005, 0.04)])
def test_in_simulated_studies_an_arm_worse_by_the_margin_is_seldom_confirmed(
    only_large: float, only_small: float, margin: float
) -> None:
    """The choice is made on validation documents, so that the test set's verdict errs no oftener than it promises."""
    generator = np.random.default_rng(17)
    chosen = confirmed = 0
    for _ in range(1500):
        # Who is right: both, the large arm alone, the small one alone, neither.
        cells = generator.choice(4, p=[0.85, only_large, only_small, 0.15 - only_large - only_small], size=(2, 800))
        large, small = cells <= 1, (cells == 0) | (cells == 2)  # (validation and test, documents)
        choice = choose([Candidate(large[0].mean(), 9.0), Candidate(small[0].mean(), 1.0)], margin=margin, majority=0.0)
        assert choice is not None
        if choice.recommended == 1:
            chosen += 1
            difference = compare_accuracies(np.stack([small[1], large[1]]), [0], [1])
            confirmed += non_inferiority(difference.interval, margin=margin) == "confirmed"
    assert chosen > 500
    assert confirmed / chosen <= 0.025 + 3 * (0.025 * 0.975 / chosen) ** 0.5


def test_the_front_is_what_nothing_beats() -> None:
    accuracies = [0.95, 0.94, 0.93, 0.95, 0.90]
    costs = [10.0, 5.0, 6.0, 12.0, 1.0]
    assert pareto_front(accuracies, costs) == [True, True, False, False, True]
    assert pareto_front([0.9, 0.9], [1.0, 1.0]) == [True, True]
    assert pareto_front([0.9, 0.8], [1.0, 1.0]) == [True, False]
    assert pareto_front([], []) == []
    with pytest.raises(ValueError, match="shorter"):
        pareto_front([0.9, 0.8], [1.0])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_every_arm_is_on_the_front_or_beaten_by_one_that_is(arms: list[tuple[int, int]]) -> None:
    front = pareto_front([float(accuracy) for accuracy, _ in arms], [float(cost) for _, cost in arms])
    assert any(front)
    kept = [arm for arm, on in zip(arms, front, strict=True) if on]
    for arm in arms:
        assert arm in kept or any(one[0] >= arm[0] and one[1] <= arm[1] for one in kept)
