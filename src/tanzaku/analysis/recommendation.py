"""Which arm to take: the smallest that is not worse than the best by more than a margin.

The validation set chooses, the test set reports. The best arm and the recommended one follow from their means on the
validation set only, of accuracy, or of macro-F1 where the study says so. So the test set's verdict on the
recommendation, and every test of an arm against either, is about documents that had no say in the choice. The verdict
never changes the choice: a second choice, by the test set, would need a third set to report it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tanzaku.analysis.statistics import Interval

DEFAULT_MARGIN = 0.005  # half a percentage point
SAME_SIZE = 0.01
"""The relative difference of sizes that count as equal: the files may differ in the digits of their metadata only."""

# A margin that is met exactly must not fail by a rounding error in 0.905 - 0.9.
_ROUNDING = 1e-9

Verdict = Literal["confirmed", "open", "contradicted"]


@dataclass(frozen=True)
class Candidate:
    """An arm that can be chosen, by what it did on the validation set and what it costs to keep."""

    score: float
    """Validation accuracy or macro-F1, mean over its seeds, a share."""
    saved_bytes: float


@dataclass(frozen=True)
class Choice:
    """Places among the candidates."""

    best: int
    recommended: int | None
    """None where no candidate is better than the majority class."""
    within_margin: tuple[int, ...]
    """Those that come within the margin of the best and are better than the majority class; the smallest of them is
    the recommended."""
    passed_over: tuple[int, ...]
    """Those that come within the margin of the best, but are not better than the majority class."""


def choose(candidates: Sequence[Candidate], *, margin: float, majority: float) -> Choice | None:
    """The best by validation score, and the smallest within `margin` (a share) of it; None without candidates.

    Of equally good ones the smaller is the best, of equally small ones (see `SAME_SIZE`) the better is recommended, and
    of those that are equal in both the first.

    Args:
        candidates: What can be chosen.
        margin: How much worse than the best the recommended one may be, a share.
        majority: The score of always answering the most frequent class. A candidate that is not better is never
            recommended: it may have learnt nothing.
    """
    if not candidates:
        return None
    places = range(len(candidates))
    best = min(places, key=lambda place: (-candidates[place].score, candidates[place].saved_bytes))
    lowest = candidates[best].score - margin - _ROUNDING
    near = [place for place in places if candidates[place].score >= lowest]
    within = tuple(place for place in near if candidates[place].score > majority + _ROUNDING)
    sizes = [candidate.saved_bytes for candidate in candidates]
    smallest = smallest_first(within, sizes=sizes, scores=[candidate.score for candidate in candidates])
    recommended = next(iter(smallest), None)
    return Choice(best, recommended, within, tuple(place for place in near if place not in within))


def smallest_first(places: Iterable[int], *, sizes: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Candidates by their size; of those that are hardly larger than the smallest of the rest (see `SAME_SIZE`), the
    one with the best score comes first, and of equally good ones the smaller.

    Args:
        places: Which candidates.
        sizes: The size of each candidate.
        scores: The score of each candidate.
    """
    rest, ordered = list(places), []
    while rest:
        largest = (1 + SAME_SIZE) * min(sizes[place] for place in rest)
        near = (place for place in rest if sizes[place] <= largest)
        ordered.append(max(near, key=lambda place: (scores[place], -sizes[place])))
        rest.remove(ordered[-1])
    return ordered


def non_inferiority(interval: Interval, *, margin: float) -> Verdict:
    """What the interval of (recommended - best) on the test set says of "not worse by more than the margin".

    "confirmed" where all of it lies above -margin: a recommendation that is worse by just the margin gets this in 2.5 %
    of all test sets. "contradicted" where all of it lies below; "open" where -margin is within.
    """
    if interval.low > -margin:
        return "confirmed"
    return "contradicted" if interval.high < -margin else "open"


def pareto_front(accuracies: Sequence[float], costs: Sequence[float]) -> list[bool]:
    """Whether each arm is on the front: no other is as accurate for less, or more accurate for as little."""
    arms = list(zip(accuracies, costs, strict=True))
    return [
        not any(
            other_accuracy >= accuracy and other_cost <= cost and (other_accuracy, other_cost) != (accuracy, cost)
            for other_accuracy, other_cost in arms
        )
        for accuracy, cost in arms
    ]
